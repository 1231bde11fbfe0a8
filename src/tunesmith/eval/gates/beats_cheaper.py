"""Is the tuned model better than what costs less: a prompt, examples in the prompt, retrieval? One gate for each baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.eval.gain import gain_over
from tunesmith.eval.gate import GateKind, Limits, Ruling, ruling
from tunesmith.eval.measure import Measurements
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.systems.registry import by_role

__all__ = ["GATE"]


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    label, found = metric_named(measurements.primary).label, []
    for kind in by_role("baseline"):
        if kind.name in baselines or kind.name in measurements.systems:
            words = replace(kind.words, rule=f"{label}: {kind.words.rule}, with the whole interval above 0")
            gain = gain_over(measurements, kind.name, margin=0.0, min_documents=limits.min_documents)
            found.append(ruling(words, gain, threshold=0.0))
    return found


GATE = GateKind(order=20, names=lambda: [kind.words.name for kind in by_role("baseline")], judge=_judge, of_answers=True)
