"""Causes that show in the numbers alone, where weights cannot be compared."""

from __future__ import annotations

from tunesmith.eval.parity_case import Case, another, not_applied, scale
from tunesmith.eval.parity_result import Cause

__all__ = ["effect", "late", "strangers"]


def effect(case: Case) -> Cause | None:
    """Where the weights cannot be compared: how the difference lies to what the adapter does."""
    if case.weights is not None or case.effect is None:
        return None
    if case.effect.is_base:
        return not_applied(f"b answers as the base does: {case.effect.words}")
    return scale(case.adapter, case.effect.factor) if case.effect.is_along else None


def late(case: Case) -> Cause | None:
    """Long texts differ, and their beginnings do not."""
    apart = case.scored.apart
    if apart is None or apart.early is None or apart.late is None or apart.late < 10 * max(apart.early, 1e-9):
        return None
    return Cause(
        name="RoPE settings",
        evidence=f"mean KL is {apart.early:.2g} in the first 32 positions and {apart.late:.2g} far into long texts",
        hint="compare rope_theta, rope_scaling, sliding window and context of both configurations",
    )


def strangers(case: Case) -> Cause | None:
    """The two hardly ever agree."""
    apart = case.scored.apart
    if case.weights is not None or apart is None or apart.top1 is None or apart.mean_kl is None:
        return None
    return another(f"the first choice is the same at {100 * apart.top1:.0f} % of positions") if apart.top1 < 0.3 else None
