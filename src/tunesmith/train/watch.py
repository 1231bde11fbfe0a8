"""What goes wrong while a run is under way, told when it happens, each with what to do.

What follows from the numbers of the run (losses, gradients, answers) is written into the metric log as a row with `event`: a
run that was killed and resumed has the same rows. What follows from the clock and the machine (speed, memory, disk) goes to
`timing.jsonl` beside it, which the promise of equal bytes does not cover.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson
import psutil

from tunesmith.core.reporter import Reporter
from tunesmith.eval.metrics.repetition import loops

__all__ = ["Alarm", "Conditions", "Event", "Machine", "RowLog", "Watch", "machine_now"]

_WINDOW = 48  # steps that a step is compared with
_LEAST = 6  # steps before anything is called unusual
_MAD = 1.4826  # median absolute deviation of a normal distribution, in standard deviations
_LOOPING = 0.5  # share of the samples from which, at two validations in a row, looping is worth a warning
_ONCE = {"repetition"}  # events that need no second warning: they do not go away
_MIB = 2**20
Row = Mapping[str, Any]


class RowLog(Protocol):
    """Where rows go."""

    def write(self, row: Row) -> None: ...


@dataclass(frozen=True, slots=True)
class Event:
    """One thing worth telling: what it is called in the log, its number and the usual one, words, and advice."""

    kind: str
    value: float
    usual: float
    text: str
    advice: str


Alarm = Callable[[Sequence[Row]], Event | None]  # of all validations so far: why the run ends here, if it does


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine has left, in bytes, and what this process holds."""

    free_memory: int
    all_memory: int
    held: int
    free_disk: int


def machine_now(folder: Path) -> Machine:
    """Memory of machine and process, and the disk that `folder` lies on."""
    memory = psutil.virtual_memory()
    return Machine(
        int(memory.available), int(memory.total), int(psutil.Process().memory_info().rss), shutil.disk_usage(folder).free
    )


class Watch:
    """Watches one run. `step` and `validation` write their row and whatever it shows; `resume` feeds it the rows of before.

    `loss_tells`: whether a rising training loss means anything. `alarm`: what ends the run; `ending` is why, once it did.
    """

    def __init__(
        self,
        log: RowLog,
        reporter: Reporter,
        *,
        conditions: Conditions | None = None,
        loss_tells: bool = True,
        alarm: Alarm | None = None,
    ) -> None:
        self._log, self._reporter, self._conditions = log, reporter, conditions
        self._loss_tells, self._alarm = loss_tells, alarm
        self._validations: list[Row] = []
        self.ending: Event | None = None
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._norms: deque[float] = deque(maxlen=_WINDOW)
        self._lowest = float("inf")  # of the running median
        self._rising = False
        self._first_looping: float | None = None
        self._was_looping = False
        self._told: dict[str, int] = {}

    def resume(self, rows: Sequence[Row]) -> None:
        """Replay the rows that are in the log already, without printing warnings."""
        for row in rows:
            if "loss" in row:
                self._of_step(row)
            elif "val_loss" in row:
                self._of_validation(row)

    def begin_step(self) -> None:
        """A step begins now: what came before it (a validation, a checkpoint) is not part of its time."""
        if self._conditions is not None:
            self._conditions.begin()

    def step(self, row: Row, *, num_tokens: int) -> None:
        """Write the row of a step (`step`, `loss`, `grad_norm`) and what is unusual about it."""
        self._log.write(row)
        self._tell(row, self._of_step(row))
        if self._conditions is not None:
            for event in self._conditions.step(int(row["step"]), num_tokens):
                self._say(event, int(row["step"]))

    def validation(self, row: Row) -> None:
        """Write the row of a validation (`step`, `val_loss`, `samples`) and what is unusual about it."""
        self._log.write(row)
        self._tell(row, self._of_validation(row))

    def _tell(self, row: Row, events: Sequence[Event]) -> None:
        for event in events:
            self._log.write({"step": row["step"], "event": event.kind, "value": event.value, "usual": event.usual})
            self._say(event, int(row["step"]))

    def _say(self, event: Event, step: int) -> None:
        """The first of a kind, then the second, the fourth, the eighth …, of loops the first alone: enough to know."""
        count = self._told[event.kind] = self._told.get(event.kind, 0) + 1
        if count & (count - 1) == 0 and (count == 1 or event.kind not in _ONCE):
            again = f" (time {count})" if count > 1 else ""
            self._reporter.warn(f"step {step}: {event.text}{again}; {event.advice}")

    def _of_step(self, row: Row) -> list[Event]:
        loss, norm = float(row["loss"]), float(row["grad_norm"])
        found = [*self._loss_events(loss), *self._norm_events(norm)]
        self._losses.append(loss)
        self._norms.append(norm)
        return found

    def _loss_events(self, loss: float) -> list[Event]:
        if len(self._losses) < _LEAST or not self._loss_tells:
            return []
        usual = statistics.median(self._losses)
        spread = _MAD * statistics.median(abs(x - usual) for x in self._losses)
        found = []
        if loss > max(usual + 6 * spread, 1.5 * usual):
            text = f"the loss jumped to {loss:.3g}, it was about {usual:.3g}"
            found.append(Event("loss_spike", loss, usual, text, "if it does not fall again soon, halve train.learning_rate"))
        self._lowest = min(self._lowest, usual)
        if not self._rising and len(self._losses) >= 2 * _LEAST and usual > 1.3 * self._lowest:
            self._rising = True
            text = f"the training loss has risen from about {self._lowest:.3g} to {usual:.3g}: the run comes apart"
            advice = "stop (Ctrl-C) and use a tenth of train.learning_rate; the best weights so far are kept"
            found.append(Event("loss_rising", usual, self._lowest, text, advice))
        return found

    def _norm_events(self, norm: float) -> list[Event]:
        if len(self._norms) < _LEAST or not self._loss_tells:
            return []
        usual = statistics.median(self._norms)
        if norm > 10 * usual and usual > 0:
            text = f"the gradient is {norm / usual:.0f} times its usual size ({norm:.3g}, usually {usual:.3g})"
            advice = "one odd example can do that; if it comes again, lower train.max_grad_norm or train.learning_rate"
            return [Event("gradient_jump", norm, usual, text, advice)]
        if norm == 0:
            text = "the gradient is zero: the model learned nothing in this step"
            return [Event("gradient_zero", norm, usual, text, "check train.learning_rate and method.targets")]
        return []

    def _of_validation(self, row: Row) -> list[Event]:
        samples = [str(text) for text in row.get("samples", [])]
        is_first = self._first_looping is None
        found = self._loop_events(samples)
        if is_first:
            self._validations.append(row)
            return []
        found += self._alarms(row)
        said = [text.strip() for text in samples]
        if said and not any(said):
            text = "its answers are empty"
            found.append(
                Event("empty_answers", 0.0, float(len(said)), text, "check the examples for the same fault: tunesmith check")
            )
        elif len(said) > 1 and len(set(said)) == 1:
            text = f"it gives the same answer to {len(said)} different questions"
            advice = "lower train.learning_rate; if the examples' answers are much alike, add others"
            found.append(Event("same_answer", 1.0, float(len(said)), text, advice))
        return found

    def _alarms(self, row: Row) -> list[Event]:
        self._validations.append(row)
        self.ending = self._alarm(self._validations) if self._alarm is not None else None
        return [] if self.ending is None else [self.ending]

    def _loop_events(self, samples: Sequence[str]) -> list[Event]:
        """Half of the drawn samples loop, at two validations in a row, and did not before training."""
        share = statistics.fmean(map(loops, samples)) if samples else 0.0
        first, before = self._first_looping, self._was_looping
        self._was_looping = share >= _LOOPING
        if first is None:
            self._first_looping = share
            return []
        if not (before and self._was_looping) or first >= _LOOPING:
            return []
        text = f"its answers loop: {share:.0%} of the samples at two validations in a row, {first:.0%} before training"
        return [Event("repetition", share, first, text, "lower train.learning_rate or stop earlier (train.patience)")]


class Conditions:
    """Speed, memory and disk of a run, step by step, into `timing.jsonl` in the run's work folder."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.perf_counter,
        machine: Callable[[Path], Machine] = machine_now,
        every: int = 10,
    ) -> None:
        self.path = folder / "timing.jsonl"
        self._clock, self._machine, self._every = clock, machine, every
        self._begun = clock()
        self._rates: deque[float] = deque(maxlen=8)
        self._best_rate = 0.0
        self._held_at_first = 0

    def begin(self) -> None:
        """A step begins now."""
        self._begun = self._clock()

    def step(self, step: int, num_tokens: int) -> list[Event]:
        """Note a step of `num_tokens` tokens that ended now; what is unusual about the machine."""
        seconds = max(1e-9, self._clock() - self._begun)
        row: dict[str, Any] = {"step": step, "seconds": seconds, "tokens": num_tokens}
        found = self._slow(num_tokens / seconds)
        if step % self._every == 0:
            machine = self._machine(self.path.parent)
            row |= {"free_memory": machine.free_memory, "held_memory": machine.held, "free_disk": machine.free_disk}
            found += [*self._memory(machine), *self._disk(machine)]
        row["events"] = [event.kind for event in found]
        with self.path.open("ab") as file:  # not synced: nothing hangs on it
            file.write(orjson.dumps(row) + b"\n")
        return found

    def _slow(self, rate: float) -> list[Event]:
        self._rates.append(rate)
        if len(self._rates) < 8:
            return []
        now = statistics.median(self._rates)
        self._best_rate = max(self._best_rate, now)
        if now >= 0.5 * self._best_rate:
            return []
        usual, self._best_rate = self._best_rate, now  # told again only when it halves again
        text = f"training has slowed to {now:.0f} tokens per second, before it was {usual:.0f}"
        advice = "other programs may be using the machine, or it is short of memory, or hot; the run only takes longer"
        return [Event("slow", now, usual, text, advice)]

    def _memory(self, machine: Machine) -> list[Event]:
        first = self._held_at_first = self._held_at_first or machine.held
        if machine.free_memory < max(0.05 * machine.all_memory, 300 * _MIB):
            text = f"only {machine.free_memory / _MIB:,.0f} MiB of memory are free"
            advice = "close other programs, or stop (Ctrl-C) and continue with a lower train.batch_examples"
            return [Event("memory", machine.free_memory, machine.all_memory, text, advice)]
        if machine.held > 1.5 * first + 500 * _MIB:
            text = f"this run holds {machine.held / _MIB:,.0f} MiB of memory, {first / _MIB:,.0f} at first"
            self._held_at_first = machine.held  # told again only when it grows as much again
            return [Event("memory_grows", machine.held, first, text, "it can be stopped (Ctrl-C) and resumed at any time")]
        return []

    def _disk(self, machine: Machine) -> list[Event]:
        checkpoints = self.path.parent / "checkpoints"
        newest = max(checkpoints.glob("step-*"), default=None) if checkpoints.is_dir() else None
        size = sum(p.stat().st_size for p in newest.rglob("*") if p.is_file()) if newest is not None else 0
        needed = 3 * size + 100 * _MIB
        if machine.free_disk >= needed:
            return []
        text = f"only {machine.free_disk / _MIB:,.0f} MiB of disk are free in {self.path.parent}"
        advice = (
            f"free {needed / _MIB:,.0f} MiB before the next checkpoint; if the disk fills up, the run stops and can be resumed"
        )
        return [Event("disk", machine.free_disk, needed, text, advice)]
