"""Promises of measuring: the right numbers from evidence, unscored items counted, one system never compared with itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from evidence_fakes import evidence, general, items, likelihood, parity, system

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import to_json
from tunesmith.eval.measure import measure
from tunesmith.eval.measured import METRICS, improvement
from tunesmith.eval.results import Evidence, read_evidence

PAIRS = (("base", "tuned"), ("prompted", "tuned"), ("base", "prompted"), ("tuned", "merged"))
FOUR = {"base": 1.4, "prompted": 1.3, "tuned": 1.2, "merged": 1.2001}


def test_bits_per_byte_and_perplexity_follow_their_definitions() -> None:
    made = evidence({"base": 1.0, "tuned": 0.5}, noise=0.0)
    measured = measure(made, draws=200)
    base = measured.systems["base"]
    assert base.summaries["bits_per_byte"].mean == pytest.approx(1.0)
    assert base.summaries["token_accuracy"].mean == pytest.approx(10 / 25)
    assert base.perplexity == pytest.approx(math.exp(100 * math.log(2) / 25))


def test_every_pair_of_systems_is_compared_in_every_metric() -> None:
    measured = measure(evidence(FOUR), draws=200)
    assert tuple((c.a, c.b) for c in measured.comparisons) == PAIRS
    for comparison in measured.comparisons:
        assert set(comparison.differences) == set(METRICS)
        assert set(comparison.length_matched) == {"word_overlap", "rouge_l"}


def test_an_improvement_is_positive_where_lower_is_better() -> None:
    comparison = measure(evidence(FOUR), draws=500).comparison("base", "tuned")
    assert comparison is not None
    difference = comparison.differences["bits_per_byte"]
    gain = improvement(difference, "bits_per_byte")
    assert difference.mean is not None and difference.mean < 0
    assert gain is not None
    assert 0 < gain[1] <= gain[0] <= gain[2]
    assert difference.better > difference.worse


def test_two_systems_of_one_fingerprint_are_never_compared() -> None:
    made = evidence(FOUR)
    same = replace(
        made.systems[2],
        fingerprint=made.systems[0].fingerprint,
        generations=tuple(replace(g, fingerprint=made.systems[0].fingerprint) for g in made.systems[2].generations),
    )
    with pytest.raises(EvaluationError, match="base and tuned are the same system"):
        measure(replace(made, systems=(made.systems[0], same)))


def test_answers_of_another_system_are_refused() -> None:
    made = evidence(FOUR)
    mixed = replace(made.systems[2], generations=made.systems[0].generations)
    with pytest.raises(EvaluationError, match="made by another system"):
        measure(replace(made, systems=(made.systems[0], mixed)))


def test_answers_to_no_item_and_double_answers_are_refused() -> None:
    made = evidence(FOUR)
    first = made.systems[0]
    stray = replace(first, likelihoods=(likelihood("elsewhere", 1.0),))
    with pytest.raises(EvaluationError, match="no item of the test set"):
        measure(replace(made, systems=(stray,)))
    double = replace(first, generations=first.generations[:1] * 2)
    with pytest.raises(EvaluationError, match="an id twice"):
        measure(replace(made, systems=(double,)))
    with pytest.raises(EvaluationError, match="no test items"):
        measure(replace(made, items=()))


def test_a_metric_without_a_better_side_cannot_be_the_primary_one() -> None:
    with pytest.raises(EvaluationError, match="length_ratio"):
        measure(evidence(FOUR), primary="length_ratio")


def test_items_without_an_answer_are_unscored_and_not_zero() -> None:
    made = evidence({"base": 1.4, "tuned": 1.2})
    tuned = replace(made.systems[1], generations=made.systems[1].generations[:20], likelihoods=made.systems[1].likelihoods[:25])
    measured = measure(replace(made, systems=(made.systems[0], tuned)), draws=200)
    summary = measured.systems["tuned"].summaries
    assert (summary["word_overlap"].n, summary["word_overlap"].unscored) == (20, 10)
    assert (summary["bits_per_byte"].n, summary["bits_per_byte"].unscored) == (25, 5)
    comparison = measured.comparison("base", "tuned")
    assert comparison is not None
    assert (comparison.differences["word_overlap"].n, comparison.differences["word_overlap"].unscored) == (20, 10)
    assert comparison.length_matched["rouge_l"].n == 20


def test_a_system_without_answers_is_not_measured_rather_than_zero() -> None:
    made = evidence({"base": 1.4})
    silent = replace(made.systems[0], generations=(), likelihoods=())
    measured = measure(replace(made, systems=(silent,)), draws=200).systems["base"]
    assert measured.summaries["word_overlap"].mean is None
    assert (measured.perplexity, measured.answers.cut.share, measured.answers.ended.ci) == (None, None, None)


def test_cut_and_ended_are_counted_with_an_interval_that_knows_of_documents() -> None:
    measured = measure(evidence(FOUR, ended=0.8), draws=200).systems["tuned"].answers
    assert (measured.ended.count, measured.cut.count, measured.ended.n) == (24, 6, 30)
    assert measured.cut.ci is not None
    assert "effective answers (30 from 10 documents)" in measured.cut.ci.method


def test_an_answer_without_a_word_is_empty_and_did_not_end_by_itself_unless_the_reference_has_none_either() -> None:
    made = evidence({"tuned": 1.2})
    wordless = replace(made.items[1], reference="👍")
    answers = tuple(replace(g, text="👍") if n < 3 else g for n, g in enumerate(made.systems[0].generations))
    found = (
        measure(
            replace(
                made,
                items=(made.items[0], wordless, *made.items[2:]),
                systems=(replace(made.systems[0], generations=answers),),
            ),
            draws=200,
        )
        .systems["tuned"]
        .answers
    )
    assert (found.empty.count, found.ended.count, found.cut.count) == (2, 28, 0)


def test_general_text_is_paired_and_parity_passed_on() -> None:
    measured = measure(evidence(FOUR, with_general=general(0.05), with_parity=parity()), draws=200)
    assert measured.general is not None and measured.general.mean is not None
    assert measured.general.mean == pytest.approx(0.05, abs=0.02)
    assert measured.parity == parity()
    assert measure(evidence(FOUR), draws=200).general is None


def test_the_detectable_gain_shrinks_with_more_documents() -> None:
    few, many = (measure(evidence(FOUR, documents=n), draws=200).detectable for n in (6, 60))
    assert few is not None and many is not None
    assert many < few / 2


def test_fewer_documents_than_are_relied_on_promise_no_detectable_gain() -> None:
    assert measure(evidence(FOUR, documents=5, each=9), draws=200).detectable is None
    assert measure(evidence(FOUR, documents=8), draws=200, min_documents=9).detectable is None
    assert measure(evidence(FOUR, documents=8), draws=200).detectable is not None


def test_copying_the_training_answers_scores_full_marks_if_the_test_set_leaked() -> None:
    made = evidence({"base": 1.4})
    leaked = replace(made, train_answers=tuple(item.reference for item in made.items))
    prompts = tuple(replace(i, prompt=(replace(i.prompt[0], content=i.reference),)) for i in leaked.items)
    floor = measure(
        Evidence(items=prompts, systems=made.systems, parity=None, general=None, train_answers=leaked.train_answers)
    )
    assert floor.floors["nearest_training_answer"]["word_overlap"].mean == 1.0
    assert floor.floors["prompt_echo"]["rouge_l"].mean == pytest.approx(1.0)
    clean = measure(made, draws=200).floors["nearest_training_answer"]["word_overlap"].mean
    assert clean is not None and clean < 0.5


def test_the_score_of_an_item_is_the_mean_over_its_draws_and_more_draws_are_no_more_items() -> None:
    made = evidence({"base": 1.4, "tuned": 1.2}, draws=3)
    tuned = made.systems[1]
    said = tuple(replace(g, text=made.items[0].reference if g.draw == 0 else "zzz") for g in tuned.generations)
    measured = measure(replace(made, systems=(made.systems[0], replace(tuned, generations=said))), draws=200)
    scores = measured.systems["tuned"].scores["word_overlap"]
    assert len(scores) == 30 and scores[0] == pytest.approx(1 / 3)
    comparison = measured.comparison("base", "tuned")
    assert comparison is not None and comparison.differences["word_overlap"].n == 30
    assert comparison.length_matched["word_overlap"].n == 30
    assert (measured.systems["tuned"].answers.num_items, measured.systems["tuned"].answers.ended.n) == (30, 90)


def test_one_draw_more_of_an_item_is_refused_where_it_has_the_number_of_another() -> None:
    made = evidence({"base": 1.4}, draws=3)
    double = replace(made.systems[0], generations=(*made.systems[0].generations, made.systems[0].generations[2]))
    with pytest.raises(EvaluationError, match="an id twice"):
        measure(replace(made, systems=(double,)))


def test_evidence_from_before_the_settings_of_use_still_opens_and_its_answers_were_greedy(tmp_path: Path) -> None:
    old = orjson.loads(to_json(evidence(FOUR)))
    del old["use"], old["limit"]
    for run in old["systems"]:
        del run["greedy"]
        for generation in run["generations"]:
            del generation["draw"]
    (tmp_path / "evidence.json").write_bytes(orjson.dumps(old))
    opened = read_evidence(tmp_path / "evidence.json")
    assert opened == evidence(FOUR) and opened.use.is_plain_greedy
    assert measure(opened, draws=200) == measure(evidence(FOUR), draws=200)


def test_measuring_twice_gives_the_same_numbers() -> None:
    assert measure(evidence(FOUR), draws=300) == measure(evidence(FOUR), draws=300)


def test_another_run_of_a_fake_system_is_another_system() -> None:
    of = items(4, 2)
    assert system("base", of, bits=1.0, seed=1) != system("base", of, bits=1.0, seed=2)
