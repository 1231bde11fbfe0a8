"""The loop: evaluate → sample → save → stop → step → log, in this order, once a step.

A method brings units and their loss; everything else that training does is here, in sight.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Protocol

import torch

from tunesmith.core.errors import Interrupted, TrainingError, TunesmithError
from tunesmith.core.reporter import Reporter
from tunesmith.train.best import Best
from tunesmith.train.checkpoint import Checkpoints, MetricLog, SaveRule, State, Tensors
from tunesmith.train.kept import Kept, keeping_in
from tunesmith.train.memory import is_out_of_memory
from tunesmith.train.method import Direction
from tunesmith.train.optimizer import Optimizer
from tunesmith.train.optimizer_state import optimizer_tensors, restore_optimizer
from tunesmith.train.processes import ALONE, Processes
from tunesmith.train.randomness import seed_all
from tunesmith.train.schedule import Schedule, learning_rate
from tunesmith.train.stop import Stopped, stop_requests
from tunesmith.train.units import Batch
from tunesmith.train.validation import Validation, Validator, holding
from tunesmith.train.watch import Alarm, Conditions, Watch
from tunesmith.train.weights.weights import Weights

__all__ = ["FitSettings", "Fitted", "Objective", "RandomAccess", "Signs", "fit"]

Objective = Callable[[Batch], torch.Tensor]
_APART = 500_009_003  # between the seeds of two processes, whose dropout masks differ


class RandomAccess(Protocol):
    """Batches by index over all epochs, each in the parts that go through the model at once."""

    def at(self, index: int) -> Sequence[Batch]: ...

    def shrink(self) -> bool:
        """Make the parts smaller; whether that was possible."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """The numbers of a run, all resolved."""

    num_steps: int
    accumulate: int
    learning_rate: float
    schedule: Schedule
    warmup: float
    floor: float
    decay: float
    max_grad_norm: float
    evaluate_every: int
    patience: int
    best_by: str
    min_delta: float
    checkpoint_every: int
    checkpoint_minutes: float
    seed: int


@dataclass(frozen=True, slots=True)
class Signs:
    """What a method's numbers mean to the loop.

    `notes(step)`: numbers about the batches of a step (from 0), for its row in the metric log. `loss_tells`: whether the
    training loss falls as the model learns, and a first step without a gradient is a fault. `alarm`: when to end the run.
    """

    notes: Callable[[int], Mapping[str, float]] = lambda step: {}
    loss_tells: bool = True
    alarm: Alarm | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a run ended: steps done, the best step and its validation loss, why it stopped, what it took in this process.

    `other` are the weights of `other_step`, the best by the figure that did not choose; empty if that is the best step too.
    """

    num_steps: int
    best_step: int
    best_loss: float
    other_step: int
    other: Kept
    stopped_early: bool
    resumed_at: int
    seconds: float
    num_tokens: int

    def numbers(self) -> dict[str, Any]:
        """All of it that is not weights, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "other"}


def fit(  # noqa: C901, PLR0913 (the loop is one piece, in sight)
    weights: Weights,
    batches: RandomAccess,
    objective: Objective,
    *,
    optimizer: Optimizer,
    settings: FitSettings,
    figures: Mapping[str, Direction],
    validation: Validation,
    checkpoints: Checkpoints,
    reporter: Reporter,
    signs: Signs = Signs(),
    processes: Processes = ALONE,
) -> Fitted:
    """Train until the last step, or until patience runs out or an alarm ends it; leaves the best weights in the model.

    `objective`: the summed loss of a batch, which a step divides by the batches' weights. `weights.penalty` is added to it
    once a step, and is a number of its own in the metric log. `optimizer` moves all tensors of `model` that are trained.
    `figures`: what validation measures. `processes`: those that make every step together. Before step 1 the `validation` may
    be a small one; all its units are then measured for the untrained model right before the first trained one.

    Resumes from the newest checkpoint by itself. Losses are means weighted by units over all
    micro-batches of a step. Raises TrainingError on a loss that is no number, and Interrupted on Ctrl-C or SIGTERM;
    a validation that these end is made again on resuming.
    """
    s, model = settings, weights.model
    named: Tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    names = {p: name for name, p in named.items()}
    state, so_far = _take_up(checkpoints, named, weights.state(), optimizer, batches, processes=processes)
    best = Best.starting(s.best_by, figures, s.min_delta, so_far, keeping=keeping_in(checkpoints, processes))
    del so_far  # of a checkpoint: a copy of all that is trained
    begin, resumed_at, num_tokens, loss = time.perf_counter(), state.step, 0, float("nan")
    first, stopped, unproved = processes.rank == 0, False, state.step == 0
    save_rule = SaveRule(steps=s.checkpoint_every, minutes=s.checkpoint_minutes, begun_at=resumed_at)

    def save() -> None:
        state.log_bytes = log.sync()
        trained = {**named, **weights.state()}
        moments = optimizer.reading(optimizer_tensors(optimizer, names))
        checkpoints.save(state, trained=trained, best=best.tensors(), optimizer=moments, processes=processes)

    with (
        closing(MetricLog(checkpoints.log_path, state.log_bytes, disk=checkpoints.disk, writes=first)) as log,
        stop_requests(processes.highest) as stop,
    ):
        conditions = Conditions(checkpoints.log_path.parent) if first else None
        watch = Watch(log, reporter, conditions=conditions, loss_tells=signs.loss_tells, alarm=signs.alarm)
        watch.resume(log.rows())
        validator = Validator(validation, stop)

        def validate(step: int, say: Callable[[str], None]) -> None:  # evaluate, sample
            found, noted = validator.whole(step, say)
            _finite(found, step)
            watch.validation({"step": step, **{f"val_{name}": found[name] for name in figures}, **noted})
            if watch.ending is None:  # weights that set off an alarm are not the best, whatever their figures
                best.update(found, state, named, step=step)
            state.seen_step = step

        if validation.begins_small and state.step == 0 and s.evaluate_every > 0:
            with suppress(Stopped):  # the loop below answers
                _finite(validator.first(reporter), 0)
        with reporter.progress("train", total=s.num_steps, unit="steps", done=state.step) as progress:
            while True:
                stop.look()
                done = state.step >= s.num_steps
                due = done or (s.evaluate_every > 0 and state.step % s.evaluate_every == 0)
                due = due and state.seen_step != state.step and not (state.step == 0 and validation.begins_small)
                with suppress(Stopped):
                    if due and state.step > 0 and state.seen_step < 0 and s.evaluate_every > 0:
                        with holding(named, best.chosen):  # which are still those before the first step
                            validate(0, lambda text: progress.advance(0, text))
                    if due:
                        with optimizer.settled():
                            validate(state.step, lambda text: progress.advance(0, text))
                unseen = due and state.seen_step != state.step
                stopped = s.patience > 0 and s.evaluate_every > 0 and state.looks_without_gain >= s.patience
                stopped = stopped or watch.ending is not None
                if processes.told(partial(save_rule.due, state.step)) or done or stopped or stop.exit_code:
                    save()
                if stop.exit_code and (unseen or not (done or stopped)):
                    raise Interrupted(state.step, stop.exit_code)
                if done or stopped:
                    break
                rate = learning_rate(
                    state.step,
                    num_steps=s.num_steps,
                    peak=s.learning_rate,
                    warmup=s.warmup,
                    schedule=s.schedule,
                    floor=s.floor,
                    decay=s.decay,
                )
                watch.begin_step()
                with _keeping(save) if processes.count == 1 else nullcontext():
                    loss, norm, held, micro = _fitting_step(
                        model,
                        optimizer,
                        objective,
                        lambda: [part for i in range(s.accumulate) for part in batches.at(state.step * s.accumulate + i)],
                        shrink=lambda: _shrink(batches, state),
                        warn=reporter.warn,
                        rate=rate,
                        penalty=weights.penalty,
                        max_grad_norm=s.max_grad_norm,
                        seed=s.seed * 1_000_003 + state.step,
                        after=partial(weights.after_step, state.step + 1),
                        processes=processes,
                    )
                if not (math.isfinite(loss + sum(held.values())) and math.isfinite(norm)):
                    raise _not_a_number(state.step + 1, f"loss {loss}, gradient norm {norm}")
                state.step += 1
                tokens, learned = map(int, processes.total(sum(b.num_tokens for b in micro), sum(b.num_learned for b in micro)))
                num_tokens += tokens
                unproved, before = unproved and not (signs.loss_tells or norm > 0), unproved
                if before and not unproved and not _moved(weights, processes):
                    raise TrainingError(
                        "the first step did not change the weights: the adapter does not learn",
                        value=f"rate {rate}",
                        expected="weights that move",
                        hint="check method.targets and train.learning_rate",
                    )
                row = {"step": state.step, "loss": loss, "learning_rate": rate, "grad_norm": norm, **held}
                row |= signs.notes(state.step - 1)
                watch.step({**row, "learned": learned}, num_tokens=tokens)
                progress.advance(1, f"loss {loss:.3f}{_best_so_far(state)}")
    _load(named, best.chosen)
    return Fitted(
        state.step,
        state.best_step,
        state.best_loss,
        state.other_step,
        best.other if state.other_step != state.best_step else {},
        stopped and state.step < s.num_steps,
        resumed_at,
        time.perf_counter() - begin,
        num_tokens,
    )


def _moved(weights: Weights, processes: Processes) -> bool:
    with processes.whole(weights.model):
        return processes.told(weights.moved)


def _take_up(
    checkpoints: Checkpoints,
    named: Tensors,
    further: Mapping[str, torch.Tensor],
    optimizer: Optimizer,
    batches: RandomAccess,
    *,
    processes: Processes,
) -> tuple[State, Tensors]:
    """Where the newest checkpoint left off, and the best weights so far; the start of the run if there is none."""
    if (found := checkpoints.newest(processes, {**named, **further})) is None:
        return State(), named
    state, trained, best, moments = found
    _load({**named, **further}, trained)
    restore_optimizer(optimizer, {tensor: name for name, tensor in named.items()}, moments)
    for _ in range(state.shrunk):
        batches.shrink()
    return state, best


@contextmanager
def _keeping(save: Callable[[], None]) -> Iterator[None]:
    """What fails inside, before the weights change (a reward, a server, a lack of memory), loses no step that is done."""
    try:
        yield
    except TunesmithError:
        save()
        raise


def _shrink(batches: RandomAccess, state: State) -> bool:
    smaller = batches.shrink()
    state.shrunk += smaller
    return smaller


def _fitting_step(
    model: Any,
    optimizer: Optimizer,
    objective: Objective,
    parts: Callable[[], list[Batch]],
    *,
    shrink: Callable[[], bool],
    warn: Callable[[str], None],
    **how: Any,
) -> tuple[float, float, dict[str, float], list[Batch]]:
    """One optimiser step, in smaller parts if memory runs out: what `_step` returns, and the parts."""
    while True:
        micro = parts()
        try:
            return *_step(model, optimizer, objective, micro, **how), micro
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if (processes := how["processes"]).count > 1:
                raise _too_little_memory(processes, micro) from error
            optimizer.zero_grad()
            largest = max(part.num_tokens for part in micro)
            if not shrink():
                raise TrainingError(
                    "a single example does not fit into memory",
                    value=f"{largest} tokens",
                    expected="an example whose activations fit",
                    hint="--set train.gradient_checkpointing=true, or --set train.max_tokens=512",
                ) from error
            warn(f"out of memory at {largest:,} tokens per pass: continuing with half of that, which gives the same step")


def _step(  # noqa: PLR0913 (what a step depends on)
    model: Any,
    optimizer: Optimizer,
    objective: Objective,
    micro: list[Batch],
    *,
    rate: float,
    penalty: Callable[[], torch.Tensor] | None,
    max_grad_norm: float,
    seed: int,
    after: Callable[[], None],
    processes: Processes,
) -> tuple[float, float, dict[str, float]]:
    """One optimiser step over the micro-batches and the penalty, then `after`; returns the mean loss, the gradient norm before
    clipping, and the penalty, if there is one."""
    seed_all(seed + processes.rank * _APART)  # dropout is a function of the step, so that a resumed run draws the same masks
    model.train()
    (total,) = processes.total(sum(batch.weight for batch in micro))
    loss = 0.0
    for batch in micro:
        part = objective(batch) / (total or 1)
        if batch.idle:
            part = part * 0
        part.backward()  # type: ignore[no-untyped-call]
        loss += float(part.detach())
    held = {}
    if penalty is not None:
        added = penalty()
        added.backward()  # type: ignore[no-untyped-call]
        held["penalty"] = float(added.detach())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    (loss,) = processes.total(loss)
    norm = processes.settle(parameters, max_grad_norm)
    optimizer.set_rate(rate)
    if math.isfinite(loss) and bool(norm.isfinite()):
        optimizer.step()
        after()
    optimizer.zero_grad()
    return loss, float(norm), held


def _load(into: Tensors, values: Kept) -> None:
    if set(into) != set(values):
        raise TrainingError(
            "a checkpoint holds other tensors than this run trains",
            value=sorted(set(into) ^ set(values))[0],
            expected=f"{len(into)} trainable tensors",
            hint="delete the run's work folder to start again",
        )
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(values[name])


def _too_little_memory(processes: Processes, micro: Sequence[Batch]) -> TrainingError:
    return TrainingError(
        f"memory ran out in process {processes.rank} of {processes.count}",
        value=f"{max(part.num_tokens for part in micro)} tokens at once",
        expected="passes that fit: the others wait for this one, so it cannot continue with smaller ones alone",
        hint="the same command without --processes continues in smaller parts; --set train.tokens_at_once=1024 is a new run",
    )


def _not_a_number(step: int, value: str) -> TrainingError:
    return TrainingError(
        f"training broke at step {step}: the loss or its gradient is not a number",
        value=value,
        expected="finite numbers; only what the last checkpoint holds is kept",
        hint="--set train.learning_rate=2e-4 (a tenth of what you have is a good try)",
    )


def _finite(found: Mapping[str, float], step: int) -> None:
    for name, value in found.items():
        if not math.isfinite(value):
            raise _not_a_number(step, f"validation {name} {value}")


def _best_so_far(state: State) -> str:
    """Nothing before the first validation."""
    return f"  val {state.best_loss:.3f} best at {state.best_step}" if state.best_step >= 0 else ""
