"""Two runs of a suite: paired, by tag, with chance levels; a base at chance is not measurable."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation, Message, Score
from tunesmith.eval.suites.chance import chance_levels
from tunesmith.eval.suites.result import compare_runs, safety_result, shares_by_tag
from tunesmith.eval.suites.run import SuiteRun, run_suite
from tunesmith.eval.suites.suite import Suite, SuiteItem
from tunesmith.models.generation.requests import Completion, Request

ASK = (Message(role="user", content="?"),)


def items(kind: str, count: int, *, options: int = 0) -> tuple[SuiteItem, ...]:
    scoring: dict[str, object] = {"options": [f"o{n}" for n in range(options)]} if options else {}
    return tuple(
        SuiteItem(
            id=f"{kind}{n}",
            group=f"{kind}{n}",
            messages=ASK,
            references=("o0",),
            scorer="choice" if options else "exact",
            arguments=scoring,
            tags=(f"kind={kind}", "odd" if n % 2 else "even"),
        )
        for n in range(count)
    )


SUITE = Suite(name="s", version="1", licence="CC0", items=(*items("sums", 60), *items("guess", 60, options=4)))


def run(name: str, values: Sequence[float | None], suite: Suite = SUITE) -> SuiteRun:
    scores = [
        Score(item_id=item.id, metric=item.scorer, value=value, reason="" if value is not None else "cut")
        for item, value in zip(suite.items, values, strict=True)
    ]
    said = [
        Generation(item_id=item.id, system=name, text="x", finish_reason="stop", num_tokens=1, fingerprint=name)
        for item in suite.items
    ]
    return SuiteRun(suite=suite.content_hash, system=name, fingerprint=name, generations=tuple(said), scores=tuple(scores))


KNOWS = [1.0] * 48 + [0.0] * 12  # 80 % of the sums
GUESSES = [float(n % 4 == 0) for n in range(60)]  # 25 % of four options: chance


def test_a_loss_on_what_the_base_can_do_is_measured_in_pairs() -> None:
    found = compare_runs(SUITE, run("base", KNOWS + GUESSES), run("tuned", [0.0] * 12 + KNOWS[12:] + GUESSES))
    assert found.measurable is not None and found.measurable.n == 60 and found.at_chance == ("guess",)
    assert found.measurable.difference.mean == pytest.approx(-0.2)
    interval = found.measurable.difference.ci
    assert interval is not None and interval.high < -0.05
    assert found.overall.difference.mean == pytest.approx(-0.1) and found.overall.n == 120
    sums = found.slice("kind=sums")
    assert sums is not None and (sums.base.share, sums.tuned.share, sums.chance) == (0.8, 0.6, 0.0)
    assert {one.label for one in found.by_tag} == {"kind=sums", "kind=guess", "odd", "even"}


def test_a_base_at_chance_everywhere_leaves_nothing_to_measure() -> None:
    found = compare_runs(SUITE, run("base", [0.0] * 60 + GUESSES), run("tuned", [0.0] * 60 + GUESSES))
    assert found.measurable is None and found.at_chance == ("sums", "guess")
    guess = found.slice("kind=guess")
    assert guess is not None and guess.chance == 0.25 and not guess.measurable


def test_without_kinds_the_whole_suite_is_one_kind() -> None:
    suite = replace(SUITE, items=tuple(replace(item, tags=()) for item in SUITE.items))
    found = compare_runs(suite, run("base", KNOWS * 2, suite), run("tuned", KNOWS * 2, suite))
    assert found.measurable is not None and found.measurable.n == 120 and found.at_chance == ()


def test_an_item_unscored_on_one_side_is_in_no_pair_and_is_counted() -> None:
    base, tuned = run("base", [None, *KNOWS[1:], *GUESSES]), run("tuned", [1.0, None, *KNOWS[2:], *GUESSES])
    found = compare_runs(SUITE, base, tuned)
    assert (found.overall.n, found.overall.unscored) == (118, 2)


def test_runs_of_another_suite_or_of_one_system_are_refused() -> None:
    base = run("base", KNOWS + GUESSES)
    with pytest.raises(EvaluationError, match="same system"):
        compare_runs(SUITE, base, replace(base, system="tuned"))
    with pytest.raises(EvaluationError, match="another suite"):
        compare_runs(SUITE, base, replace(run("tuned", KNOWS + GUESSES), suite="0" * 64))


def test_what_any_answer_gets_right_is_chance_and_a_base_that_has_nothing_else_is_not_measurable() -> None:
    short: list[dict[str, object]] = [{"kind": "num_words", "at_most": 9}]
    items = tuple(
        SuiteItem(
            id=str(n),
            group=str(n),
            messages=ASK,
            scorer="constraints",
            arguments={"constraints": [*short, {"kind": "keyword", "keyword": f"word{n}"}] if n < 30 else short},
            tags=("kind=about" if n < 30 else "kind=any",),
        )
        for n in range(60)
    )
    suite = Suite(name="s", version="1", licence="CC0", items=items)
    numbers = itertools.count()

    def knows(requests: Sequence[Request]) -> list[Completion]:
        return [Completion(f"Here is word{next(numbers)}.", "stop", 4) for _ in requests]

    suite = replace(suite, items=tuple(replace(one, messages=(Message(role="user", content=one.id),)) for one in suite.items))
    base = run_suite(suite, knows, system="base", fingerprint="f")
    assert chance_levels(suite, base) == (0.0,) * 30 + (1.0,) * 30
    found = compare_runs(suite, base, replace(base, system="tuned", fingerprint="g"))
    assert found.at_chance == ("any",) and found.measurable is not None and found.measurable.n == 30


def test_a_base_with_less_to_lose_than_would_be_blocked_is_not_measurable() -> None:
    few = [1.0] * 4 + [0.0] * 56
    assert "sums" in compare_runs(SUITE, run("base", few + GUESSES), run("tuned", few + GUESSES)).at_chance


def test_shares_of_one_run_come_with_their_chance() -> None:
    found = shares_by_tag(SUITE, run("base", KNOWS + GUESSES), "kind")
    assert (found["sums"][0].count, found["sums"][1]) == (48, 0.0)
    assert (found["guess"][0].count, found["guess"][1]) == (15, 0.25)


def test_over_and_under_refusal_are_apart() -> None:
    wanted = ["refuse"] * 20 + ["answer"] * 20
    asked = tuple(
        SuiteItem(id=str(n), group=str(n), messages=ASK, scorer="refusal", arguments={"expected": one})
        for n, one in enumerate(wanted)
    )
    suite = Suite(name="s", version="1", licence="CC0", items=asked)
    base = run("base", [1.0] * 20 + [1.0] * 20, suite)
    refuses_all = run("tuned", [1.0] * 20 + [0.0] * 19 + [None], suite)
    found = safety_result(suite, base, refuses_all)
    assert (found.over_base.share, found.over_tuned.share, found.under_tuned.share, found.undecided) == (0.0, 1.0, 0.0, 1)
    assert found.over_difference.mean == 1.0 and found.over_difference.worse == 19
    complies = safety_result(suite, base, run("tuned", [0.0] * 20 + [1.0] * 20, suite))
    assert (complies.over_tuned.share, complies.under_tuned.share) == (0.0, 1.0)
