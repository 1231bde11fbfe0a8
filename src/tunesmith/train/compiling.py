"""Whether compiling the layers pays for itself: both ways timed on rows of the run, where the run is long enough to ask.

Compiling costs about a minute, and what it gives hangs on the machine: from nothing to a fifth was seen on CPUs (docs/log.md).
The answer stays with the run, because another one would change the last digits on resuming.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import torch

from tunesmith.core.errors import ModelError
from tunesmith.core.files import replace_file, storage_errors
from tunesmith.models.chat import Encoded
from tunesmith.models.packed.model import PackedModel, compiled
from tunesmith.plan.steps import LONG_S

__all__ = ["Compiling", "Trial", "compiling", "seconds"]

_WORTH_IT = 0.97  # of the plain time, at most: less is noise
_ROWS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """What the question hangs on: tokens that the whole run will see, and the file that keeps the answer."""

    num_tokens: int
    file: Path


@dataclass(frozen=True, slots=True)
class Compiling:
    """The answer, and why, in words."""

    wanted: bool
    note: str


def compiling(lean: PackedModel, rows: Sequence[Encoded], trial: Trial) -> Compiling:
    """Time four rows of middling length forward and backward, plain and compiled; an earlier answer is taken as it is."""
    if trial.file.exists():
        with suppress(ValueError, TypeError):
            return Compiling(**orjson.loads(trial.file.read_bytes()))
    middle = sorted(rows, key=lambda row: len(row.ids))[max(0, len(rows) // 2 - _ROWS // 2) :][:_ROWS]
    answer = _measured(lean, middle, trial.num_tokens)
    with storage_errors("writing down whether compiling pays", trial.file):
        replace_file(trial.file, orjson.dumps(asdict(answer)))
    return answer


def _measured(lean: PackedModel, rows: Sequence[Encoded], num_tokens: int) -> Compiling:
    try:
        seconds(lean, rows)
        plain = min(seconds(lean, rows) for _ in range(2))
        whole = plain / sum(len(row.ids) for row in rows) * num_tokens
        if whole < LONG_S:
            return Compiling(False, f"not compiled: {whole / 60:.0f} minutes of training are too few for it to pay")
        begin = time.perf_counter()
        with compiled(lean):
            seconds(lean, rows)
            cost = time.perf_counter() - begin
            fast = min(seconds(lean, rows) for _ in range(2))
    except (ModelError, RuntimeError) as error:  # memory too: training itself goes on in smaller parts
        return Compiling(False, f"not compiled: {str(error).partition(chr(10))[0][:120] or type(error).__name__}")
    found = f"{plain / fast:.2f} times as fast measured, after {cost:.0f} s of compiling"
    pays = fast < _WORTH_IT * plain
    return Compiling(pays, f"{'layers' if pays else 'not'} compiled: {found}")


def seconds(lean: PackedModel, rows: Sequence[Encoded]) -> float:
    """Of one pass forward and backward; gradients are dropped, those of a pass that failed half-way too."""
    lean.model.train()
    tree = lean.lay_out(rows)
    try:
        begin = time.perf_counter()
        lean.loss(tree).backward()  # type: ignore[no-untyped-call]  # any method's time is that of the layers
        if lean.model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin
    finally:
        lean.model.zero_grad(set_to_none=True)
