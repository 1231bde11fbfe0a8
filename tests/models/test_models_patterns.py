"""Ranks and alphas by pattern: peft gives each module what the plan counted, and no pattern is without effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.utils.other import get_pattern_key

from tunesmith.core.errors import ModelError
from tunesmith.models.adapter_start import begin_at
from tunesmith.models.adapters import Patterns, attach, open_adapter, save_adapter
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.patterns import by_pattern
from tunesmith.models.reach import choose_modules, reach_of

RANKS = {"q_proj": 2, r"layers\.0\..*mlp\.(up|down)_proj": 6}
ALPHAS = {"self_attn.q_proj": 3.0}
IDS = torch.tensor([[5, 40, 41, 42, 43, 6]])


def adapted(base: BaseFolder, kind: Any = "lora", **patterns: Any) -> tuple[Any, Any]:
    model = load_model(base, "float32")
    modules = choose_modules(model, "all", "all")
    return attach(model, kind=kind, rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=7, patterns=Patterns(**patterns))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_each_module_has_the_rank_and_scale_that_its_pattern_says_and_the_plan_counts(kind: Any, tiny: BaseFolder) -> None:
    model, coverage = adapted(tiny, kind, ranks=RANKS, alphas=ALPHAS)
    layers = dict(model.base_model.model.named_modules())
    ranks = by_pattern(coverage.modules, 4, RANKS, setting="")
    assert sorted(set(ranks.values())) == [2, 4, 6]
    for name in coverage.modules:
        key = get_pattern_key(list(RANKS), name)
        assert layers[name].r["default"] == ranks[name] == RANKS.get(key, 4)
        alpha = 3.0 if name.endswith("q_proj") else 8.0
        assert layers[name].scaling["default"] == alpha / ranks[name]
    reach = reach_of(tiny, kind=kind, rank=4, targets="all", layers="all", rank_pattern=RANKS)
    assert reach.num_trainable == coverage.num_trainable
    assert reach.num_trainable != reach_of(tiny, kind=kind, rank=4, targets="all", layers="all").num_trainable


@pytest.mark.parametrize("start", ["default", "pissa"])
@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_a_saved_adapter_keeps_its_ranks_and_alphas(kind: Any, start: Any, tiny: BaseFolder, tmp_path: Path) -> None:
    model, _ = adapted(tiny, kind, ranks=RANKS, alphas=ALPHAS)
    begin_at(model, start, ())
    with torch.no_grad():
        torch.manual_seed(3)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
        expected = model.eval()(input_ids=IDS).logits
        save_adapter(model, "base", tmp_path)
        opened = open_adapter(load_model(tiny, "float32"), tmp_path)
        torch.testing.assert_close(opened(input_ids=IDS).logits, expected, atol=1e-4, rtol=1e-4)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["rank_pattern"] == {name: rank * (1 if start == "default" else 2) for name, rank in RANKS.items()}


@pytest.mark.parametrize(
    ("pattern", "what", "told"),
    [
        ("q_porj", "matches no adapted module", "did you mean q_proj?"),
        ("lm_head", "matches no adapted module", "down_proj"),
        ("_proj", "matches no adapted module", "q_proj"),  # the end of a name begins at a dot
        ("(", "cannot be read", "a regular expression"),
        (".*", "give one module different numbers", "q_proj: 2 and .*: 9"),
    ],
)
def test_a_pattern_that_means_nothing_or_too_much_is_refused(pattern: str, what: str, told: str, tiny: BaseFolder) -> None:
    with pytest.raises(ModelError, match=what) as caught:
        reach_of(tiny, kind="lora", rank=4, targets="all", layers="all", rank_pattern={"q_proj": 2, pattern: 9})
    assert told in str(caught.value) and "method.rank_pattern" in str(caught.value)
    with pytest.raises(ModelError, match=what):
        adapted(tiny, alphas={"q_proj": 2.0, pattern: 9.0})


def test_two_patterns_that_agree_are_no_contradiction() -> None:
    assert by_pattern(["a.q_proj", "a.k_proj"], 4, {"q_proj": 2, "a.q_proj": 2}, setting="") == {"a.q_proj": 2, "a.k_proj": 4}
