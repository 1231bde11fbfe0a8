"""The loop of the backend `mlx`: evaluate → sample → save → stop → step → log, as in `train.loop`; mlx-lm makes the steps.

Weights and moments are asked for only where a validation, a checkpoint or the end needs them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import NamedTuple

from tunesmith.core.errors import Interrupted, TrainingError
from tunesmith.core.reporter import Reporter
from tunesmith.models.chat import Encoded
from tunesmith.train.best import Best
from tunesmith.train.checkpoint import Checkpoints, MetricLog, SaveRule, State, Tensors
from tunesmith.train.kept import Kept, keeping_in
from tunesmith.train.loop import FitSettings, Fitted
from tunesmith.train.method import Direction
from tunesmith.train.mlx.trainer import MlxTrainer, Stepped
from tunesmith.train.processes import ALONE
from tunesmith.train.schedule import learning_rate
from tunesmith.train.stop import Stopped, stop_requests
from tunesmith.train.validation import Validation, Validator
from tunesmith.train.watch import Conditions, Watch

__all__ = ["Result", "fit_with_mlx", "rates"]

Step = Sequence[Sequence[Encoded]]  # the batches of one optimiser step


class Result(NamedTuple):
    """How the run ended, and the best weights, with the names of mlx-lm; so are those in `fitted.other`."""

    fitted: Fitted
    chosen: Kept


def rates(settings: FitSettings) -> list[float]:
    """The learning rate of each step."""
    s = settings
    how = {"peak": s.learning_rate, "warmup": s.warmup, "floor": s.floor, "decay": s.decay}
    return [learning_rate(step, num_steps=s.num_steps, schedule=s.schedule, **how) for step in range(s.num_steps)]


def fit_with_mlx(
    trainer: MlxTrainer,
    batches: Callable[[int], Step],
    *,
    start: Tensors,
    settings: FitSettings,
    figures: Mapping[str, Direction],
    validation: Validation,
    checkpoints: Checkpoints,
    reporter: Reporter,
) -> Result:
    """Train until the last step, or until patience runs out.

    `batches(step)`: those of a step, counted from 0. `start`: the weights before the first step, with the names of mlx-lm.

    Resumes from the newest checkpoint by itself, with the moments, rates, rows and dropout masks of a run that was not
    interrupted. Raises TrainingError on a loss that is no number, and Interrupted on Ctrl-C or SIGTERM.
    """
    s, table = settings, rates(settings)
    found = checkpoints.newest()
    state, trained, best_so_far, moments = found or (State(), start, start, Tensors())
    if state.step:
        trainer.restore(trained, moments, state.step)
    best = Best.starting(s.best_by, figures, s.min_delta, best_so_far, keeping=keeping_in(checkpoints, ALONE))
    begin, resumed_at, num_tokens, settled = time.perf_counter(), state.step, 0, state.step
    save_rule = SaveRule(steps=s.checkpoint_every, minutes=s.checkpoint_minutes, begun_at=resumed_at)
    with (
        closing(MetricLog(checkpoints.log_path, state.log_bytes, disk=checkpoints.disk)) as log,
        stop_requests() as stop,
        reporter.progress("train", total=s.num_steps, unit="steps", done=state.step) as progress,
    ):
        watch = Watch(log, reporter, conditions=Conditions(checkpoints.log_path.parent))
        watch.resume(log.rows())
        validator = Validator(validation, stop)
        while True:
            done = state.step >= s.num_steps
            due = done or (s.evaluate_every > 0 and state.step % s.evaluate_every == 0)
            due = due and state.seen_step != state.step
            saving = save_rule.due(state.step) or done
            stop.look()
            if (due or saving or stop.exit_code) and settled != state.step:
                (trained, moments), settled = trainer.settle(), state.step
            with suppress(Stopped):
                if due:
                    seen, noted = validator.whole(state.step, lambda text: progress.advance(0, text))
                    _finite(seen, state.step)
                    figured = {f"val_{name}": seen[name] for name in figures}
                    watch.validation({"step": state.step, **figured, **noted})
                    best.update(seen, state, trained, step=state.step)
                    state.seen_step = state.step
            stopped = s.patience > 0 and s.evaluate_every > 0 and state.looks_without_gain >= s.patience
            if settled == state.step and (saving or stopped or stop.exit_code):
                state.log_bytes = log.sync()
                checkpoints.save(state, trained=trained, best=best.tensors(), optimizer=moments)
                if stop.exit_code and not ((done or stopped) and state.seen_step == state.step):
                    raise Interrupted(state.step, stop.exit_code)
            if done or stopped:
                break
            watch.begin_step()
            rows = batches(state.step)
            stepped = trainer.step(rows, seed=s.seed * 1_000_003 + state.step)
            _check(stepped, state.step)
            rate = table[state.step]
            state.step += 1
            num_tokens += (tokens := sum(len(row.ids) for part in rows for row in part))
            numbers = {"step": state.step, "loss": stepped.loss, "learning_rate": rate, "grad_norm": stepped.norm}
            watch.step({**numbers, "learned": stepped.learned}, num_tokens=tokens)
            progress.advance(1, f"loss {stepped.loss:.3f}")
    fitted = Fitted(
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
    return Result(fitted, best.chosen)


def _check(stepped: Stepped, before: int) -> None:
    if not (math.isfinite(stepped.loss) and math.isfinite(stepped.norm)) or (before == 0 and stepped.norm == 0):
        raise _broken(before + 1, f"loss {stepped.loss}, gradient norm {stepped.norm}")


def _finite(found: Mapping[str, float], step: int) -> None:
    for name, value in found.items():
        if not math.isfinite(value):
            raise _broken(step, f"validation {name} {value}")


def _broken(step: int, value: str) -> TrainingError:
    return TrainingError(
        f"training broke at step {step}: the loss or its gradient is not a number, or the first gradient is zero",
        value=value,
        expected="finite numbers; only what the last checkpoint holds is kept",
        hint="--set train.learning_rate=2e-4 (a tenth of what you have is a good try)",
    )
