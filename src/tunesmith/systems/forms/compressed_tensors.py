"""Folders in the format of compressed-tensors, which llm-compressor writes: AWQ and GPTQ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.models.load import BaseFolder, open_model
from tunesmith.systems.quantised import quantised_form

__all__ = ["FORM"]

_INSTALL = "pip install 'tunesmith[compressed]'"


def _kind(stated: Mapping[str, Any]) -> str:
    groups = stated.get("config_groups") or {}
    bits = sorted({int(group["weights"]["num_bits"]) for group in groups.values() if group.get("weights")})
    return f"{' and '.join(map(str, bits)) or 'few'} bits (compressed-tensors)"


def _whole(folder: BaseFolder) -> Any:
    """The model with its weights as plain numbers."""
    from transformers import CompressedTensorsConfig

    return open_model(folder, "float32", quantization_config=CompressedTensorsConfig(run_compressed=False))


FORM = quantised_form(
    "compressed-tensors", order=50, packages=lambda stated: {"compressed_tensors": _INSTALL}, kind=_kind, whole=_whole
)
