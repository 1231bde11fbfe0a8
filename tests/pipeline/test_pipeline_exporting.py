"""Exports of a finished run: the form that ships is asked the evaluation's own questions, and judged by its rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import golden_rows
from tunesmith.api import export, export_table, verify
from tunesmith.api.pipeline import open_project
from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ArtifactError, EvaluationError, StorageError
from tunesmith.core.files import sha256_file
from tunesmith.data.dataset.golden import add_golden
from tunesmith.eval.files import read_verdict
from tunesmith.eval.probes import GOLDEN, TAUGHT
from tunesmith.eval.results import read_evidence
from tunesmith.eval.verdict import Verdict
from tunesmith.models.generate import Completion, Request
from tunesmith.models.use import GREEDY_USE
from tunesmith.pipeline.exporting import recommended
from tunesmith.pipeline.finished import FinishedRun, finished_run
from tunesmith.ship import formats
from tunesmith.ship.format import format_kinds
from tunesmith.systems.local import LocalSystem

SETTINGS: dict[str, Any] = {
    "build.passage_words": 40,
    "split.val": 0.2,
    "split.test": 0.5,
    "method.rank": 4,
    "train.max_steps": 8,
    "train.learning_rate": 0.01,
    "train.batch_examples": 4,
    "train.precision": "float32",
    "eval.max_new_tokens": 6,
    "eval.draws": 300,
    "eval.suites": [],
    "gates.min_documents": 2,
}

_UNTUNED = """
from contextlib import contextmanager
from dataclasses import replace
from tunesmith.ship.formats import merged

def write(source, folder, quant):
    return merged.FORMAT.write(replace(source, merged=source.base), folder, quant)

FORMAT = replace(merged.FORMAT, name="untuned", title="the base by mistake", write=write, order=900)
"""
_NO_ENGINE = """
from dataclasses import replace
from tunesmith.core.errors import EngineError
from tunesmith.ship.formats import merged

def never(source, path):
    raise EngineError("the engine is not installed", value="toy", expected="toy 1.0", hint="pip install toy")

toy = {"name": "unopened", "title": "for an engine that is not here", "engine": "toy", "order": 901}
FORMAT = replace(merged.FORMAT, **toy, reference=never)
"""


@pytest.fixture(scope="module")
def root(tiny_path: Path, posts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has run once."""
    place = tmp_path_factory.mktemp("exported")
    general = [
        {"prompt": f"What is {n} and {n}?", "completion": f"It is {2 * n}, since {n} and {n} make that."} for n in range(9)
    ]
    (place / "general.jsonl").write_text("\n".join(map(json.dumps, general)))
    add_golden(place, golden_rows())
    settings = {**SETTINGS, "mix.general": [str(place / "general.jsonl")]}
    assert open_project(posts, project=place, base=str(tiny_path), settings=settings).outcome
    return place


@pytest.fixture(autouse=True, scope="module")
def further_formats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two more formats: one that ships the base by mistake, one whose engine is missing."""
    folder = tmp_path_factory.mktemp("formats")
    for name, text in (("untuned", _UNTUNED), ("unopened", _NO_ENGINE)):
        (folder / f"{name}.py").write_text(text)
    before = list(formats.__path__)
    formats.__path__ = [*before, str(folder)]
    format_kinds.cache_clear()
    yield
    formats.__path__ = before
    for name in ("untuned", "unopened"):
        sys.modules.pop(f"tunesmith.ship.formats.{name}", None)
    format_kinds.cache_clear()


def test_a_merged_folder_keeps_the_verdict_of_the_adapter(root: Path) -> None:
    made = export(to="merged", project=root)
    numbers = made.artifact.numbers
    tested = json.loads(next((root / ".tunesmith" / "evals").glob("*/verdict.json")).read_text())
    assert numbers["verdict"] == tested["verdict"]
    assert abs(numbers["against_adapter"]["mean"]) < 1e-4
    assert Path(made.report).is_file()


def test_a_gguf_is_judged_by_what_llama_cpp_answers(root: Path) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra llama-cpp")
    made = export(to="gguf", quant="f32", project=root)
    shipped = read_evidence(made.artifact.path / "evidence.json").system("tuned")
    assert shipped is not None and shipped.label.endswith("in llama.cpp") and shipped.generations and shipped.likelihoods
    assert abs(made.artifact.numbers["against_adapter"]["mean"]) < 1e-3
    assert made.file.suffix == ".gguf" and made.artifact.numbers["bits_per_weight"] > 32


def test_the_base_shipped_by_mistake_fails(root: Path) -> None:
    made = export(to="untuned", project=root)
    assert (made.state, made.exit_code) == ("fail", 2)
    assert any("loses more than the margin" in mark for mark in made.artifact.numbers["marks"])


def test_everything_that_was_measured_of_the_tuned_model_is_measured_of_the_form(root: Path) -> None:
    made = export(to="merged", project=root)
    tested = read_evidence(next((root / ".tunesmith" / "evals").glob("*/evidence.json")))
    shipped = read_evidence(made.artifact.path / "evidence.json")
    a, b = tested.system("tuned"), shipped.system("tuned")
    assert a is not None and b is not None and a.fingerprint != b.fingerprint
    assert [one.item_id for one in a.likelihoods] == [one.item_id for one in b.likelihoods]
    assert len(a.generations) == len(b.generations) and len(a.greedy) == len(b.greedy)
    assert {name: set(sides) for name, sides in tested.probes.items()} == {k: set(v) for k, v in shipped.probes.items()}
    assert tested.probes[TAUGHT]["base"] == shipped.probes[TAUGHT]["base"] != ()  # the gate answers_the_question needs it
    assert tested.general is not None and shipped.general is not None and tested.general.n == len(shipped.general.tuned)
    assert tested.system("base") == shipped.system("base") and shipped.system("merged") is None
    assert len(shipped.golden) == 7 and shipped.golden == tested.golden and {"base", "tuned"} == set(shipped.probes[GOLDEN])
    ruled = {gate.name: gate.state for gate in read_verdict(made.artifact.path / "verdict.json").gates}
    assert ruled["golden"] == {gate.name: gate.state for gate in made_of(root).gates}["golden"]
    assert tested.voice is not None and shipped.voice is not None and shipped.voice.check == tested.voice.check


def made_of(root: Path) -> Verdict:
    return read_verdict(next((root / ".tunesmith" / "evals").glob("*/verdict.json")))


def test_the_verdict_on_a_form_is_computed_again_from_what_it_holds(root: Path) -> None:
    made = export(to="merged", project=root)
    assert verify(made.artifact.id, project=root).holds


def test_a_form_whose_engine_is_missing_is_written_and_not_measured(root: Path) -> None:
    made = export(to="unopened", project=root)
    assert (made.state, made.exit_code, made.report) == ("not measured", 3, "")
    assert "the engine is not installed" in made.artifact.numbers["marks"][0]
    assert made.file.is_dir()


def test_a_form_whose_engine_was_missing_is_asked_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(to="unopened", project=root)
    missing = "toy did not open it (it crashed)"
    monkeypatch.setattr("tunesmith.pipeline.exporting._judged", lambda *args: (None, None, missing))
    assert missing in export(to="unopened", project=root).artifact.numbers["marks"][0]


def test_a_form_whose_engine_was_missing_stays_until_it_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = export(to="unopened", project=root)
    monkeypatch.setattr("tunesmith.pipeline.exporting._judged", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(to="unopened", project=root)
    assert Store(root / ".tunesmith").find("export", first.artifact.id) is not None


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


_KILLED = """
import os, sys
from pathlib import Path
from tunesmith.api import export
from tunesmith.eval import kept_system
from tunesmith.systems.local import LocalSystem

kept_system._AT_ONCE = 2
asked, whole = 0, LocalSystem.answer

def killed(self, requests, *, on_done=lambda count: None):
    global asked
    asked += 1
    if asked > 3:
        os._exit(9)
    return whole(self, requests, on_done=on_done)

LocalSystem.answer = killed
export(to="merged", project=Path(sys.argv[1]))
"""


def test_an_export_that_is_killed_goes_on_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over both processes every question is asked once, and what comes out is that of an export that was never killed."""
    asked = _counted(monkeypatch)
    shutil.rmtree(export(to="merged", project=root).artifact.path)
    asked.clear()
    whole = export(to="merged", project=root)
    expected, all_asked = read_evidence(whole.artifact.path / "evidence.json").system("tuned"), sum(asked)
    shutil.rmtree(whole.artifact.path)
    work = root / ".tunesmith" / "work" / whole.artifact.id[:16]
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(root)], check=False, timeout=300)
    kept = sum(line.startswith(b"{") for file in work.glob("*.jsonl") for line in file.read_bytes().splitlines())
    assert (killed.returncode, kept) == (9, 6)
    asked.clear()
    again = export(to="merged", project=root)
    found = read_evidence(again.artifact.path / "evidence.json").system("tuned")
    assert sum(asked) == all_asked - 6
    assert again.artifact.id == whole.artifact.id and not work.exists()
    assert expected is not None and found is not None
    assert (found.generations, found.greedy, found.likelihoods) == (
        expected.generations,
        expected.greedy,
        expected.likelihoods,
    )
    assert expected.cost is not None and found.cost is None  # of two processes nobody timed


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    asked: list[int] = []
    answer = LocalSystem.answer

    def counted(self: LocalSystem, requests: Sequence[Request], **more: Any) -> list[Completion]:
        asked.append(len(requests))
        return answer(self, requests, **more)

    monkeypatch.setattr(LocalSystem, "answer", counted)
    return asked


def test_another_merged_model_or_other_sampling_settings_are_another_export(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export(to="unopened", judged=False, project=root).artifact.id
    use = finished_run(Store(root / ".tunesmith")).use
    with monkeypatch.context() as patch:
        patch.setattr(FinishedRun, "use", replace(use or GREEDY_USE, draws=7))
        second = export(to="unopened", judged=False, project=root).artifact.id
    with monkeypatch.context() as patch:
        patch.setattr(FinishedRun, "merged", None)
        third = export(to="unopened", judged=False, project=root).artifact.id
    assert len({first, second, third}) == 3


def test_neither_a_form_of_a_model_that_may_not_ship_nor_one_of_an_older_evaluation_is_recommended() -> None:
    def of(evaluation: str, state: str, size: int, verdict: str = "SHIP") -> Artifact:
        numbers = {"state": state, "bytes": size, "verdict": verdict}
        return Artifact(Path(), {"id": evaluation, "inputs": [{"kind": "eval", "id": evaluation}], "numbers": numbers})

    newest = Artifact(Path(), {"kind": "eval", "id": "new"})
    exports = [
        of("new", "pass", 0, "DON'T SHIP"),
        of("old", "pass", 1),
        of("new", "fail", 2),
        of("new", "not measured", 3),
        of("new", "pass", 4),
        of("new", "pass", 5),
    ]
    assert recommended(exports, newest) is exports[4]
    assert recommended(exports, None) is None


def test_a_form_that_was_only_written_is_not_measured(root: Path) -> None:
    made = export(to="merged", judged=False, project=root)
    assert made.state == "not measured" and made.artifact.numbers["verdict"] is None


def test_the_table_recommends_no_form_that_lost(root: Path) -> None:
    for name in ("merged", "untuned", "unopened"):
        export(to=name, project=root)
    found = export_table(project=root)
    assert {row.artifact.numbers["form"] for row in found.rows} >= {"merged", "untuned", "unopened"}
    best = found.as_dict()["recommended"]
    assert best is None or best["form"] in ("merged", "gguf")


def test_files_are_copied_whole_with_their_hashes(root: Path, tmp_path: Path) -> None:
    made = export(to="merged", judged=False, project=root, out=tmp_path / "out")
    sheet = json.loads((tmp_path / "out" / "export.json").read_text())
    assert {name: sha256_file(tmp_path / "out" / name) for name in sheet["files"]} == sheet["files"]
    assert sheet["marks"] and made.folder == tmp_path / "out"


def test_a_folder_with_something_in_it_is_not_exported_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="not empty"):
        export(to="merged", judged=False, project=root, out=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]


def test_a_changed_byte_in_an_export_is_found_and_nothing_is_published(root: Path, tmp_path: Path) -> None:
    made = export(to="unopened", judged=False, project=root)
    file = made.folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = export(to="unopened", judged=False, project=root, out=tmp_path / "out")
    assert sha256_file(again.folder / "model.safetensors") == sha256_file(file) != ""
    assert file.read_bytes() == whole


def test_what_belongs_to_no_run_cannot_be_exported(root: Path) -> None:
    with pytest.raises(ArtifactError, match="no training run"):
        export("documents:latest", to="merged", project=root)


def test_an_unknown_format_is_refused_with_the_nearest(root: Path) -> None:
    with pytest.raises(EvaluationError) as caught:
        export(to="merge", project=root)
    assert caught.value.problems[0].hint == "--to merged"
