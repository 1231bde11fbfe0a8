"""The engine gives each architecture's own numbers, forward and backward, or says that it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from architectures import PACKED, REFUSED, SEEING, make, rows_alike
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Encoded
from tunesmith.models.packed import attention, attention_plan
from tunesmith.models.packed.head import Head
from tunesmith.models.packed.layout import Tree, lay_out
from tunesmith.models.packed.lean_parts import lean_parts
from tunesmith.models.packed.lowrank import draw_dropped, lean_adapters, low_rank
from tunesmith.models.packed.model import PackedModel, packed
from tunesmith.models.packed.probe import why_not_packed
from tunesmith.models.packed.trunk import Trunk, cache_bytes, kept_trunk, lowest_adapted, room_for_cache
from tunesmith.models.reach import choose_modules
from tunesmith.train.padded import PaddedModel, collate

ROOT = Path(__file__).parents[2]


def adapted(build: Callable[[], Any], *, layers: Any = "all", dropout: float = 0.0) -> Any:
    """The model under a LoRA adapter that already does something."""
    model = make(build)
    modules = choose_modules(model, "all", layers)
    peft, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=dropout, modules=modules, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return peft


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def one_by_one(model: Any, rows: list[Encoded]) -> torch.Tensor:
    """The summed loss of rows that go through the plain forward pass each on its own."""
    losses = [PaddedModel(model, 0).loss(collate([row], pad_id=0, device="cpu")) for row in rows]
    return torch.stack(losses).sum()


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, rel: float) -> None:
    assert one.keys() == other.keys() and one
    for name in one:
        scale = float(other[name].abs().max())
        assert float((one[name] - other[name]).abs().max()) <= rel * max(scale, 1e-6), name


# --- each architecture ------------------------------------------------------------------------------------------------


class ClampedMlp(torch.nn.Module):
    """A gated MLP whose gate is cut off above 10, which small input never meets."""

    def __init__(self, mlp: Any, dropout: float = 0.0) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.gate_proj(x) if self.dropout else self.gate_proj(x).clamp(max=10)
        inner = torch.nn.functional.silu(gate) * self.up_proj(x)
        out: torch.Tensor = self.down_proj(torch.nn.functional.dropout(inner, self.dropout, self.training))
        return out


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_gate_that_is_clamped_and_a_dropout_inside_are_seen_though_plain_input_shows_neither(dropout: float) -> None:
    model = make(PACKED["Llama"]).requires_grad_(False).eval()
    layers = model.model.layers
    with lean_parts(model) as whole:
        pass
    layers[0].mlp = ClampedMlp(layers[0].mlp, dropout).eval()
    with lean_parts(model) as count:
        assert count == whole - 1 and "forward" not in vars(layers[0].mlp)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("name", PACKED)
def test_trees_give_the_loss_and_the_gradients_of_rows_one_by_one(name: str) -> None:
    model, rows = adapted(PACKED[name]), rows_alike()
    alone = one_by_one(model, rows)
    wanted = gradients(model, alone)
    assert why_not_packed(model, rows) == ""
    with packed(model) as lean:
        tree = lean.lay_out(rows)
        loss = lean.loss(tree)
        assert len(tree.ids_T) < 0.8 * tree.num_tokens
        assert float(loss.detach()) == pytest.approx(float(alone.detach()), rel=1e-5)
        close(gradients(model, loss), wanted, rel=1e-3 if "Gemma" in name else 1e-4)


@pytest.mark.parametrize(
    "name", ["Llama", "Llama, tied embeddings (SmolLM, SmolLM2)", "Gemma 2, capped scores and logits", "GPT-2"]
)
def test_trees_give_every_weight_of_a_whole_model_the_gradient_of_rows_one_by_one(name: str) -> None:
    model, rows = make(PACKED[name]).requires_grad_(True).eval(), rows_alike()
    wanted = gradients(model, one_by_one(model, rows))
    with packed(model) as lean:
        found = gradients(model, lean.loss(lean.lay_out(rows)))
        close(found, wanted, rel=1e-3 if "Gemma" in name else 1e-4)
        by_log_probs = gradients(model, -lean.log_probs(lean.lay_out(rows)).sum())
        close(by_log_probs, wanted, rel=1e-3 if "Gemma" in name else 1e-4)
    assert model.get_input_embeddings().weight.grad is not None and model.get_output_embeddings().weight.grad is not None


def test_the_page_of_architectures_lists_what_is_tested_here() -> None:
    page = (ROOT / "docs" / "concepts" / "engine.md").read_text()
    for name in [*PACKED, *REFUSED, *SEEING]:
        assert f"| {name} |" in page


def test_attention_that_looks_across_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(self: Any, bucket: int, groups: int, dtype: torch.dtype, window: int = 0) -> torch.Tensor:
        b = self.buckets[bucket]
        return torch.zeros(groups * b.longest, b.above + b.longest, dtype=dtype)

    monkeypatch.setattr(attention_plan.AttentionPlan, "_mask", leaky)
    assert "change its log-probabilities" in why_not_packed(make(PACKED["Llama"]), rows_alike())


def test_after_the_engine_the_model_is_as_it_was() -> None:
    model, rows = adapted(PACKED["Llama"]), rows_alike()
    batch = collate(rows, pad_id=0, device="cpu")
    before, kind = float(PaddedModel(model, 0).loss(batch).detach()), model.config._attn_implementation
    with packed(model):
        assert float(PaddedModel(model, 0).loss(batch).detach()) == pytest.approx(before, rel=1e-5)  # plain calls work inside
    assert float(PaddedModel(model, 0).loss(batch).detach()) == before and model.config._attn_implementation == kind


@pytest.mark.parametrize("name", ["Llama", "Mistral, sliding window", "Gemma 2, capped scores and logits"])
def test_tokens_that_fill_a_tree_up_change_neither_loss_nor_gradients(name: str) -> None:
    model, rows = adapted(PACKED[name]), rows_alike()
    alone = one_by_one(model, rows)
    wanted = gradients(model, alone)
    with packed(model) as lean:
        tree = lay_out(rows, whole=32)
        assert len(tree.ids_T) % 32 == 0 and len(tree.ids_T) > tree.attention.size
        assert all(bucket.longest % 32 == 0 for bucket in tree.attention.buckets)
        loss = lean.loss(tree)
        assert float(loss.detach()) == pytest.approx(float(alone.detach()), rel=1e-5)
        close(gradients(model, loss), wanted, rel=1e-3 if "Gemma" in name else 1e-4)


def test_trees_of_rounded_numbers_come_in_whole_steps_and_agree_with_rows_one_by_one() -> None:
    model, rows = adapted(PACKED["Llama"]).to(torch.bfloat16), rows_alike()
    with packed(model) as lean:
        assert len(lean.lay_out(rows).ids_T) % 32 == 0
    assert why_not_packed(model, rows) == ""


@pytest.mark.parametrize("keys", [0, 30, 1000])
def test_probabilities_kept_or_made_again_give_the_same_gradients(keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = adapted(PACKED["Llama"]), rows_alike()
    wanted = gradients(model, one_by_one(model, rows))
    monkeypatch.setattr(attention, "KEPT_KEYS", keys)
    with packed(model) as lean:
        close(gradients(model, lean.loss(lean.lay_out(rows))), wanted, rel=1e-4)


# --- norms and gated MLPs -----------------------------------------------------------------------------------------------


def test_lean_norms_and_gated_parts_give_the_same_bits_and_the_gradient_of_the_originals() -> None:
    model = make(PACKED["Llama"]).double().requires_grad_(True)
    block = model.model.layers[0]
    for part in (block.mlp, torch.nn.Sequential(block.input_layernorm)):
        x = torch.randn(2, 5, 32, dtype=torch.float64, requires_grad=True)
        inputs = [x, *part.parameters()]
        plain = part(x)
        wanted = torch.autograd.grad(plain.sin().sum(), inputs)
        with lean_parts(model) as count:
            assert count == 2 * 3 + 1 + 3
            lean = part(x)
            torch.testing.assert_close(torch.autograd.grad(lean.sin().sum(), inputs), wanted, rtol=1e-5, atol=1e-6)
        assert torch.equal(lean, plain)
    assert "forward" not in vars(block.mlp) and "forward" not in vars(block.input_layernorm)


def test_parts_that_only_look_alike_stay_as_they_are() -> None:
    model = make(PACKED["Llama"]).requires_grad_(False)
    first = model.model.layers[0]
    first.mlp.act_fn = torch.nn.GELU()
    first.input_layernorm.forward = lambda x, norm=first.input_layernorm: torch.nn.functional.rms_norm(
        x, (32,), 1 + norm.weight, norm.variance_epsilon
    )
    with lean_parts(model) as count:
        assert count == 2 * 3 + 2
        assert "forward" in vars(model.model.norm) and "forward" not in vars(first.mlp)
    with lean_parts(make(PACKED["Gemma"]).requires_grad_(False)) as count:  # 1 + weight, and a GELU
        assert count == 0


def test_segments_too_long_for_kept_probabilities_give_the_same_numbers() -> None:
    model, rows = adapted(PACKED["Llama"]), rows_alike(3, shared=600, longest=700)
    wanted = gradients(model, one_by_one(model, rows))
    with packed(model) as lean:
        tree = lean.lay_out(rows)
        assert tree.attention.is_long
        close(gradients(model, lean.loss(tree)), wanted, rel=1e-3)


# --- the head ---------------------------------------------------------------------------------------------------------

HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": 0.25},
    "capped": {"cap": 5.0, "scale": 2.0},
    "with bias": {"bias": True},
}


def head(settings: dict[str, Any], *, vocabulary: int = 400) -> Head:
    torch.manual_seed(3)
    bias = torch.randn(vocabulary) if settings.get("bias") else None
    return Head(torch.randn(vocabulary, 16), bias, settings.get("scale", 1.0), settings.get("cap"))


@pytest.mark.parametrize("kind", HEADS)
def test_the_chunked_head_gives_the_loss_and_gradient_of_the_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.models.packed.head.LOGIT_BYTES", 4 * 400 * 16)
    top, weights = head(HEADS[kind]), torch.rand(75)
    hidden, target = torch.randn(75, 16, requires_grad=True), torch.randint(0, 400, (75,))
    for trained in ([], [top.weight], [part for part in (top.weight, top.bias) if part is not None]):
        inputs = [hidden, *(part.requires_grad_() for part in trained)]
        whole = (F.cross_entropy(top.logits(hidden), target, reduction="none") * weights).sum()
        wanted = torch.autograd.grad(3 * whole, inputs)
        loss = top.loss(hidden, target, weights)
        assert float(loss.detach()) == pytest.approx(float(whole.detach()), rel=1e-5)
        torch.testing.assert_close(torch.autograd.grad(3 * loss, inputs), wanted, rtol=1e-4, atol=1e-5)
        log_p = top.log_probs(hidden, target)
        torch.testing.assert_close(torch.autograd.grad(-3 * (log_p * weights).sum(), inputs), wanted, rtol=1e-4, atol=1e-5)


def test_a_head_that_is_trained_above_frozen_states_gets_its_gradient_and_without_gradient_none() -> None:
    top = head({})
    top.weight.requires_grad_()
    hidden, target = torch.randn(75, 16), torch.randint(0, 400, (75,))
    (wanted,) = torch.autograd.grad(F.cross_entropy(top.logits(hidden), target, reduction="sum"), top.weight)
    torch.testing.assert_close(torch.autograd.grad(top.loss(hidden, target), top.weight)[0], wanted, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert not top.loss(hidden, target).requires_grad


def test_a_token_of_no_probability_has_a_finite_loss() -> None:
    top = Head(torch.eye(3) * 500)
    hidden = torch.tensor([[1.0, 0.0, 0.0]])
    assert float(top.loss(hidden, torch.tensor([1]))) == pytest.approx(500.0)


@pytest.mark.parametrize("count", [1, 32, 75])
def test_a_head_in_rounded_numbers_fills_its_rows_up_and_answers_for_those_alone(count: int) -> None:
    top = Head(torch.randn(400, 16).to(torch.bfloat16).requires_grad_())
    hidden = torch.randn(count, 16).to(torch.bfloat16).requires_grad_()
    target = torch.randint(0, 400, (count,))
    whole = F.cross_entropy((hidden @ top.weight.t()).float(), target, reduction="sum")
    wanted = torch.autograd.grad(whole, [hidden, top.weight])
    loss = top.loss(hidden, target)
    assert float(loss.detach()) == pytest.approx(float(whole.detach()), rel=1e-3)
    torch.testing.assert_close(torch.autograd.grad(loss, [hidden, top.weight]), wanted, rtol=0.05, atol=0.05)


def test_accuracy_counts_the_likeliest_token() -> None:
    _, right = Head(torch.eye(4)).score(torch.eye(4), torch.tensor([0, 1, 3, 3]))
    assert right.tolist() == [True, True, False, True]


# --- lean adapters ----------------------------------------------------------------------------------------------------


def test_lean_layers_give_what_peft_gives() -> None:
    model, rows = adapted(PACKED["Llama"]), rows_alike()
    batch = collate(rows, pad_id=0, device="cpu")
    plain = PaddedModel(model, 0).loss(batch)
    wanted = gradients(model, plain)
    with lean_adapters(model) as count:
        lean = PaddedModel(model, 0).loss(batch)
        assert count == 21 and float(lean.detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
        close(gradients(model, lean), wanted, rel=1e-4)
        with model.disable_adapter():
            off = float(PaddedModel(model, 0).loss(batch).detach())
    with model.disable_adapter():
        assert off == float(PaddedModel(model, 0).loss(batch).detach())


def test_dropout_keeps_its_share_and_its_mean_and_follows_the_seed() -> None:
    x = torch.ones(400, 500)
    torch.manual_seed(5)
    dropped = draw_dropped(x, 0.1)
    keep = dropped.zeroed(x)
    assert abs(1 - float(keep.mean()) - 0.1) < 0.004 and abs(float(keep.mean()) * dropped.gain - 1) < 0.005
    torch.manual_seed(5)
    again, other = draw_dropped(x, 0.1), draw_dropped(x, 0.1)
    assert torch.equal(dropped.entries, again.entries) and not torch.equal(dropped.entries, other.entries)
    neighbours = (keep[:, :-1] * keep[:, 1:]).mean()  # whether an entry is dropped says nothing about the next one
    assert abs(float(neighbours) - 0.81) < 0.006


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_every_entry_is_dropped_equally_often_the_first_and_the_last_too(share: float) -> None:
    torch.manual_seed(6)
    x, times = torch.ones(7), 4000
    kept = torch.stack([draw_dropped(x, share).zeroed(x) for _ in range(times)]).mean(0)
    assert kept.tolist() == pytest.approx([1 - share] * 7, abs=0.03)


def test_dropout_draws_again_where_the_first_draws_do_not_reach_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    small = iter([0.0, 0.0, 0.5])  # a uniform number of 0 drops the next entry
    monkeypatch.setattr(torch, "rand", lambda count, device: torch.full((count,), next(small)))
    entries = draw_dropped(torch.ones(60), 0.02).entries
    assert entries.tolist() == list(range(46)) and next(small, None) is None


def test_what_is_dropped_gets_no_gradient_through_the_adapter_and_all_of_it_through_the_base() -> None:
    torch.manual_seed(7)
    x, W, A, B = (torch.randn(*shape, requires_grad=True) for shape in ((6, 8), (5, 8), (2, 8), (5, 2)))
    drop = draw_dropped(x, 0.4)
    mask = drop.zeroed(torch.ones(6, 8))
    wanted = x @ W.detach().t() + 3.0 * (x * mask * drop.gain) @ A.t() @ B.t()
    got = low_rank(x, W.detach(), None, A, B, 3.0, drop)
    torch.testing.assert_close(got, wanted)
    weights = torch.randn(6, 5)
    for mine, plain in zip(*(torch.autograd.grad((y * weights).sum(), (x, A, B)) for y in (got, wanted)), strict=True):
        torch.testing.assert_close(mine, plain)


def test_gradients_under_dropout_are_those_of_the_mask_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = adapted(PACKED["Llama"], dropout=0.3), rows_alike()
    model.train()
    batch = collate(rows, pad_id=0, device="cpu")
    with lean_adapters(model):
        torch.manual_seed(0)
        got = gradients(model, PaddedModel(model, 0).loss(batch))
        name, parameter = next((n, p) for n, p in model.named_parameters() if "lora_B" in n)
        step = torch.zeros_like(parameter)
        step[0, 0] = 1e-2
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step)
                torch.manual_seed(0)
                losses.append(float(PaddedModel(model, 0).loss(batch)))
                parameter.sub_(sign * step)
    assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(float(got[name][0, 0]), rel=0.05, abs=1e-2)


# --- the trunk kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Llama", "Gemma 3, sliding and full layers", "Qwen3", "Phi-3, fused projections", "GPT-2"])
def test_a_kept_trunk_gives_the_same_loss_and_gradients(name: str, tmp_path: Path) -> None:
    model, rows = adapted(PACKED[name], layers=1), rows_alike()
    with packed(model) as lean:
        wanted = lean.loss(lean.lay_out(rows[1:4]))
        expected = gradients(model, wanted)
        reading = kept_trunk(lean, rows, depth=2, folder=tmp_path, base="base")
        loss = reading.loss(reading.lay_out(rows[1:4]))
        assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
        close(gradients(model, loss), expected, rel=1e-3)


def layers_run(lean: PackedModel, tree: Tree) -> int:
    """How many decoder layers compute in one pass."""
    ran: list[int] = []
    layers = [layer for layer in lean.decoder.layers]
    handles = [layer.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, layer in enumerate(layers)]
    lean.score(tree)
    for handle in handles:
        handle.remove()
    return len(ran)


def test_kept_layers_do_not_run_and_a_finished_file_is_read_again(tmp_path: Path) -> None:
    model, rows = adapted(PACKED["Llama"], layers=1), rows_alike()
    with packed(model) as lean:
        tree = lean.lay_out(rows)
        reading = kept_trunk(lean, rows, depth=2, folder=tmp_path, base="base")
        assert (layers_run(lean, tree), layers_run(reading, tree)) == (3, 1)
        (file,) = tmp_path.glob("*.hidden")
        stamp = file.stat().st_mtime_ns
        kept_trunk(lean, rows, depth=2, folder=tmp_path, base="base")
        assert file.stat().st_mtime_ns == stamp
        kept_trunk(lean, rows, depth=2, folder=tmp_path, base="another base")
        assert not file.exists() and len(list(tmp_path.glob("*.hidden"))) == 1


@pytest.mark.parametrize("fault", ["one byte", "cut short", "never finished"])
def test_a_damaged_file_is_noticed_and_made_again(fault: str, tmp_path: Path) -> None:
    model, rows = adapted(PACKED["Llama"], layers=1), rows_alike()
    with packed(model) as lean:
        kept_trunk(lean, rows, depth=2, folder=tmp_path, base="base")
        (file,) = tmp_path.glob("*.hidden")
        whole = file.read_bytes()
        if fault == "one byte":
            file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
        elif fault == "cut short":
            file.write_bytes(whole[:-64])
        else:
            file.with_suffix(".done").unlink()
            file.write_bytes(bytes(len(whole)))
        kept_trunk(lean, rows, depth=2, folder=tmp_path, base="base")
        assert file.read_bytes() == whole


def test_kept_states_that_change_the_numbers_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = adapted(PACKED["Llama"], layers=1), rows_alike()
    below = Trunk._below
    monkeypatch.setattr(Trunk, "_below", lambda self, tree: below(self, tree) * 1.5)
    with packed(model) as lean, pytest.raises(ValueError, match="log-probabilities"):
        kept_trunk(lean, rows, depth=2, folder=tmp_path, base="base")


def test_a_window_that_only_the_longest_row_meets_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*rows_alike(6, shared=4, longest=5), *rows_alike(1, shared=4, longest=120, seed=3)]
    assert sum(len(row.ids) > 32 for row in rows) == 1
    model = make(PACKED["Mistral, sliding window"])
    model.config.sliding_window = 32
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 32
    assert why_not_packed(model, rows) == ""
    plain = attention_plan.AttentionPlan._mask

    def without_window(self: Any, bucket: int, groups: int, dtype: torch.dtype, window: int = 0) -> torch.Tensor:
        return plain(self, bucket, groups, dtype)

    monkeypatch.setattr(attention_plan.AttentionPlan, "_mask", without_window)
    assert "change its log-probabilities" in why_not_packed(model, rows)


def test_the_lowest_adapted_layer_and_the_size_of_the_cache() -> None:
    assert lowest_adapted(["model.layers.7.mlp.up_proj", "model.layers.12.mlp.up_proj"]) == 7
    assert cache_bytes(1000, 576, 2) == 1_152_000


def test_a_cache_that_would_fill_the_disk_is_refused_with_its_size(tmp_path: Path) -> None:
    assert room_for_cache(tmp_path, 1000) == ""
    assert "more than a quarter" in room_for_cache(tmp_path, 2**60)


def test_no_answer_learned_twice_or_not_at_all() -> None:
    rows = [*rows_alike(), Encoded((5, 6, 7), (True, False, True))]
    with packed(make(PACKED["Llama"])) as lean:
        tree = lean.lay_out(rows)
        assert tree.num_learned == sum(sum(row.learned[1:]) for row in rows)
        assert len(lean.score(tree)[0]) == tree.num_learned
