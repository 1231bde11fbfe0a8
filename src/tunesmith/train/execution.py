"""The execution path of a run: batches go through the model as token trees, or padded where a model does not take trees.

Which of the two is decided by measurement on the run's own rows (`why_not_packed`) and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from tunesmith.core.errors import TrainingError
from tunesmith.core.reporter import Reporter
from tunesmith.models.batching import TOKENS, by_length, padded_tokens
from tunesmith.models.chat import Encoded
from tunesmith.models.packed.divergence import Predictions
from tunesmith.models.packed.head import NO_PENALTY, Formula, Penalty
from tunesmith.models.packed.model import PackedModel, compiled, packed
from tunesmith.models.packed.probe import why_not_packed
from tunesmith.models.packed.trunk import cache_bytes, kept_trunk, lowest_adapted, room_for_cache
from tunesmith.train.compiling import Compiling, Trial, compiling
from tunesmith.train.heads import head_of
from tunesmith.train.padded import PaddedModel
from tunesmith.train.processes import ALONE, Processes
from tunesmith.train.units import Batch, Layout, Unit, every_row, rows_of

__all__ = ["ExecutionPath", "RowModel", "TrunkCache", "execution_path"]


class RowModel(Protocol):
    """A model that reads rows in a layout of its own: `PackedModel` or `PaddedModel`."""

    @property
    def model(self) -> Any: ...

    def lay_out(self, rows: Sequence[Encoded]) -> Layout: ...

    def loss(self, layout: Any, /, weight_N: torch.Tensor | None = None, penalty: Penalty = NO_PENALTY) -> torch.Tensor: ...

    def log_probs(self, layout: Any, /) -> torch.Tensor: ...

    def score(self, layout: Any, /) -> tuple[torch.Tensor, torch.Tensor]: ...

    def hidden(self, layout: Any, /) -> torch.Tensor: ...

    def predictions(self, layout: Any, /) -> Predictions: ...

    def summed(self, layout: Any, formula: Formula, /) -> torch.Tensor: ...
    def log_probs_with_hidden(self, layout: Any, /) -> tuple[torch.Tensor, torch.Tensor]: ...


@dataclass(frozen=True, slots=True)
class TrunkCache:
    """Where and for what the frozen layers' work may be kept: `modules` are adapted, `base` is its fingerprint."""

    folder: Path
    modules: Sequence[str]
    base: str


@dataclass(frozen=True, slots=True)
class ExecutionPath:
    """What a method calls (see `train.method.Forward`): the same for a whole run. `note` says which path it is, and why.

    About `score_tokens` are scored at once. `shares`: what rows of a batch have in common is computed once. `taught_by`: the
    path of another model that the method learns from, if it does.
    """

    reads: RowModel
    note: str
    score_tokens: int = TOKENS
    shares: bool = False
    taught_by: ExecutionPath | None = None
    processes: Processes = ALONE

    @property
    def model(self) -> Any:
        """The model that is trained."""
        return self.reads.model

    def batch(self, units: Sequence[Unit]) -> Batch:
        """These units laid out for the model."""
        return Batch(tuple(units), self.reads.lay_out(rows_of(units)))

    def nll(self, batch: Batch, weight_N: torch.Tensor | None = None, penalty: Penalty = NO_PENALTY) -> torch.Tensor:
        """Σ weight · (−log p + penalty) over the target tokens: nats, a float32 scalar with gradient."""
        return self.reads.loss(batch.layout, weight_N, penalty)

    @contextmanager
    def noise(self, batch: Batch, alpha: float) -> Iterator[None]:
        """Inside, uniform noise of ± alpha / √(L · D) is added to the input embeddings of `batch`, L being the length of a
        token's own row, and of the longest where rows share it (NEFTune; Jain et al. 2023, arXiv:2310.05914).

        It is drawn from torch's generator, which the loop seeds by the step: a resumed run draws the same.
        """
        if not alpha:
            yield
            return
        lengths_BT = batch.layout.lengths_BT

        def add(module: torch.nn.Module, given: Any, embedded_BTD: torch.Tensor) -> torch.Tensor:
            drawn_BTD = torch.rand_like(embedded_BTD, dtype=torch.float32).mul_(2).sub_(1)
            scale_BT = alpha / (lengths_BT * embedded_BTD.shape[-1]).sqrt()
            return embedded_BTD + drawn_BTD.mul_(scale_BT[..., None]).to(embedded_BTD.dtype)

        handle = self.model.get_input_embeddings().register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()

    def log_probs(self, batch: Batch) -> torch.Tensor:
        """log p_N (float32) with gradient."""
        return self.reads.log_probs(batch.layout)

    def predictions(self, batch: Batch) -> Predictions:
        """What is predicted at the target tokens, without gradient."""
        return self.reads.predictions(batch.layout)

    def summed(self, batch: Batch, formula: Formula) -> torch.Tensor:
        """Σ formula of the logits that predict a target token: a float32 scalar with gradient."""
        return self.reads.summed(batch.layout, formula)

    @contextmanager
    def base(self) -> Iterator[None]:
        """Inside, the model computes as the base does; compiled layers run uncompiled: they are compiled for the adapter.

        TrainingError for a model without an adapter: its own weights move, so the base is no longer there.
        """
        if not hasattr(self.model, "disable_adapter"):
            raise TrainingError(
                "this objective needs the base while the model is trained, and a full fine-tune has none",
                value="method.kind full",
                expected="an adapter, which can be switched off",
                hint="--set method.kind=lora",
            )
        with self.model.disable_adapter(), torch.compiler.set_stance("force_eager"):
            yield

    def scored(
        self, units: Sequence[Unit], on_done: Callable[[int], None]
    ) -> Iterator[tuple[Batch, torch.Tensor, torch.Tensor]]:
        """(batch, log p_N, right_N) over all units in batches of like lengths, dropout off and without gradient."""
        self.model.eval()
        near = self._near(units)
        laid_out: dict[int, Batch] = {}

        def score(number: int) -> tuple[torch.Tensor, ...]:
            batch = laid_out[number] = self.batch(near[number])
            return self.reads.score(batch.layout)

        for number, (log_p_N, right_N) in enumerate(self.processes.taken(range(len(near)), score)):
            batch = laid_out.pop(number) if number in laid_out else self.batch(near[number])
            yield batch, log_p_N, right_N
            on_done(len(near[number]))

    def batches(self, units: Sequence[Unit], on_done: Callable[[int], None]) -> Iterator[Batch]:
        """All units in batches of like lengths, dropout off."""
        self.model.eval()
        for some in self._near(units):
            yield self.batch(some)
            on_done(len(some))

    def _near(self, units: Sequence[Unit]) -> list[list[Unit]]:
        padded = [len(unit.rows) * max(len(row.ids) for row in unit.rows) for unit in units]
        return [[units[i] for i in near] for near in by_length(padded, most=64, tokens=self.score_tokens)]

    def hidden(self, batch: Batch) -> torch.Tensor:
        """hidden_ND after the last norm, at the positions that predict a target token, with gradient."""
        return self.reads.hidden(batch.layout)

    def log_probs_with_hidden(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """log p_N (float32) and hidden_ND, with gradient."""
        return self.reads.log_probs_with_hidden(batch.layout)

    @property
    def head(self) -> torch.nn.Module:
        """The method's own head."""
        return head_of(self.model)

    @property
    def teacher(self) -> ExecutionPath:
        """The path of the method's teacher."""
        if self.taught_by is None:
            raise AssertionError("this method names no teacher")
        return self.taught_by


@contextmanager
def execution_path(  # noqa: PLR0913 (the model, its rows, and how they go through it)
    model: Any,
    train: Sequence[Unit],
    val: Sequence[Unit],
    *,
    pad_id: int,
    share: bool,
    trunk: TrunkCache | None,
    reporter: Reporter,
    compile: bool | Trial = False,
    processes: Processes = ALONE,
) -> Iterator[ExecutionPath]:
    """The path of `model` over units like `train`; with `trunk`, what lies below the adapted layers is computed once.

    Layers are compiled if `compile` says so, or if a trial finds that it pays.
    """
    rows = rows_of(train)
    if reason := why_not_packed(model, rows, training=True):
        if compile is True:
            reporter.warn("train.compile has no effect: this model is trained on padded rows")
        tokens = padded_tokens(model.get_output_embeddings().weight.shape[0])
        yield ExecutionPath(PaddedModel(model, pad_id), f"padded rows: {reason}", tokens, processes=processes)
        return
    with packed(model, share=share) as lean, ExitStack() as inside:
        note = "token trees" + (", beginnings shared" if share else ", nothing shared")
        if trunk is not None:
            lean, kept = _with_trunk(lean, [*every_row(train), *every_row(val)], trunk, reporter)
            note += kept
        answer = compiling(lean, rows, compile) if isinstance(compile, Trial) else Compiling(compile, "layers compiled")
        if answer.wanted:
            inside.enter_context(compiled(lean))
        if answer.wanted or isinstance(compile, Trial):
            note += f", {answer.note}"
        yield ExecutionPath(lean, note, shares=share, processes=processes)


def _with_trunk(lean: PackedModel, rows: Sequence[Encoded], trunk: TrunkCache, reporter: Reporter) -> tuple[PackedModel, str]:
    depth = lowest_adapted(trunk.modules)
    if depth == 0:
        return lean, ""
    weight = lean.head.weight
    size = cache_bytes(sum(len(row.ids) for row in dict.fromkeys(rows)), weight.shape[1], weight.element_size())
    trunk.folder.mkdir(parents=True, exist_ok=True)
    if reason := room_for_cache(trunk.folder, size):
        return lean, f"; the {depth} frozen layers are computed every time: {reason}"
    try:
        with reporter.progress("frozen layers", total=len(set(rows)), unit="rows") as progress:
            reading = kept_trunk(
                lean, rows, depth=depth, folder=trunk.folder, base=trunk.base, on_done=lambda n: progress.advance(n, "")
            )
    except ValueError as error:  # measured to differ, or a model whose layers cannot be told apart: said in the report
        return lean, f"; the {depth} frozen layers are computed every time: {error}"
    return reading, f"; the {depth} frozen layers computed once and cached, {size / 2**20:.0f} MiB"
