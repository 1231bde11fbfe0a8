"""How many tokens may go through the model at once: what the worst row keeps for its backward pass, against the free memory.

The probe is a forward pass over the longest row, in which every tensor that autograd keeps is counted once by its storage, and
one over the longest row whose attention probabilities are kept: one of the two keeps the most a token (attention keeps more the
longer it looks back, up to there), so the count is on the safe side for all others. What was found stays with the run, for
another grouping would change the last digits on resuming; and it is a power of two, so that a little more or less free memory
does not change those of the next run.

More tokens at once than fill a CPU's matrix products only cost memory: a batch is cut into even parts of about `ENOUGH` tokens,
unless what its rows share would be computed again too often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import torch

from tunesmith.core.errors import TrainingError
from tunesmith.core.files import replace_file, storage_errors
from tunesmith.models.memory import free_bytes, release_memory
from tunesmith.models.packed.attention import KEPT_KEYS
from tunesmith.train.batches import tokens_at_once
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import Method
from tunesmith.train.units import Unit

__all__ = ["ENOUGH", "Budget", "budget", "enough_tokens", "is_out_of_memory", "kept_bytes"]

_SHARE = 0.5  # of the free memory; the rest is for gradients on their way, the optimiser and whoever else is there
ENOUGH = 384  # tokens at once that fill a CPU's matrix products (docs/log.md); a GPU wants more than a batch has


@dataclass(frozen=True, slots=True)
class Budget:
    """`tokens` may go through at once, of which `enough` fill the machine (0: never). `kept` bytes a token and `free` bytes, as
    measured; 0 where nothing was."""

    tokens: int
    kept: int = 0
    free: int = 0
    enough: int = 0

    @property
    def note(self) -> str:
        """The reason, in words."""
        if not self.kept:
            return f"at most {self.tokens:,} tokens at once"
        found = f"{self.kept / 2**10:,.0f} KiB per token measured, {self.free / 2**30:.1f} GiB free"
        parts = f", in parts of about {self.enough:,}" if 0 < self.enough < self.tokens else ""
        return f"at most {self.tokens:,} tokens at once{parts} ({found})"


def kept_bytes(forward: Callable[[], torch.Tensor], own: Sequence[torch.Tensor]) -> int:
    """Bytes that autograd keeps of one forward pass, each storage once, those of `own` (weights) not counted."""
    known = {tensor.untyped_storage().data_ptr() for tensor in own}
    sizes: dict[int, int] = {}
    held: list[torch.UntypedStorage] = []  # so that no address is used twice

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            held.append(storage)
        return tensor.detach()  # a result that keeps itself would never be freed

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.compiler.set_stance("force_eager"),  # compiled layers keep less: the count stays on the safe side
    ):
        forward()
    return sum(sizes.values())


def budget(
    units: Sequence[Unit],
    path: ExecutionPath,
    objective: Method,
    *,
    wanted: int | None,
    largest: int,
    file: Path,
) -> Budget:
    """The number that the recipe `wanted`, or what fits; `largest` is a batch, beyond which there is nothing to gain.

    Never less than the longest unit. `file` keeps what was found; an earlier finding in it is taken as it is.
    """
    if wanted is not None:
        return Budget(wanted)
    if file.exists():
        return _read(file)
    sizes = {unit: tokens_at_once(unit, shares=path.shares) for unit in units}
    worst = max(units, key=sizes.__getitem__)
    short = max((u for u in units if _longest_row(u) <= KEPT_KEYS), key=sizes.__getitem__, default=worst)
    model = path.model
    own = list(model.parameters())
    model.train()
    try:
        kept = max(
            kept_bytes(lambda unit=unit: objective.loss(path, path.batch([unit])), own) // sizes[unit]  # type: ignore[misc]
            for unit in dict.fromkeys((worst, short))
        )
        room = free_bytes(model.device)
        room = room // path.processes.sharers if model.device.type == "cpu" else room
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return Budget(sizes[worst])  # one unit is too much already: the first step says so, with what helps
    fits = _power_of_two(int(_SHARE * room / max(1, kept)))
    found = Budget(max(sizes[worst], min(largest, fits)), kept, room, enough_tokens(model.device))
    release_memory()
    with storage_errors("writing down what fits into memory", file):
        replace_file(file, orjson.dumps(asdict(found)))
    return found


def _longest_row(unit: Unit) -> int:
    return max(len(row.ids) for row in unit.rows)


def enough_tokens(device: torch.device) -> int:
    """Tokens at once beyond which a machine gets no faster; 0 where there is no such number."""
    return ENOUGH if device.type == "cpu" else 0


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out: a GPU has an error of its own, a CPU a sentence."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _read(file: Path) -> Budget:
    try:
        return Budget(**orjson.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise TrainingError(
            "what fitted into memory when this run began cannot be read",
            value=str(file),
            expected="the file as it was written: resuming learns in the same parts",
            hint="delete the run's work folder to start again, or --set train.tokens_at_once=16384 for a new run",
        ) from error


def _power_of_two(number: int) -> int:
    """The largest that is not above `number`; 0 for 0."""
    return 1 << number.bit_length() - 1 if number else 0
