"""The table of runs: what it says is what the artifacts hold, whatever the index says, and whatever lies about."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from many_runs import add_run, add_runs, sealed
from project_fakes import TUNED_WORSE, add_evaluation, make_project

from tunesmith.api import RunsTable, runs
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import MANIFEST
from tunesmith.ops.runs.index import INDEX
from tunesmith.ops.runs.table import find_run
from tunesmith.pipeline.sections.eval import GateConfig


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make_project(folder)
    return folder


def test_a_run_is_a_row_with_its_settings_its_score_and_its_verdict(finished: Path) -> None:
    (row,) = runs(finished).rows
    store = Store(finished / ".tunesmith")
    run, judged = store.resolve("run:latest"), store.resolve("eval:latest")
    report = orjson.loads((judged.path / "report.json").read_bytes())["systems"]["tuned"]["metrics"]["bits_per_byte"]
    better = orjson.loads((judged.path / "verdict.json").read_bytes())["gates"][0]
    assert (row.id, row.state, row.base, row.verdict, row.look) == (run.id, "done", "smollm2", "SHIP", 1)
    assert (row.loss, row.seconds, row.trained, row.memory_bytes) == (1.56, 75.0, 64, None)
    assert row.score == report["mean"] and row.score_ci == [report["ci"]["low"], report["ci"]["high"]]
    assert row.gain == better["value"] and row.gain_ci == better["interval"] and row.evaluation == judged.id
    assert row.settings["method.rank"] == 8 and row.dataset == store.resolve("dataset:latest").id


def test_the_newest_evaluation_counts_and_a_loosened_gate_is_marked(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    assert runs(tmp_path).rows[0].loosened == []
    add_evaluation(store, TUNED_WORSE, gates=GateConfig(general_margin=0.5), number=2)
    (row,) = runs(tmp_path).rows
    assert (row.verdict, row.look, row.loosened) == ("DON'T SHIP", 2, ["general"])


def test_only_settings_that_differ_are_in_a_row(tmp_path: Path) -> None:
    add_runs(tmp_path, 5)
    found = runs(tmp_path)
    assert found.differing == ("method.rank", "train.learning_rate")
    assert found.shared["train.seed"] == 7 and "method.rank" not in found.shared
    assert found.as_dict()["runs"][0]["settings"].keys() == {"method.rank", "train.learning_rate"}


def test_rows_are_filtered_and_sorted_by_columns_and_settings(tmp_path: Path) -> None:
    add_runs(tmp_path, 8)
    add_run(tmp_path, 8, judged=False, best_loss=9.0)
    losses = [row.loss or 0.0 for row in runs(tmp_path, sort="loss").rows]
    assert losses == sorted(losses) and losses[-1] == 9.0
    assert [row.loss for row in runs(tmp_path, sort="-loss").rows] == losses[::-1]
    assert runs(tmp_path, sort="score").rows[-1].verdict is None  # without a value: last, either way
    assert runs(tmp_path, sort="-score").rows[-1].verdict is None

    def count(*filters: str) -> int:
        return len(runs(tmp_path, filters=filters).rows)

    assert count("rank>=16 and verdict=SHIP") == 4 and count("method.rank>=16", "learning_rate<3e-4") == 1
    assert count("verdict=none") == 1 and count("verdict!=none") == 8 and count("score<0") == 0
    assert count("base='up and down'") == count('base="up and rank=16" and rank=16') == 0
    assert count("base~'ol' and rank>=16") == count("rank>=16") > 0
    assert count("base!='up and down' and rank>=16 and base!=it's") == count("rank>=16")
    assert count("base~olLM") == 9 and count("state!=done") == 0 and count("dataset=dddd") == 9


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"sort": "lss"}, "no such column"),
        ({"filters": ["rnk>3"]}, "no such column"),
        ({"filters": ["rank"]}, "cannot read this filter"),
        ({"filters": ["rank>high"]}, "compares with a word"),
        ({"filters": ["kind=lora"]}, "2 columns end in that"),
    ],
)
def test_a_column_or_filter_that_cannot_be_is_an_error_with_a_hint(tmp_path: Path, words: dict[str, Any], what: str) -> None:
    add_run(tmp_path, 1)
    manifest = next(tmp_path.glob(f".tunesmith/runs/*/{MANIFEST}"))
    settings = orjson.loads(manifest.read_bytes())
    add = {**settings, "settings": {**settings["settings"], "objective": {"kind": "dpo"}}}
    del add["seal"]
    manifest.write_bytes(sealed(add))
    with pytest.raises(ArtifactError, match=what) as error:
        runs(tmp_path, **words)
    assert error.value.problems[0].hint


# --- the index --------------------------------------------------------------------------------------------------------


def as_if_new(project: Path) -> RunsTable:
    """The table without an index."""
    (project / ".tunesmith" / INDEX).unlink()
    return runs(project)


def test_the_index_gives_the_same_table_and_is_not_written_again(tmp_path: Path) -> None:
    add_runs(tmp_path, 3)
    first = runs(tmp_path)
    written = (tmp_path / ".tunesmith" / INDEX).stat().st_mtime_ns
    assert runs(tmp_path) == first and (tmp_path / ".tunesmith" / INDEX).stat().st_mtime_ns == written
    assert as_if_new(tmp_path) == first


@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "not JSON", "other version", "other shape"])
def test_an_index_that_is_wrong_is_made_again(tmp_path: Path, harm: str) -> None:
    add_runs(tmp_path, 3)
    right, file = runs(tmp_path), tmp_path / ".tunesmith" / INDEX
    whole = file.read_bytes()
    harmed = {
        "cut": whole[:-40],
        "changed": whole.replace(b'"SHIP"', b'"SHOP"'),
        "empty": b"",
        "not JSON": b"\xff" + whole,
        "other version": whole.replace(b'"format":1', b'"format":0'),
        "other shape": b"[]\n[]",
    }[harm]
    assert harmed != whole
    file.write_bytes(harmed)
    assert runs(tmp_path) == right and file.read_bytes() == whole


def test_a_manifest_that_changes_comes_and_goes_is_seen_at_once(tmp_path: Path) -> None:
    add_runs(tmp_path, 3)
    assert len(runs(tmp_path).rows) == 3
    add_run(tmp_path, 3)
    assert len(runs(tmp_path).rows) == 4
    folder = next(tmp_path.glob(".tunesmith/runs/*"))
    (folder / MANIFEST).write_bytes(b"{}")
    assert [row.state for row in runs(tmp_path).rows].count("damaged") == 1
    (folder / MANIFEST).unlink()
    folder.rmdir()
    assert len(runs(tmp_path).rows) == 3 == len(as_if_new(tmp_path).rows)


def test_an_index_that_cannot_be_written_is_a_note_and_no_error(tmp_path: Path) -> None:
    add_run(tmp_path, 1)
    (tmp_path / ".tunesmith" / INDEX).mkdir()
    found = runs(tmp_path)
    assert len(found.rows) == 1 and "the index could not be written" in found.notes[0]


# --- what lies about --------------------------------------------------------------------------------------------------


def test_damaged_manifests_and_foreign_folders_are_named_and_the_others_are_shown(tmp_path: Path) -> None:
    good = add_run(tmp_path, 1)
    root = tmp_path / ".tunesmith" / "runs"
    for name, content in {"a" * 16: b"", "b" * 16: b"[1]", "c" * 16: b'{"kind": "run", "seal": 1}'}.items():
        (root / name).mkdir()
        (root / name / MANIFEST).write_bytes(content)
    (root / "of-another-program").mkdir()
    (root / ".tmp-half").mkdir()
    (root / "latest").write_text(good)
    (tmp_path / ".tunesmith" / "evals").mkdir(exist_ok=True)
    (tmp_path / ".tunesmith" / "agreements").write_text("a file where a folder belongs")
    rows = {row.id: row for row in runs(tmp_path).rows}
    assert rows[good].state == "done" and len(rows) == 5
    assert {rows[name * 16].state for name in "abc"} == {"damaged"} and all(rows[name * 16].note for name in "abc")
    assert "cannot be read" in rows["of-another-program"].note


def test_a_run_under_way_is_shown_with_its_progress_and_an_interrupted_one_as_such(tmp_path: Path) -> None:
    add_run(tmp_path, 1)
    for name, process in (("under", os.getpid()), ("stopped", 2**22 + 1)):
        work = tmp_path / ".tunesmith" / "work" / name
        work.mkdir(parents=True)
        (work / "holder").write_text(f"process {process}")
        log = [{"step": 0, "val_loss": 3.0}, {"step": 5, "loss": 2.0}, {"step": 5, "val_loss": 2.5}]
        (work / "metrics.jsonl").write_bytes(b"\n".join(map(orjson.dumps, log)) + b'\n{"step": 6, "lo')
    rows = {row.id: row for row in runs(tmp_path).rows}
    assert (rows["under"].state, rows["stopped"].state) == ("under way", "interrupted")
    assert (rows["under"].steps, rows["under"].loss, rows["under"].best_step) == (5, 2.5, 5)
    with pytest.raises(ArtifactError, match="this run is under way"):
        find_run("under", list(rows.values()))


def test_a_folder_of_projects_stands_for_all_of_them(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two", "deep/three")):
        add_run(tmp_path / name, number)
    assert len(runs(tmp_path).rows) == 3 and len(runs(tmp_path / "one", tmp_path / "two").rows) == 2
    (tmp_path / "empty").mkdir()
    for place, what in (("empty", "no project here"), ("nowhere", "no such folder")):
        with pytest.raises(ArtifactError, match=what):
            runs(tmp_path / place)


def test_the_command_prints_a_table_of_eighty_columns_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_runs(tmp_path, 30)
    monkeypatch.setenv("COLUMNS", "80")
    main(["runs", "--project", str(tmp_path), "--sort", "loss"])
    shown = capsys.readouterr()
    assert max(map(len, shown.out.splitlines())) <= 80 and "[+0." in shown.out
    assert "30 runs; the first 20 are shown" in shown.err and "the same in all: method kind lora" in shown.err
    main(["runs", "--project", str(tmp_path), "--filter", "rank=4", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["num_runs"] == 30 and len(found["runs"]) == 8 and found["differing"] == ["train.learning_rate"]
    main(["runs", "--project", str(tmp_path), "--filter", "rank=5"])
    assert "no runs; the filter leaves out all 30" in capsys.readouterr().err
