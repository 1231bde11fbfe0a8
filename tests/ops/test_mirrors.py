"""Mirrors: what a tracker's own reader finds is what the artifacts hold, once; a tracker that fails costs a run nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from judged_runs import add_judged_run
from many_runs import add_run
from project_fakes import SECRET, make_project

from fakes import Told
from tunesmith.api import mirror_runs, runs
from tunesmith.api.recipes import recipe_from
from tunesmith.api.tracking import tracked
from tunesmith.cli.main import main
from tunesmith.core.errors import RecipeError, TrackerError
from tunesmith.core.reporter import StageDone
from tunesmith.ops.mirrors.mirror import MirrorReporter
from tunesmith.ops.mirrors.payload import payload_of
from tunesmith.ops.runs.row import RunRow
from tunesmith.pipeline.sections.tracking import TrackingConfig

CLOSED = "http://127.0.0.1:9"  # the port of discard: nothing listens


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    add_judged_run(make_project(folder), None, rank=32, trained=640)
    return folder


def rows_of(project: Path) -> list[RunRow]:
    return sorted(runs(project).rows, key=lambda row: row.settings["method.rank"])


def mirrored_twice(project: Path, tracker: str) -> Path:
    pytest.importorskip(tracker, reason=f"needs {tracker}, which the extra {tracker} brings")
    for _ in range(2):
        done = mirror_runs(to=[tracker], project=project)
        assert len(done) == 2 and not any(one.refused for one in done)  # it tried to reach nobody
    return project / ".tunesmith" / "trackers"


def read(code: str) -> list[Any]:
    """What a program of its own prints: trackers change the process that imports them."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.slow
def test_mlflow_holds_each_run_once_with_its_settings_numbers_and_curves(project: Path) -> None:
    file = mirrored_twice(project, "mlflow") / "mlflow.db"
    first, _ = rows_of(project)
    found = read(
        f"""import json
from mlflow import MlflowClient
c = MlflowClient(tracking_uri={"sqlite:///" + str(file)!r})
runs = c.search_runs([c.get_experiment_by_name("tunesmith").experiment_id])
one = next(r for r in runs if r.data.tags["tunesmith.run_id"] == {first.id!r})
curve = [[m.step, m.value] for m in c.get_metric_history(one.info.run_id, "val_loss")]
print(json.dumps([len(runs), one.data.params, one.data.metrics, one.data.tags, curve, one.info.status,
    [i.dataset.name for i in one.inputs.dataset_inputs]]))"""
    )
    count, settings, numbers, tags, curve, status, datasets = found
    assert (count, tags["tunesmith.verdict"], status) == (2, "SHIP", "FINISHED") and curve == [[0, 2.0], [4, 1.5]]
    assert "**SHIP**" in tags["mlflow.note.content"] and datasets == [f"dataset {(first.dataset or '')[:8]}"]
    assert settings["method.rank"] == "8" and settings["base"] == "smollm2"
    gain = f"result/{first.metric}_gain_over_base"
    assert numbers[gain] == first.gain and numbers[f"{gain}_low"] == (first.gain_ci or [0])[0]
    assert numbers["result/best_val_loss"] == first.loss and "train_loss" in numbers


@pytest.mark.slow
def test_trackio_holds_each_run_once_with_its_settings_numbers_and_curves(project: Path) -> None:
    folder = mirrored_twice(project, "trackio") / "trackio"
    first, _ = rows_of(project)
    gain = f"result/{first.metric}_gain_over_base"
    found = read(
        f"""import json, os
os.environ["TRACKIO_DIR"] = {str(folder)!r}
from trackio.sqlite_storage import SQLiteStorage as S
name = {f"smollm2 {first.id[:8]}"!r}
logs = S.get_logs("tunesmith", name)
print(json.dumps([S.get_runs("tunesmith"), S.get_run_config("tunesmith", name),
    [[r["step"], r["val_loss"]] for r in logs if "val_loss" in r], [r[{gain!r}] for r in logs if {gain!r} in r]]))"""
    )
    names, config, curve, gains = found
    assert len(names) == 2 and config["method.rank"] == "8" and config["tunesmith.verdict"] == "SHIP"
    assert curve == [[0, 2.0], [4, 1.5]] and gains == [first.gain]


@pytest.mark.slow
def test_tensorboard_holds_each_run_once_with_its_settings_numbers_and_curves(project: Path) -> None:
    folder = mirrored_twice(project, "tensorboard") / "tensorboard" / "tunesmith"
    first, _ = rows_of(project)
    gain = f"result/{first.metric}_gain_over_base"
    found = read(
        f"""import json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator({str(folder / first.id[:16])!r}); a.Reload()
print(json.dumps([[[e.step, e.value] for e in a.Scalars("val_loss")], [e.value for e in a.Scalars({gain!r})],
    a.Tags()["tensors"]]))"""
    )
    curve, gains, texts = found
    assert curve == [[0, 2.0], [4, 1.5]] and gains == [pytest.approx(first.gain)]
    assert texts == ["verdict/text_summary", "settings/text_summary"] and len(list(folder.iterdir())) == 2


@pytest.mark.slow
def test_wandb_has_an_offline_run_of_each_once(project: Path) -> None:
    folder = mirrored_twice(project, "wandb") / "wandb"
    first, _ = rows_of(project)
    kept = sorted(path.name.rsplit("-", 1)[1] for path in folder.glob("offline-run-*"))
    assert kept == sorted(row.id[:16] for row in rows_of(project))
    (file,) = folder.glob(f"offline-run-*-{first.id[:16]}/*.wandb")
    whole = file.read_bytes()
    assert b"val_loss" in whole and b"method.rank" in whole and b"_gain_over_base" in whole and b"**SHIP**" in whole
    assert SECRET.encode() not in whole


def test_a_tracker_gets_no_text(project: Path) -> None:
    metrics = next(project.glob(f".tunesmith/runs/{rows_of(project)[0].id[:16]}/metrics.jsonl"))
    assert SECRET.encode() in metrics.read_bytes()
    sent = orjson.dumps(payload_of(rows_of(project)[0]).as_dict())
    assert SECRET.encode() not in sent and b"samples" not in sent and b"val_loss" in sent


# --- trackers that fail -----------------------------------------------------------------------------------------------


def test_a_server_that_refuses_is_a_message_and_the_run_goes_on(project: Path) -> None:
    pytest.importorskip("mlflow", reason="needs mlflow, which the extra mlflow brings")
    with pytest.raises(TrackerError, match="mlflow did not take the run") as error:
        mirror_runs(rows_of(project)[0].id[:8], to=["mlflow"], project=project, mlflow_url=CLOSED)
    assert "refused" in str(error.value.problems[0].value) and "runs mirror" in error.value.problems[0].hint


def trained(project: Path) -> StageDone:
    row = rows_of(project)[0]
    return StageDone(kind="run", title="train", id=row.id, path="", numbers={}, text="")


def test_a_tracker_that_fails_while_a_pipeline_runs_is_a_warning(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    reporter = MirrorReporter(TrackingConfig(to=["mlflow"], mlflow_url=CLOSED), project, warn=said.append)
    monkeypatch.setattr("tunesmith.ops.mirrors.mirror.importlib.util.find_spec", lambda name: None)
    reporter.event(trained(project))
    assert len(said) == 1 and "mlflow is not installed" in said[0]
    assert "the run is not affected" in said[0] and "tunesmith runs mirror" in said[0]


def test_a_tracker_that_crashes_or_hangs_is_ended_and_reported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    reporter = MirrorReporter(TrackingConfig(to=["wandb"]), project, warn=said.append)
    monkeypatch.setattr("tunesmith.ops.mirrors.mirror.importlib.util.find_spec", lambda name: True)
    fake = project / "python"
    monkeypatch.setattr(sys, "executable", str(fake))
    fake.write_text("#!/bin/sh\necho 'the tracker burst' >&2\nexit 7\n")
    fake.chmod(0o700)
    reporter.event(trained(project))
    monkeypatch.setattr("tunesmith.ops.mirrors.mirror._LIMIT_S", 0.05)
    monkeypatch.setattr("tunesmith.ops.mirrors.mirror._EACH_S", 0.05)
    fake.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    reporter.event(trained(project))
    assert "the tracker burst" in said[0] and "did not finish" in said[1]


def test_a_run_that_is_gone_and_a_folder_that_cannot_be_made_are_warnings_too(tmp_path: Path) -> None:
    add_run(tmp_path, 1)  # its files are not those of its manifest
    said: list[str] = []
    (tmp_path / ".tunesmith" / "trackers").write_text("a file where a folder belongs")
    reporter = MirrorReporter(TrackingConfig(to=["tensorboard"]), tmp_path, warn=said.append)
    for id in (runs(tmp_path).rows[0].id, "f" * 64):
        reporter.event(StageDone(kind="run", title="train", id=id, path="", numbers={}, text=""))
    assert len(said) == 2 and "no such run" in said[1]


def test_only_trackers_of_the_recipe_are_fed(project: Path) -> None:
    told = Told()
    recipe = recipe_from({"sources": ["./posts"]})
    assert tracked(recipe, project, told) is told
    named = recipe_from({"sources": ["./posts"], "tracking": {"to": ["tensorboard"]}})
    assert tracked(named, project, told) is not told
    with pytest.raises(RecipeError, match=r"tracking\.to"):
        recipe_from({"sources": ["./posts"], "tracking": {"to": ["mlflw"]}})
    with pytest.raises(RecipeError, match=r"mlflow_url"):
        recipe_from({"sources": ["./posts"], "tracking": {"mlflow_url": "http://me:secret@host"}})


@pytest.mark.parametrize("words", [["--to", "mlflw"], [], ["--to", "mlflow", "--mlflow-url", "here"]])
def test_wrong_uses_are_errors_with_hints(project: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["runs", "mirror", "--project", str(project), *words])
    assert "hint:" in capsys.readouterr().err


def test_damaged_and_unfinished_runs_are_not_mirrored(tmp_path: Path) -> None:
    add_run(tmp_path, 1)  # its files are not those of its manifest
    with pytest.raises(Exception, match="this run is damaged"):
        payload_of(runs(tmp_path).rows[0])
