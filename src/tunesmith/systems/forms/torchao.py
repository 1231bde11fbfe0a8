"""Folders that torchao quantised, weights only: eight bits, or four on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.models.load import BaseFolder, load_model
from tunesmith.systems.quantised import quantised_form

__all__ = ["FORM"]

_TORCHAO = "pip install 'tunesmith[torchao]'"
_KERNELS = "pip install mslk, on a machine with an NVIDIA GPU"


def _bits(stated: Mapping[str, Any]) -> int:
    return 4 if "Int4" in str(stated.get("quant_type")) else 8


def _packages(stated: Mapping[str, Any]) -> dict[str, str]:
    return {"torchao": _TORCHAO} | ({"mslk": _KERNELS} if _bits(stated) == 4 else {})


def _whole(folder: BaseFolder) -> Any:
    """The model with its weights as plain numbers."""
    import torch

    model = load_model(folder, "float32")
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if type(weight.data) is not torch.Tensor:
                setattr(module, name, torch.nn.Parameter(weight.data.dequantize(), requires_grad=False))
    return model


FORM = quantised_form(
    "torchao", order=40, packages=_packages, kind=lambda stated: f"int{_bits(stated)} (torchao)", whole=_whole
)
