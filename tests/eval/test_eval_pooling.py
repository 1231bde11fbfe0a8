"""Pooling: what an item scored comes from its own fold, means are over seeds, and the worst adapter decides about harm."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from evidence_fakes import general, items, likelihood, parity, suite_answers, system

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.measure import measure
from tunesmith.eval.metrics.voice import VoiceCheck, VoiceScores
from tunesmith.eval.pooling import Adapter, pool
from tunesmith.eval.probes import GOLDEN
from tunesmith.eval.results import Evidence, Item
from tunesmith.models.use import Use

ALL = items(12, 2)
FOLDS = [ALL[:8], ALL[8:16], ALL[16:]]


def given(of: tuple[Item, ...], *, tuned: float, logit: float = 1e-5, lost: float = 0.0, use: float = 0.7) -> Evidence:
    runs = tuple(system(name, of, bits=bits) for name, bits in (("base", 2.0), ("tuned", tuned)))
    return Evidence(
        items=of,
        systems=runs,
        parity=parity(logit),
        general=general(worse=0.1 * tuned),
        suites=(suite_answers(lost=lost),),
        train_answers=tuple(item.reference for item in ALL if item not in of),
        use=Use(temperature=use, top_p=1.0, repetition_penalty=1.0, draws=3, seed=7),
        numbers={"passages": round(10 * tuned), "same": 3},
    )


def adapter(evidence: Evidence, run: str = "run") -> Adapter:
    seen = tuple(sorted({item.group for item in ALL} - {item.group for item in evidence.items}))
    tested = tuple(sorted({item.group for item in evidence.items}))
    return Adapter(evidence=evidence, run=run, tested=tested, learned=seen)


def pooled(parts: list[list[Adapter]], *, seeds: list[int], gains: tuple[float, ...] = ()) -> Evidence:
    return pool(parts, clusters={item.id: item.group for item in ALL}, seeds=seeds, gains=gains)


def three(*tuned: float) -> list[list[Adapter]]:
    return [[adapter(given(of, tuned=bits), f"run{bits}")] for of, bits in zip(FOLDS, tuned, strict=True)]


def test_every_item_keeps_the_score_that_its_own_fold_gave_it() -> None:
    parts = three(1.5, 1.6, 1.7)
    found = pooled(parts, seeds=[7])
    assert found.items == ALL and found.recipe is not None and found.recipe.num_adapters == 3
    tuned = {row.item_id: row for run in [found.system("tuned")] if run for row in run.likelihoods}
    for [one] in parts:
        run = one.evidence.system("tuned")
        assert run is not None and all(tuned[row.item_id] == row for row in run.likelihoods)
    assert measure(found, draws=300).num_documents == 12


def test_references_that_other_folds_learned_are_no_recitals() -> None:
    found = measure(pooled(three(1.5, 1.5, 1.5), seeds=[7]), draws=300).recital
    assert found.references.count == 0 and found.references.n == len(ALL)
    first = pooled(three(1.5, 1.5, 1.5), seeds=[7])
    assert first.recipe is not None
    cheat = tuple(replace(fold, train_answers=tuple(item.reference for item in ALL)) for fold in first.recipe.folds)
    told = measure(replace(first, recipe=replace(first.recipe, folds=cheat)), draws=300).recital
    assert told.references.count > 0


def test_the_score_of_an_item_is_the_mean_over_the_seeds_and_their_draws_are_counted_on() -> None:
    of = FOLDS[0]
    seeds = [adapter(given(of, tuned=bits)) for bits in (1.4, 1.8)]
    found = pooled([seeds], seeds=[7, 8], gains=(0.6, -0.2))
    mean = {row.item_id: row.nats for run in [found.system("tuned")] if run for row in run.likelihoods}
    each = [
        {row.item_id: row.nats for run in [one.evidence.system("tuned")] if run for row in run.likelihoods} for one in seeds
    ]
    assert mean == {id: pytest.approx((each[0][id] + each[1][id]) / 2) for id in mean}
    tuned = found.system("tuned")
    assert tuned is not None and sorted(g.draw or 0 for g in tuned.generations if g.item_id == of[0].id) == [0, 1]
    assert found.use.draws == 6
    assert found.recipe is not None and "With 1 of 2 seeds there is none." in found.recipe.sentence
    assert "+0.600, -0.200" in found.recipe.sentence


def test_one_broken_merge_and_one_forgetful_adapter_are_not_averaged_away() -> None:
    parts = three(1.5, 1.5, 1.5)
    parts[1] = [adapter(given(FOLDS[1], tuned=1.5, logit=0.5, lost=0.5))]
    found = pooled(parts, seeds=[7])
    assert found.parity is not None and found.parity.max_abs_logit == 0.5
    assert found.suites[0] == parts[1][0].evidence.suites[0]
    parts[2] = [adapter(replace(parts[2][0].evidence, parity=None))]
    assert pooled(parts, seeds=[7]).parity is None
    parts[2] = [adapter(replace(parts[2][0].evidence, parity=parity(math.nan)))]
    nan = pooled(parts, seeds=[7]).parity
    assert nan is not None and math.isnan(nan.max_abs_logit)


def test_general_text_is_the_mean_over_the_adapters_and_differing_facts_are_ranges() -> None:
    found = pooled(three(1.5, 1.6, 1.7), seeds=[7])
    assert found.general is not None and found.general.n == 20
    assert found.general.base[0] == likelihood("g0", 1.5)
    assert found.numbers == {"passages": "15 to 17", "same": 3}


def test_settings_that_the_folds_chose_differently_are_told() -> None:
    parts = three(1.5, 1.5, 1.5)
    parts[0] = [adapter(given(FOLDS[0], tuned=1.5, use=0.4))]
    use = pooled(parts, seeds=[7]).use
    assert use.temperature == 0.7 and "2 of 3" in use.how


def test_seeds_that_were_asked_other_questions_are_refused() -> None:
    with pytest.raises(EvaluationError, match="same questions"):
        pooled([[adapter(given(FOLDS[0], tuned=1.5)), adapter(given(FOLDS[1], tuned=1.5))]], seeds=[7, 8])


def test_a_system_that_one_fold_did_not_measure_is_left_out() -> None:
    parts = three(1.5, 1.5, 1.5)
    without = replace(parts[0][0].evidence, systems=parts[0][0].evidence.systems[:1])
    assert [run.name for run in pooled([[adapter(without)], *parts[1:]], seeds=[7]).systems] == ["base"]


def test_an_author_of_several_folds_counts_as_one_and_is_no_leak() -> None:
    clusters = {item.id: "d0" if item.group in ("d0", "d11") else item.group for item in ALL}
    found = pool(three(1.5, 1.5, 1.5), clusters=clusters, seeds=[7])
    assert measure(found, draws=300).num_documents == 11


def with_voice(part: Adapter, *, tuned: float, auc: float) -> Adapter:
    check = VoiceCheck(auc=auc, ci=None, brier=0.1, words=40, num_documents=9, num_others=9)
    size = len(part.evidence.items)
    scores = VoiceScores(check=check, systems={"base": (0.1,) * size, "tuned": (tuned,) * size}, references=(0.9,) * size)
    return replace(part, evidence=replace(part.evidence, voice=scores))


def test_the_voice_of_every_fold_is_in_the_verdict_on_the_recipe() -> None:
    parts = [
        [with_voice(one, tuned=value, auc=value)] for [one], value in zip(three(1.5, 1.5, 1.5), (0.8, 0.9, 1.0), strict=True)
    ]
    found = measure(pooled(parts, seeds=[7]), draws=300).voice
    assert found is not None and found.check.auc == 0.8 and found.check.num_classifiers == 3
    assert found.systems["tuned"].mean == pytest.approx(0.9) and found.systems["tuned"].num_groups == 12
    parts[0] = [replace(parts[0][0], evidence=replace(parts[0][0].evidence, voice=None))]
    assert pooled(parts, seeds=[7]).voice is None


def test_the_golden_set_is_in_the_verdict_on_the_recipe_as_the_mean_over_its_adapters() -> None:
    golden = tuple(replace(one, id=f"golden {one.id}") for one in items(8, 1))
    parts = three(1.5, 1.5, 1.5)
    for n, loss in enumerate((0.0, 0.3, 0.3)):
        sides = {
            name: tuple(likelihood(one.id, 1.4 + more + 0.001 * at) for at, one in enumerate(golden))
            for name, more in (("base", 0.0), ("tuned", loss))
        }
        evidence = replace(parts[n][0].evidence, golden=golden, probes={GOLDEN: sides})
        parts[n] = [adapter(evidence)]
    found = measure(pooled(parts, seeds=[7]), draws=300).golden
    assert found is not None and found.num_documents == 8 and found.change.mean == pytest.approx(0.2)
