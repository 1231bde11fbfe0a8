"""The weights of a model by name, shape and kind, and the dimensions that memory is calculated from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunesmith.plan.shape import Shape

__all__ = ["Anatomy", "Kind", "Norm", "Weight"]

Kind = Literal["embedding", "attention", "mlp", "experts", "router", "norms", "head", "vision"]
Norm = Literal["rms", "rms_float32", "layer"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor. `shape` is (out, in) for a linear layer, turned where `turned`; `used`: the share that a token meets."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    layer: int | None = None
    used: float = 1.0
    turned: bool = False

    @property
    def num_parameters(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def is_linear(self) -> bool:
        """Whether it is the matrix of a linear layer inside the blocks, which adapters and 4-bit formats work on."""
        return self.kind in ("attention", "mlp") and len(self.shape) == 2

    @property
    def module(self) -> str:
        """Full name of the layer that holds it."""
        return self.name.rpartition(".")[0]

    @property
    def in_out(self) -> tuple[int, int]:
        """Inputs and outputs of a linear layer."""
        out, into = self.shape[-2:]
        return (out, into) if self.turned else (into, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What the arithmetic needs of a model. `windows`: keys that attention of each layer reaches back to, 0 for all.

    `inner` is what one token passes through in an MLP: of all experts that it uses. `context`: longest text, 0 if not said.
    """

    model_type: str
    weights: tuple[Weight, ...]
    windows: tuple[int, ...]
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    norm: Norm
    gated: bool
    fused: bool
    experts_per_token: int

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.windows)

    @property
    def num_parameters(self) -> int:
        """All parameters, tied ones once."""
        return sum(weight.num_parameters for weight in self.weights)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through; fewer than all in a mixture of experts."""
        return sum(round(weight.num_parameters * weight.used) for weight in self.weights)

    @property
    def by_kind(self) -> dict[Kind, int]:
        """Parameters by kind, in the order of the model."""
        counts: dict[Kind, int] = {}
        for weight in self.weights:
            counts[weight.kind] = counts.get(weight.kind, 0) + weight.num_parameters
        return counts

    @property
    def shape(self) -> Shape:
        """The counts that the plan of a run calculates with."""
        return Shape(
            num_parameters=self.num_parameters,
            linear_params=sum(w.num_parameters for w in self.weights if w.is_linear or w.kind in ("router", "experts")),
            layers=self.layers,
            width=self.width,
            inner=self.inner,
            heads=self.heads,
            key_width=self.kv_heads * self.head_dim,
            vocabulary=self.vocabulary,
        )
