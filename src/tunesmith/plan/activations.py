"""Bytes that the backward pass wants back: what autograd saves in transformers' own layers, with peft's adapters or without.

Counted per token and block, for attention by a fused kernel, which keeps no probabilities. Tests compare the formulas with the
bytes that autograd really saves. `e` is the size of a number in the type of the activations (docs/concepts/sizes.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.plan.weights import Anatomy, Weight

__all__ = ["Adapted", "activation_bytes", "block_bytes", "head_bytes"]

_GELU_PARTS = 4  # results that GELU written in Python saves; a gated MLP saves three
_OUTPUTS = ("o_proj", "dense", "down_proj", "fc2", "c_proj", "dense_4h_to_h")
_LOGIT_COPIES = 3  # in float32, at the end of the forward pass: the logits, their logarithms and the gradient of these


@dataclass(frozen=True, slots=True)
class Adapted:
    """The linear layers that an adapter of `rank` changes. Its own numbers are float32, as peft has them."""

    targets: tuple[Weight, ...]
    rank: int
    dora: bool = False


def block_bytes(anatomy: Anatomy, *, number_bytes: int, adapted: Adapted | None = None) -> float:
    """Bytes that one block saves per token: of a model that is trained as a whole, or of a frozen one with an adapter."""
    e, queries, keys = number_bytes, anatomy.heads * anatomy.head_dim, anatomy.kv_heads * anatomy.head_dim
    attention = e * (queries + 2 * keys) + 4 * anatomy.heads + (e * (queries + keys) if anatomy.fused else 0)
    mlp = e * anatomy.inner * (3 if anatomy.gated else _GELU_PARTS)
    if adapted is not None:
        frozen = e if anatomy.norm == "layer" else 4
        mixed = e * anatomy.experts_per_token * anatomy.width
        return frozen * _norm_width(anatomy) + attention + e * queries + mlp + mixed + _adapter_bytes(anatomy, e, adapted)
    norm = _trained_norm(anatomy, e)
    inputs = anatomy.width * min(2, _block_norms(anatomy)) + queries + anatomy.inner
    experts = 2 * anatomy.experts_per_token * anatomy.width
    return norm * _norm_width(anatomy) + attention + mlp + e * (inputs + experts)


def _trained_norm(anatomy: Anatomy, e: int) -> int:
    """Bytes per number that a norm saves: its input, and where it has a trained weight, what that is multiplied with."""
    return {"rms": 4 + e, "rms_float32": 8, "layer": e}[anatomy.norm]


def _adapter_bytes(anatomy: Anatomy, e: int, adapted: Adapted) -> float:
    """Inputs of the adapters in float32, what lies between their two matrices, and with DoRA the results before scaling."""
    layers = max(1, anatomy.layers)
    inputs = sum(weight.in_out[0] for weight in adapted.targets)
    if e == 4:  # no copy is made: layers with the same input share it
        shared = {(w.module.rpartition(".")[0], _role(w)): w.in_out[0] for w in adapted.targets}
        inputs = sum(shared.values())
    outputs = sum(weight.in_out[1] for weight in adapted.targets) if adapted.dora else 0
    return (4 * inputs + 4 * adapted.rank * len(adapted.targets) + (e + 4) * outputs) / layers


def _role(weight: Weight) -> str:
    leaf = weight.module.rpartition(".")[2]
    return leaf if leaf in _OUTPUTS else "input"


def _of_first_block(anatomy: Anatomy) -> Sequence[Weight]:
    return [w for w in anatomy.weights if w.layer == 0 and w.kind == "norms" and w.name.endswith(".weight")]


def _block_norms(anatomy: Anatomy) -> int:
    return sum(w.shape[0] == anatomy.width and "self_attn" not in w.name for w in _of_first_block(anatomy))


def _norm_width(anatomy: Anatomy) -> int:
    """Numbers per token that the norms of a block take in. Those of queries and keys work on every head."""
    heads = {"q": anatomy.heads, "k": anatomy.kv_heads}
    return sum(
        heads[w.module.rpartition(".")[2][0]] * anatomy.head_dim if "self_attn" in w.name else w.shape[0]
        for w in _of_first_block(anatomy)
    )


def head_bytes(anatomy: Anatomy, *, number_bytes: int, trained: bool) -> int:
    """Bytes per token of the predictions at the peak: the logits, and float32 copies in the loss and its gradient; where the
    head is trained, also its input and the last norm's."""
    last = anatomy.width * (_trained_norm(anatomy, number_bytes) + number_bytes) if trained else 0
    return anatomy.vocabulary * (number_bytes + 4 * _LOGIT_COPIES) + last


def activation_bytes(
    anatomy: Anatomy, *, tokens: int, number_bytes: int, checkpointing: bool, adapted: Adapted | None = None
) -> int:
    """Bytes of a step over `tokens` at once. With checkpointing, a block keeps its input, and one block at a time the rest."""
    block = block_bytes(anatomy, number_bytes=number_bytes, adapted=adapted)
    blocks = anatomy.layers * anatomy.width * number_bytes + block if checkpointing else anatomy.layers * block
    whole = round(tokens * (blocks + head_bytes(anatomy, number_bytes=number_bytes, trained=adapted is None)))
    return whole + (_dora_bytes(adapted) if adapted and adapted.dora else 0)


def _dora_bytes(adapted: Adapted) -> int:
    """While a layer's norms are taken, peft holds a unit matrix of its inputs, update, weight and their sum, in float32."""
    return max((4 * into * (into + 3 * out) for into, out in (weight.in_out for weight in adapted.targets)), default=0)
