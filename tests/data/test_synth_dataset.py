"""A dataset that a language model helped to write: labelled to the end, reported, within its budget, made by the verbs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_llm import Asked, FakeLLM, Said, fake_llm, good

from tunesmith.api import EXAMPLES, Project
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import BlockedError, DatasetError, GeneratorError
from tunesmith.core.records import Document, Example, Message, Origin, Quote, Support, from_dict, read_jsonl, to_json
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.synth.shares import find_shares, origins
from tunesmith.pipeline.recipe_file import knobs, recipe_from

SPLIT = {"val": 0.2, "test": 0.3}


class Listener(SilentReporter):
    """Writes down what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


def project(base: Path, posts: Path, root: Path, server: FakeLLM, *overrides: str, listener: Listener | None = None) -> Project:
    written: Mapping[str, Any] = {
        "base": str(base),
        "sources": [str(posts)],
        "build": {"style": "qa", "passage_words": 40},
        "generator": {"url": server.url, "model": "fake-1"},
        "split": SPLIT,
    }
    return Project(recipe_from(written, overrides), root, reporter=listener)


def rows_of(dataset: Artifact) -> list[Example]:
    return [row for name in ("train", "val", "test") for row in read_jsonl(dataset.path / f"{name}.jsonl", Example)]


def test_a_dataset_of_qa_is_labelled_mixed_with_passages_and_reported(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    listener = Listener()
    with fake_llm() as server:
        made = project(tiny_path, posts, tmp_path, server, listener=listener)
        dataset = made.dataset
        asked = len(server.asked)
        assert project(tiny_path, posts, tmp_path, server).dataset.id == dataset.id and len(server.asked) == asked
    texts = {d.id: d.text for d in read_jsonl(made.documents.path / "documents.jsonl", Document)}
    rows = rows_of(dataset)
    generated = [row for row in rows if row.origin is not None]
    assert generated and 0.2 <= 1 - len(generated) / len(rows) <= 0.4
    for row in generated:
        assert all(texts[row.document_id][q.start : q.end] == q.text for s in row.origin.support for q in s.quotes)  # type: ignore[union-attr]
    assert all(row.answer in texts[row.document_id] for row in rows if row.origin is None)
    report = json.loads((dataset.path / "report.json").read_bytes())
    page = (dataset.path / "report.html").read_text(encoding="utf-8")
    assert {(o["kind"], o["model"]) for o in report["origins"]} == {("people", None), ("qa", "fake-1")}
    assert dataset.numbers["synthesis"] == report["synthesis"]
    assert report["synthesis"]["kept"] >= len(generated) and "Written by a model" in page and "fake-1" in page
    assert [f["name"] for f in report["findings"] if f["name"] == "real_share"] == ["real_share"]
    assert any("requests to fake-1 at 127.0.0.1" in line and "stops at 2,000,000 tokens" in line for line in listener.said)


def test_the_budget_stops_the_build_and_the_same_command_with_more_goes_on(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    with fake_llm() as server:
        with pytest.raises(GeneratorError, match="token budget is used up"):
            _ = project(tiny_path, posts, tmp_path, server, "generator.max_tokens_total=3000").dataset
        paid = dict(server.paid)
        assert 5 <= len(paid) <= 25 and not list((tmp_path / ".tunesmith").glob("datasets/*"))
        dataset = project(tiny_path, posts, tmp_path, server).dataset
        assert set(server.paid.values()) == {1}
        other = project(tiny_path, posts, tmp_path / "other", server).dataset
    assert other.id == dataset.id and rows_of(other) == rows_of(dataset)


def test_no_key_reaches_an_artifact(tiny_path: Path, posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-456")
    with fake_llm() as server:
        _ = project(tiny_path, posts, tmp_path, server, "generator.api_key_env=MY_KEY").dataset
        assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer sk-secret-456"}
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20 and not any(b"sk-secret" in data for data in written)


def test_too_few_documents_are_said_before_anything_is_paid(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(posts.iterdir())[:2]:
        (few / path.name).write_bytes(path.read_bytes())
    with fake_llm() as server:
        with pytest.raises(DatasetError, match="too few documents"):
            _ = project(tiny_path, few, tmp_path, server).dataset
        assert not server.asked


def test_a_generator_whose_every_answer_fails_is_said_with_the_way_out(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    def play(asked: Asked) -> Said:
        return good(asked) if asked.role == "planner" else Said("Gladly.")

    with fake_llm(play) as server, pytest.raises(DatasetError, match="passed the gates") as caught:
        _ = project(tiny_path, posts, tmp_path, server).dataset
    assert "not the JSON that was asked for" in str(caught.value) and "passages" in str(caught.value)


def test_auto_makes_passages_and_says_that_the_generator_is_not_asked(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    listener = Listener()
    with fake_llm() as server:
        dataset = project(tiny_path, posts, tmp_path, server, "build.style=auto", listener=listener).dataset
        assert not server.asked
    assert all(row.origin is None for row in rows_of(dataset))
    assert any("auto: passages" in line and "build.style=qa" in line for line in listener.said)


def test_rewrite_makes_a_dataset_whose_answers_are_all_the_authors(tiny_path: Path, tmp_path: Path) -> None:
    some = tmp_path / "posts"
    some.mkdir()
    for path in sorted((EXAMPLES / "posts").glob("*.md"))[:16]:
        (some / path.name).write_bytes(path.read_bytes())
    with fake_llm() as server:
        made = project(tiny_path, some, tmp_path, server, "build.style=rewrite")
        rows = rows_of(made.dataset)
    texts = {d.id: d.text for d in read_jsonl(made.documents.path / "documents.jsonl", Document)}
    assert len(rows) >= 12 and all(row.answer in texts[row.document_id] for row in rows)
    assert {row.origin.generated for row in rows if row.origin} == {"prompt"}
    report = json.loads((made.dataset.path / "report.json").read_bytes())
    assert not [f for f in report["findings"] if f["name"] == "real_share"]  # all answers are people's


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ("generator.temperature=0.1", True),
        ("generator.seed=8", True),
        ("generator.model=fake-2", True),
        ("build.words_per_pair=300", True),
        ("build.real_share=0", True),
        ("generator.concurrency=9", False),
        ("generator.timeout_s=9", False),
        ("generator.max_tokens_total=0", False),
    ],
)
def test_what_changes_the_text_changes_the_id_and_nothing_else_does(
    tiny_path: Path, posts: Path, tmp_path: Path, change: str, moves: bool
) -> None:
    with fake_llm() as server:
        one = project(tiny_path, posts, tmp_path, server).dataset.id
        other = project(tiny_path, posts, tmp_path, server, change).dataset.id
    assert (one != other) == moves


# --- the rule of shares, and the record -------------------------------------------------------------------------------


def example(n: int, origin: Origin | None) -> Example:
    turns = (Message(role="user", content=f"Why {n}?"), Message(role="assistant", content=f"Because {n}."))
    return Example(id=str(n), messages=turns, document_id="d", group="d", source="s", origin=origin)


MADE = Origin(kind="qa", model="m", prompt_sha256="0", date="2026-01-02", generated="both")


@pytest.mark.parametrize(("real", "severity"), [(0, "warning"), (1, "warning"), (2, "info"), (5, "info"), (6, "warning")])
def test_a_share_of_real_answers_outside_20_to_50_percent_is_a_warning(real: int, severity: str) -> None:
    rows = [example(n, None if n < real else MADE) for n in range(10)]
    (finding,) = find_shares({"train": rows[::2], "val": rows[1::2]})
    assert finding.severity == severity and f"{real} of 10" in finding.message


def test_people_alone_are_no_finding_and_origins_are_counted_by_split() -> None:
    rows = [example(n, None) for n in range(4)]
    assert find_shares({"train": rows}) == ()
    counted = origins({"train": [*rows, example(9, MADE)], "val": [example(8, MADE)]})
    assert [(row["kind"], row["train"], row["val"]) for row in counted] == [("people", 4, 0), ("qa", 1, 1)]


def test_the_label_survives_a_round_trip_and_old_rows_still_read() -> None:
    quote = Quote(text="a b c d", start=3, end=10, exact=False)
    origin = Origin(
        kind="qa", model="m", prompt_sha256="f", date="2026-01-02", generated="both",
        support=(Support(sentence="A b.", quotes=(quote, quote)),),
    )  # fmt: skip
    row = example(1, origin)
    assert from_dict(Example, json.loads(to_json(row))) == row
    old = {k: v for k, v in json.loads(to_json(row)).items() if k in {"id", "messages", "document_id", "group", "source"}}
    assert from_dict(Example, old).origin is None


# --- the verbs --------------------------------------------------------------------------------------------------------


def exit_code(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as stopped:
        return int(str(stopped.code or 0))
    return 0


def test_the_verb_synth_writes_a_file_that_build_takes_with_its_label(
    tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "distilled.jsonl"
    log.write_text("".join(json.dumps({"prompt": f"What is the use of object number {n}?"}) + "\n" for n in range(30)))
    with fake_llm() as server:
        named = ("--set", f"generator.url={server.url}", "--set", "generator.model=fake-1", "--project", str(tmp_path))
        assert exit_code("synth", "distil", str(log), "--out", str(out), "--json", *named) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"]["kept"] == 30 and Path(told["files"]["report"]).is_file()
    recipe = recipe_from({"base": str(tiny_path), "sources": [str(out)], "split": {**SPLIT, "by": "row"}})
    rows = rows_of(Project(recipe, tmp_path / "project").dataset)
    assert rows and all(row.origin and row.origin.kind == "distil" for row in rows)


def test_mistakes_with_the_verb_are_said_in_four_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"prompt": "What is it?", "completion": "A kettle."}) + "\n")
    for arguments, said in (
        (("poem", str(log)), "no such kind of synthesis"),
        (("score", str(log)), "no language model is named"),
        (("score", str(tmp_path / "gone.jsonl")), "gone.jsonl"),
    ):
        assert exit_code("synth", *arguments, "--out", str(tmp_path / "o.jsonl"), "--project", str(tmp_path)) == 1
        text = capsys.readouterr().err
        assert said in text and "hint:" in text and "expected" in text
    assert not (tmp_path / "o.jsonl").exists()


def test_every_knob_of_the_generator_is_tested_for_its_effect() -> None:
    here = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_synth_*.py"))
    names = {knob.name.removeprefix("generator.") for knob in knobs() if knob.name.startswith("generator.")}
    names.remove("top_logprobs")  # with the method that learns them: tests/train/test_train_teacher_logprobs.py
    renamed = {"max_reply_tokens": "max_tokens=64", "price_per_million_in": "price_in", "price_per_million_out": "price_out"}
    assert len(names) == 12 and not [name for name in names if renamed.get(name, name) not in here]


def test_a_secret_in_any_part_of_a_document_stops_before_the_generator_is_asked(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    source = tmp_path / "posts"
    shutil.copytree(posts, source)
    first = next(source.glob("*.md"))
    first.write_text(first.read_text() + "\n\nKey: AKIAQ7RT2MZ5XW8LK3VN\n")  # too short to become a passage
    with fake_llm() as server:
        with pytest.raises(BlockedError) as caught:
            project(tiny_path, source, tmp_path, server).dataset  # noqa: B018
        assert caught.value.names == ("secrets",) and server.asked == []
