"""The promises of training, measured on this machine with this base, in under a minute: nothing is taken on trust.

Each check gives a number, the tolerance it was held against, and whether it passed. They run the real training code.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import torch

from tunesmith.core.records import Example
from tunesmith.core.reporter import Event, Progress, Reporter, SilentReporter
from tunesmith.eval.parity import compare_models
from tunesmith.models.adapters import attach, open_adapter, save_adapter
from tunesmith.models.audit import audit
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.reach import choose_modules
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train.execution import ExecutionPath, execution_path
from tunesmith.train.method import DEFAULT, open_method
from tunesmith.train.order import Place
from tunesmith.train.padded import PaddedModel
from tunesmith.train.run import train_adapter

__all__ = ["Check", "SelfTest", "selftest"]

_ACCUMULATION = 1e-6  # relative, float32
_PACKING, _GRADIENTS = 1e-5, 1e-4  # relative, float32; sums over all tokens round more in gradients
_PARITY = 1e-3  # largest difference of a logit, float32: the gate's own
_PACKED = 6  # examples
_STEPS, _KILLED_AT = 6, 5
_LAST = f"work/checkpoints/step-{_STEPS:08d}"
_RESUMED = ("out/adapter/adapter_model.safetensors", f"{_LAST}/optimizer.safetensors", "out/metrics.jsonl")


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: the number measured, the largest that is allowed, whether it held, and words for people."""

    name: str
    measured: float
    tolerance: float
    passed: bool
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """All checks, in the order in which they ran."""

    base: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every promise held."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What the checks work on."""

    base: BaseFolder
    chat: Chat
    examples: Sequence[Example]
    folder: Path

    def train(self, name: str, *, reporter: Reporter | None = None, **settings: Any) -> Path:
        """A short exact run in a folder of its own, which is given back."""
        place = self.folder / name
        usual = {"max_steps": _STEPS, "batch_examples": 4, "evaluate_every": 3, "checkpoint_every": 2, "patience": 0}
        train_adapter(
            self.base,
            self.chat,
            {"train": self.examples[2:10], "val": self.examples[:2]},
            objective=open_method(DEFAULT),
            method=MethodConfig(rank=4, alpha=8.0, dropout=settings.pop("dropout", 0.0), targets="attention"),
            train=TrainConfig.model_validate({**usual, "precision": "exact", "checkpoint_minutes": 0.0, **settings}),
            precision="float32",
            place=Place("selftest", place / "work", place / "out"),
            reporter=reporter or SilentReporter(),
        )
        return place


def selftest(base: BaseFolder, examples: Sequence[Example], *, folder: Path, reporter: Reporter, only: str = "") -> SelfTest:
    """Run every check (or `only` one) on `base` with ten or more short `examples`, in `folder`, which takes copies of it."""
    bench = _Bench(base, open_chat(base), examples, folder)
    every: dict[str, Callable[[_Bench], tuple[float, float, str]]] = {
        "label audit": _labels,
        "accumulation": _accumulation,
        "packing, loss": _packing_loss,
        "packing, gradients": _packing_gradients,
        "resume": _resume,
        "merge parity": _merge,
    }
    roads = {name: road for name, road in every.items() if only in {"", name}}
    found = []
    with reporter.progress("selftest", total=len(roads), unit="checks") as progress:
        for name, road in roads.items():
            begin = time.perf_counter()
            measured, tolerance, text = road(bench)
            held = measured <= tolerance  # a NaN holds nothing
            found.append(Check(name, measured, tolerance, held, text, round(time.perf_counter() - begin, 2)))
            progress.advance(1, name)
    return SelfTest(base.name, tuple(found))


def _labels(bench: _Bench) -> tuple[float, float, str]:
    """Every example has something to learn, ends with an end token that is learned, and begins as it will in use."""
    encoded = [bench.chat.rows(e.messages) for e in bench.examples]
    found = audit(bench.chat, bench.examples, encoded)
    faults = {
        "without an end token": len(found.without_end),
        "without target tokens": len(found.without_labels),
        "cut": len(found.cut),
        "with another prompt than in use": len(found.prompt_differs),
        "with words that the template changes": len(found.rewritten),
        "with a doubled first token": sum(count > 1 for count in found.bos_counts),
    }
    told = [f"{count} {what}" for what, count in faults.items() if count]
    text = ", ".join(told) or f"end token learned in {len(encoded)} of {len(encoded)} examples, prompts as in use"
    return float(sum(faults.values())), 0.0, text


def _accumulation(bench: _Bench) -> tuple[float, float, str]:
    """One step over the eight training examples, at once and one by one: loss and gradient norm."""
    rows = [
        _first_step(bench.train(name, max_steps=1, evaluate_every=0, batch_examples=batch, accumulate=parts))
        for name, batch, parts in (("1x8", 8, 1), ("8x1", 1, 8))
    ]
    off = max(abs(a - b) / abs(a) for a, b in zip(*rows, strict=True))
    return off, _ACCUMULATION, "1 × 8 examples against 8 × 1: loss and gradient norm of a step, relative"


def _first_step(place: Path) -> tuple[float, float]:
    rows = [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]
    step = next(row for row in rows if row.get("step") == 1 and "loss" in row)
    return float(step["loss"]), float(step["grad_norm"])


def _packing_loss(bench: _Bench) -> tuple[float, float, str]:
    """The loss of one batch as training lays it out, against the same examples one by one."""
    note, (packed, _), (alone, _) = _packing(bench)
    return abs(packed - alone) / abs(alone), _PACKING, f"{note}, against one by one: loss of {_PACKED} examples, relative"


def _packing_gradients(bench: _Bench) -> tuple[float, float, str]:
    """The same for the gradient in every trainable tensor, as one long vector."""
    _, (_, packed), (_, alone) = _packing(bench)
    off = float((packed - alone).norm() / alone.norm())
    return off, _GRADIENTS, f"the same batch: length of the difference of all {alone.numel():,} gradients, relative"


_Pass = tuple[float, torch.Tensor]  # loss and gradients


def _packing(bench: _Bench) -> tuple[str, _Pass, _Pass]:
    model, objective = _adapted(bench), open_method(DEFAULT)
    units = objective.prepare(bench.examples[:_PACKED], bench.chat, max_tokens=bench.base.context)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with execution_path(
        model, units, [], pad_id=bench.chat.pad_id, share=True, trunk=None, compile=False, reporter=SilentReporter()
    ) as path:
        model.eval()
        packed = _gradients(named, [objective.loss(path, path.batch(units))])
    alone = ExecutionPath(PaddedModel(model, bench.chat.pad_id), "one by one")
    return path.note, packed, _gradients(named, (objective.loss(alone, alone.batch([unit])) for unit in units))


def _gradients(
    named: dict[str, torch.Tensor], losses: Sequence[torch.Tensor] | Iterator[torch.Tensor]
) -> tuple[float, torch.Tensor]:
    """Summed loss, and its gradient in all trainable tensors as one long vector (float64)."""
    total = 0.0
    for tensor in named.values():
        tensor.grad = None
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total, torch.cat(
        [torch.zeros_like(t).flatten() if t.grad is None else t.grad.flatten() for t in named.values()]
    ).double()


def _resume(bench: _Bench) -> tuple[float, float, str]:
    """A run that is broken off in the middle and resumed, against one that is left alone: bytes that are not the same."""
    alone = bench.train("alone", dropout=0.1)
    reporter = _BreakingReporter(at_step=_KILLED_AT)
    with _broken_off():
        bench.train("broken", dropout=0.1, reporter=reporter)
    resumed = bench.train("broken", dropout=0.1)
    different = [name for name in _RESUMED if _sha256(alone / name) != _sha256(resumed / name)]
    told = (
        f"different: {', '.join(different)}" if different else "adapter, optimiser state and metric log have the same SHA-256"
    )
    return float(len(different)), 0.0, f"broken off at step {_KILLED_AT} of {_STEPS}, {told}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _merge(bench: _Bench) -> tuple[float, float, str]:
    """Logits of base with adapter, and of the merged model as it is read back from disk."""
    adapter, out = bench.folder / "adapter", bench.folder / "merged"
    save_adapter(_adapted(bench), bench.base.address, adapter)
    merge(bench.base, adapter, out, precision="float32")  # the arithmetic; rounding is the parity gate's to measure
    rows = [bench.chat.encode(e.messages) for e in bench.examples[:4]]
    tuned = open_adapter(load_model(bench.base, "float32"), adapter)
    merged = load_model(find_base(str(out)), "float32").eval()
    found = compare_models("adapter → merged", tuned, merged, rows, ((), ()))
    text = f"largest difference of a logit at {found.num_positions} positions; same first choice at {found.top1_agreement:.2%}"
    return found.max_abs_logit, _PARITY, text


def _adapted(bench: _Bench) -> Any:
    """The base in float32 under an adapter that changes it: its update matrices are drawn, not zero."""
    model = load_model(bench.base, "float32")
    modules = choose_modules(model, "attention", "all")
    adapted, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=7)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=draw))
    return adapted


class _BrokenOff(BaseException):
    """The run ends here, as if the process had been killed: nothing may handle it."""


@contextmanager
def _broken_off() -> Iterator[None]:
    try:
        yield
    except _BrokenOff:
        return
    raise AssertionError("the run was to be broken off, and was not")


class _BreakingReporter:
    """Lets a run go to a step, and breaks it off."""

    def __init__(self, at_step: int) -> None:
        self._left = at_step

    def note(self, text: str) -> None:
        """Nobody listens."""

    def warn(self, text: str) -> None:
        """Nobody listens."""

    def event(self, event: Event) -> None:
        """Nobody listens."""

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        """Counts the steps of the run alone."""
        return self if name == "train" else SilentReporter().progress(name, total=total, unit=unit, done=done)

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        """A step was done, or (an amount of 0) something is said about one."""
        self._left -= round(amount)
        if self._left == 0:
            raise _BrokenOff

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None
