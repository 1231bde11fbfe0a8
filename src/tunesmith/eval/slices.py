"""Slices: a score by tag, source, length and year of the items, and the worst slice, without being fooled by having picked it.

Whoever looks at many slices finds a bad one by chance. The worst slice is therefore judged at a stricter level (Bonferroni:
0.05 over the number of slices, and an interval at that level), and is called worse only if it still differs from the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.core.records import Interval
from tunesmith.eval.numbers import signed
from tunesmith.eval.stats import Difference, Summary, paired, summarise

__all__ = ["Slice", "Slices", "slice_scores"]

_FEWEST_DOCUMENTS = 3  # in a slice and outside of it; below that it is shown and not judged
_TERCILES = ("short", "middle", "long")
_YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The items that have `value` in `by`. `score`: of the system, or of the gain b − a if two were given (`difference`).

    `behind`: mean of the other items less mean of the slice, in the direction in which higher is better, with its interval at
    the stricter level; None where slice or rest have fewer than three documents or nothing varies.
    """

    by: str
    value: str
    n: int
    num_documents: int
    score: Summary
    difference: Difference | None
    behind: float | None
    behind_ci: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """All slices, and the worst one that could be judged. `level` is that of its interval. `sentence` says it in words."""

    slices: tuple[Slice, ...]
    worst: Slice | None
    level: float
    sentence: str


def slice_scores(
    scores: Sequence[float | None],
    groups: Sequence[str],
    attributes: Sequence[Mapping[str, Any]],
    *,
    base: Sequence[float | None] | None = None,
    higher_is_better: bool = True,
    widest: float = math.inf,
    draws: int = 10_000,
    seed: int = 7,
) -> Slices:
    """The scores of items by what `attributes` say of them; with `base`, the gains over it.

    Known attributes of an item: `tag` or `tags` (one or a list), `source`, `author`, `answer` (who wrote it), `length` (a
    number, such as the words of the reference: cut into thirds), `date` (anything with a year in it). An item without an
    attribute is in no slice of it. A value that all items share makes no slice. `widest`: how far two scores can be apart, such
    as 1 for shares.
    """
    if not len(scores) == len(groups) == len(attributes):
        raise ValueError(f"{len(scores)} scores, {len(groups)} groups, {len(attributes)} items")
    if base is None:
        values = list(scores)
    else:
        values = [None if a is None or b is None else b - a for a, b in zip(base, scores, strict=True)]
    members = _members(attributes)
    level = 1 - 0.05 / max(1, len(members))
    sign = 1.0 if higher_is_better else -1.0
    made = []
    for (by, value), positions in members.items():
        inside = [values[i] for i in positions]
        of_slice = [groups[i] for i in positions]
        behind, interval = _behind(values, groups, positions, sign, level, widest)
        made.append(
            Slice(
                by=by,
                value=value,
                n=sum(one is not None for one in inside),
                num_documents=len(set(of_slice)),
                score=summarise(inside, of_slice, draws=draws, seed=seed),
                difference=None
                if base is None
                else paired(
                    [base[i] for i in positions],
                    [scores[i] for i in positions],
                    of_slice,
                    draws=draws,
                    seed=seed,
                    higher_is_better=higher_is_better,
                ),
                behind=behind,
                behind_ci=interval,
            )
        )
    judged = [one for one in made if one.behind is not None]
    worst = max(judged, key=lambda one: one.behind or 0.0, default=None)
    return Slices(slices=tuple(made), worst=worst, level=level, sentence=_sentence(worst, len(judged), level))


def _members(attributes: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """The positions of the items of every slice, by attribute and value, in order of first sight. Thirds by length."""
    found: dict[tuple[str, str], list[int]] = {}
    lengths = [one["length"] for one in attributes if isinstance(one.get("length"), int | float)]
    borders = np.quantile(lengths, [1 / 3, 2 / 3]).tolist() if lengths else []
    for position, one in enumerate(attributes):
        tags = one.get("tags", one.get("tag")) or []
        for tag in dict.fromkeys([tags] if isinstance(tags, str) else map(str, tags)):
            found.setdefault(("tag", tag), []).append(position)
        for name in ("source", "author", "answer"):
            if one.get(name):
                found.setdefault((name, str(one[name])), []).append(position)
        if isinstance(one.get("length"), int | float):
            third = _TERCILES[sum(one["length"] > border for border in borders)]
            found.setdefault(("length", third), []).append(position)
        if year := _YEAR.search(str(one.get("date") or "")):
            found.setdefault(("year", year.group(1)), []).append(position)
    return {key: positions for key, positions in found.items() if len(positions) < len(attributes)}


def _behind(
    values: Sequence[float | None], groups: Sequence[str], positions: Sequence[int], sign: float, level: float, widest: float
) -> tuple[float | None, Interval | None]:
    """How far the slice is behind the other items: difference of means over documents, Welch's interval.

    A document with items on both sides counts on both with those items.
    """
    inside = set(positions)
    sides = [
        _document_means(values, groups, [i for i in range(len(values)) if (i in inside) == within]) for within in (True, False)
    ]
    slice_means, rest_means = sides
    if min(len(slice_means), len(rest_means)) < _FEWEST_DOCUMENTS:
        return None, None
    from scipy.stats import t

    behind = sign * float(rest_means.mean() - slice_means.mean())
    parts = [float(side.var(ddof=1)) / side.size for side in sides]
    variance = sum(parts)
    if variance <= 0:
        return None, None
    freedom = variance**2 / sum(part**2 / (side.size - 1) for part, side in zip(parts, sides, strict=True))
    reach = float(t.ppf(0.5 + level / 2, freedom)) * variance**0.5
    method = f"Welch's t over means of documents, level {level:.4f}"
    return behind, Interval(low=max(-widest, behind - reach), high=min(widest, behind + reach), level=level, method=method)


def _document_means(values: Sequence[float | None], groups: Sequence[str], positions: Sequence[int]) -> Any:
    by_document: dict[str, list[float]] = {}
    for i in positions:
        value = values[i]
        if value is not None:
            by_document.setdefault(groups[i], []).append(value)
    return np.array([np.mean(found) for found in by_document.values()], dtype=np.float64)


def _sentence(worst: Slice | None, judged: int, level: float) -> str:
    if worst is None or worst.behind is None or worst.behind_ci is None:
        return "No slice has three documents, with three outside of it: nothing can be said about slices."
    ends = f"[{signed(worst.behind_ci.low)}, {signed(worst.behind_ci.high)}]"
    where = f"{worst.by} {worst.value} ({worst.num_documents} documents)"
    gap = f"{signed(worst.behind)} {ends} behind the other items, at the level for {judged} slices ({100 * level:.2f} %)"
    if worst.behind_ci.low > 0:
        return f"The worst slice is {where}: {gap}."
    return f"No slice is reliably worse than the rest; the lowest is {where}: {gap}."
