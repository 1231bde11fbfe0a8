"""Trees or padded rows, whole batches or parts: a run learns the same, and says how it went."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file

from fakes import Told, example, examples, train_tiny
from tunesmith.core.errors import ModelError, TrainingError
from tunesmith.models.packed import trunk as trunk_module
from tunesmith.models.packed.model import PackedModel
from tunesmith.train import compiling as compiling_module
from tunesmith.train import execution as execution_module
from tunesmith.train import run as run_module
from tunesmith.train.methods import sft as sft_module
from tunesmith.train.units import Batch


def losses(place: Path, name: str = "loss") -> list[float]:
    rows = [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]
    return [row[name] for row in rows if name in row]


def adapter(place: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(place / "out" / "adapter" / "adapter_model.safetensors")
    return tensors


def page(place: Path) -> str:
    return (place / "out" / "report.html").read_text()


FIFTY = {"max_steps": 50, "evaluate_every": 0, "learning_rate": 1e-3, "patience": 0}


@pytest.mark.parametrize("base", ["tiny_path", "phi_path"])
def test_fifty_steps_on_trees_are_fifty_steps_on_padded_rows(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(base)
    train_tiny(path, tmp_path / "trees", train=FIFTY, method={"dropout": 0.0})
    monkeypatch.setattr(execution_module, "why_not_packed", lambda *_, **__: "for the comparison")
    train_tiny(path, tmp_path / "padded", train=FIFTY, method={"dropout": 0.0})
    assert losses(tmp_path / "trees") == pytest.approx(losses(tmp_path / "padded"), rel=1e-5)
    one, other = adapter(tmp_path / "trees"), adapter(tmp_path / "padded")
    for name in one:
        assert float((one[name] - other[name]).norm()) <= 1e-4 * float(other[name].norm())
    assert "token trees" in page(tmp_path / "trees") and "padded rows: for the comparison" in page(tmp_path / "padded")


def test_exact_precision_shares_nothing_and_repeats_to_the_bit(tiny_path: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        train_tiny(tiny_path, tmp_path / place, train={"precision": "exact"})
    one, other = adapter(tmp_path / "a"), adapter(tmp_path / "b")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "nothing shared" in page(tmp_path / "a")
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_flushes_denormals_and_leaves_the_floats_of_the_process_as_they_were(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[float] = []

    def watched(method: object, forward: Any, batch: Batch) -> Any:
        inside.append(float(torch.tensor([1e-38]) * 0.1))
        return forward.nll(batch)

    monkeypatch.setattr(sft_module.Method, "loss", watched)
    train_tiny(tiny_path, tmp_path, train={"max_steps": 1})
    assert inside and set(inside) == {0.0}
    assert sys.float_info.min / 2 > 0.0


def test_a_batch_learned_in_parts_gives_the_same_steps(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path / "whole", method={"dropout": 0.0})
    train_tiny(tiny_path, tmp_path / "parts", train={"tokens_at_once": 70}, method={"dropout": 0.0})
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def out_of_memory_above(tokens: int) -> Any:
    def loss(method: object, forward: Any, batch: Batch) -> Any:
        if batch.num_tokens > tokens:
            raise torch.OutOfMemoryError("not enough memory")
        return forward.nll(batch)

    return loss


def test_out_of_memory_halves_what_goes_through_at_once_and_goes_on(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(tiny_path, tmp_path / "whole", method={"dropout": 0.0})
    monkeypatch.setattr(sft_module.Method, "loss", out_of_memory_above(150))
    told = Told()
    train_tiny(tiny_path, tmp_path / "small", method={"dropout": 0.0}, reporter=told)
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    assert any("out of memory" in text for text in told.warnings)


def test_an_example_that_never_fits_is_an_error_that_says_what_helps(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft_module.Method, "loss", out_of_memory_above(3))
    with pytest.raises(TrainingError, match="single example does not fit") as caught:
        train_tiny(tiny_path, tmp_path)
    assert "gradient_checkpointing" in str(caught.value)


def test_another_error_is_not_taken_for_a_lack_of_memory(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(sft_module.Method, "loss", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_tiny(tiny_path, tmp_path)


def with_system(count: int) -> list[Any]:
    rows = examples(count)
    system = "You answer in one plain sentence, and you never use a word that a child would not know. Think first."
    return [example(system + " " + row.prompt[0].content, row.answer, id=row.id, group=row.group) for row in rows]


@pytest.mark.parametrize("frozen", ["kept", "computed"])
def test_upper_layers_learn_the_same_with_the_trunk_kept_or_computed(
    frozen: str, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"max_steps": 12, "learning_rate": 1e-3}
    method = {"layers": 1, "dropout": 0.0}
    train_tiny(tiny_path, tmp_path / "usual", train=settings, method=method, rows=with_system(20))
    monkeypatch.setattr(trunk_module, "_SHARE_OF_DISK", 0.25 if frozen == "kept" else 0.0)
    train_tiny(tiny_path, tmp_path / "other", train=settings, method=method, rows=with_system(20))
    assert losses(tmp_path / "other") == pytest.approx(losses(tmp_path / "usual"), rel=1e-5)
    assert "computed once and cached" in page(tmp_path / "usual")
    assert ("computed every time" in page(tmp_path / "other")) == (frozen == "computed")


def test_rows_without_a_learned_token_do_not_break_a_batch(tiny_path: Path, tmp_path: Path) -> None:
    def short(rows: Sequence[Any]) -> list[Any]:
        return [example("?" * (n + 1), "Yes.", id=row.id, group=row.group) for n, row in enumerate(rows)]

    train_tiny(tiny_path, tmp_path, rows=short(examples(12)))
    assert all(loss > 0 for loss in losses(tmp_path))


def test_compiling_without_a_compiler_is_an_error_that_says_so(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ModelError, match="C\\+\\+ compiler") as caught:
        train_tiny(tiny_path, tmp_path, train={"compile": True})
    assert "train.compile=false" in str(caught.value)


def scripted_seconds(monkeypatch: pytest.MonkeyPatch, *values: float) -> list[float]:
    """What the trial's passes take, in turn; gives those that are left."""
    left = list(values)
    monkeypatch.setattr(compiling_module, "seconds", lambda *_: left.pop(0))
    monkeypatch.setattr(compiling_module, "compiled", lambda _: nullcontext())
    monkeypatch.setattr(execution_module, "compiled", lambda _: nullcontext())
    return left


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ((1.0, 0.9, 0.8), "minutes of training are too few"),
        ((9e4, 9e4, 9e4, 60.0, 6e4, 7e4), "layers compiled: 1.50 times as fast measured"),
        ((9e4, 9e4, 9e4, 60.0, 9e4, 8.9e4), "not compiled: 1.01 times as fast measured"),
    ],
)
def test_a_long_run_tries_compiling_and_keeps_what_is_faster_for_resuming(
    taken: tuple[float, ...], said: str, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = scripted_seconds(monkeypatch, *taken)
    settings = {"max_steps": 2, "compile": "auto"}
    train_tiny(tiny_path, tmp_path, train=settings)
    assert said in page(tmp_path) and not left
    train_tiny(tiny_path, tmp_path, train=settings)  # again: nothing is left to time, and the answer is there
    assert said in page(tmp_path)


def test_a_damaged_answer_to_whether_compiling_pays_is_measured_anew(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "compile.json").write_bytes(b"torn")
    left = scripted_seconds(monkeypatch, 1.0, 0.9, 0.8)
    train_tiny(tiny_path, tmp_path, train={"max_steps": 2, "compile": "auto"})
    assert not left and "too few" in page(tmp_path)


def test_a_trial_without_a_compiler_says_so_and_trains_plain(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling_module, "LONG_S", 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    train_tiny(tiny_path, tmp_path, train={"max_steps": 1, "compile": "auto"})
    assert "not compiled: train.compile needs a C++ compiler" in page(tmp_path)


def test_a_trial_that_fails_half_way_leaves_no_gradient_behind_and_trains_plain(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that runs out in the trial is no reason to stop, and what its backward pass had written is not learned."""
    real = PackedModel.loss

    class Torn(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    tried: list[object] = []

    def torn_once(lean: Any, tree: Any, *further: Any) -> torch.Tensor:
        tried.append(tree)
        if len(tried) > 1:
            return real(lean, tree, *further)
        whole = [p.sum() for p in lean.model.parameters() if p.requires_grad]
        lost: torch.Tensor = Torn.apply(whole[0])  # type: ignore[no-untyped-call]
        total: torch.Tensor = real(lean, tree, *further) + sum(whole[1:]) + lost
        return total

    train_tiny(tiny_path, tmp_path / "plain", train={"max_steps": 2})
    monkeypatch.setattr(PackedModel, "loss", torn_once)
    train_tiny(tiny_path, tmp_path / "tried", train={"max_steps": 2, "compile": "auto"})
    assert "not compiled: DefaultCPUAllocator" in page(tmp_path / "tried")
    one, other = adapter(tmp_path / "plain"), adapter(tmp_path / "tried")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_timing_a_pass_changes_nothing_that_is_learned(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path / "plain", train={"max_steps": 3})
    train_tiny(tiny_path, tmp_path / "tried", train={"max_steps": 3, "compile": "auto"})
    assert "too few for it to pay" in page(tmp_path / "tried")
    one, other = adapter(tmp_path / "plain"), adapter(tmp_path / "tried")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch's own older parts
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # and of what it looks at itself
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_compiled_layers_learn_the_same(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured and differentiated by torch's compiler; its code generator, which takes a minute, is left out, and so are the
    answers at validations, for which the compiler would capture the layers a dozen times more.
    """
    captured: list[torch.nn.Module] = []
    compile_module = torch.nn.Module.compile

    def without_codegen(self: torch.nn.Module, **options: Any) -> None:
        captured.append(self)
        compile_module(self, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", without_codegen)
    monkeypatch.setattr(run_module, "SAMPLES", 0)
    train_tiny(tiny_path, tmp_path / "plain", train={"max_steps": 3}, method={"dropout": 0.0})
    train_tiny(tiny_path, tmp_path / "compiled", train={"max_steps": 3, "compile": True}, method={"dropout": 0.0})
    assert len(captured) == 2
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-4)
    assert "layers compiled" in page(tmp_path / "compiled")
