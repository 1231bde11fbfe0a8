"""Promises of the voice in a report: an answer in the author's manner scores high, the base's low, and no reason is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from evidence_fakes import evidence, items
from judging_fakes import GOOD
from test_eval_voice import written

from tunesmith.core.records import Example, Message
from tunesmith.eval.measure import measure
from tunesmith.eval.report_voice import voice_line, voice_section
from tunesmith.eval.results import Evidence
from tunesmith.eval.voice_measures import pooled_voice, voice_again, voice_scores

pytest.importorskip("sklearn", reason="needs scikit-learn")
ITEMS = items(10, 2)


def train(documents: int = 20, style: str = "short") -> list[Example]:
    """The author's training rows, in one of two manners."""
    return [
        Example(
            id=f"t{n}",
            messages=(Message(role="user", content="And?"), Message(role="assistant", content=written(style, 100 + n, 80))),
            document_id=f"t{n}",
            group=f"t{n}",
            source="posts",
        )
        for n in range(documents)
    ]


def told(base: str = "long", tuned: str = "short", own: list[Example] | None = None) -> Evidence:
    """Evidence whose systems answer in these manners."""
    made = evidence(GOOD, documents=10, each=2)

    def said(style: str, start: int) -> Callable[[int], str]:
        return lambda number: written(style, start + number, 80)

    manner = {"base": said(base, 200), "prompted": said(base, 300), "tuned": said(tuned, 400), "merged": said(tuned, 500)}
    systems = tuple(
        replace(run, generations=tuple(replace(g, text=manner[run.name](n)) for n, g in enumerate(run.generations)))
        for run in made.systems
    )
    asked = tuple(replace(one, reference=written("short", 600 + n, 80)) for n, one in enumerate(made.items))
    rows = train() if own is None else own
    return replace(made, items=asked, systems=systems, voice=voice_scores(asked, systems, rows))


def test_the_author_is_heard_in_the_tuned_model_and_not_in_the_base() -> None:
    found = measure(told(), draws=300).voice
    assert found is not None and found.check.reason == "" and found.gain is not None and found.gain.ci is not None
    means = {name: summary.mean or 0.0 for name, summary in found.systems.items()}
    assert means["base"] < 0.2 and means["tuned"] > 0.8 and (found.references.mean or 0) > 0.8 and found.gain.ci.low > 0.5
    assert voice_line(found).startswith(f"{means['base']:.2f} → {means['tuned']:.2f}")
    assert "held-out answers" in voice_section(found)


def test_a_model_that_still_writes_like_the_base_gains_nothing() -> None:
    found = measure(told(tuned="long"), draws=300).voice
    assert found is not None and found.gain is not None and abs(found.gain.mean or 0.0) < 0.1


def test_a_base_that_writes_like_the_author_scores_high_so_nothing_is_gained_or_is_not_measured() -> None:
    found = measure(told(base="short", tuned="short"), draws=300).voice
    assert found is not None
    gained = found.gain.mean if found.gain is not None else None
    assert found.check.reason or (gained is not None and gained < 0.2), found


def test_rows_that_the_split_keeps_together_are_one_document() -> None:
    made = evidence(GOOD, documents=10, each=2)
    rows = [replace(row, meta={"post": f"p{n % 4}"}) for n, row in enumerate(train(20))]
    found = voice_scores(made.items, made.systems, rows, column="post")
    assert found is not None and found.check.num_documents == 4


def test_too_few_documents_are_a_reason_and_no_score() -> None:
    found = measure(told(own=train(3)), draws=300).voice
    assert found is not None and "3 documents" in found.check.reason and found.systems == {} and voice_line(found) == ""


def test_without_answers_or_training_rows_there_is_nothing_to_hear() -> None:
    made = evidence(GOOD)
    assert voice_scores(made.items, made.systems, []) is None
    silent = tuple(replace(run, generations=()) for run in made.systems)
    assert voice_scores(made.items, silent, train()) is None and voice_section(None) == ""


def test_a_shipped_form_is_heard_by_the_classifier_of_the_evaluation() -> None:
    made = told()
    again = voice_again(made.voice, made.items, made.systems, train())
    assert made.voice is not None and len(made.voice.learned) == 20 and again == made.voice
    systems = tuple(
        replace(run, generations=tuple(replace(g, text=written("long", 700 + n, 80)) for n, g in enumerate(run.generations)))
        if run.name == "tuned"
        else run
        for run in made.systems
    )
    form = measure(replace(made, voice=voice_again(made.voice, made.items, systems, train())), draws=300).voice
    assert form is not None and form.check == made.voice.check
    assert (form.systems["tuned"].mean or 1.0) < 0.2 < 0.8 < (form.references.mean or 0.0)


def test_without_the_rows_that_it_learned_from_the_voice_is_not_heard_again() -> None:
    made = told()
    assert voice_again(made.voice, made.items, made.systems, train()[1:]) is None
    assert voice_again(None, made.items, made.systems, train()) is None


def test_of_several_adapters_each_answer_has_the_score_of_its_own_classifier() -> None:
    first, second = told().voice, told(tuned="long").voice
    assert first is not None and second is not None
    size = len(first.references)
    found = pooled_voice([[first], [second]], [size, size])
    assert found is not None and found.check.num_classifiers == 2 and found.references == first.references + second.references
    assert found.systems["tuned"] == first.systems["tuned"] + second.systems["tuned"]
    seeds = pooled_voice([[first, second]], [size])
    assert seeds is not None and seeds.systems["tuned"][0] == pytest.approx(
        ((first.systems["tuned"][0] or 0) + (second.systems["tuned"][0] or 0)) / 2
    )
    assert found.check.auc == min(first.check.auc or 0, second.check.auc or 0)


def test_a_classifier_that_knows_nobody_makes_the_voice_of_all_adapters_not_measured() -> None:
    good, bad = told().voice, told(own=train(3)).voice
    assert good is not None and bad is not None
    size = len(good.references)
    found = pooled_voice([[good], [bad]], [size, size])
    assert found is not None and "3 documents" in found.check.reason and not found.systems
    assert pooled_voice([[good], [None]], [size, size]) is None
