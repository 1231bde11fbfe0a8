"""What an adapter reaches in models with experts, state-space layers or towers; what it does not reach is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import PACKED, REFUSED, SEEING, make
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import attach, open_adapter, save_adapter
from tunesmith.models.reach import choose_modules, left_out, linear_modules, out_of_reach

pytestmark = pytest.mark.filterwarnings("ignore")  # of kernels that are not installed
EXPERTS = ["Qwen3 MoE", "Mixtral", "OLMoE", "Granite MoE"]
BOTH_NAMES = ["DeepSeek V3", "GLM-4 MoE"]  # dense layers named as the experts are
STATE_SPACE = ["Falcon-H1", "Mamba", "Mamba-2", "Granite MoE hybrid"]
ALL = {**PACKED, **REFUSED, **SEEING}


def leaves(names: Any) -> set[str]:
    return {name.rsplit(".", 1)[-1] for name in names}


def share(model: Any, kind: str) -> float:
    return float(out_of_reach(model)[kind] / sum(p.numel() for p in model.parameters()))


def adapted(model: Any, targets: Any = "all") -> Any:
    """The model under an adapter on `targets` that already does something."""
    modules = choose_modules(model, targets, "all")
    peft, _ = attach(model, kind="lora", rank=2, alpha=4, dropout=0.0, modules=modules, seed=0)
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return peft


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=torch.arange(3, 30)[None], use_cache=False).logits
    return found


@pytest.mark.parametrize("name", [*EXPERTS, *BOTH_NAMES, *STATE_SPACE, *SEEING, "gpt-oss, attention sinks", "Qwen3-Next"])
def test_an_adapter_on_all_that_is_within_reach_is_attached_saved_and_opened_again(name: str, tmp_path: Path) -> None:
    model = adapted(make(ALL[name]))
    save_adapter(model, "owner/base", tmp_path)
    opened = open_adapter(make(ALL[name]), tmp_path)
    assert (logits(make(ALL[name])) - logits(model)).abs().max() > 1e-4
    torch.testing.assert_close(logits(opened), logits(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_is_within_reach_or_counted_out_of_it(name: str) -> None:
    model = make(ALL[name])
    within = sum(p.numel() for module in linear_modules(model) for p in model.get_submodule(module).parameters())
    assert within + sum(out_of_reach(model).values()) == sum(p.numel() for p in model.parameters())
    assert "other layers" not in out_of_reach(model)


@pytest.mark.parametrize("name", [*EXPERTS, "gpt-oss, attention sinks", "Qwen3-Next"])
def test_experts_and_routers_are_counted_out_of_reach(name: str) -> None:
    model = make(ALL[name])
    stacked = sum(p.numel() for p in model.parameters() if p.ndim == 3 and p.shape[1] > 1)
    assert stacked and out_of_reach(model)["experts"] >= stacked and "routers" in out_of_reach(model)


def test_a_dense_model_has_nothing_out_of_reach_but_embeddings_and_norms() -> None:
    assert set(out_of_reach(make(PACKED["GPT-2"]))) == {"embeddings and head", "norms and biases"}


@pytest.mark.parametrize("name", BOTH_NAMES)
def test_layers_that_peft_would_take_for_experts_are_left_out_and_named(name: str) -> None:
    model = make(PACKED[name])
    assert leaves(left_out(model)) == {"gate_proj", "up_proj", "down_proj"} and "layers named like experts" in out_of_reach(
        model
    )
    with pytest.raises(ModelError, match="cannot reach") as caught:
        choose_modules(model, ["o_proj", "up_proj"], "all")
    assert "weights of the experts" in str(caught.value) and "up_proj" not in caught.value.problems[0].hint


@pytest.mark.parametrize("name", STATE_SPACE)
def test_layers_that_a_fused_kernel_passes_by_are_left_out_and_named(name: str) -> None:
    model = make(REFUSED[name])
    assert "out_proj" in leaves(left_out(model)) and "out_proj" not in leaves(linear_modules(model))
    assert share(model, "state-space layers and convolutions") > 0.01
    with pytest.raises(ModelError, match="cannot reach this layer") as caught:
        choose_modules(model, ["out_proj"], "all")
    assert "fused kernel" in str(caught.value)


@pytest.mark.parametrize("name", ["LFM2, convolutions", "Qwen3-Next"])
def test_an_output_layer_that_is_really_called_is_within_reach(name: str) -> None:
    assert "out_proj" in leaves(linear_modules(make(REFUSED[name])))


@pytest.mark.parametrize(
    ("name", "targets"), [("Mamba", "attention"), ("Mamba", "mlp"), ("GLM-4 MoE", "mlp"), ("Mixtral", "mlp")]
)
def test_a_hint_never_repeats_what_is_set(name: str, targets: str) -> None:
    with pytest.raises(ModelError) as caught:
        choose_modules(make(ALL[name]), targets, "all")
    (problem,) = caught.value.problems
    assert problem.hint and targets not in problem.hint
    assert choose_modules(make(ALL[name]), problem.hint.removeprefix("--set method.targets="), "all")


@pytest.mark.parametrize("name", SEEING)
def test_only_the_language_model_of_a_model_that_sees_is_adapted_and_its_layers_are_counted(name: str) -> None:
    model = make(SEEING[name])
    chosen = choose_modules(model, "all", "all")
    assert not any(word in module for module in chosen for word in ("vision", "visual", "projector", "connector"))
    assert len(chosen) == 3 * 7 and {linear_modules(model)[module] for module in chosen} == {0, 1, 2}
    assert {linear_modules(model)[module] for module in choose_modules(model, "all", 1)} == {2}
    trained = [n for n, p in adapted(model).named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(chosen) and all("language_model" in n or "text_model" in n for n in trained)
    assert share(make(SEEING[name]), "vision and other inputs") > 0.1
