"""Memory of training, itemised: weights, adapter, gradients, optimiser states, activations, libraries, by method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

from tunesmith.plan.activations import Adapted, activation_bytes
from tunesmith.plan.formats import nf4_bytes
from tunesmith.plan.memory import LIBRARIES
from tunesmith.plan.weights import Anatomy, Weight

__all__ = ["METHODS", "OPTIMIZERS", "PRECISIONS", "Method", "TrainingMemory", "training_memory"]

Method = Literal["full", "lora", "dora", "qlora"]
METHODS: tuple[Method, ...] = ("full", "lora", "dora", "qlora")
Sizes = tuple[int, int]

# Precision → bytes of a weight, bytes of an activation. `mixed` is autocast: float32 weights, bfloat16 products.
PRECISIONS: Mapping[str, Sizes] = MappingProxyType({"float32": (4, 4), "bfloat16": (2, 2), "mixed": (4, 2)})

_BLOCK_8BIT, _LEAST_8BIT = 256, 4096  # bitsandbytes: numbers that share a scale; smaller tensors stay in float32


def _moments(count: int) -> Callable[[Sequence[int], int], int]:
    return lambda shape, size: count * size * _numbers(shape)


def _adam_8bit(shape: Sequence[int], size: int) -> int:
    numbers = _numbers(shape)
    return 8 * numbers if numbers < _LEAST_8BIT else 2 * (numbers + 4 * -(-numbers // _BLOCK_8BIT))


def _adafactor(shape: Sequence[int], size: int) -> int:
    return 4 * (sum(shape[-2:]) * _numbers(shape[:-2]) if len(shape) > 1 else _numbers(shape))


# Name → bytes of its states for a tensor of this shape whose numbers have this size.
OPTIMIZERS: Mapping[str, Callable[[Sequence[int], int], int]] = MappingProxyType(
    {"adamw": _moments(2), "adamw_8bit": _adam_8bit, "adafactor": _adafactor, "lion": _moments(1), "sgd": _moments(0)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """Bytes at the peak of a step."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    libraries: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(asdict(self).values())


def training_memory(
    anatomy: Anatomy,
    method: Method,
    targets: tuple[Weight, ...],
    *,
    rank: int,
    tokens: int,
    precision: str,
    optimizer: str,
    checkpointing: bool,
) -> TrainingMemory:
    """What one step over `tokens` takes. The base of an adapter is frozen; QLoRA has its linear layers in 4 bits (NF4)."""
    weight_size, number_size = PRECISIONS[precision]
    adapted = None if method == "full" else Adapted(targets, rank, dora=method == "dora")
    trained = [(w.shape, weight_size) for w in anatomy.weights] if adapted is None else _adapter_shapes(adapted)
    numbers = sum(size * _numbers(shape) for shape, size in trained)
    base = nf4_bytes(anatomy, weight_size) if method == "qlora" else weight_size * anatomy.num_parameters
    cast = number_size * sum(w.num_parameters for w in anatomy.weights if w.is_linear) if precision == "mixed" else 0
    return TrainingMemory(
        weights=base + (0 if method == "qlora" else cast),
        adapter=0 if adapted is None else numbers,
        gradients=numbers,
        optimizer=sum(OPTIMIZERS[optimizer](shape, size) for shape, size in trained),
        activations=activation_bytes(
            anatomy, tokens=tokens, number_bytes=number_size, checkpointing=checkpointing, adapted=adapted
        ),
        libraries=LIBRARIES,
    )


def _adapter_shapes(adapted: Adapted) -> list[tuple[tuple[int, ...], int]]:
    """Shapes of an adapter's tensors, each float32."""
    shapes: list[tuple[int, ...]] = []
    for weight in adapted.targets:
        into, out = weight.in_out
        shapes += [(adapted.rank, into), (out, adapted.rank)] + ([(out,)] if adapted.dora else [])
    return [(shape, 4) for shape in shapes]


def _numbers(shape: Sequence[int]) -> int:
    whole = 1
    for one in shape:
        whole *= one
    return whole
