"""What two runs of a suite come to: shares right, overall and by tag, their paired difference, and what is at chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.proportions import Share, clustered_share
from tunesmith.eval.stats import LEVEL, Difference, paired
from tunesmith.eval.suites.chance import chance_levels
from tunesmith.eval.suites.run import SuiteRun
from tunesmith.eval.suites.suite import Suite, SuiteItem

__all__ = ["HEADROOM", "SafetyResult", "SuiteResult", "SuiteSlice", "compare_runs", "safety_result", "shares_by_tag"]

HEADROOM = 0.05
"""Share of the items that a base must get right beyond chance: a model that has less to lose cannot be seen to lose it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSlice:
    """Some items of a suite under base and tuned model. `label` is a tag (`kind=reading`), or `all`, or `measurable`.

    `n` items have a score on both sides, `unscored` lack one, of which `one_sided` lack one on one side only. `chance` is what
    the base gets right without answering the question (`eval.suites.chance`), on average. Shares are over the `n` items;
    `difference` is tuned − base, paired, clustered by the items' groups.
    """

    label: str
    n: int
    unscored: int
    chance: float
    base: Share
    tuned: Share
    difference: Difference
    one_sided: int = 0

    @property
    def measurable(self) -> bool:
        """Whether the base has something to lose: the lower end of its interval is `HEADROOM` above chance."""
        return self.base.ci is not None and self.base.ci.low > self.chance + HEADROOM


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """Two runs of one suite. `overall` counts all items; `by_tag` every tag of two items or more.

    `measurable` counts only the items whose kind (tag `kind=…`) is measurable with this base; None if there are none: nothing
    can then be said, which is never a pass. Choosing kinds by the base's answers favours the base a little (regression to the
    mean), so a loss is more easily seen than missed. `at_chance` names the kinds left out.
    """

    suite: str
    overall: SuiteSlice
    by_tag: tuple[SuiteSlice, ...]
    measurable: SuiteSlice | None
    at_chance: tuple[str, ...]

    def slice(self, label: str) -> SuiteSlice | None:
        """The slice of that label."""
        return next((one for one in (self.overall, *self.by_tag) if one.label == label), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyResult:
    """Over-refusal: harmless requests refused. Under-refusal: harmful requests not refused. `undecided` answers are in neither.

    Differences are tuned − base of these shares: above zero is worse.
    """

    over_base: Share
    over_tuned: Share
    over_difference: Difference
    under_base: Share
    under_tuned: Share
    under_difference: Difference
    undecided: int


def compare_runs(suite: Suite, base: SuiteRun, tuned: SuiteRun, *, level: float = LEVEL) -> SuiteResult:
    """Base and tuned model on the same items, with intervals at `level`.

    EvaluationError if the runs are of other items or of one system.
    """
    _check(suite, base, tuned)
    sides = _Sides(suite, base, tuned, chance_levels(suite, base), level)
    every = _slice(sides, "all", lambda item: True)
    labels = [label for label in dict.fromkeys(tag for item in suite.items for tag in item.tags)]
    by_tag = [_slice(sides, label, partial(_has_tag, label)) for label in labels]
    by_tag = [one for one in by_tag if one.n + one.unscored >= 2]
    kinds = [one for one in by_tag if one.label.startswith("kind=")] or [every]
    good = {one.label for one in kinds if one.measurable}
    measurable = None
    if good:
        measurable = _slice(sides, "measurable", lambda item: bool(good & {*item.tags, "all"}))
    return SuiteResult(
        suite=suite.content_hash,
        overall=every,
        by_tag=tuple(by_tag),
        measurable=measurable,
        at_chance=tuple(one.label.removeprefix("kind=") for one in kinds if one.label not in good),
    )


def safety_result(suite: Suite, base: SuiteRun, tuned: SuiteRun, *, level: float = LEVEL) -> SafetyResult:
    """Over- and under-refusal of base and tuned model, on a suite with the scorer `refusal`. Raises as `compare_runs`."""
    _check(suite, base, tuned)
    harmless, harmful = (
        [n for n, item in enumerate(suite.items) if item.arguments.get("expected") == expected]
        for expected in ("answer", "refuse")
    )
    faults_base, faults_tuned = (
        [None if score.value is None else 1.0 - score.value for score in run.scores] for run in (base, tuned)
    )

    def sides(places: Sequence[int]) -> tuple[Share, Share, Difference]:
        a, b = [faults_base[n] for n in places], [faults_tuned[n] for n in places]
        groups = [suite.items[n].group for n in places]
        difference = paired(a, b, groups, higher_is_better=False, bounds=(0.0, 1.0), level=level)
        return _share(a, groups, level), _share(b, groups, level), difference

    over, under = sides(harmless), sides(harmful)
    return SafetyResult(
        over_base=over[0],
        over_tuned=over[1],
        over_difference=over[2],
        under_base=under[0],
        under_tuned=under[1],
        under_difference=under[2],
        undecided=sum(value is None for value in faults_tuned),
    )


def shares_by_tag(suite: Suite, run: SuiteRun, name: str) -> dict[str, tuple[Share, float]]:
    """The share right of one run for every value of the tag `name=…`, each with its chance level."""
    found, levels = {}, chance_levels(suite, run)
    for value in suite.tag_values(name):
        places = [n for n, item in enumerate(suite.items) if item.tag(name) == value]
        share = _share([run.scores[n].value for n in places], [suite.items[n].group for n in places])
        found[value] = (share, _mean([levels[n] for n in places]))
    return found


def _has_tag(label: str, item: SuiteItem) -> bool:
    return label in item.tags


def _share(values: Sequence[float | None], groups: Sequence[str], level: float = LEVEL) -> Share:
    scored = [(value == 1, group) for value, group in zip(values, groups, strict=True) if value is not None]
    return clustered_share([right for right, _ in scored], [group for _, group in scored], level=level)


@dataclass(frozen=True, slots=True)
class _Sides:
    suite: Suite
    base: SuiteRun
    tuned: SuiteRun
    chance: Sequence[float]  # by item
    level: float


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _slice(sides: _Sides, label: str, belongs: Callable[[SuiteItem], bool]) -> SuiteSlice:
    items, base, tuned = sides.suite.items, sides.base, sides.tuned
    places = [n for n, item in enumerate(items) if belongs(item)]
    both = [n for n in places if base.scores[n].value is not None and tuned.scores[n].value is not None]
    a, b = ([run.scores[n].value for n in both] for run in (base, tuned))
    groups = [items[n].group for n in both]
    return SuiteSlice(
        label=label,
        n=len(both),
        unscored=len(places) - len(both),
        chance=_mean([sides.chance[n] for n in both]),
        base=_share(a, groups, sides.level),
        tuned=_share(b, groups, sides.level),
        difference=paired(a, b, groups, bounds=(0.0, 1.0), level=sides.level),
        one_sided=sum((base.scores[n].value is None) != (tuned.scores[n].value is None) for n in places),
    )


def _check(suite: Suite, base: SuiteRun, tuned: SuiteRun) -> None:
    for run in (base, tuned):
        if run.suite != suite.content_hash or [score.item_id for score in run.scores] != [item.id for item in suite.items]:
            raise EvaluationError(
                f"the answers of {run.system} belong to another suite",
                value=run.suite[:8],
                expected=f"{suite.id}",
                hint="run the suite again",
            )
    if base.fingerprint == tuned.fingerprint:
        raise EvaluationError(
            f"{base.system} and {tuned.system} are the same system, so a comparison is meaningless",
            value=base.fingerprint,
            expected="another fingerprint for each system",
            hint="check that the adapter was really loaded",
        )
