"""A suite together with the answers of base and tuned model: everything that its figures are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.eval.suites.result import SafetyResult, SuiteResult, compare_runs, safety_result
from tunesmith.eval.suites.run import SuiteRun, rescored
from tunesmith.eval.suites.suite import Suite

__all__ = ["SuiteAnswers", "scored_otherwise", "suite_figures"]

_SAFETY = "refusal"  # the scorer of suites about refusing


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteAnswers:
    """A suite and the runs of systems on it. A system that was not asked has none."""

    suite: Suite
    runs: tuple[SuiteRun, ...]

    def run_of(self, system: str) -> SuiteRun | None:
        """The run of that system."""
        return next((run for run in self.runs if run.system == system), None)


def suite_figures(
    answered: Sequence[SuiteAnswers], *, level: float = 0.95
) -> tuple[dict[str, SuiteResult], dict[str, SafetyResult]]:
    """Base against tuned model on every suite by name, and over- and under-refusal on those about refusing."""
    results, safety = {}, {}
    for one in answered:
        base, tuned = one.run_of("base"), one.run_of("tuned")
        if base is None or tuned is None:
            continue
        results[one.suite.name] = compare_runs(one.suite, base, tuned, level=level)
        if all(item.scorer == _SAFETY for item in one.suite.items):
            safety[one.suite.name] = safety_result(one.suite, base, tuned, level=level)
    return results, safety


def scored_otherwise(answered: Sequence[SuiteAnswers]) -> list[str]:
    """The runs whose stored scores are not those of their stored answers, in words."""
    return [
        f"the scores of {run.system} on the suite {one.suite.name}"
        for one in answered
        for run in one.runs
        if rescored(one.suite, run) != run.scores
    ]
