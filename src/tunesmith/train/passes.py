"""How the batches of a run go through the model: as token trees, or padded where a model does not take trees.

Which of them is decided by measurement on the run's own rows (`why_not_packed`), and said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.reporter import Reporter
from tunesmith.models.batching import TOKENS, by_length, padded_tokens
from tunesmith.models.chat import Encoded
from tunesmith.models.packed.model import PackedModel, compiled, packed
from tunesmith.models.packed.probe import why_not_packed
from tunesmith.models.packed.trunk import cache_bytes, kept_trunk, lowest_adapted, room_for_cache
from tunesmith.train.batches import Batch, collate
from tunesmith.train.compiling import Compiling, Trial, compiling
from tunesmith.train.objectives.sft import score_padded, sft, sft_padded

__all__ = ["Look", "Passes", "TrunkCache", "look", "passes"]


@dataclass(frozen=True, slots=True)
class TrunkCache:
    """Where and for what the frozen layers' work may be kept: `modules` are adapted, `base` is its fingerprint."""

    folder: Path
    modules: Sequence[str]
    base: str


@dataclass(frozen=True, slots=True)
class Passes:
    """Rows to a batch, and a batch to its summed loss: the one way of a run. `note` says which, and why.

    `score` gives (log p_N, right_N) of a batch's predictions, without gradient, of about `score_tokens` at once.
    `shares`: what rows of a batch have in common is computed once.
    """

    lay_out: Callable[[Sequence[Encoded]], Batch]
    objective: Callable[[Any, Any], torch.Tensor]
    score: Callable[[Any], tuple[torch.Tensor, torch.Tensor]]
    note: str
    score_tokens: int = TOKENS
    shares: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at held-out rows found: mean −log p in nats a token, and the share of tokens that were the likeliest."""

    loss: float
    accuracy: float


@contextmanager
def passes(
    model: Any,
    train: Sequence[Encoded],
    val: Sequence[Encoded],
    *,
    pad_id: int,
    share: bool,
    trunk: TrunkCache | None,
    reporter: Reporter,
    compile: bool | Trial = False,
) -> Iterator[Passes]:
    """The passes of `model` over rows like `train`; with `trunk`, what lies below the adapted layers is computed once.

    Layers are compiled if `compile` says so, or if a trial finds that it pays.
    """

    def padded(rows: Sequence[Encoded]) -> Batch:
        return collate(rows, pad_id=pad_id, device=model.device)

    if reason := why_not_packed(model, train, training=True):
        if compile is True:
            reporter.warn("train.compile has no effect: this model is trained on padded rows")
        tokens = padded_tokens(model.get_output_embeddings().weight.shape[0])
        yield Passes(padded, sft_padded, lambda batch: score_padded(model, batch), f"padded rows: {reason}", tokens)
        return
    with packed(model, share=share) as lean, ExitStack() as inside:
        note = "token trees" + (", beginnings shared" if share else ", nothing shared")
        if trunk is not None:
            lean, kept = _with_trunk(lean, [*train, *val], trunk, reporter)
            note += kept
        answer = compiling(lean, train, compile) if isinstance(compile, Trial) else Compiling(compile, "layers compiled")
        if answer.wanted:
            inside.enter_context(compiled(lean))
        if answer.wanted or isinstance(compile, Trial):
            note += f", {answer.note}"
        yield Passes(lean.lay_out, lambda _, tree: sft(lean, tree), lean.score, note, shares=share)


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
    return reading, f"; the {depth} frozen layers computed once and kept, {size / 2**20:.0f} MiB"


def look(model: Any, rows: Sequence[Encoded], way: Passes, on_done: Callable[[int], None] = lambda rows: None) -> Look:
    """Loss and accuracy over all learned tokens of `rows`, dropout off. `on_done` hears how many more rows are done."""
    model.eval()
    total, right, count = 0.0, 0, 0
    for near in by_length([len(row.ids) for row in rows], most=64, tokens=way.score_tokens):
        log_p_N, right_N = way.score(way.lay_out([rows[i] for i in near]))
        total -= float(log_p_N.double().sum())
        right += int(right_N.sum())
        count += len(log_p_N)
        on_done(len(near))
    return Look(total / max(1, count), right / max(1, count))
