"""Weights of linear layers in the order in which the processor's kernels read them, for a model that only answers.

A product with few rows is limited by reading the weights, and MKL sorts them anew each time. oneDNN sorts once: on a CPU with
AVX-512 a product of 4 rows takes half the time, one of 32 rows two thirds, and one of 128 about 0.9. The sums are rounded
otherwise (about 1e-6 relative in float32), as they are for another number of rows. The order before is let go of, so memory
grows only by an output matrix that is the embeddings' own.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["PackedLinear", "pack_products"]

_LEAST_WEIGHTS = 2**16  # below that the call costs more than the sorting
_KINDS = (torch.float32, torch.bfloat16)


class PackedLinear(torch.nn.Linear):
    """A linear layer without gradient: x (…, in) → (…, out). `packed`: its weights (out, in) in the kernels' order."""

    def __init__(self, plain: torch.nn.Linear) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.bias = plain.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(plain.weight.detach(), None)

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """(out, in), put together anew each time."""
        dense: torch.Tensor = self.packed.to_dense()
        return dense

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """x Wᵀ + b."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], "")
        return made


def pack_products(model: Any, *, least_weights: int = _LEAST_WEIGHTS) -> int:
    """Replace the plain linear layers of a model on a CPU, one by one; returns how many. It cannot be trained afterwards.

    0 where this build of PyTorch has no such kernels, and for other devices.
    """
    if not (torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return 0
    found = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if type(child) is torch.nn.Linear and _fits(child.weight, least_weights)
    ]
    for module, name, child in found:
        setattr(module, name, PackedLinear(child).eval())
    return len(found)


def _fits(weight: torch.Tensor, least: int) -> bool:
    usable = weight.device.type == "cpu" and weight.dtype in _KINDS and weight.numel() >= least
    return usable and (weight.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
