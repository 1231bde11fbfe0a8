"""AdamW with moments of 8 bits in pages, moved between GPU and host as needed (Dettmers et al. 2023, arXiv:2305.14314)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.core.errors import TrainingError
from tunesmith.train.optimizer import Group, Optimizer, Rates
from tunesmith.train.optimizers.adamw_8bit import Settings, blockwise

__all__ = ["Settings", "make"]


def make(groups: Sequence[Group], settings: Settings, *, model: Any, rates: Rates) -> Optimizer:
    """The states of `adamw_8bit`, in unified memory. TrainingError where the device has none."""
    if model.device.type != "cuda":
        raise TrainingError(
            "train.optimizer paged_adamw_8bit needs a GPU",
            value=f"the model is on {model.device.type}, whose memory has no pages to move elsewhere",
            expected="a CUDA device, whose optimiser states can be paged to the host",
            hint="--set train.optimizer=adamw_8bit has the same states without pages",
        )
    return blockwise("paged_adamw_8bit", "PagedAdamW8bit", groups, settings, rates)
