"""Causes that show in the weights, where both sides have files here."""

from __future__ import annotations

from tunesmith.eval.parity_case import Case, another, not_applied, scale
from tunesmith.eval.parity_result import Cause
from tunesmith.eval.parity_weights import MatrixDrift

__all__ = ["dtype", "other_weights", "permuted", "quantised", "update"]

_EXACT, _ROUNDED, _QUANTISED = 1e-3, 5e-3, 0.2  # relative difference of a matrix that a stored type explains
_ALONG = 0.25  # of the update's length: what may be left of the difference after a multiple of it is taken out


def update(case: Case) -> Cause | None:
    """The adapter's update is left out, or multiplied by another factor."""
    if case.weights is None or not (adapted := case.weights.adapted):
        return None
    rounding = case.weights.typical(case.weights.plain)
    if rounding > _rounding(case):
        return None
    along = {name: drift for name, drift in adapted.items() if _is_along(drift, rounding)}
    left = {name: drift.update_left or 0.0 for name, drift in along.items()}
    sign = 1.0 if case.a.declared.adapter is not None else -1.0  # the update was measured on the side that has the adapter
    lost = [name for name, factor in left.items() if -1.05 < sign * factor < -0.95]
    if len(along) < 0.9 * len(adapted):
        return None
    if lost:
        whole = "the weights of b are those of the base" if len(lost) == len(adapted) else f"{lost[0]} is as in the base"
        where = "b" if sign > 0 else "a"
        return not_applied(f"{whole}: the update is missing in {where} from {len(lost)} of {len(adapted)} adapted matrices")
    factor = 1.0 + sorted(left.values())[len(left) // 2]
    return None if abs(factor - 1) < 1e-3 else scale(case.adapter, factor)


def _is_along(drift: MatrixDrift, rounding: float) -> bool:
    """Whether the difference is a multiple of the update, up to the rounding that the other matrices show."""
    if drift.rest is None or not drift.update_size:
        return False
    return drift.rest < _ALONG + 2 * rounding / drift.update_size


def _rounding(case: Case) -> float:
    """How far a matrix of `b` may be from that of `a` by what its form rounds."""
    if case.b.declared.quantised:
        return _QUANTISED
    return _ROUNDED if {case.a.declared.stored, case.b.declared.stored} & {"bfloat16", "BF16", "float16", "F16"} else _EXACT


def permuted(case: Case) -> Cause | None:
    """Rows of a matrix are in another order."""
    turned = [name for name, drift in (case.weights.changed.items() if case.weights else ()) if drift.is_permuted]
    if not turned:
        return None
    return Cause(
        name="q/k permutation",
        evidence=f"{len(turned)} matrices have the rows of a in another order, first {turned[0]}",
        hint="convert again with a converter that knows this architecture: rotary halves are stored interleaved or split",
    )


def quantised(case: Case) -> Cause | None:
    """Matrices that no adapter touches lie on a grid of few bits."""
    if case.b.declared.quantised:
        return None  # as it should be
    drifts = _plain_changed(case)
    on_grid = [drift.bits for drift in drifts.values() if drift.bits is not None]
    if not drifts or len(on_grid) < 0.5 * len(drifts):
        return None
    bits = max(set(on_grid), key=on_grid.count)
    return Cause(
        name="merged into a quantised base",
        evidence=f"{len(on_grid)} of {len(drifts)} matrices that no adapter touches hold numbers of {bits} bits",
        hint="merge the adapter into the full-precision base: tunesmith merge",
    )


def dtype(case: Case) -> Cause | None:
    """The weights were rounded, and the form does not say so."""
    if case.b.declared.stored != "float32":
        return None  # as it should be
    changed = case.weights.changed if case.weights is not None else {}
    kinds = [drift.rounded_to for drift in changed.values()]
    if not changed or kinds.count("") > 0.1 * len(kinds):
        return None
    kind = max(set(kinds), key=kinds.count)
    return Cause(
        name="dtype",
        evidence=f"the weights of b are those of a rounded to {kind}, and b is compared as {case.b.form}",
        hint=f"store b in {case.a.declared.stored}, or declare {kind} in its config.json",
    )


def other_weights(case: Case) -> Cause | None:
    """Matrices that no adapter touches are others."""
    drifts = _plain_changed(case)
    if not drifts or case.weights is None or len(drifts) < 0.5 * len(case.weights.plain):
        return None
    if case.weights.typical(drifts) <= _rounding(case):
        return None
    far = [drift for drift in drifts.values() if drift.cosine < 0.5]
    share = 100 * case.weights.typical(drifts)
    if len(far) > 0.5 * len(drifts):
        return another(f"matrices that no adapter touches have nothing in common (median difference {share:.0f} %)")
    return Cause(
        name="another base",
        evidence=f"matrices that no adapter touches differ by {share:.2g} %, and are not those of a rounded",
        hint="merge the adapter into the base that it was trained on: tunesmith show run:latest names it",
    )


def _plain_changed(case: Case) -> dict[str, MatrixDrift]:
    if case.weights is None:
        return {}
    return {name: drift for name, drift in case.weights.plain.items() if drift.relative > 0 and not drift.is_permuted}
