"""A model card says what its artifacts say: each number has its source, and a number that is not theirs is found."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData
from project_fakes import SECRET, TUNED_WELL, TUNED_WORSE, add_evaluation, add_export, make_project

import tunesmith
from tunesmith.cli.main import main
from tunesmith.core.errors import ArtifactError, TunesmithError
from tunesmith.pipeline.sections.eval import GateConfig
from tunesmith.ship.card.sections.forms import run_commands
from tunesmith.ship.format import Format, format_kinds


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with an export. Not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    add_export(make_project(folder), marks=["loses more than its margin"])
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def test_a_card_says_how_the_update_was_scaled(project: Path) -> None:
    text = tunesmith.card(project=project, out=project / "README.md").text
    assert "their update multiplied by 0.700 to forget less" in text


def test_a_card_is_what_its_artifacts_say_until_a_number_in_it_is_edited(project: Path) -> None:
    card = project / "README.md"
    made = tunesmith.card(project=project, out=card)
    assert tunesmith.verify_card(card, project=project).ok
    card.write_text(card.read_text().replace("| steps | 4 |", "| steps | 40 |"))
    checked = tunesmith.verify_card(card, project=project)
    line = card.read_text().split("\n").index("| steps | 40 | run: manifest |") + 1
    assert [one["line"] for one in checked.drift] == [line] and "40" in checked.texts[0]
    assert made.text.count("| steps | 4 |") == 1


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("## Verdict: SHIP", "## Verdict: SHIP (best model of the year)"),
        lambda text: text.replace("**not measured**", "**pass**", 1),
        lambda text: text.replace("Not measured:\n", "", 1),
        lambda text: text + "\nIt is right 99 % of the time.\n",
        lambda text: re.sub(r"`[0-9a-f]{64}`", "`" + "0" * 64 + "`", text, count=1),
        lambda text: re.sub(r"value: [\d.]+", "value: 0.5", text),
    ],
)
def test_each_edit_of_a_card_is_found(project: Path, edit: Callable[[str], str]) -> None:
    card = project / "README.md"
    before = tunesmith.card(project=project, out=card).text
    card.write_text(edit(before))
    assert card.read_text() != before
    assert not tunesmith.verify_card(card, project=project).ok
    with pytest.raises(SystemExit) as stopped:
        main(["card", "--verify", str(card), "--project", str(project)])
    assert stopped.value.code == 2


def test_the_notes_of_the_author_may_say_anything_and_stay_when_the_card_is_made_again(project: Path) -> None:
    card = project / "README.md"
    text = tunesmith.card(project=project, out=card).text
    own = "<!-- notes: begin -->\nI wrote this in 2024, and 9 of 10 friends like it.\n"
    card.write_text(re.sub(r"<!-- notes: begin -->\n.*\n", own, text))
    assert tunesmith.verify_card(card, project=project).ok
    assert own in tunesmith.card(project=project, out=card).text


def test_every_number_names_an_artifact_a_file_and_a_place_that_hold_it(project: Path) -> None:
    made = tunesmith.card(project=project)
    ids = {artifact.id for artifact in tunesmith.artifacts(project=project)}
    assert len(made.numbers) > 60
    assert all(number["id"] in ids and number["file"] and number["pointers"] for number in made.numbers)
    assert all(str(number["text"]).strip() for number in made.numbers)


def test_the_hubs_own_library_reads_the_front_matter(project: Path) -> None:
    data = ModelCard(tunesmith.card(project=project).text, ignore_metadata_errors=False).data
    found: dict[str, Any] = vars(data)
    assert found["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (found["license"], found["language"], found["library_name"]) == ("apache-2.0", ["en"], "transformers")
    assert found["datasets"] == ["ann/letters"] and {"gguf", "lora"} <= set(found["tags"])
    assert isinstance(data, ModelCardData) and data.eval_results
    result = data.eval_results[0]
    report = (tunesmith.artifact("eval:latest", project=project).path / "report.json").read_text()
    assert result.metric_type == "bits_per_byte" and str(result.metric_value)[:6] in report


def test_the_writing_and_private_places_are_not_in_a_card(project: Path) -> None:
    made = tunesmith.card(project=project)
    everything = made.text + made.page + str(made.numbers)
    for private in (SECRET, "private.md", "/home/ann", "password", str(project)):
        assert private not in everything


def test_sources_authors_years_and_what_was_left_out_are_counted(project: Path) -> None:
    text = tunesmith.card(project=project).text
    assert "ann.example; data set ann/letters; 1 file of the author; 1 answers of the base itself" in text
    assert "Ann \\| Bee (66.7 %); not named (33.3 %)" in text
    assert "2024 (2)" in text and "1 of 4 (25.0 %)" in text
    assert "3 passages: passage too short" in text and "3 drafts left out" in text


def test_what_was_not_measured_is_said_and_never_made_up(tmp_path: Path) -> None:
    make_project(tmp_path, bits=None)
    text = tunesmith.card(project=tmp_path).text
    assert "> **Not proven.** This model was never evaluated" in text
    assert "Tunesmith trained it." in text and "measured whether tuning helped" not in text
    assert "## Verdict: *not measured*" in text and "everything that an evaluation measures" in text
    assert "| energy | *not measured*" in text and "general questions answered right | *not measured*" in text
    assert "model-index" not in text


def test_a_verdict_that_is_not_ship_is_said_at_the_top(tmp_path: Path) -> None:
    make_project(tmp_path, bits=TUNED_WORSE)
    text = tunesmith.card(project=tmp_path).text
    assert text.index("> **Not proven.** The verdict on this model is DON'T SHIP") < text.index("## Verdict: DON'T SHIP")


def test_a_loosened_gate_is_said_at_the_top_and_in_its_row(tmp_path: Path) -> None:
    make_project(tmp_path, gates=GateConfig(stop_margin=0.5))
    text = tunesmith.card(project=tmp_path).text
    assert "> **Checks made easier to pass than by default:** stop" in text
    assert "gates.stop\\_margin is 0.5, by default 0.1" in text


def test_marks_and_the_verdict_of_an_export_are_on_the_card(tmp_path: Path) -> None:
    add_export(make_project(tmp_path), verdict="DON'T SHIP", marks=["the verdict flipped"])
    text = tunesmith.card(project=tmp_path).text
    assert "> **Not proven in this form.** The verdict on `export-gguf-q8_0` is DON'T SHIP." in text
    assert "- `gguf-q8_0`: the verdict flipped" in text and "0.020 [0.010, 0.030]" in text
    assert "\nllama-server -m gguf-q8_0/model-q8_0.gguf\nllama-cli -m gguf-q8_0/model-q8_0.gguf\n" in text


def test_only_forms_that_exist_are_explained(tmp_path: Path) -> None:
    make_project(tmp_path)
    text = tunesmith.card(project=tmp_path).text
    assert "llama" not in text.lower().replace("llamaforcausallm", "") and "vllm serve merged" in text


def test_an_earlier_evaluation_is_named_and_a_later_one_changes_no_card(tmp_path: Path) -> None:
    store = make_project(tmp_path, bits=TUNED_WORSE)
    card = tmp_path / "README.md"
    tunesmith.card(project=tmp_path, out=card)
    add_evaluation(store, TUNED_WELL, gates=GateConfig(), number=2)
    assert tunesmith.verify_card(card, project=tmp_path).ok
    again = tunesmith.card(project=tmp_path, out=card).text
    assert "Earlier evaluations of this model: DON'T SHIP by bits\\_per\\_byte" in again
    assert "| evaluations on this test set so far | 2 |" in again


def test_a_wrong_id_a_damaged_artifact_and_a_file_that_is_not_a_card_are_refused(project: Path) -> None:
    with pytest.raises(ArtifactError, match="a card is made for a training run"):
        tunesmith.card("dataset:latest", project=project)
    with pytest.raises(ArtifactError, match="no such artifact"):
        tunesmith.card("ffff", project=project)
    other = project / "README.md"
    other.write_text("# My project\n")
    with pytest.raises(ArtifactError, match="not a card"):
        tunesmith.card(project=project, out=other)
    assert other.read_text() == "# My project\n"
    log = tunesmith.artifact("run:latest", project=project).path / "metrics.jsonl"
    log.write_bytes(log.read_bytes().replace(b"1.5", b"0.5"))
    with pytest.raises(TunesmithError, match="damaged"):
        tunesmith.card(project=project)


def test_text_from_outside_is_shown_as_text_on_the_page(tmp_path: Path) -> None:
    make_project(tmp_path)
    page = tunesmith.card(project=tmp_path, name="<script>alert(1)</script> | x", out=tmp_path / "card.html").page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert (tmp_path / "card.html").read_text().startswith("<!doctype html>")


def test_a_page_replaces_a_card_alone(project: Path) -> None:
    own = project / "index.html"
    own.write_text("<h1>My blog</h1>\n")
    with pytest.raises(ArtifactError, match="not a card, and is not replaced"):
        tunesmith.card(project=project, out=own)
    assert own.read_text() == "<h1>My blog</h1>\n"
    first = tunesmith.card(project=project, out=project / "card.html").page
    tunesmith.card(project=project, out=project / "card.html", name="another")
    assert (project / "card.html").read_text() != first


def test_a_card_is_not_written_under_the_name_of_another_format(project: Path) -> None:
    with pytest.raises(ArtifactError, match="not written in this format"):
        tunesmith.card(project=project, out=project / "card.pdf")
    assert not (project / "card.pdf").exists()


@pytest.mark.parametrize(("name", "checks"), [("README.md", True), ("card.html", False)])
def test_only_a_card_that_can_be_verified_says_so(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, checks: bool
) -> None:
    main(["card", "--project", str(project), "--out", str(project / name)])
    assert ("check it at any time" in capsys.readouterr().err) == checks


@pytest.mark.parametrize("kind", format_kinds(), ids=lambda kind: kind.name)
def test_every_format_says_what_to_type_to_run_it(kind: Format) -> None:
    lines = run_commands(kind.name, "here/model")
    assert lines and all("{" not in line for line in lines) and any("here/model" in line for line in lines)
    assert run_commands("unknown", "here/model") == ()
