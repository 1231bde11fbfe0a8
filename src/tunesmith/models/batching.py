"""Which rows go through a model together: like lengths, not too many, and not too many tokens at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["by_length"]

_TOKENS = 6144  # padded tokens at once: attention scores grow with the square of a row's length


def by_length(lengths: Sequence[int], *, most: int) -> Iterator[list[int]]:
    """Indices in batches of rising length, at most `most` rows and about six thousand padded tokens each."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) >= most or (len(batch) + 1) * lengths[index] > _TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
