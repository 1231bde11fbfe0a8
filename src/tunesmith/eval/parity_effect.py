"""What the numbers say of an adapter where weights cannot be compared: b is the base, or has the adapter's effect scaled.

Shapes: T positions of one row, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from tunesmith.eval.parity_apart import Scored
from tunesmith.systems.comparable import GivesTopTokens
from tunesmith.systems.opened import OpenedSystem
from tunesmith.systems.system import GivesLogits, System

__all__ = ["Effect", "adapter_effect"]

_ROWS, _TOP = 6, 20


@dataclass(frozen=True, slots=True)
class Effect:
    """The difference b − a against the effect of the adapter, a − base, in log-probabilities: how much of it lies along
    (`cosine`), and how many times b has the effect (`factor`; 1 is all of it, 0 none)."""

    cosine: float
    factor: float

    @property
    def is_base(self) -> bool:
        """b is the base, as far as the numbers tell."""
        return self.cosine < -0.97 and abs(self.factor) < 0.1

    @property
    def is_along(self) -> bool:
        """The difference is mostly more or less of the adapter's effect."""
        return abs(self.cosine) > 0.6

    @property
    def words(self) -> str:
        """For people."""
        return f"{100 * self.factor:.0f} % of the adapter's effect is there"


def adapter_effect(a: OpenedSystem, b: OpenedSystem, rows: Sequence[Scored]) -> Effect | None:
    """From the first rows; None where the base of `a` is not at hand or the systems give no distributions."""
    if a.base is None or not rows:
        return None
    some = rows[:_ROWS]
    sides = [_log_p(system, some) for system in (a.system, a.base, b.system)]
    if any(side is None for side in sides):
        return None
    apart, effect = list[float](), list[float]()
    for in_a, in_base, in_b in zip(*(side for side in sides if side is not None), strict=True):
        named = sorted(in_b.keys() & in_a.keys() & in_base.keys(), key=lambda token: -in_b[token])[:_TOP]
        apart += [in_b[token] - in_a[token] for token in named]
        effect += [in_a[token] - in_base[token] for token in named]
    size, along = math.sqrt(math.fsum(x * x for x in effect)), math.fsum(x * y for x, y in zip(apart, effect, strict=True))
    length = math.sqrt(math.fsum(x * x for x in apart))
    if not size or not length:
        return None
    return Effect(cosine=along / size / length, factor=1 + along / size**2)


def _log_p(system: System, rows: Sequence[Scored]) -> Iterator[Mapping[int, float]] | None:
    """For every place of the answers, ln p of all tokens or of the likeliest."""
    if isinstance(system, GivesLogits):
        return (
            dict(enumerate(log_p_V.tolist()))
            for one, logits_TV in zip(rows, system.logits([one.row for one in rows]), strict=True)
            for log_p_V in torch.log_softmax(logits_TV[one.begin - 1 : len(one.row.ids) - 1].float(), -1)
        )
    if isinstance(system, GivesTopTokens):
        given = system.top_tokens([one.row.ids for one in rows], [one.begin for one in rows], _TOP)
        return None if given is None else (place for row in given for place in row)
    return None
