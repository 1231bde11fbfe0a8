"""Which rows go through a model together: like lengths, not too many, and not too many tokens at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["TOKENS", "by_length", "padded_tokens"]

TOKENS = 3072  # padded tokens at once: no faster with more, and a layer's intermediate results grow with them
_PADDED_LOGITS = 128 * 2**20  # bytes of a plain forward pass's logits, which come whole


def by_length(lengths: Sequence[int], *, most: int, tokens: int = TOKENS) -> Iterator[list[int]]:
    """Indices in batches of rising length, at most `most` rows and about `tokens` padded tokens each, or one row."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) >= most or (len(batch) + 1) * lengths[index] > tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def padded_tokens(vocabulary: int) -> int:
    """Tokens at once for a plain forward pass, which gives the logits of every position, over `vocabulary` entries."""
    return min(TOKENS, _PADDED_LOGITS // (4 * vocabulary))
