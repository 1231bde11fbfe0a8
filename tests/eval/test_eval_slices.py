"""Promises of slices: every attribute is cut, the worst slice is named, and one that is only unlucky is not called worse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith.eval.slices import slice_scores

Items = tuple[list[float | None], list[str], list[dict[str, Any]]]


def made(documents: int = 24, *, planted: float = 0.0, seed: int = 7) -> Items:
    """Documents of four tags in turn, two items each; those of tag `old` score `planted` less."""
    rng = np.random.default_rng(seed)
    scores: list[float | None] = []
    groups, attributes = [], []
    for number in range(documents):
        tag = ("old", "new", "tool", "story")[number % 4]
        level = rng.normal(0.5, 0.1) - (planted if tag == "old" else 0.0)
        for part in range(2):
            scores.append(float(level + rng.normal(0, 0.05)))
            groups.append(f"d{number}")
            attributes.append(
                {
                    "tags": [tag, "all"],
                    "source": f"s{number % 2}",
                    "length": 10 * number + part,
                    "date": f"{2015 + number % 3}-05-01",
                }
            )
    return scores, groups, attributes


def test_tags_sources_thirds_of_length_and_years_are_sliced_with_their_documents() -> None:
    found = slice_scores(*made())
    named = {(one.by, one.value): one for one in found.slices}
    assert {by for by, _ in named} == {"tag", "source", "length", "year"}
    assert {value for by, value in named if by == "length"} == {"short", "middle", "long"}
    assert {value for by, value in named if by == "year"} == {"2015", "2016", "2017"}
    assert (named["tag", "old"].n, named["tag", "old"].num_documents) == (12, 6)
    assert named["tag", "old"].score.ci is not None and named["tag", "old"].difference is None


def test_a_value_that_all_items_have_makes_no_slice() -> None:
    assert ("tag", "all") not in {(one.by, one.value) for one in slice_scores(*made()).slices}


def test_a_planted_bad_slice_is_named_with_an_interval_above_zero() -> None:
    found = slice_scores(*made(planted=0.4))
    assert found.worst is not None and (found.worst.by, found.worst.value) == ("tag", "old")
    assert found.worst.behind_ci is not None and found.worst.behind_ci.low > 0
    assert found.sentence.startswith("The worst slice is tag old (6 documents)")


def test_where_lower_is_better_the_highest_slice_is_the_worst() -> None:
    scores, groups, attributes = made(planted=-0.4)
    found = slice_scores(scores, groups, attributes, higher_is_better=False)
    assert found.worst is not None and (found.worst.by, found.worst.value) == ("tag", "old")


def test_having_picked_the_worst_slice_is_paid_for() -> None:
    """No slice differs: at the plain level every third set of slices would have a worst one, at the stricter one 5 % may."""
    called = sum(slice_scores(*made(seed=seed), draws=20).sentence.startswith("The worst") for seed in range(80))
    assert called <= 0.05 * 80 + 4
    found = slice_scores(*made())
    assert found.level == pytest.approx(1 - 0.05 / len(found.slices))


def test_gains_are_sliced_pairwise() -> None:
    scores, groups, attributes = made()
    base = [score - (0.3 if "old" in item["tags"] else 0.5) for score, item in zip(scores, attributes, strict=True) if score]
    found = slice_scores(scores, groups, attributes, base=base)
    old = next(one for one in found.slices if (one.by, one.value) == ("tag", "old"))
    assert old.difference is not None and old.difference.mean == pytest.approx(0.3)
    assert old.score.mean == pytest.approx(0.3)


def test_unscored_items_and_items_without_attributes_are_left_out() -> None:
    scores, groups, attributes = made()
    scores[0] = None
    attributes[1] = {}
    old = next(one for one in slice_scores(scores, groups, attributes).slices if (one.by, one.value) == ("tag", "old"))
    assert (old.n, old.num_documents) == (10, 6)


def test_two_documents_cannot_be_judged() -> None:
    found = slice_scores([0.1, 0.2], ["a", "b"], [{"tag": "x"}, {"tag": "y"}])
    assert found.worst is None and "nothing can be said" in found.sentence
