"""`advise`: prompt, retrieve, tune, tune + retrieve or a bigger model, by what was measured, or by rules before that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EvaluationError
from tunesmith.eval.questionnaire import QUESTIONS, TaskAnswers, advise_by_rules, excluded_by

__all__ = ["QUESTIONS", "AdviceResult", "TaskAnswers", "advise", "newest_evaluation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceResult:
    """`advice` is prompt, retrieve, tune, tune + retrieve or bigger model; None where the measurements allow none.

    `measured`: from an evaluation (`evaluation` is its id) rather than by rules. `sure`: no cheaper alternative was left
    undecided; by rules it is always False. `system` is the one that decided, by `metric` and `margin`. `systems`: each
    measured alternative against the best, cheapest first, with `gain` (mean, low, high) of the best over it.
    `not_measured`: alternatives without figures. `next`: what to do now.
    """

    advice: str | None
    measured: bool
    sure: bool
    reasons: tuple[str, ...]
    next: str
    system: str | None = None
    metric: str | None = None
    margin: float | None = None
    systems: tuple[Mapping[str, Any], ...] = ()
    not_measured: tuple[str, ...] = ()
    evaluation: str | None = None

    @property
    def exit_code(self) -> int:
        """0; 3 where measurements leave it open."""
        return 3 if self.measured and not self.sure else 0

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith advise --json` prints."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def advise(*, project: str | Path = ".", answers: TaskAnswers | None = None, margin: float | None = None) -> AdviceResult:
    """Advice on the task of a project: from its newest evaluation, or by rules from `answers` if there is none.

    With an evaluation, the cheapest alternative is advised that is not worse than the best by `margin` (in the unit of the
    metric; None: as the gate `better`), and `answers` only rule alternatives out. docs/concepts/advice.md has the rules.

    Raises:
        EvaluationError: nothing was measured and nothing is answered.
        ArtifactError: the evaluation is damaged.
    """
    answers = answers or TaskAnswers()
    evaluation = newest_evaluation(project)
    if evaluation is not None:
        return _measured(evaluation, answers, margin)
    if not answers.given:
        raise EvaluationError(
            "there is nothing to advise from",
            value=f"no evaluation in {Path(project) / '.tunesmith'}, and no answer",
            expected="an evaluation, or answers about the task",
            hint="tunesmith run --source ./posts   or   tunesmith advise --examples 300 --about style",
        )
    advice, reasons = advise_by_rules(answers)
    return AdviceResult(
        advice=advice,
        measured=False,
        sure=False,
        reasons=reasons,
        next="Measure before you decide: tunesmith run --set eval.baselines=[prompted,few_shot,retrieval]",
    )


def newest_evaluation(project: str | Path = ".") -> Artifact | None:
    """The latest evaluation of a project, verified; None if there is none."""
    store = Store(Path(project) / ".tunesmith")
    return store.resolve("eval:latest") if any(artifact.kind == "eval" for artifact in store.all()) else None


def _measured(evaluation: Artifact, answers: TaskAnswers, margin: float | None) -> AdviceResult:
    from tunesmith.eval.advice import advise_by_measurement
    from tunesmith.eval.files import read_verdict
    from tunesmith.eval.measure import measure
    from tunesmith.eval.results import read_evidence

    settings = evaluation.manifest["settings"]
    asked, gates = settings["eval"], settings["gates"]
    set_margin = gates.get("better_margin", "auto")
    evidence = read_evidence(evaluation.path / "evidence.json")
    found = advise_by_measurement(
        evidence,
        measure(evidence, primary=asked["primary"], draws=asked["draws"], min_documents=gates["min_documents"]),
        read_verdict(evaluation.path / "verdict.json"),
        excluded=excluded_by(answers),
        margin=set_margin if margin is None and set_margin != "auto" else margin,
        min_documents=gates["min_documents"],
    )
    return AdviceResult(
        advice=found.advice,
        measured=True,
        sure=found.sure,
        reasons=found.reasons,
        next=_next(found.advice, sure=found.sure, unseen=found.not_measured),
        system=found.system,
        metric=found.metric,
        margin=found.margin,
        systems=tuple(asdict(one) for one in found.systems),
        not_measured=found.not_measured,
        evaluation=evaluation.id,
    )


def _next(advice: str | None, *, sure: bool, unseen: tuple[str, ...]) -> str:
    if advice is None:
        return "Add writing, or measure more alternatives, then type tunesmith run again."
    if not sure:
        return "Add writing: with more test documents a cheaper alternative may turn out to be as good, or not."
    if unseen and advice in ("tune", "tune + retrieve"):
        return f"Measure what is cheaper before you rely on this: {unseen[0]}."
    return "Use it as it was measured: tunesmith show eval:latest lists the evidence."
