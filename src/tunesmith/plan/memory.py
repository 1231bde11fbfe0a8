"""Bytes that training takes, from the shape alone: what is there anyway, and what each token keeps for the backward pass.

As counted on token trees (`docs/log.md`), an adapted layer keeps of each token five widths, keys, values and two inner widths;
with adapters in the MLP, one width and one inner width more. Attention keeps its probabilities up to `KEPT_KEYS` keys, and
beyond `_BY_KERNEL` one width and two numbers a head, which the library's kernel wants back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.plan.shape import Shape

__all__ = ["KEPT_KEYS", "Memory", "always_there", "kept_a_token", "memory_of"]

KEPT_KEYS = 256  # up to so many, attention's probabilities are kept: the engine's own number, which a test holds this one to
_LIBRARIES = 450 * 2**20
_HEAD = 3 * 32 * 2**20  # logits, gradient and a copy of the chunk of predictions that meets the output matrix
_ADAPTER_COPIES = 8  # parameter, gradient, two moments, two best steps, a checkpoint on its way, and its bytes, in float32
_BY_KERNEL = 512  # keys beyond which the library's kernel attends
_SMALL = 112  # numbers a token of a layer: what adapters of usual rank, norms and masks keep
_AROUND = 2  # widths outside the layers: the last hidden state and its gradient
_SHARE = 0.5  # of what is free once the model is there, as training itself takes it


@dataclass(frozen=True, slots=True)
class Memory:
    """`least`: bytes with one example at once; `likely`: bytes with the `tokens` at once that training will choose."""

    least: int
    likely: int
    tokens: int


def always_there(shape: Shape, *, trainable: int, bytes_a_weight: int) -> int:
    """Bytes of weights, adapter with gradient and moments (once more in a rounded type), the head's chunk, and libraries."""
    adapter = trainable * (4 * _ADAPTER_COPIES + (bytes_a_weight if bytes_a_weight < 4 else 0))
    return shape.num_parameters * bytes_a_weight + adapter + _HEAD + _LIBRARIES


def kept_a_token(
    shape: Shape, *, adapted_layers: int, adapted_mlp: bool, bytes_a_weight: int, checkpointing: bool, length: int
) -> int:
    """Bytes that a token of an example of `length` keeps for the backward pass; with checkpointing, those of one layer."""
    layer = 5 * shape.width + 2 * shape.key_width + 2 * shape.inner + _SMALL
    if adapted_mlp:
        layer += shape.width + shape.inner + _SMALL // 2
    if length <= KEPT_KEYS:
        layer += shape.heads * length
    elif length > _BY_KERNEL:
        layer += shape.width + 2 * shape.heads
    whole = adapted_layers * shape.width + layer if checkpointing else adapted_layers * layer
    return (whole + _AROUND * shape.width) * bytes_a_weight


def memory_of(there: int, a_token: Callable[[int], int], *, longest: int, batch_tokens: int, wanted: int, free: int) -> Memory:
    """What a run takes whose longest example has `longest` tokens and whose largest batch `batch_tokens`, with `free` bytes.

    `there` bytes are there anyway; `a_token(length)` is what a token of an example of that length keeps. `wanted` tokens
    at once are taken as they are; 0 leaves it to what fits.
    """
    most = max(a_token(longest), a_token(min(longest, KEPT_KEYS)))
    fits = int(_SHARE * max(0, free - there) / most)
    tokens = max(longest, min(batch_tokens, wanted or (1 << fits.bit_length() - 1 if fits else 0)))
    least = there + longest * a_token(longest)
    return Memory(least, there + tokens * most if tokens > longest else least, tokens)
