"""`compare`: two prediction files, paired by item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tunesmith.eval.compare import compare_files

__all__ = ["CompareResult", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareResult:
    """Two systems on the same `n` items; None is not measured, never zero. Intervals are `[low, high]` at 95 %.

    `a`, `b`: mean, median, std, min, max and ci of each. `difference` (b − a): mean, ci and p. `relative`: the mean difference
    over |mean of a|. `cut`: the share of cut answers of each. `length_matched`: the difference with the longer answer trimmed
    to the reference's length.
    """

    metric: str
    n: int
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    difference: Mapping[str, Any]
    relative: float | None
    cut: Mapping[str, float]
    length_matched: Mapping[str, Any]
    num_groups: int
    unscored: int
    better: int
    worse: int
    smallest_p: float | None
    higher_is_better: bool | None
    method: str
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith compare --json` prints."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def compare(a: str | Path, b: str | Path, *, metric: str = "word_overlap", draws: int = 10_000, seed: int = 7) -> CompareResult:
    """Compare two prediction files on the same items, paired by id and clustered by group.

    Each line is a JSON object with `id`, `prompt`, `reference`, `prediction` and optionally `group` and `finish_reason`.
    `draws`: resamples of the bootstrap and the permutation test, with `seed`.

    Raises:
        EvaluationError: an unknown metric, or files that cannot be read or compared.
    """
    found = compare_files(Path(a), Path(b), metric=metric, draws=draws, seed=seed)
    return CompareResult(**{**found, "warnings": tuple(found["warnings"])})
