"""What weights say about why two forms differ: an update left out or scaled, rounding, permuted rows, other weights.

Only looked at when a comparison has failed: it reads every matrix of both. Matrices are (out, in).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from tunesmith.models.sums import sums
from tunesmith.systems.opened import OpenedSystem

__all__ = ["MatrixDrift", "WeightsCompared", "compare_weights"]

_BLOCK = 32  # weights that share a scale in the usual formats of few bits, or divide those that do
_ROWS = 64  # rows of a matrix that are looked at for a grid
_SHARE = 0.99
_FEW = 16
_OFF_GRID = 0.1  # of a step, on average; numbers of no grid are a quarter of one off
_TURNED = 0.1  # relative difference below which rows were not moved


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixDrift:
    """One matrix of both forms. `relative`: |B − A| / |A|; `cosine` of both.

    `update_left`: of an adapted matrix, by which factor of its update B differs from A, and `rest`, what of the difference is
    not along it, over the update's length; `update_size`: the update's length over A's; None for the others. `rounded_to`: the
    type to which B is A rounded. `bits`: of the grid on which B lies, None for none. `is_permuted`: B has the rows of A in
    another order.
    """

    relative: float
    cosine: float
    update_left: float | None = None
    rest: float | None = None
    update_size: float | None = None
    rounded_to: str = ""
    bits: int | None = None
    is_permuted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsCompared:
    """Every matrix that both have, by name; names that only one has; names whose shapes differ."""

    drifts: Mapping[str, MatrixDrift]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, MatrixDrift]:
        """Those that differ at all."""
        return {name: drift for name, drift in self.drifts.items() if drift.relative > 0}

    @property
    def adapted(self) -> dict[str, MatrixDrift]:
        """Those that the adapter of one side changes."""
        return {name: drift for name, drift in self.drifts.items() if drift.update_left is not None}

    @property
    def plain(self) -> dict[str, MatrixDrift]:
        """Those that no adapter changes, where a base differs from another one."""
        return {name: drift for name, drift in self.drifts.items() if drift.update_left is None}

    def typical(self, drifts: Mapping[str, MatrixDrift]) -> float:
        """The median relative difference; 0 without any."""
        return median([drift.relative for drift in drifts.values()] or [0.0])


def compare_weights(a: OpenedSystem, b: OpenedSystem) -> WeightsCompared | None:
    """Both forms' matrices compared; None where one of them has no files here."""
    if a.weights is None or b.weights is None:
        return None
    one, other = a.weights(), b.weights()
    left, right = dict(_matrices(one)), dict(_matrices(other))
    shared = [name for name in left if name in right and left[name].shape == right[name].shape]
    updates = dict(_updates(one)) or dict(_updates(other))
    return WeightsCompared(
        drifts={name: _drift(left[name].float(), right[name].float(), updates.get(name)) for name in shared},
        only_a=tuple(sorted(left.keys() - right.keys())),
        only_b=tuple(sorted(right.keys() - left.keys())),
        reshaped={
            name: (tuple(left[name].shape), tuple(right[name].shape))
            for name in left
            if name in right and left[name].shape != right[name].shape
        },
    )


def _matrices(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Name in the plain model and value of every matrix, the adapter's update added."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    for name, parameter in plain.named_parameters(remove_duplicate=False):
        if parameter.dim() == 2 and "lora_" not in name:
            yield name.replace(".base_layer", ""), parameter.detach()
    if plain is not model:
        for one in sums(model):
            yield one.name, one.total


def _updates(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if hasattr(model, "get_base_model"):
        for one in sums(model):
            yield one.name, one.total - getattr(one.owner, one.key).detach().float()


def _drift(a: torch.Tensor, b: torch.Tensor, update: torch.Tensor | None) -> MatrixDrift:
    apart, size = b - a, float(a.norm())
    relative = float(apart.norm()) / max(size, 1e-30)
    cosine = float((a * b).sum()) / max(size * float(b.norm()), 1e-30)
    left = rest = length = None
    if update is not None and bool(update.any()):
        length = float(update.norm())
        left = float((apart * update).sum()) / length**2
        rest = float((apart - left * update).norm()) / length
    if relative == 0:
        return MatrixDrift(relative=0.0, cosine=1.0, update_left=left, rest=rest, update_size=_over(length, size))
    return MatrixDrift(
        relative=relative,
        cosine=cosine,
        update_left=left,
        rest=rest,
        update_size=_over(length, size),
        rounded_to=next((str(kind).removeprefix("torch.") for kind in _KINDS if _is_rounded(a, b, kind)), ""),
        bits=_bits(b if update is None else b - update),
        is_permuted=relative > _TURNED and _is_permuted(a, b),
    )


def _over(length: float | None, size: float) -> float | None:
    return None if length is None else length / max(size, 1e-30)


_KINDS = (torch.bfloat16, torch.float16)


def _is_rounded(a: torch.Tensor, b: torch.Tensor, kind: torch.dtype) -> bool:
    return float((a.to(kind).float() == b).float().mean()) >= _SHARE


def _bits(b: torch.Tensor) -> int | None:
    """4 if blocks of the first rows hold 16 distinct values or fewer, 8 if rows or blocks hold whole multiples of a 127th of
    their largest value; None for a matrix of neither kind. Near-equal values count as one."""
    if b.shape[1] < _BLOCK:
        return None
    blocks_nB = b[:_ROWS, : b.shape[1] // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    sorted_nB = blocks_nB.sort(-1).values
    steps_nB = sorted_nB.diff(dim=-1) > 1e-5 * blocks_nB.abs().amax(-1, keepdim=True)
    if int(steps_nB.sum(-1).float().median()) + 1 <= _FEW:
        return 4
    return 8 if any(_in_127ths(part) for part in (blocks_nB, b[:_ROWS])) else None


def _in_127ths(b_nB: torch.Tensor) -> bool:
    steps_nB = b_nB * 127 / b_nB.abs().amax(-1, keepdim=True).clamp_min(1e-30)
    return float((steps_nB - steps_nB.round()).abs().mean()) < _OFF_GRID


def _is_permuted(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether the rows of both are the same ones in another order."""
    order_a, order_b = a.norm(dim=1).argsort(), b.norm(dim=1).argsort()
    return math.isclose(float((a[order_a] - b[order_b]).norm()), 0.0, abs_tol=0.02 * float(a.norm()))
