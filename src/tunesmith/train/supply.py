"""What the loop trains on and measures by: fixed units of a dataset, or answers that the model gives to its prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.models.chat import Chat
from tunesmith.train.batches import Batches, Sizes
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.loop import RandomAccess
from tunesmith.train.memory import Budget
from tunesmith.train.method import Method, Sampled, Signalled
from tunesmith.train.rollouts import RolloutFiles
from tunesmith.train.sampled import Supply, sampled_supply
from tunesmith.train.settings import TrainSettings
from tunesmith.train.signals import SignalledBatches
from tunesmith.train.units import Unit
from tunesmith.train.validation import OnDone

__all__ = ["open_supply"]


@contextmanager
def open_supply(  # noqa: PLR0913 (what is trained on, and where it is kept)
    objective: Method,
    path: ExecutionPath,
    chat: Chat,
    examples: Mapping[str, Sequence[Any]],
    units: tuple[Sequence[Unit], Sequence[Unit]],
    *,
    train: TrainSettings,
    budget: Callable[[Sequence[Unit]], Budget],
    context: int,
    workspace: Path,
) -> Iterator[Supply]:
    """Batches and validation. `examples` of `train` and the `val` that are measured, and the `units` made of both.

    `budget(units)`: what goes through the model at once, by the largest of them.
    """
    training, val = units
    if not isinstance(objective, Sampled):
        most = budget(training)

        def measure(count: int, on_done: OnDone) -> Mapping[str, float]:
            return objective.validate(path, val[:count], on_done)

        yield Supply(_batches(training, train, path, most, objective), measure, most)
        return
    keep = (train.keep_checkpoints + 1) * train.checkpoint_every * train.accumulate
    with sampled_supply(
        objective,
        path,
        chat,
        examples,
        train=train,
        budget=lambda unit: budget([unit]),
        context=context,
        files=lambda labels: RolloutFiles(workspace / "rollouts", keep=keep, labels=labels),
        finish=lambda files, count: files.collect(count, workspace / "rollouts.jsonl"),
    ) as supply:
        yield supply


def _batches(units: Sequence[Unit], train: TrainSettings, path: ExecutionPath, most: Budget, objective: Method) -> RandomAccess:
    batches = Batches(
        units,
        sizes=Sizes(examples=train.batch_examples, tokens=train.batch_tokens),
        seed=train.seed,
        most_tokens=most.tokens,
        enough=most.enough if path.processes.count == 1 else 0,  # each pass gathers every layer: better few
        shares=path.shares,
        lay_out=path.batch,
        short_first=train.curriculum == "short_first",
        processes=path.processes,
    )
    return SignalledBatches(batches, objective, path) if isinstance(objective, Signalled) else batches
