"""What goes through at once is what the free memory takes: counted, kept with the run, and the same steps whatever it is."""

from __future__ import annotations

import gc
import shutil
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from fakes import example, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.models.adapters import AdapterKind, attach
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.packed import attention
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.plan.memory import KEPT_KEYS, always_there, kept_a_token, memory_of
from tunesmith.plan.shape import Shape
from tunesmith.train import memory
from tunesmith.train.memory import kept_bytes
from tunesmith.train.methods import sft as sft_module
from tunesmith.train.units import Unit

GIB = 2**30


def found(place: Path) -> dict[str, int]:
    return dict(orjson.loads((place / "work" / "memory.json").read_bytes()))


def losses(place: Path) -> list[float]:
    rows = [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def test_what_is_kept_for_the_backward_pass_is_counted_once_and_without_the_weights() -> None:
    weight = torch.randn(8, 4, requires_grad=True)
    x = torch.randn(100, 4, requires_grad=True)

    def forward() -> torch.Tensor:
        h = x @ weight.T  # keeps x (the weight is no activation): 100 · 4 numbers
        y = h.sigmoid()  # keeps its result: 100 · 8 numbers
        return (y * y.view(-1, 8)).sum()  # keeps the same storage twice

    assert kept_bytes(forward, [weight]) == 4 * (100 * 4 + 100 * 8)
    assert kept_bytes(forward, []) == 4 * (100 * 4 + 100 * 8 + 8 * 4)


def test_the_probe_frees_what_it_counted() -> None:
    """A result that autograd keeps, given back to it as it is, keeps itself: nothing of such a pass was ever freed."""

    class Mark:
        pass

    marks: list[weakref.ref[Mark]] = []

    class Marked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.mark = Mark()
            marks.append(weakref.ref(ctx.mark))
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 2

    x = torch.randn(100, requires_grad=True)
    assert kept_bytes(lambda: Marked.apply(x).sigmoid().sum(), []) == 4 * 100  # type: ignore[no-untyped-call]
    gc.collect()
    assert [mark() for mark in marks] == [None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("key_heads", [2, 8])
@pytest.mark.parametrize("targets", ["attention", "all"])
@pytest.mark.parametrize(("kind", "tokens"), [("lora", 64), ("lora", 256), ("lora", 704), ("lora", 2016), ("dora", 256)])
def test_the_plan_knows_what_a_token_keeps_before_anything_is_loaded(
    kind: AdapterKind, tokens: int, targets: str, key_heads: int, dtype: torch.dtype
) -> None:
    """Never too little, and at most a fifth too much: the plan refuses by this number."""
    torch.manual_seed(0)
    width = key_heads * 16
    shape = Shape(num_parameters=0, linear_params=0, layers=2, width=128, inner=344, heads=8, key_width=width, vocabulary=96)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=key_heads,
    )
    model = LlamaForCausalLM(config).to(dtype)
    modules = choose_modules(model, targets, "all")
    adapted, reach = attach(model, kind=kind, rank=8, alpha=8, dropout=0.0, modules=modules, seed=0)
    adapted.train()
    row = Encoded((tuple(range(1, 90)) * 23)[:tokens], (True,) * tokens)
    with packed(adapted, share=True) as lean:
        measured = kept_bytes(lambda: lean.loss(lean.lay_out([row])), list(adapted.parameters()))
    size, mlp = dtype.itemsize, targets == "all"
    a_token = partial(
        kept_a_token,
        shape,
        adapted_layers=2,
        adapted_mlp=mlp,
        bytes_a_weight=size,
        checkpointing=False,
        dora=kind == "dora",
    )
    there = always_there(shape, trainable=0, bytes_a_weight=size)
    adapter = always_there(shape, trainable=reach.num_trainable, bytes_a_weight=size) - there - 16 * reach.num_trainable
    made = memory_of(0, lambda length: a_token(length=length), longest=tokens, batch_tokens=0, wanted=0, free=0)
    assert measured <= made.least + adapter <= 1.2 * measured
    assert KEPT_KEYS == attention.KEPT_KEYS


def test_the_row_whose_attention_is_kept_is_probed_beside_the_longest(
    tiny_path: Path, tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer row computes its probabilities twice and keeps less a token than one just short enough to keep them."""
    rows = [example("Say it.", "word " * (60 if n < 4 else 4), id=f"r{n}", group=f"g{n}") for n in range(12)]
    lengths = {len(tiny_chat.encode(row.messages, max_tokens=1000).ids) for row in rows}
    monkeypatch.setattr(memory, "KEPT_KEYS", min(lengths))
    answers = [60_000, 40_000]
    monkeypatch.setattr(memory, "kept_bytes", lambda *_: answers.pop(0))
    train_tiny(tiny_path, tmp_path, rows=rows)
    assert not answers
    assert found(tmp_path)["kept"] == max(60_000 // max(lengths), 40_000 // min(lengths)) == 40_000 // min(lengths)


def test_little_memory_means_smaller_parts_and_the_same_steps(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: 64 * GIB)
    train_tiny(tiny_path, tmp_path / "roomy", method={"dropout": 0.0})
    roomy = found(tmp_path / "roomy")
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * 150 * roomy["kept"])  # 150 fit: 128 is taken
    train_tiny(tiny_path, tmp_path / "tight", method={"dropout": 0.0})
    tight = found(tmp_path / "tight")
    assert tight["kept"] == roomy["kept"] > 0
    assert tight["tokens"] == 128 < roomy["tokens"]
    assert losses(tmp_path / "tight") == pytest.approx(losses(tmp_path / "roomy"), rel=1e-5)
    assert "at most 128 tokens at once" in (tmp_path / "tight" / "out" / "report.html").read_text()


def test_no_memory_still_takes_the_longest_row_whole(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = memory.budget

    def watched(units: list[Unit], *args: object, **how: object) -> memory.Budget:
        seen.append(max(unit.num_tokens for unit in units))
        return real(units, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr("tunesmith.train.run.budget", watched)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 0)
    train_tiny(tiny_path, tmp_path)
    assert found(tmp_path)["tokens"] == seen[0]


def test_a_resumed_run_keeps_what_was_found_though_memory_has_changed(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: 64 * GIB)
    train_tiny(tiny_path, tmp_path / "whole")
    monkeypatch.setattr(memory, "free_bytes", lambda _: 0)
    (tmp_path / "again" / "work").mkdir(parents=True)
    shutil.copyfile(tmp_path / "whole" / "work" / "memory.json", tmp_path / "again" / "work" / "memory.json")
    train_tiny(tiny_path, tmp_path / "again")
    name = "out/adapter/adapter_model.safetensors"
    one, other = load_file(tmp_path / "whole" / name), load_file(tmp_path / "again" / name)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_number_in_the_recipe_is_taken_and_nothing_is_measured(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train={"tokens_at_once": 90})
    assert not (tmp_path / "work" / "memory.json").exists()
    assert "at most 90 tokens at once" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no"), RuntimeError("DefaultCPUAllocator: can't allocate memory")], ids=str
)
def test_a_probe_that_runs_out_of_memory_leaves_the_word_to_the_first_step_and_nothing_behind(
    error: RuntimeError, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(sft_module.Method, "loss", full)
    with pytest.raises(TrainingError, match="single example does not fit"):
        train_tiny(tiny_path, tmp_path)
    assert not (tmp_path / "work" / "memory.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 3}'])
def test_a_damaged_finding_is_an_error_with_a_way_out(content: str, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "memory.json").write_text(content)
    with pytest.raises(TrainingError, match="cannot be read") as caught:
        train_tiny(tiny_path, tmp_path)
    assert "hint: " in str(caught.value)
