"""Mixtures: how often a row is seen, general rows beside the author's, no source above its cap; by stable hashes alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import ceil, floor
from typing import Generic, TypeVar

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Finding, Row, digest

__all__ = ["Mixture", "SourceShare", "general_rows", "mix"]

R = TypeVar("R", bound=Row)
_RECOMMENDED = (0.1, 0.3)  # share of general rows against forgetting
_AGAIN = "#again-"  # parts an id from the number of its further showing
_SLACK = 0.01  # rows are whole


@dataclass(frozen=True, slots=True)
class SourceShare:
    """One source in an epoch: distinct `rows`, how many rows an epoch shows (`seen`), and how many cap or weight left out."""

    source: str
    rows: int
    seen: int
    left_out: int

    @property
    def passes(self) -> float:
        """Times that an epoch shows a row that is in, on average."""
        return self.seen / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Mixture(Generic[R]):
    """The training rows of an epoch, some of them more than once, with each source's share."""

    rows: tuple[R, ...]
    sources: tuple[SourceShare, ...]
    general_share: float
    findings: tuple[Finding, ...]


def _one(row: Row) -> int:
    return 1


def general_rows(general: Sequence[R], *, num_own: int, share: float, size: Callable[[Row], int] = _one) -> tuple[R, ...]:
    """So many rows of a general set that they make up `share` of the whole beside `num_own` others; all if it has too few.

    Chosen by the hash of their ids: a larger set of own rows only adds to the choice. `size`: what a row counts, in the unit
    of `num_own`.
    """
    wanted, taken, kept = round(share / (1 - share) * num_own), 0, set[str]()
    for row in sorted(general, key=lambda row: digest("general", row.id)):
        if taken >= wanted:
            break
        kept.add(row.id)
        taken += size(row)
    return tuple(row for row in general if row.id in kept)


def mix(
    own: Sequence[R],
    general: Sequence[R],
    *,
    weights: Mapping[str, float],
    max_source: float,
    share: float,
    size: Callable[[Row], int] = _one,
) -> Mixture[R]:
    """The rows that an epoch shows: own ones under the cap and weighted, then the general ones.

    `weights`: source or pattern (`notes-*`) → times that an epoch shows each of its rows; 0.5 shows half of them, the same half
    always; the first pattern that fits counts. `max_source`: share of the own rows that one source may have at most; the rows
    that go are chosen by hash. `share`: what was asked of the general set, for the finding. `size`: what a row counts in the
    general share.

    Raises:
        DatasetError: a pattern that fits no source, a cap that so few sources cannot meet, or nothing left.
    """
    everything = Counter(row.source for row in (*own, *general))
    factors = _factors(everything, weights)
    capped = _capped(own, max_source)
    counted: list[R] = []
    for row in (*capped, *general):
        times = floor(factors[row.source])
        rest = factors[row.source] - times
        if rest and int(digest("weight", row.id)[:13], 16) / 16**13 < rest:
            times += 1
        counted += [row if turn == 0 else replace(row, id=f"{row.id}{_AGAIN}{turn + 1}") for turn in range(times)]
    if not counted:
        raise DatasetError(
            "no rows are left to train on",
            value=", ".join(f"{name}: {weight}" for name, weight in weights.items()),
            expected="weights that leave rows",
            hint="raise mix.weights in the recipe",
        )
    strange = {row.id for row in general}
    first_ids = [(row.source, row.id.partition(_AGAIN)[0]) for row in counted]
    seen, distinct = Counter(source for source, _ in first_ids), Counter(source for source, _ in set(first_ids))
    general_seen = sum(size(row) for row, (_, id) in zip(counted, first_ids, strict=True) if id in strange)
    sources = tuple(
        SourceShare(source, distinct[source], seen[source], everything[source] - distinct[source])
        for source in sorted(everything, key=lambda source: (-seen[source], source))
    )
    reached = general_seen / sum(map(size, counted))
    return Mixture(tuple(counted), sources, reached, _findings(reached, share, bool(general)))


def _factors(sources: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, float]:
    factors = {}
    used: set[str] = set()
    for source in sources:
        pattern = next((pattern for pattern in weights if source == pattern or fnmatchcase(source, pattern)), None)
        factors[source] = 1.0 if pattern is None else weights[pattern]
        used |= {pattern} if pattern is not None else set()
    if idle := [pattern for pattern in weights if pattern not in used]:
        raise DatasetError(
            "a weight fits no source",
            value=idle[0],
            expected=f"a source or pattern; there are {', '.join(sorted(sources)[:8])}",
            hint=f"take {idle[0]} out of mix.weights, or name a source",
        )
    return factors


def _capped(rows: Sequence[R], max_source: float) -> list[R]:
    """The rows with no source above `max_source` of what stays, as many as can stay."""
    counts = Counter(row.source for row in rows)
    if max_source >= 1 or not counts:
        return list(rows)
    if len(counts) * max_source < 1:
        raise DatasetError(
            "this cap cannot be met",
            value=f"{max_source:.0%} for each of {len(counts)} sources",
            expected=f"a share of {1 / len(counts):.0%} or more, or more sources",
            hint=f"--set mix.max_source={ceil(100 / len(counts)) / 100}",
        )
    limit = _limit(sorted(counts.values()), max_source)
    by_source: dict[str, list[R]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    kept = {id(row) for members in by_source.values() for row in sorted(members, key=lambda row: digest("cap", row.id))[:limit]}
    return [row for row in rows if id(row) in kept]


def _limit(counts: Sequence[int], share: float) -> int:
    """The most rows a source may keep so that none is above `share` of what all keep then."""
    for limit in range(max(counts), 0, -1):
        if min(max(counts), limit) <= share * sum(min(count, limit) for count in counts):
            return limit
    return 1


def _findings(reached: float, asked: float, mixed: bool) -> tuple[Finding, ...]:
    low, high = _RECOMMENDED
    if not mixed:
        return ()
    found = []
    if not low - _SLACK <= reached <= high + _SLACK:
        message = f"general rows are {reached:.0%} of what is learned; 10 to 30 % is usual against forgetting"
        found.append(Finding(name="general_share", severity="warning", message=message, count=1))
    if reached < asked - 0.02:
        message = f"the general set is too small for mix.share {asked:.0%}: it gives {reached:.0%}"
        found.append(Finding(name="general_too_small", severity="info", message=message, count=1))
    return tuple(found)
