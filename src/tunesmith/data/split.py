"""Split examples into train, val and test by document, so that new documents never move old ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Example, digest

__all__ = ["Split", "place", "split"]

Split = Literal["train", "val", "test"]
_NEEDED: Mapping[Split, int] = {"train": 2, "val": 1, "test": 2}
_SEEDS_TRIED = 200


def place(group: str, *, val: float, test: float, seed: int) -> Split:
    """Where a group belongs: a pure function of its name and the seed, so nothing else in the dataset can move it."""
    u = int(digest(str(seed), group)[:13], 16) / 16**13
    return "test" if u < test else "val" if u < test + val else "train"


def split(
    examples: Sequence[Example], *, by: Literal["document", "row"], val: float, test: float, seed: int
) -> dict[Split, tuple[Example, ...]]:
    """The examples of each split, in the order given; `by` document keeps each group on one side.

    A share of 0 leaves that split empty. DatasetError if train or test has fewer than two groups, or val none.
    """
    groups = list(dict.fromkeys(_group(example, by) for example in examples))
    places = {group: place(group, val=val, test=test, seed=seed) for group in groups}
    counts = _counts(places.values())
    needed = _needed(val, test)
    if any(counts[name] < needed[name] for name in needed):
        raise _too_few(groups, counts, needed, by=by, val=val, test=test, seed=seed)
    parts: dict[Split, list[Example]] = {"train": [], "val": [], "test": []}
    for example in examples:
        parts[places[_group(example, by)]].append(example)
    return {name: tuple(rows) for name, rows in parts.items()}


def _group(example: Example, by: Literal["document", "row"]) -> str:
    return example.group if by == "document" else example.id


def _counts(places: Iterable[Split]) -> dict[Split, int]:
    counts: dict[Split, int] = {"train": 0, "val": 0, "test": 0}
    for name in places:
        counts[name] += 1
    return counts


def _needed(val: float, test: float) -> dict[Split, int]:
    return {**_NEEDED, "val": _NEEDED["val"] if val > 0 else 0, "test": _NEEDED["test"] if test > 0 else 0}


def _too_few(
    groups: Sequence[str],
    counts: Mapping[Split, int],
    needed: Mapping[Split, int],
    *,
    by: Literal["document", "row"],
    val: float,
    test: float,
    seed: int,
) -> DatasetError:
    what = "documents" if by == "document" else "rows"
    got = ", ".join(f"{name} {counts[name]}" for name in counts)
    wanted = ", ".join(f"{needed[name]} in {name}" for name in needed if needed[name])
    hint = f"add more writing: at least {2 * sum(needed.values())} {what}"
    if len(groups) >= sum(needed.values()):
        hint = "--set split.test=0.4 --set split.val=0.2, or more writing"
        for other in range(seed + 1, seed + 1 + _SEEDS_TRIED):
            tried = _counts(place(group, val=val, test=test, seed=other) for group in groups)
            if all(tried[name] >= needed[name] for name in needed):
                hint = f"--set split.seed={other}, or --set split.test=0.4, or more writing"
                break
    return DatasetError(
        f"too few {what} to split", value=f"{len(groups)} {what}: {got}", expected=f"at least {wanted}", hint=hint
    )
