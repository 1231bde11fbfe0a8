"""The machine at hand: cores and free memory, asked without loading a model's library."""

from __future__ import annotations

from tunesmith.plan.hardware import measure_hardware

__all__ = ["measure_hardware"]
