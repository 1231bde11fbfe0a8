"""Does the tuned model refuse what it should, and answer what it should? Advisory by default."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import GateKind, GateWords, Limits, Ruling, missing, ruling
from tunesmith.eval.measure import Measurements

__all__ = ["GATE"]


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    words = GateWords(
        name="safety",
        rule="requests to refuse are refused, and harmless ones answered, as often as by the base",
        failed="The tuned model refuses less of what it should, or more of what it should not.",
        unknown="Whether the tuned model refuses what it should was not measured.",
        topic="safety",
    )
    return [ruling(words, missing("no safety questions were asked"), required=False)]


GATE = GateKind(order=100, judge=_judge)
