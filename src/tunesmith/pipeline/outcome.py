"""What a run comes to: a verdict, the measurements behind it, and the artifact that holds the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import EvaluationError
from tunesmith.eval.agreement import Agreement
from tunesmith.eval.measure import Measurements
from tunesmith.eval.verdict import Verdict
from tunesmith.pipeline.agreeing import agreement_event, agreement_of
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.evidence import same_verdict
from tunesmith.pipeline.judging import comparison, verdict_event
from tunesmith.train.method import generates

__all__ = ["Outcome", "outcome_of"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run comes to. `measured`: of systems that answer questions, or of a model that scores answers."""

    verdict: Verdict
    measured: Measurements | Agreement
    evaluation: Artifact

    @property
    def measurements(self) -> Measurements:
        """What was measured of systems that answer questions. EvaluationError for a model that scores answers."""
        if isinstance(self.measured, Agreement):
            raise EvaluationError(
                "no answers were measured: this model scores answers and writes none",
                value=f"agreement:{self.evaluation.id[:8]}",
                expected="the outcome of an objective whose model writes answers",
                hint="outcome.measured holds how its scores agree with held-out preferences",
            )
        return self.measured

    def as_dict(self) -> dict[str, Any]:
        """What `tunesmith run --json` and `eval --json` print of the outcome: the verdict with its gates, the page, and base
        against tuned model in the primary metric (empty for a model that scores answers)."""
        compared = {} if isinstance(self.measured, Agreement) else comparison(self.measured)
        return {**self.verdict.as_dict(), "report": str(self.evaluation.path / "report.html"), "comparison": compared}


def outcome_of(project: Context) -> Outcome:
    """The outcome of a project, made with all that it needs, and the verdict as an event.

    The verdict is the one that the evaluation on disk holds. EvaluationError if its evidence now gives another one.
    """
    made = project.artifact("eval" if generates(project.objective) else "agreement")
    if generates(project.objective):
        judged = project.judged
        verdict = same_verdict(made, judged.verdict)
        project.reporter.event(verdict_event(verdict, judged.measurements, made))
        return Outcome(verdict, judged.measurements, made)
    found, now = agreement_of(made)
    verdict = same_verdict(made, now)
    project.reporter.event(agreement_event(made, verdict))
    return Outcome(verdict, found, made)
