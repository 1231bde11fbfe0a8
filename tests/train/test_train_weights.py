"""Kinds of weights that move: found by name, trained by the one loop, named in a run's id only where they differ from usual."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file

from fakes import train_tiny
from tunesmith.core.records import canonical_json, digest
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.pipeline.training import objective_of, run_settings
from tunesmith.train.weights.kinds import KINDS
from tunesmith.train.weights.weights import Weights


def identified(**sections: Any) -> str:
    """The hash of all that a run's id depends on apart from its inputs."""
    recipe = recipe_from({"sources": ["./posts"], **sections})
    return digest(canonical_json(run_settings(recipe, objective_of(recipe), base="b", precision="float32")))[:16]


def test_every_kind_of_the_recipe_is_one_that_training_knows() -> None:
    assert set(get_args(MethodConfig.model_fields["kind"].annotation)) == set(KINDS)


@pytest.mark.parametrize(
    ("sections", "known"),
    [
        ({}, "00611d03a55fcf15"),
        ({"quality": "best"}, "7ab0d9fbe69f0907"),
        ({"method": {"kind": "dora", "layers": 4}}, "7c7327d5aceaeca3"),
    ],
)
def test_runs_keep_the_ids_that_they_had_before_there_were_more_settings(sections: dict[str, Any], known: str) -> None:
    assert identified(**sections) == known


def test_parameters_are_grouped_by_their_rate_and_keep_their_order() -> None:
    named = {name: torch.zeros(1) for name in ("a.lora_A", "a.lora_B", "b.lora_A", "b.lora_B")}

    def group(**more: Any) -> list[tuple[float, list[int]]]:
        nothing: Any = None
        weights = Weights(
            model=None, coverage=nothing, modules=(), words="", save=lambda folder: None, moved=lambda: True, **more
        )
        place = {id(tensor): n for n, tensor in enumerate(named.values())}
        return [(one["rate_scale"], [place[id(p)] for p in one["params"]]) for one in weights.groups(named)]

    assert group() == [(1.0, [0, 1, 2, 3])]
    assert group(rate_scale=lambda name: 16.0 if "lora_B" in name else 1.0) == [(1.0, [0, 2]), (16.0, [1, 3])]


@pytest.mark.parametrize(
    "changed", [{"quantise": "nf4"}, {"lora_plus": 16.0}, {"init": "pissa"}, {"rank_pattern": {"q_proj": 8}}]
)
def test_a_later_setting_that_is_used_gives_a_run_another_id(changed: dict[str, Any]) -> None:
    assert identified(method=changed) != identified()
    usual = {name: MethodConfig.model_fields[name].default for name in changed}
    assert identified(method=usual) == identified()


def test_lora_plus_moves_the_second_matrices_further_and_the_first_as_before(tiny_path: Path, tmp_path: Path) -> None:
    """After one step of AdamW every entry has moved by its rate."""
    one_step = {"max_steps": 1, "warmup": 0.0, "schedule": "constant", "max_grad_norm": 0.0}
    found = {}
    for ratio in (1.0, 16.0):
        place = tmp_path / str(ratio)
        train_tiny(tiny_path, place, train=one_step, method={"dropout": 0.0, "lora_plus": ratio})
        found[ratio] = load_file(place / "out" / "adapter" / "adapter_model.safetensors")
    for name, plain in found[1.0].items():
        factor = 16.0 if "lora_B" in name else 1.0
        assert float(found[16.0][name].norm()) == pytest.approx(factor * float(plain.norm()), rel=1e-3), name
