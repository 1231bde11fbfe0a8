"""What is needed to read the measurements of an evaluation: metrics, differences, and numbers in words."""

from __future__ import annotations

from tunesmith.eval.measure import METRICS, Measurements, SystemMeasures, improvement
from tunesmith.eval.numbers import percent, signed_range
from tunesmith.eval.stats import Difference

__all__ = ["METRICS", "Difference", "Measurements", "SystemMeasures", "improvement", "percent", "signed_range"]
