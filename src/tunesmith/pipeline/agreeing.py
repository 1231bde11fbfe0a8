"""From a trained reward model to a verdict: the held-out pairs scored, and judged by how the scores agree with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Preference, as_example, spread_over_documents
from tunesmith.core.reporter import VerdictReached
from tunesmith.eval.agreement import Agreement, AgreementEvidence, ScoredPair, judge_agreement, length_rule, read_agreement
from tunesmith.eval.agreement_page import agreement_figures, write_agreement
from tunesmith.eval.clusters import clusters
from tunesmith.eval.preferred import shared_labels
from tunesmith.eval.verdict import Verdict
from tunesmith.models.tuned import tuned_folder
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.evidence import measuring_code
from tunesmith.pipeline.items import clusters_of
from tunesmith.pipeline.looks import level_of
from tunesmith.train.scorer import open_scorer

__all__ = ["agreement_event", "agreement_of", "agreement_settings", "fill_agreement", "judged_again"]


def agreement_settings(project: Context) -> dict[str, Any]:
    """What the verdict depends on beyond dataset and run."""
    look = project.look
    return {
        "max_items": project.settings.eval.max_items,
        "min_documents": project.settings.gates.min_documents,
        "code": measuring_code(),
        "look": {"number": look.number, "changed": list(look.changed)},
    }


def fill_agreement(project: Context, draft: Draft) -> None:
    """Score the test pairs and judge them; the evaluation is counted before its result is known."""
    settings = agreement_settings(project)
    project.count_look()
    evidence = _scored(project)
    found, verdict = _judge(evidence, settings)
    write_agreement(draft.path, evidence, found, verdict)
    draft.numbers |= {"verdict": verdict.verdict, **agreement_figures(found)}


def judged_again(made: Artifact) -> tuple[AgreementEvidence, Agreement, Verdict]:
    """The evidence of an evaluation, and what it gives by its settings."""
    evidence = read_agreement(made.path / "evidence.json")
    return evidence, *_judge(evidence, made.manifest["settings"])


def agreement_of(made: Artifact) -> tuple[Agreement, Verdict]:
    """Figures and verdict of an evaluation, computed from its evidence."""
    _, found, verdict = judged_again(made)
    return found, verdict


def agreement_event(made: Artifact, verdict: Verdict) -> VerdictReached:
    """The verdict as an event, with the gates that did not pass."""
    notes = tuple(f"{gate.name}: {gate.state}. {gate.evidence}" for gate in verdict.gates if gate.state != "pass")
    report = str(made.path / "report.html")
    return VerdictReached(verdict=verdict.verdict, sentence=verdict.sentence, notes=notes, report=report, comparison={})


def _judge(evidence: AgreementEvidence, settings: Mapping[str, Any]) -> tuple[Agreement, Verdict]:
    look = settings["look"]
    return judge_agreement(
        evidence,
        min_documents=settings["min_documents"],
        level=level_of(look["number"]),
        looks=look["number"],
        changed=look["changed"],
    )


def _scored(project: Context) -> AgreementEvidence:
    test = [row for row in project.records("test") if isinstance(row, Preference)]
    found = clusters_of([as_example(row) for row in test], project.settings)
    together = clusters([{"cluster": name, **shared_labels(row)} for name, row in zip(found.names, test, strict=True)])
    of = {row.id: name for name, row in zip(together.names, test, strict=True)}
    rows = spread_over_documents(test, project.settings.eval.max_items)
    if not rows:
        raise EvaluationError(
            "there are no test pairs",
            value="an empty test split",
            expected="preference rows that were not trained on",
            hint="--set split.test=0.2",
        )
    scorer = open_scorer(project.base, tuned_folder(project.run.path), project.chat)
    said = [messages for row in rows for messages in (row.messages, row.rejected_messages)]
    with project.reporter.progress("score", total=len(said), unit="answers") as progress:
        scores = scorer.score(said, on_done=lambda count: progress.advance(count, ""))
    if not all(map(math.isfinite, scores)):
        raise EvaluationError(
            "the trained model does not give a number for each answer",
            value=f"{sum(not math.isfinite(score) for score in scores)} of {len(scores)} answers",
            expected="finite scores",
            hint="--set train.learning_rate=1e-4 (the training diverged)",
        )
    learned = [(row.chosen, row.rejected) for row in project.records("train") if isinstance(row, Preference)]
    rule, measure = length_rule(learned)
    reading = project.run.numbers["reading"]
    return AgreementEvidence(
        pairs=tuple(
            ScoredPair(
                id=row.id,
                group=of[row.id],
                prompt=row.prompt[-1].content,
                chosen=row.chosen,
                rejected=row.rejected,
                chosen_score=scores[2 * place],
                rejected_score=scores[2 * place + 1],
            )
            for place, row in enumerate(rows)
        ),
        rule=rule,
        measure=measure,
        reading=f"{reading['shape']}: {reading['text']}; {reading['advice']}",
        clusters=(
            f"{found.reason}; pairs with one prompt or one answer belong together as well: "
            f"{together.effective_documents} clusters"
        ),
        ids={artifact.kind: artifact.id for artifact in (project.documents, project.dataset, project.run)},
    )
