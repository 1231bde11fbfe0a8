"""A run is mirrored while it is trained, by a follower of its log; a tracker that fails or hangs costs the training nothing."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from project_fakes import make_project
from test_mirror_fence import on_path

from tunesmith.api import mirror_runs
from tunesmith.core.artifacts import Store
from tunesmith.ops.mirrors.following import Followers, followed, workspace_here
from tunesmith.ops.mirrors.mirror import MirrorReporter
from tunesmith.ops.mirrors.payload import curve_rows
from tunesmith.pipeline.sections.tracking import TrackingConfig
from tunesmith.train.checkpoint import lock

ID = "5e6f7a8b5e6f7a8b"


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run that this process trains, with two rows in its log and the beginning of a third."""
    workspace = tmp_path / ".tunesmith" / "work" / ID
    with lock(workspace):
        (workspace / "metrics.jsonl").write_bytes(b'{"step": 0, "val_loss": 2.0}\n{"step": 1, "loss": 1.9}\n{"step": 2, "lo')
        yield workspace


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.ops.mirrors.following._EVERY_S", 0.01)
    monkeypatch.setattr("tunesmith.ops.mirrors.mirror.importlib.util.find_spec", lambda name: True)


class Heard:
    """A pipe on which a planted tracker tells what it was given."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path, self.end = path, os.open(path, os.O_RDWR)
        self._rest = b""

    def line(self) -> Any:
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.end], [], [], 60)
            assert ready, "the tracker was given nothing"
            self._rest += os.read(self.end, 1 << 16)
        first, _, self._rest = self._rest.partition(b"\n")
        return json.loads(first)


def planted(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A tracker in the place of Trackio whose `bulk_log` does `body`, with the names of its parameters at hand."""
    package = folder / "planted" / "trackio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sqlite_storage.py").write_text(
        "import json, os, signal\n"
        "def bulk_log(project, name, metrics, *, steps, timestamps, config, run_id):\n"
        f"    {body}\n"
        "class SQLiteStorage:\n"
        "    delete_run = staticmethod(lambda *a, **k: None)\n"
        "    bulk_log = staticmethod(bulk_log)\n"
    )
    on_path(monkeypatch, folder / "planted")


def telling(heard: Heard) -> str:
    return (
        f"told = json.dumps([run_id, steps, metrics, config]); pipe = os.open({str(heard.path)!r}, os.O_WRONLY);"
        " os.write(pipe, (told + '\\n').encode()); os.close(pipe)"
    )


def reporter(project: Path, said: list[str], *to: str) -> MirrorReporter:
    return MirrorReporter(TrackingConfig(to=list(to or ["trackio"])), project, warn=said.append)  # type: ignore[arg-type]


def test_what_the_log_takes_up_is_in_the_tracker_before_the_run_is_done(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    heard, said = Heard(tmp_path / "pipe"), list[str]()
    planted(tmp_path, monkeypatch, telling(heard))
    with reporter(tmp_path, said).progress("train", total=9, unit="steps") as progress:
        assert isinstance(progress, Followers) and len(progress.processes) == 1
        run_id, steps, metrics, config = heard.line()
        assert (run_id, steps, config["tunesmith.state"]) == (ID, [0, 1], "under way")
        assert metrics == [{"val_loss": 2.0}, {"train_loss": 1.9}]  # what was only half written is not there
        with (training / "metrics.jsonl").open("ab") as log:
            log.write(b'ss": 1.8}\n')
        progress.advance(1)
        while (told := heard.line())[1] != [0, 1, 2]:
            pass
        assert told[2][-1] == {"train_loss": 1.8}
        (process,) = progress.processes
    assert process.poll() == 0 and not said


@pytest.mark.parametrize("body", ["raise ConnectionError('down')", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_tracker_that_fails_each_time_is_no_matter_of_the_training(
    body: str, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    said: list[str] = []
    planted(tmp_path, monkeypatch, body)
    with reporter(tmp_path, said).progress("train", total=9, unit="steps") as progress:
        for _ in range(9):
            progress.advance(1)
    assert isinstance(progress, Followers) and progress.processes[0].poll() is not None and not said


def test_a_write_that_failed_is_made_again_whole(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    heard, said, mark = Heard(tmp_path / "pipe"), list[str](), tmp_path / "was-down"
    once = f"if not os.path.exists({str(mark)!r}):\n        os.mkdir({str(mark)!r})\n        raise ConnectionError"
    planted(tmp_path, monkeypatch, f"{once}\n    {telling(heard)}")
    with reporter(tmp_path, said).progress("train", total=9, unit="steps"):
        assert heard.line()[1] == [0, 1] and mark.exists()


def test_a_tracker_that_hangs_is_ended_with_the_training(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    heard = Heard(tmp_path / "pipe")
    monkeypatch.setattr("tunesmith.ops.mirrors.following._END_S", 0.05)
    planted(tmp_path, monkeypatch, f"{telling(heard)}\n    signal.pause()")
    with reporter(tmp_path, []).progress("train", total=9, unit="steps") as progress:
        heard.line()
    assert isinstance(progress, Followers) and progress.processes[0].poll() == -9


def test_a_follower_ends_with_the_process_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import os, sys
from pathlib import Path
from tunesmith.train.checkpoint import lock
from tunesmith.ops.mirrors.following import followed
project = Path({str(tmp_path)!r})
with lock(project / ".tunesmith" / "work" / {ID!r}):
    order = {{"to": "tensorboard", "folder": str(project), "name": "n", "address": ""}}
    with followed(project, [(order, os.environ)]) as progress:
        print(progress.processes[0].pid, flush=True)
        sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdin is not None
    follower = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert follower.wait(timeout=60) is None  # it is gone; its exit code is not ours to know


def test_nothing_is_followed_where_this_process_trains_nothing_or_the_tracker_shows_nothing_live(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    planted(tmp_path, monkeypatch, "pass")
    assert workspace_here(tmp_path) == training and workspace_here(tmp_path / "other") is None
    for project, to in ((tmp_path, "wandb"), (tmp_path / "other", "trackio")):
        with reporter(project, [], to).progress("train", total=9, unit="steps") as progress:
            assert isinstance(progress, Followers) and not progress.processes
    assert not isinstance(reporter(tmp_path, []).progress("answers", total=9, unit="items"), Followers)
    (training / "holder").write_text("process 1")
    assert not followed(tmp_path, [({"to": "trackio"}, os.environ)])._orders


# --- the real trackers ------------------------------------------------------------------------------------------------

READERS = {
    "mlflow": """
from mlflow import MlflowClient
c = MlflowClient(tracking_uri="sqlite:///{folder}/mlflow.db")
runs = c.search_runs([c.get_experiment_by_name("tunesmith").experiment_id])
points = [[m.step, m.value] for m in c.get_metric_history(runs[0].info.run_id, "val_loss")]
print(json.dumps([len(runs), runs[0].info.status, sorted(points)]))""",
    "trackio": """
os.environ["TRACKIO_DIR"] = "{folder}/trackio"
from trackio.sqlite_storage import SQLiteStorage as S
names = S.get_runs("tunesmith")
state = S.get_run_config("tunesmith", names[0])["tunesmith.state"]
points = [[r["step"], r["val_loss"]] for r in S.get_logs("tunesmith", names[0]) if "val_loss" in r]
print(json.dumps([len(names), {{"under way": "RUNNING", "done": "FINISHED"}}[state], points]))""",
    "tensorboard": """
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
runs = list(Path("{folder}/tensorboard/tunesmith").iterdir())
a = EventAccumulator(str(runs[0]))
a.Reload()
state = "FINISHED" if "result/best_val_loss" in a.Tags()["scalars"] else "RUNNING"
print(json.dumps([len(runs), state, [[e.step, e.value] for e in a.Scalars("val_loss")]]))""",
}


def read(tracker: str, project: Path) -> list[Any]:
    code = "import json, os\n" + READERS[tracker].format(folder=project / ".tunesmith" / "trackers")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("tracker", READERS)
def test_a_real_tracker_has_the_run_under_way_and_the_same_run_once_when_it_is_done(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker, reason=f"needs {tracker}, which the extra {tracker} brings")
    store = make_project(tmp_path)
    run = store.resolve("run:latest")
    snapshots(tracker, store, run.id[:16])
    count, status, points = read(tracker, tmp_path)
    assert (count, status, points) == (1, "RUNNING", [[0, 2.0], [2, 1.75]])
    mirror_runs(to=[tracker], project=tmp_path)
    count, status, points = read(tracker, tmp_path)
    wanted = [[0, 2.0], [2, 1.75], [4, 1.5]] if tracker == "mlflow" else [[0, 2.0], [4, 1.5]]  # others are written anew
    assert (count, status, points) == (1, "FINISHED", wanted)


def snapshots(tracker: str, store: Store, id: str) -> None:
    """What a follower writes: the run once with one row and once with three."""
    code = f"""
import importlib, sys
from pathlib import Path
from tunesmith.ops.mirrors.following import _snapshot
rows = [{{"step": 0, "val_loss": 2.0}}, {{"step": 1, "loss": 1.9}}, {{"step": 2, "val_loss": 1.75}}]
folder = Path({str(store.root / "trackers")!r})
folder.mkdir(parents=True, exist_ok=True)
send = importlib.import_module("tunesmith.ops.mirrors.{tracker}").send
for count in (1, 3):
    send(_snapshot({id!r}, 1_700_000_000_000, rows[:count]), folder, "tunesmith", "")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_log_with_anything_in_it_gives_its_numbers(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert curve_rows(log) == []
    rows = [{"step": 1, "loss": 2.0, "samples": ["secret"]}, {"event": "resumed", "step": 1}, [1], {"loss": 3.0}]
    log.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\nnot JSON\n\xff")
    assert curve_rows(log) == [{"step": 1, "train_loss": 2.0}]
