"""Bytes that training takes, from the shape alone: what is there anyway, and what each token keeps for the backward pass.

Of each adapted layer a token keeps what enters and leaves attention and MLP: six widths and two inner widths, as counted on
token trees (`docs/log.md`). Adapters inside the MLP keep their inputs beside, one width and one inner width; attention keeps
its probabilities where a query sees few keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.plan.shape import Shape

__all__ = ["KEPT_KEYS", "Memory", "always_there", "kept_a_token", "memory_of"]

KEPT_KEYS = 256  # up to so many, attention's probabilities are kept: the engine's own number, which a test holds this one to
_LIBRARIES = 450 * 2**20
_HEAD = 3 * 32 * 2**20  # logits, gradient and a copy of the chunk of predictions that meets the output matrix
_ADAPTER_COPIES = 6  # parameter, gradient, two moments, the best step and a checkpoint on its way, in float32
_AROUND = 2  # widths outside the layers: the last hidden state and its gradient
_SHARE = 0.5  # of what is free once the model is there, as training itself takes it


@dataclass(frozen=True, slots=True)
class Memory:
    """`least`: bytes with one example at once; `likely`: bytes with the `tokens` at once that training will choose."""

    least: int
    likely: int
    tokens: int


def always_there(shape: Shape, *, trainable: int, bytes_a_weight: int) -> int:
    """Bytes of weights, adapter with gradient and moments, the head's chunk, and libraries."""
    return shape.num_parameters * bytes_a_weight + trainable * 4 * _ADAPTER_COPIES + _HEAD + _LIBRARIES


def kept_a_token(
    shape: Shape, *, adapted_layers: int, adapted_mlp: bool, bytes_a_weight: int, checkpointing: bool, length: int
) -> int:
    """Bytes that a token of an example of `length` keeps for the backward pass; with checkpointing, those of one layer."""
    probabilities = shape.heads * length if length <= KEPT_KEYS else 0
    again = shape.key_width * length // KEPT_KEYS  # keys and values, once for each block of queries that looks at them
    layer = (6 + adapted_mlp) * shape.width + (2 + adapted_mlp) * shape.inner + probabilities + again
    whole = adapted_layers * shape.width + layer if checkpointing else adapted_layers * layer
    return (whole + _AROUND * shape.width) * bytes_a_weight


def memory_of(there: int, a_token: Callable[[int], int], *, longest: int, batch_tokens: int, free: int) -> Memory:
    """What a run takes whose longest example has `longest` tokens and whose largest batch `batch_tokens`, with `free` bytes.

    `there` bytes are there anyway; `a_token(length)` is what a token of an example of that length keeps.
    """
    most = max(a_token(longest), a_token(min(longest, KEPT_KEYS)))
    fits = int(_SHARE * max(0, free - there) / most)
    tokens = max(longest, min(batch_tokens, 1 << fits.bit_length() - 1 if fits else 0))
    return Memory(there + longest * a_token(longest), there + tokens * most, tokens)
