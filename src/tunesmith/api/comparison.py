"""`compare`: prediction files of two systems or more, paired by item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tunesmith.data.dataset.load import load_examples
from tunesmith.eval.compare import compare_files
from tunesmith.eval.metrics.voice import Writing

__all__ = ["CompareResult", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareResult:
    """Systems on the same `n` items; None is not measured, never zero. Intervals are `[low, high]` at 95 %.

    `warnings` come first because they can make every number worthless. `a`, `b`: mean, median, std, min, max and ci of the
    first two systems. `difference` (b − a): mean, ci and p. `relative`: the mean difference over |mean of a|. `cut`: the share
    of cut answers of each. `length_matched`: the difference with the longer answer trimmed to the reference's length (None
    where a trimmed answer is not one). `systems` and `pairs`: the same for all files, with `p_holm` over all pairs and the
    floors that a system is `not_above`. `floors`: what trivial answers score. `check`: how well a
    trained metric (voice) knows its author.
    """

    warnings: tuple[str, ...]
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
    better: int | None
    worse: int | None
    smallest_p: float | None
    higher_is_better: bool | None
    method: str
    systems: tuple[Mapping[str, Any], ...]
    pairs: tuple[Mapping[str, Any], ...]
    floors: Mapping[str, Mapping[str, Any]]
    check: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith compare --json` prints."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def compare(
    *files: str | Path,
    metric: str = "word_overlap",
    group: str = "group",
    train: str | Path | None = None,
    run_code: bool = False,
    draws: int = 10_000,
    seed: int = 7,
) -> CompareResult:
    """Compare prediction files on the same items, paired by id and clustered by document. The first is the reference system.

    Each line is a JSON object with `id`, `prompt`, `reference`, `prediction` and optionally `group` and `finish_reason`; files
    may be compressed with gzip. `metric`: any of docs/concepts/metrics.md that answers alone give. `group`: the field that
    names the document. `train`: the training rows, for the floors and for the metric `voice`. `run_code`: execute answers for
    `code_passes`; nothing protects this machine but limits on time, memory, files and network. `draws`: resamples of the
    bootstrap and the permutation test, with `seed`.

    Raises:
        EvaluationError: an unknown metric, or files that cannot be read or compared.
        DatasetError: no answers in the training rows.
    """
    found = compare_files(
        [Path(path) for path in files],
        metric=metric,
        group=group,
        train=None if train is None else _writings(Path(train)),
        run_code=run_code,
        draws=draws,
        seed=seed,
    )
    lists = {name: tuple(found[name]) for name in ("warnings", "systems", "pairs")}
    return CompareResult(**{**found, **lists})


def _writings(path: Path) -> list[Writing]:
    """The answers of training rows, with their documents and authors."""
    examples = load_examples(path).examples
    return [Writing(text=one.answer, document=one.group or one.id, author=one.meta.get("author")) for one in examples]
