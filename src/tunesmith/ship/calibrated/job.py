"""The job that runs in the Python of llm-compressor: reads a model folder and rows of token ids, writes the quantised folder.

That tool needs an older transformers than Tunesmith, so this file is run by its path and imports nothing of Tunesmith.
Source of the recipes: llm-compressor 0.14, `modifiers/gptq` and `modifiers/transform/awq`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["recipe", "run"]


def recipe(method: str, group_size: int) -> list[Any]:
    """llm-compressor's modifiers for `gptq` or `awq`: four bits for each weight of the linear layers, not of the head.

    Symmetric, since transformers 5.23 cannot read the packed zero points that this tool writes otherwise.
    """
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group_size}
    groups = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}, "ignore": ["lm_head"]}
    if method == "gptq":
        return [GPTQModifier(**groups)]
    return [AWQModifier(), QuantizationModifier(**groups)]


def run(job: dict[str, Any]) -> None:
    """Quantise `job["model"]` with the token ids of `job["rows"]`, and write it to `job["out"]`."""
    from llmcompressor import oneshot  # first, so that its absence is what is reported

    import torch  # isort: skip
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    if not torch.accelerator.is_available():
        _skip_pinning()
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["type"]), use_safetensors=True)
    rows = Dataset.from_dict({"input_ids": job["rows"], "attention_mask": [[1] * len(row) for row in job["rows"]]})
    oneshot(
        model=model,
        dataset=rows,
        recipe=recipe(job["method"], job["group_size"]),
        num_calibration_samples=len(job["rows"]),
        shuffle_calibration_samples=False,
        max_seq_length=max(map(len, job["rows"])),
        batch_size=1,
    )
    model.save_pretrained(job["out"], save_compressed=True)


def _skip_pinning() -> None:
    """AWQ of llm-compressor 0.14 pins memory for a GPU even where there is none, and fails; no number depends on it."""
    from llmcompressor.pipelines.cache import IntermediatesCache

    IntermediatesCache.pin_memory = lambda *_, **__: None


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_bytes()))
