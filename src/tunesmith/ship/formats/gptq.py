"""GPTQ: four bits per weight, calibrated on training rows by llm-compressor, for vLLM and transformers."""

from __future__ import annotations

from tunesmith.ship.calibrated.declared import calibrated_format

__all__ = ["FORMAT"]

FORMAT = calibrated_format("gptq", label="GPTQ", order=55)
