"""A sweep: trials are ordinary runs, bad ones are stopped early, a kill loses nothing, and the test split stays unread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes import write_posts
from tunesmith.api import run as run_pipeline
from tunesmith.api import runs, sweep
from tunesmith.cli.main import main
from tunesmith.core.errors import RecipeError, TrainingError
from tunesmith.ops.sweep import sweeping
from tunesmith.ops.sweep.space import Range, read_space
from tunesmith.pipeline.project import Project

pytest.importorskip("optuna", reason="needs Optuna, which the extra sweep brings")
GOOD, BAD = 1e-2, 1e-7
VARY: dict[str, list[Any]] = {"train.learning_rate": [GOOD, BAD], "method.rank": [2, 4]}


def recipe(base: Path) -> dict[str, Any]:
    return {
        "sources": ["./posts"],
        "base": str(base),
        "build": {"passage_words": 40},
        "split": {"val": 0.2, "test": 0.3},
        "train": {"batch_examples": 4, "max_steps": 9, "precision": "float32", "evaluate_every": 3, "patience": 0},
        "eval": {"suites": []},
    }


def make(folder: Path, base: Path) -> Path:
    write_posts(folder / "posts")
    (folder / "tunesmith.yaml").write_text(yaml.safe_dump({**recipe(base), "sources": [str(folder / "posts")]}))
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, tiny_path: Path) -> tuple[Path, Any]:
    """Eight trials, in which reading a row of the test split is an error."""
    folder = make(tmp_path_factory.mktemp("sweep"), tiny_path)
    before = Project.records

    def guarded(project: Project, name: str) -> Any:
        assert name != "test", "the test split was read"
        return before(project, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Project, "records", guarded)
        return folder, sweep(project=folder, vary=VARY, trials=8)


@pytest.mark.slow
def test_no_row_of_the_test_split_is_read_and_nothing_is_judged(swept: tuple[Path, Any]) -> None:
    folder, found = swept
    assert len(found.trials) == 8 and found.best
    store = folder / ".tunesmith"
    assert not (store / "evals").exists() and not (store / "looks.jsonl").exists() and not (store / "models").exists()


@pytest.mark.slow
def test_the_trap_for_the_test_split_closes_where_it_is_read(swept: tuple[Path, Any], tiny_path: Path, tmp_path: Path) -> None:
    """The planted fault: an ordinary run reads it, for the rehearsal of its evaluation."""
    folder = make(tmp_path, tiny_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Project, "records", lambda project, name: pytest.fail("read") if name == "test" else [])
        with pytest.raises(pytest.fail.Exception):
            run_pipeline(project=folder)


@pytest.mark.slow
def test_finished_trials_are_ordinary_runs_and_bad_ones_are_stopped_early(swept: tuple[Path, Any]) -> None:
    folder, found = swept
    rows = {row.id: row for row in runs(folder).rows}
    finished = [one for one in found.trials if one.state == "done"]
    assert finished and all(rows[one.run].state == "done" and rows[one.run].loss == one.loss for one in finished)
    pruned = [one for one in found.trials if one.state == "pruned"]
    assert pruned and all(one.settings["train.learning_rate"] == BAD and one.validations < 3 for one in pruned)
    assert {row.state for row in rows.values()} == {"done", "pruned"}
    assert found.best.settings["train.learning_rate"] == GOOD
    assert found.best.loss == min(one.loss for one in finished if one.loss is not None)


@pytest.mark.slow
def test_the_best_recipe_repeats_the_best_run(swept: tuple[Path, Any]) -> None:
    folder, found = swept
    written = Path(found.recipe)
    assert "The test split was not used" in written.read_text().splitlines()[1]
    project = Project(_loaded(written), folder)
    project.scorable = 0
    assert project.run.id == found.best.run


def _loaded(file: Path) -> Any:
    from tunesmith.api.recipes import find_recipe

    return find_recipe(recipe=file)


@pytest.mark.slow
def test_the_same_call_does_nothing_again_and_more_trials_continue(swept: tuple[Path, Any]) -> None:
    folder, found = swept
    again = sweep(project=folder, vary=VARY, trials=8)
    assert again == found
    more = sweep(project=folder, vary=VARY, trials=9)
    assert more.id == found.id and more.trials[:8] == found.trials and len(more.trials) == 9


KILLED = """
import sys
from pathlib import Path
from tunesmith.api import sweep
from tunesmith.core.reporter import SilentReporter
class Dies(SilentReporter):
    count = 0
    def progress(self, name, *, total, unit, done=0):
        inner = super().progress(name, total=total, unit=unit, done=done)
        class Counting:
            def advance(self, amount=1, text=None):
                if name == "train":
                    Dies.count += amount
                    if Dies.count >= 11:
                        import os, signal
                        os.kill(os.getpid(), signal.SIGKILL)
            def __enter__(self): return self
            def __exit__(self, *of): pass
        return Counting()
sweep(project=sys.argv[1], vary={"train.learning_rate": "1e-3..1e-2:log"}, trials=3, reporter=Dies())
"""


@pytest.mark.slow
def test_a_killed_sweep_continues_with_the_trial_that_was_under_way(tmp_path: Path, tiny_path: Path) -> None:
    folder = make(tmp_path, tiny_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    journal = next(folder.glob(".tunesmith/sweeps/*/journal.log"))
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 5, "trial_')  # and half a line
    states = {row.state for row in runs(folder).rows}
    assert states == {"done", "interrupted"}
    found = sweep(project=folder, vary={"train.learning_rate": "1e-3..1e-2:log"}, trials=3)
    assert len(found.trials) == 3 and not [one for one in found.trials if one.state == "failed"]
    assert "interrupted" not in {row.state for row in runs(folder).rows}


# --- bad input --------------------------------------------------------------------------------------------------------


def test_spaces_are_read_as_people_write_them() -> None:
    found = read_space({"train.learning_rate": "1e-4..1e-2:log", "method.rank": "4..16", "method.targets": "all,attention"})
    assert found["train.learning_rate"] == Range(1e-4, 1e-2, log=True) and found["method.targets"] == ["all", "attention"]
    assert found["method.rank"] == Range(4, 16) and Range(4, 16).whole and not Range(1e-4, 1e-2).whole


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("train.learning_rte", "1..2", "no such setting"),
        ("gates.stop_margin", "0..1", "a sweep cannot vary this"),
        ("split.seed", "1,2", "a sweep cannot vary this"),
        ("train.val_examples", "1,2", "a sweep cannot vary this"),
        ("train.gain_kept", "0.5,1", "a sweep cannot vary this"),
        ("method.rank", "16..4", "cannot vary"),
        ("method.rank", "0..4:log", "cannot vary"),
        ("method.rank", "4", "cannot vary"),
        ("method.rank", "four..five", "cannot vary"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_a_hint(name: str, text: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what) as error:
        read_space({name: text})
    assert error.value.problems[0].hint


@pytest.mark.slow
def test_a_second_sweep_on_the_same_storage_is_refused(swept: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder, found = swept
    with sweeping._alone(Path(found.folder)), pytest.raises(TrainingError, match="another process runs this sweep"):
        sweep(project=folder, vary=VARY, trials=8)
    main(["sweep", "--project", str(folder), *_words(), "--trials", "8", "--json"])
    assert json.loads(capsys.readouterr().out)["counts"]["failed"] == 0


def _words() -> list[str]:
    return [word for name, choices in VARY.items() for word in ("--vary", f"{name}={','.join(map(str, choices))}")]


@pytest.mark.slow
def test_a_trial_that_cannot_be_trained_fails_and_the_others_go_on(tmp_path: Path, tiny_path: Path) -> None:
    folder = make(tmp_path, tiny_path)
    found = sweep(project=folder, vary={"method.kind": ["lora", "full"], "method.rank": [2, 4]}, trials=3, seed=1)
    assert (
        {one.state for one in found.trials} >= {"done", "failed"}
        and found.best
        and found.best.settings["method.kind"] == "lora"
    )
    assert all("no effect" in one.note for one in found.trials if one.state == "failed")
    with pytest.raises(TrainingError, match="without trials"):
        sweep(project=folder, trials=0)
