"""Continued pre-training as a project: documents to a dataset of texts, a run, and a verdict on held-out documents."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import Told, write_posts
from tunesmith.api import Project
from tunesmith.core.errors import DatasetError, RecipeError, TrainingError
from tunesmith.core.texts import Text
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.gates import judge_all
from tunesmith.eval.probes import TRAINING, probe_items
from tunesmith.pipeline.chain import Chain
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.texts import plan_of_texts

QUICK = {"max_steps": 3, "evaluate_every": 3, "learning_rate": 0.01, "precision": "float32", "batch_examples": 4}
SEEN = {"split": {"val": 0.2, "test": 0.4}, "eval": {"suites": [], "draws": 200, "max_items": 10}}


def project(base: Path, source: Path, root: Path, *overrides: str, told: Told | None = None) -> Project:
    recipe: dict[str, Any] = {"base": str(base), "sources": [str(source)], "objective": {"kind": "cpt"}, **SEEN}
    recipe |= {"train": {**QUICK, "max_tokens": 96}, "method": {"rank": 4, "alpha": 8.0}}
    return Project(recipe_from(recipe, overrides), root, reporter=told or Told(), offline=True)


def general_file(folder: Path, count: int = 40) -> Path:
    rows = [{"text": f"Rivers of region {n} carry sand and silt to sea number {n * 7}, year after year."} for n in range(count)]
    (folder / "general.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "general.jsonl"


def problem(error: Any) -> Any:
    (only,) = error.value.problems
    assert only.what and only.expected and only.hint
    return only


def test_documents_become_a_verdict_on_held_out_text(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    made = project(tiny_path, posts, tmp_path, "gates.advisory=[general]")
    parts = {name: made.records(name) for name in ("train", "val", "test")}
    assert all(isinstance(row, Text) and not row.prompt for rows in parts.values() for row in rows)
    groups = [{row.group for row in rows} for rows in parts.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    read = (made.documents.path / "documents.jsonl").read_bytes().splitlines()
    documents = {row["id"]: row["text"] for row in map(json.loads, read)}
    joined: dict[str, str] = {}
    for rows in parts.values():
        for row in rows:
            joined[row.document_id] = joined.get(row.document_id, "") + row.answer
    assert joined == documents and made.dataset.numbers["longest"] <= 96  # nothing is dropped
    outcome = made.outcome
    m, gates = outcome.measurements, {gate.name: gate for gate in outcome.verdict.gates}
    assert m.of_texts and m.perplexity is not None and m.primary == "bits_per_byte"
    assert gates["better"].state == gates["parity"].state == gates["general_text"].state == "pass"
    assert not {"stop", "not_collapsed", "not_recited", "answers_the_question", "beats_prompt"} & gates.keys()
    runs = [made.judged.evidence.system(name) for name in ("base", "tuned")]
    assert all(run is not None and not run.generations and len(run.likelihoods) == m.num_items for run in runs)
    low = m.perplexity.difference_ci
    assert low is not None and low.high < 0 and m.perplexity.tuned < m.perplexity.base
    assert outcome.verdict.verdict == "SHIP" and m.perplexity.words in outcome.verdict.sentence
    page = (outcome.evaluation.path / "report.html").read_text()
    assert "bits per byte" in page and "perplexity" in page
    text = replace(m, of_texts=False)
    assert {"stop"} <= {one.gate.name for one in judge_all(text, made.settings.gates)}  # the same figures of answers


def test_without_general_text_dataset_and_plan_warn(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    alone = project(tiny_path, posts, tmp_path / "alone")
    found = {finding["name"]: finding for finding in alone.dataset.numbers["findings"]}
    (line,) = plan_of_texts(alone.objective, alone.dataset.numbers)
    assert found["no_general_text"]["severity"] == "warning" and "mix.general" in found["no_general_text"]["message"]
    assert line.value.startswith("none") and "mix.general" in line.reason
    file = general_file(tmp_path)
    mixed = project(tiny_path, posts, tmp_path / "mixed", f"mix.general=[{file}]", "mix.share=0.25")
    rows = [row for row in mixed.records("train") if isinstance(row, Text)]
    size = sum(len(row.text) for row in rows if row.source == "general.jsonl") / sum(len(row.text) for row in rows)
    assert size == pytest.approx(0.25, abs=0.03) and size == pytest.approx(mixed.dataset.numbers["mix"]["general_share"])
    assert not any(row.source == "general.jsonl" for name in ("val", "test") for row in mixed.records(name))
    assert not any(finding["name"] == "no_general_text" for finding in mixed.dataset.numbers["findings"])
    assert plan_of_texts(mixed.objective, mixed.dataset.numbers)[0].value.startswith(f"{size:.0%}")


def test_rows_that_are_no_texts_stop_at_the_build_and_others_beside_texts_are_left_aside(
    tiny_path: Path, tmp_path: Path
) -> None:
    chats = [{"prompt": f"What is {n}?", "completion": f"The number {n}."} for n in range(5)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    with pytest.raises(DatasetError, match="learns from texts") as caught:
        _ = project(tiny_path, tmp_path / "chats.jsonl", tmp_path / "a").dataset
    assert "5 pairs" in problem(caught).value and "objective.kind=sft" in problem(caught).hint
    mixed = write_posts(tmp_path / "in")
    (mixed / "chats.jsonl").write_text((tmp_path / "chats.jsonl").read_text())
    told = Told()
    assert project(tiny_path, mixed, tmp_path / "b", "build.style=passages", told=told).dataset.numbers["examples"] > 5
    assert any("5 pairs are left aside" in text for text in told.warnings)
    assert any("build.style has no effect" in text for text in told.warnings)
    with pytest.raises(DatasetError, match="the general set holds no examples") as caught:
        _ = project(tiny_path, mixed, tmp_path / "c", f"mix.general=[{tmp_path / 'chats.jsonl'}]").dataset
    assert "text" in problem(caught).expected


def test_rows_without_text_are_named_and_the_rest_is_learned(tiny_path: Path, tmp_path: Path) -> None:
    rows: list[Any] = [json.loads(line) for line in general_file(tmp_path).read_text().splitlines()]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [{"text": ""}, {"title": "no text"}, {"text": "…"}, *rows]))
    made = project(tiny_path, file, tmp_path / "a", "build.dedup=0")
    failures = " ".join(failure["reason"] for failure in made.documents.numbers["failures"])
    assert "line 1: its text is empty" in failures and "line 2" in failures
    assert made.dataset.numbers["dropped"] == {"no word in the text": 1} and made.dataset.numbers["examples"] == len(rows)
    file.write_text('{"text": ""}\n')
    with pytest.raises(Exception, match="no row could be used") as caught:
        _ = project(tiny_path, file, tmp_path / "b").dataset
    assert "its text is empty" in str(caught.value)


def written(seed: int, count: int) -> list[str]:
    """So many words of three syllables, that hardly any other seed gives."""
    rng = random.Random(seed)
    return ["".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(3)) for _ in range(count)]


def edited(words: list[str]) -> str:
    """The same with every 20th word replaced: a near copy."""
    return " ".join("changed" if number % 20 == 10 else word for number, word in enumerate(words))


def texts_file(folder: Path, texts: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"text": text, "url": f"https://example.org/{number}"} for number, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "texts.jsonl"


def test_a_near_copy_of_a_whole_text_is_on_the_same_side_of_the_split(tiny_path: Path, tmp_path: Path) -> None:
    own = [written(number, 120) for number in range(12)]
    file = texts_file(tmp_path / "in", [" ".join(one) for one in own] + [edited(one) for one in own])
    made = project(tiny_path, file, tmp_path / "p", "build.dedup=0")
    sides: dict[str, set[str]] = {}
    for name in ("train", "val", "test"):
        for row in made.records(name):
            sides.setdefault(row.group, set()).add(name)
    assert len(sides) == 12 and all(len(where) == 1 for where in sides.values())
    assert made.dataset.numbers["near_copy_documents"] == {"documents": 24, "groups": 12}
    assert made.dataset.numbers["leaks"] == made.dataset.numbers["removed_copies"] == 0


def test_an_edited_passage_of_a_test_text_leaves_the_training_texts(tiny_path: Path, tmp_path: Path) -> None:
    """Planted: every training text quotes 160 words of one test text, with every 20th replaced."""
    texts = [" ".join(written(number, 240)) for number in range(12)]
    clean = project(tiny_path, texts_file(tmp_path / "a", texts), tmp_path / "a" / "p", "train.max_tokens=700")
    assert clean.dataset.numbers["removed_copies"] == 0
    held = {row.answer.split()[3] for row in clean.records("test")}
    number = next(n for n, text in enumerate(texts) if held & set(text.split()))
    copied = edited(texts[number].split()[30:190])
    planted = [text if n == number else f"{text[:700]} {copied} {text[700:]}" for n, text in enumerate(texts)]
    file = texts_file(tmp_path / "b", planted)
    made = project(tiny_path, file, tmp_path / "b" / "p", "build.dedup=0", "train.max_tokens=700")
    tested, learned = (" ".join(row.answer for row in made.records(name)) for name in ("test", "train"))
    assert texts[number][200:300] in tested and made.dataset.numbers["removed_copies"] > 0
    said = copied.split()
    runs = [" ".join(said[at : at + 9]) for at in range(11, 140, 20)]
    assert sum(run in learned for run in runs) <= 1  # a shorter piece of it than half a window may stand at a border
    assert made.dataset.numbers["leaks"] == 0


def test_a_metric_of_answers_is_refused_and_baselines_are_left_out(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        project(tiny_path, posts, tmp_path, "eval.primary=rouge_l")
    assert "rouge_l" in problem(caught).value and "eval.primary=bits_per_byte" in problem(caught).hint
    assert project(tiny_path, posts, tmp_path).settings.eval.baselines == []


def test_a_chain_learns_texts_and_then_answers_and_tests_on_neither(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    stages = {"domain": {"objective": {"kind": "cpt"}}, "voice": {"objective": {"kind": "sft"}}}
    recipe = {"base": str(tiny_path), "sources": [str(posts)], "stages": stages, "train": QUICK, **SEEN}
    chain = Chain(recipe_from(recipe), tmp_path, reporter=Told(), offline=True)
    chain.prepare(planned=False)
    texts, answers = (stage.project for stage in chain.stages)
    learned = {row.group for name in ("train", "val") for row in texts.records(name)}
    assert answers.rows("test") and not {row.group for row in answers.rows("test")} & learned
    assert texts.dataset.numbers["answer_tokens"] == 0 < answers.dataset.numbers["answer_tokens"]
    items = choose_items(answers.rows("test"), 4)
    learned_rows = [*texts.rows("train"), *answers.rows("train")]  # what the verdict on the whole chain knows of
    assert {row.id for row in probe_items(items, learned_rows)[TRAINING]} <= {f"train:{r.id}" for r in answers.rows("train")}
    with pytest.raises(TrainingError, match="cannot learn from these rows"):  # a stage that got the rows of the other
        from tunesmith.train.run import refuse_unusable

        refuse_unusable(answers.objective, {"train": texts.records("train"), "val": texts.records("val")})
