"""Win rates are people's: a judge makes them precise, and never moves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_pairs import labelled_rows, planted, write_rows

from tunesmith.api.judges import calibrate_judge
from tunesmith.eval.judge.corrected import estimate
from tunesmith.eval.judge.next_labels import next_labels
from tunesmith.eval.judge.rows import read_pairs


def one_set(chance: np.random.Generator) -> tuple[Any, Any, list[str], float]:
    """120 labels on 600 pairs, two for each prompt, and a judge that is wrong for one side only."""
    wins = chance.uniform(0.3, 0.7)
    by_prompt = np.repeat(chance.beta(4 * wins, 4 * (1 - wins), 300), 2)
    truth = (chance.random(600) < by_prompt).astype(float)
    judge = np.where((truth == 0) & (chance.random(600) < 0.3), 1.0, truth)
    people = np.full(600, np.nan)
    known = chance.choice(600, 120, replace=False)
    people[known] = truth[known]
    return people, judge, [str(n // 2) for n in range(600)], wins


def test_the_corrected_interval_covers_the_truth_where_that_of_the_judge_does_not() -> None:
    chance = np.random.default_rng(1)
    covered = alone = narrower = 0
    for _ in range(200):
        people, judge, groups, truth = one_set(chance)
        _, (low, high), _ = estimate(people, judge, groups, [""] * 600)
        covered += low <= truth <= high
        _, (low_j, high_j), _ = estimate(judge, np.zeros(600), groups, [""] * 600)
        alone += low_j <= truth <= high_j
        known = np.isfinite(people)
        _, (low_p, high_p), _ = estimate(
            people[known], np.zeros(120), [g for g, k in zip(groups, known, strict=True) if k], [""] * 120
        )
        narrower += high - low < high_p - low_p
    assert covered >= 184 and alone < 20 and narrower > 190


def test_the_correction_is_that_of_the_formula() -> None:
    """Angelopoulos et al. 2023, with the λ of PPI++ written out."""
    people, judge, _, _ = one_set(np.random.default_rng(2))
    known = np.isfinite(people)
    y, f, others = people[known], judge[known], judge[~known]
    shared = np.cov(y, f)[0, 1] / judge.var() / (1 + y.size / others.size)
    value, _, weight = estimate(people, judge, [str(n) for n in range(600)], [""] * 600)
    assert weight == pytest.approx(shared) and value == pytest.approx((y - shared * f).mean() + shared * others.mean())


def test_kinds_that_were_labelled_at_other_rates_weigh_what_they_are() -> None:
    people = np.array([1.0] * 40 + [np.nan] * 40 + [0.0] * 40 + [np.nan] * 280)
    kinds = ["changed"] * 80 + ["same"] * 320
    value, _, _ = estimate(people, np.full(400, 0.5), [str(n) for n in range(400)], kinds)
    assert value == pytest.approx(80 / 400)


def rows_of_systems() -> list[dict[str, Any]]:
    """Each row has its systems on other sides; 60 of 200 are labelled, and x always wins."""
    rows = []
    for n, row in enumerate(labelled_rows(200)):
        x_first = n % 2 == 0
        label = ["A" if x_first else "B"] if n < 60 else []
        rows.append(dict(row, system_a="xy"[n % 2], system_b="yx"[n % 2], annotators=label, judge="A", judge_swapped="B"))
    return rows


def test_systems_are_followed_from_side_to_side(tmp_path: Path) -> None:
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows_of_systems())).as_dict()
    (rate,) = found["win_rates"]
    assert (rate["system"], rate["value"], rate["labelled"], rate["judged"]) == ("x", 1.0, 60, 200)
    assert rate["ci"][0] < 1.0 and rate["uncorrected"] == 0.5


def test_what_the_judge_alone_says_is_not_shown_without_labels_of_the_same_systems(tmp_path: Path) -> None:
    rows = [dict(row, system_a="x" if n < 60 else "z") for n, row in enumerate(rows_of_systems()) if n % 2 == 0]
    labelled, other = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows)).as_dict()["win_rates"]
    assert labelled["value"] is not None and other["value"] is None
    assert "uncorrected" not in other and "0 labelled pairs of z and y" in other["why_not"]


def test_labels_are_asked_for_where_the_judge_errs_and_no_kind_is_left_without(tmp_path: Path) -> None:
    rows = labelled_rows(400)
    for n, row in enumerate(rows):
        truth = row["annotators"][0]
        judge, swapped = (truth, truth) if n % 2 else ("A", "B")
        row |= {"judge": judge, "judge_swapped": swapped, "annotators": [truth] if n < 60 else []}
    pairs = read_pairs(write_rows(tmp_path / "rows.jsonl", rows))
    chosen = next_labels(pairs, 40)
    changed = sum("depends on the order" in one.because for one in chosen)
    assert len({one.id for one in chosen}) == 40 and all(int(one.id) >= 60 for one in chosen)
    assert changed > 30 and chosen == next_labels(pairs, 40)
    unlabelled = [row for row in rows if row["id"] >= 60]
    none = next_labels(read_pairs(write_rows(tmp_path / "rows.jsonl", unlabelled)), 20)
    assert {one.because for one in none} == {"the verdict depends on the order", "the judge says the same in both orders"}


def test_a_judge_without_labels_to_spare_asks_for_none(tmp_path: Path) -> None:
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", labelled_rows(60), planted("good"))).as_dict()
    assert found["next_labels"] == []
