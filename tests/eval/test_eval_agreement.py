"""Agreement with preferences: what length explains, and which pairs are one piece of evidence."""

from __future__ import annotations

from tunesmith.core.records import Message, Preference
from tunesmith.eval.agreement import AgreementEvidence, ScoredPair, judge_agreement, length_rule
from tunesmith.eval.clusters import clusters
from tunesmith.eval.preferred import shared_labels

LONG, SHORT = "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u6211\u4eec\u53bb\u6563\u6b65", "\u4eca\u5929\u4e0b\u96e8"


def evidence(pairs: list[tuple[str, str]]) -> AgreementEvidence:
    """A scorer that knows nothing but the number of characters."""
    rule, measure = length_rule(pairs)
    made = tuple(
        ScoredPair(
            id=str(n),
            group=str(n),
            prompt="?",
            chosen=chosen,
            rejected=rejected,
            chosen_score=len(chosen),
            rejected_score=len(rejected),
        )
        for n, (chosen, rejected) in enumerate(pairs)
    )
    return AgreementEvidence(pairs=made, rule=rule, measure=measure, reading="", clusters="", ids={})


def test_length_in_text_without_spaces_is_no_merit_either() -> None:
    pairs = [(LONG + SHORT[n % 4], SHORT) for n in range(30)]
    assert length_rule(pairs) == ("longer", "characters")
    found, verdict = judge_agreement(evidence(pairs), min_documents=6, level=0.95)
    assert found.by_length.mean == 1.0 and verdict.verdict != "SHIP"


def test_length_is_counted_in_words_where_they_say_as_much() -> None:
    pairs = [("one two three", "a very long answer in many words"), ("yes", "no, that is not so")]
    assert length_rule(pairs) == ("shorter", "words")


def test_pairs_that_share_an_answer_are_one_cluster() -> None:
    said = [("Yes.", "No."), ("yes. ", "Never."), ("Perhaps.", "Never."), ("Soon.", "Late.")]
    rows = [
        Preference(
            id=str(n),
            prompt=(Message(role="user", content=f"Question {n}?"),),
            chosen=chosen,
            rejected=rejected,
            document_id=str(n),
            group=str(n),
            source="made",
        )
        for n, (chosen, rejected) in enumerate(said)
    ]
    names = clusters([{"document": row.group, **shared_labels(row)} for row in rows]).names
    assert names[0] == names[1] == names[2] != names[3]
