"""A base in 4 bits for training (QLoRA, Dettmers et al. 2023, arXiv:2305.14314): NF4 with double quantisation, by bitsandbytes.

The base is found whole and quantised while it is opened. Only the linear layers in its blocks are; they are dequantised for
each product, in the number type of the product. Evaluation and merging open the base whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, PrecisionName, open_model

__all__ = ["FourBit", "four_bit", "is_four_bit", "load_quantised", "num_weights", "require_four_bit"]


def require_four_bit() -> None:
    """ModelError if the library for 4-bit weights is missing, or cannot be loaded."""
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "method.quantise nf4 needs bitsandbytes",
            value=str(error),
            expected="the library bitsandbytes, which is not part of a plain install",
            hint="pip install 'tunesmith[quantised]', or --set method.quantise=none",
        ) from error


def load_quantised(base: BaseFolder, precision: PrecisionName) -> Any:
    """The base with the linear layers of its blocks in 4 bits; products and everything else in the type `precision`.

    Raises ModelError if bitsandbytes is missing, or nothing could be quantised.
    """
    require_four_bit()
    from transformers import BitsAndBytesConfig

    model = open_model(
        base,
        precision,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, precision),
        ),
    )
    layers = [module for module in model.modules() if is_four_bit(module)]
    if not layers:
        raise ModelError(
            "no layer of this base can be kept in 4 bits",
            value=base.name,
            expected="linear layers in its blocks",
            hint="--set method.quantise=none",
        )
    for parameter in model.parameters():
        if num_weights(parameter) == parameter.numel():  # it lies in the mapped file, and would keep all of that in memory
            parameter.data = parameter.data.clone()
    for layer in layers:
        layer.support_avx512bf16_for_cpu = (
            False  # evaluation would store its weights in another layout, which training misreads
        )
    return model


def is_four_bit(module: Any) -> bool:
    """Whether a module is a linear layer in 4 bits. By name: importing the library takes seconds."""
    kind = type(module)
    return kind.__name__ == "Linear4bit" and kind.__module__.startswith("bitsandbytes.")


@dataclass(frozen=True, slots=True)
class FourBit:
    """The weight (O, I) of a linear layer in 4 bits: packed numbers, and how they are scaled."""

    packed: torch.Tensor
    state: Any

    def whole(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight in this type, as bitsandbytes gives it to its own products.

        It is asked for in one row: on some processors the library scales rows wrongly whose length is no multiple of the block.
        """
        from bitsandbytes.functional import dequantize_blockwise

        s = self.state
        scales = dequantize_blockwise(s.absmax, s.state2) + s.offset if s.nested else s.absmax
        made: torch.Tensor = torch.ops.bitsandbytes.dequantize_4bit.default(
            self.packed, scales.float(), s.blocksize, s.quant_type, [math.prod(s.shape)], dtype
        )
        return made.reshape(s.shape)


def four_bit(layer: Any) -> FourBit:
    """The weight of a 4-bit layer."""
    return FourBit(layer.weight.data, layer.weight.quant_state)


def num_weights(parameter: torch.Tensor) -> int:
    """Numbers that a parameter stands for: in 4 bits, two in each byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else torch.Size(state.shape).numel()
