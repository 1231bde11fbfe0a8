"""A sweep: Optuna proposes settings (TPE), each trial is a run, and ASHA stops those that fall behind on the validation loss.

Its state is a journal in `.tunesmith/sweeps`, so that a sweep that was killed continues: the trial under way is taken up again,
and its run resumes from its checkpoint. ASHA: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from tunesmith.core.errors import BlockedError, RecipeError, TrainingError, TunesmithError
from tunesmith.core.files import make_folders, replace_file, storage_errors
from tunesmith.core.records import canonical_json, digest
from tunesmith.ops.sweep.space import Range, Space
from tunesmith.ops.sweep.trial import Pruned, run_id, run_trial, with_settings
from tunesmith.pipeline.project import Project

__all__ = ["SweepResult", "SweepTrial", "sweep_project"]

_ETA = 3  # of three trials that reach a rung, one goes on
_STUDY = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTrial:
    """One trial. `loss` is the best validation loss of a finished one; `validations` counts them; `note`: why it failed."""

    number: int
    settings: Mapping[str, Any]
    state: str
    loss: float | None
    run: str
    validations: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A sweep so far: its trials, the best one, and the recipe that repeats it."""

    id: str
    folder: str
    trials: tuple[SweepTrial, ...]
    best: SweepTrial | None
    recipe: str

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith sweep --json` prints."""
        counts = {state: sum(one.state == state for one in self.trials) for state in ("done", "pruned", "failed")}
        return {**asdict(self), "counts": counts}


def sweep_project(project: Project, space: Space, *, trials: int, seed: int = 7, out: Path | None = None) -> SweepResult:
    """Run trials until there are `trials` finished, pruned or failed ones in all, and write the best recipe.

    Raises:
        RecipeError: fewer trials than one; Optuna is not installed.
        TrainingError: another process runs this sweep, or every trial failed.
        BlockedError: a finding that blocks every trial.
        Interrupted: asked to stop; the same call continues.
    """
    if importlib.util.find_spec("optuna") is None:
        raise TrainingError(
            "a sweep needs Optuna", value="optuna", expected="the extra sweep", hint="pip install 'tunesmith[sweep]'"
        )
    if trials < 1:
        raise TrainingError("a sweep without trials", value=trials, expected="at least 1", hint="--trials 20")
    id = digest(canonical_json({"run": run_id(project), "space": _plain(space), "seed": seed}))
    folder = project.store.root / "sweeps" / id[:16]
    with _alone(folder):
        study = _open(folder, seed)
        _take_up_again(study)
        while len(_ended(study)) < trials:
            _one(study, project, space)
        found = [_trial(one) for one in _ended(study)]
        finished = [one for one in found if one.state == "done"]
        best = min(finished, key=lambda one: one.loss if one.loss is not None else float("inf"), default=None)
        if best is None:
            raise TrainingError(
                "no trial finished",
                value=found[-1].note,
                expected="settings that can be trained",
                hint="narrow --vary, or train once: tunesmith train",
            )
        file = out or folder / "best.yaml"
        with storage_errors("writing the best recipe", file):
            replace_file(file, _recipe_text(project, best, len(found)).encode())
    return SweepResult(id=id, folder=str(folder), trials=tuple(found), best=best, recipe=str(file))


def _plain(space: Space) -> dict[str, Any]:
    return {name: asdict(one) if isinstance(one, Range) else list(one) for name, one in space.items()}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folders(folder)
    held = FileLock(folder / "lock")
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise TrainingError(
            "another process runs this sweep",
            value=str(folder),
            expected="one process for each sweep",
            hint="wait for it, or vary something else",
        ) from error
    try:
        yield
    finally:
        held.release()


def _open(folder: Path, seed: int) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(logging.ERROR)
    file = str(folder / "journal.log")
    if os.path.exists(file):
        _cut_torn_line(Path(file))
    storage = JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file)))
    known = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    begun = len(optuna.load_study(study_name=_STUDY, storage=storage).trials) if known else 0
    return optuna.create_study(
        storage=storage,
        study_name=_STUDY,
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed + begun, n_startup_trials=5),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_ETA, min_early_stopping_rate=0),
    )


def _cut_torn_line(file: Path) -> None:
    """A kill may leave half a line at the end of the journal, after which no further one could be read."""
    whole = file.read_bytes()
    if whole and not whole.endswith(b"\n"):
        replace_file(file, whole[: whole.rfind(b"\n") + 1])


def _take_up_again(study: Any) -> None:
    """Trials that a kill left running are asked for again, with the same settings."""
    from optuna.trial import TrialState

    for one in study.get_trials(states=(TrialState.RUNNING,)):
        study.enqueue_trial(one.params, user_attrs={"again": one.number})
        study.tell(one.number, state=TrialState.FAIL)


def _ended(study: Any) -> list[Any]:
    """Trials that are finished, pruned or failed, without those that a kill ended."""
    every = study.trials
    killed = {one.user_attrs["again"] for one in every if "again" in one.user_attrs}
    return [one for one in every if one.state.is_finished() and one.number not in killed]


def _one(study: Any, project: Project, space: Space) -> None:
    from optuna.trial import TrialState

    trial = study.ask()
    values = {name: _suggested(trial, name, one) for name, one in space.items()}

    def stop(number: int, loss: float) -> bool:
        trial.report(loss, number)
        return bool(trial.should_prune())

    try:
        made = run_trial(project, values, stop)
    except Pruned:
        study.tell(trial, state=TrialState.PRUNED)
    except BlockedError:
        study.tell(trial, state=TrialState.FAIL)
        raise
    except (TrainingError, RecipeError) as error:
        trial.set_user_attr("note", error.problems[0].what)
        study.tell(trial, state=TrialState.FAIL)
        project.reporter.warn(f"trial {trial.number} failed: {error.problems[0].what}: {error.problems[0].value}")
    except TunesmithError:
        study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        trial.set_user_attr("run", made.id)
        study.tell(trial, made.numbers["best_loss"])


def _suggested(trial: Any, name: str, one: Range | Sequence[Any]) -> Any:
    if not isinstance(one, Range):
        return trial.suggest_categorical(name, list(one))
    if one.whole:
        return trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(name, one.low, one.high, log=one.log)


def _trial(one: Any) -> SweepTrial:
    states = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
    state = states[one.state.name]
    return SweepTrial(
        number=one.number,
        settings=dict(one.params),
        state=state,
        loss=one.value if state == "done" else None,
        run=one.user_attrs.get("run", ""),
        validations=len(one.intermediate_values),
        note=one.user_attrs.get("note", ""),
    )


def _recipe_text(project: Project, best: SweepTrial, count: int) -> str:
    recipe = with_settings(project.recipe, best.settings)
    plain = recipe.model_dump(exclude_unset=True, by_alias=True, mode="json")
    head = f"# The best of {count} trials by validation loss ({best.loss:.4f}), run {best.run[:16]}.\n"
    head += "# The test split was not used.\n"
    return head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
