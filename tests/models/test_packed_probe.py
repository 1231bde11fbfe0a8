"""Which models may read token trees: nothing may leak between branches, and the numbers must be the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import PACKED, REFUSED, SEEING, make, rows_alike
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Encoded
from tunesmith.models.dropout import switch_off_dropouts
from tunesmith.models.packed import attention_plan
from tunesmith.models.packed.lean_parts import lean_parts
from tunesmith.models.packed.probe import why_not_packed
from tunesmith.models.reach import choose_modules

ROOT = Path(__file__).parents[2]
TYPES = [torch.float32, torch.bfloat16]


@pytest.mark.filterwarnings("ignore")  # of kernels that are not installed
@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_trees_would_change_is_refused_in_every_number_type_with_a_sentence(name: str) -> None:
    reasons = {why_not_packed(make(REFUSED[name]).to(kind), rows_alike(), training=True) for kind in TYPES}
    assert all(reasons) and not any(mark in reason for reason in reasons for mark in ("<", "()", "Error", "__"))


@pytest.mark.parametrize("name", [*PACKED, *SEEING])
def test_a_model_that_trees_suit_is_accepted_in_rounded_numbers_too(name: str) -> None:
    model = make({**PACKED, **SEEING}[name])
    switch_off_dropouts(model)
    assert why_not_packed(model.to(torch.bfloat16), rows_alike(), training=True) == ""


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("share", [1.0, 1e-3, 1e-12])
def test_a_leak_is_found_however_small_it_is(kind: torch.dtype, share: float) -> None:
    """Each token takes a little of the one before it in the row, as a convolution does; 1e-12 moves no bit of the output."""
    model = make(PACKED["Llama"]).to(kind)
    model.model.layers[0].register_forward_hook(lambda module, given, out: out + share * out.roll(1, dims=1))
    assert "from one branch of a token tree" in why_not_packed(model, rows_alike())


@pytest.mark.parametrize("kind", TYPES)
def test_a_window_that_is_lost_is_found_in_every_number_type(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = make(PACKED["Mistral, sliding window"]).to(kind), attention_plan.AttentionPlan._mask

    def without_window(self: Any, bucket: int, groups: int, dtype: torch.dtype, window: int = 0) -> torch.Tensor:
        return plain(self, bucket, groups, dtype)

    monkeypatch.setattr(attention_plan.AttentionPlan, "_mask", without_window)
    assert "change its log-probabilities" in why_not_packed(model, rows_alike())


@pytest.mark.parametrize("kind", TYPES)
def test_a_trial_leaves_weights_modes_and_hooks_as_they_were(kind: torch.dtype) -> None:
    model = make(PACKED["Gemma 3, sliding and full layers"]).to(kind)
    model.model.layers[1].train()
    modes = [module.training for module in model.modules()]
    tensors = [*model.named_parameters(), *model.named_buffers()]
    before = [(name, tensor.dtype, tensor.data_ptr(), tensor.clone()) for name, tensor in tensors]
    assert why_not_packed(model, rows_alike(), training=True) == ""
    assert [module.training for module in model.modules()] == modes
    for (name, dtype, place, values), (_, now) in zip(before, [*model.named_parameters(), *model.named_buffers()], strict=True):
        assert (now.dtype, now.data_ptr()) == (dtype, place) and torch.equal(now, values), name
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("fault", ["a layer", "the tree"])
def test_a_trial_that_fails_half_way_leaves_the_weights_as_they_were(fault: str) -> None:
    model = make(PACKED["Llama"]).to(torch.bfloat16)

    def fail(*_: Any) -> None:
        raise RuntimeError("out of order")

    (model.model.layers[1].mlp if fault == "a layer" else model.model.norm).register_forward_hook(fail)
    assert why_not_packed(model, rows_alike()) == "its forward pass cannot read a token tree"
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("rows", [[Encoded((5, 6), (False, True))], [Encoded((5, 6, 7), (False, False, False))]])
def test_the_smallest_rows_are_enough_for_a_trial(rows: list[Encoded]) -> None:
    assert why_not_packed(make(PACKED["Llama"]), rows) == ""


# --- dropouts of the base ---------------------------------------------------------------------------------------------


def dropping(name: str) -> Any:
    import transformers

    shape: dict[str, Any] = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "GPT-2": ("GPT2LMHeadModel", "GPT2Config", {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}),
        "Llama": ("LlamaForCausalLM", "LlamaConfig", {"attention_dropout": 0.1, "intermediate_size": 64}),
        "Granite": ("GraniteForCausalLM", "GraniteConfig", {"attention_dropout": 0.2, "intermediate_size": 64}),
        "Phi": ("PhiForCausalLM", "PhiConfig", {"resid_pdrop": 0.1, "embd_pdrop": 0.3, "intermediate_size": 64}),
        "GPT-NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {"hidden_dropout": 0.1, "intermediate_size": 64}),
        "Mixtral": ("MixtralForCausalLM", "MixtralConfig", {"router_jitter_noise": 0.5, "num_key_value_heads": 4}),
    }
    model, config, settings = kinds[name]
    return make(lambda: getattr(transformers, model)(getattr(transformers, config)(**shape, **settings)))


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "Granite", "Phi", "GPT-NeoX", "Mixtral"])
def test_a_base_under_an_adapter_draws_nothing_at_random_in_training(name: str) -> None:
    model = dropping(name)
    ids = torch.arange(3, 60)[None]
    plain = model(input_ids=ids, use_cache=False).logits
    assert not torch.equal(model.train()(input_ids=ids, use_cache=False).logits, plain)
    adapted, coverage = attach(
        model, kind="lora", rank=2, alpha=4, dropout=0.0, modules=choose_modules(model, "attention", "all"), seed=0
    )
    assert torch.equal(adapted.train()(input_ids=ids, use_cache=False).logits, plain)
    assert coverage.dropouts and all(rate > 0 for rate in coverage.dropouts.values())


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "Granite"])
def test_attention_that_drops_at_random_is_refused_in_training_mode_and_accepted_once_it_is_off(name: str) -> None:
    model = dropping(name)
    assert why_not_packed(model, rows_alike()) == ""
    assert why_not_packed(model, rows_alike(), training=True) == "its attention drops weights at random in training"
    switch_off_dropouts(model)
    assert why_not_packed(model, rows_alike(), training=True) == ""


def test_an_adapters_own_dropout_stays_and_does_not_disturb_the_trial() -> None:
    model = make(PACKED["Llama"])
    adapted, _ = attach(model, kind="lora", rank=4, alpha=8, dropout=0.5, modules=choose_modules(model, "all", "all"), seed=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    assert why_not_packed(adapted.train(), rows_alike(), training=True) == ""
    assert all(module.p == 0.5 for name, module in adapted.named_modules() if name.endswith("lora_dropout.default"))


# --- parts that look like a norm ----------------------------------------------------------------------------------------


class GatedNorm(torch.nn.Module):
    """A norm that may be given a gate, as those of state-space layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = torch.nn.Parameter(torch.ones(32), requires_grad=False), 1e-6

    def forward(self, x: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        out = self.weight * wide.to(x.dtype)
        return out if gate is None else out * torch.nn.functional.silu(gate)


def test_a_norm_that_is_given_a_gate_uses_it() -> None:
    model = make(PACKED["Llama"])
    norm = model.model.layers[0].input_layernorm = GatedNorm()
    x, gate = torch.randn(2, 3, 32), torch.randn(2, 3, 32)
    wanted = norm(x, gate)
    with lean_parts(model):
        assert "forward" in vars(norm) and torch.equal(norm(x, gate), wanted) and torch.equal(norm(x, gate=gate), wanted)
