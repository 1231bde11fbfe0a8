"""Weights quantised by torchao, without calibration, in a folder that transformers writes and opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.ship.format import ExportSource, Written
from tunesmith.ship.quantised_folder import complete, needed, written

__all__ = ["PIP", "write_torchao"]

PIP = "pip install 'tunesmith[torchao]'"


def write_torchao(source: ExportSource, folder: Path, settings: Callable[[], Any]) -> Written:
    """Quantise the linear layers by torchao's `settings`; embeddings and head keep their own type.

    Raises ModelError if torchao is missing, or cannot quantise these weights on this machine.
    """
    needed("torchao", what="this format", install=PIP)
    from transformers import AutoModelForCausalLM, GenerationConfig, TorchAoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        how = TorchAoConfig(settings())
        model = AutoModelForCausalLM.from_pretrained(
            source.merged.path, dtype="auto", quantization_config=how, trust_remote_code=False, use_safetensors=True
        )
    except (ImportError, AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelError(
            "torchao cannot quantise these weights here",
            value=source.name,
            expected=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            hint="choose another format: --to int8 or --to gguf",
        ) from error
    model.generation_config = GenerationConfig()  # the merged model's own file is copied instead
    model.requires_grad_(False)
    model.save_pretrained(folder)
    complete(source, folder)
    return written(source, folder)
