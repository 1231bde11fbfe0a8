"""From a merged model to a verdict: the evidence gathered or found again, measured, judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.core.artifacts import Artifact
from tunesmith.core.records import Interval
from tunesmith.core.reporter import VerdictReached
from tunesmith.eval.evaluate import Conditions, evaluate, that_fit
from tunesmith.eval.figures import A_TOKEN, LOSS_UNIT
from tunesmith.eval.files import read_items
from tunesmith.eval.measure import Measurements, SystemMeasures
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.eval.stats import Difference
from tunesmith.eval.verdict import Verdict
from tunesmith.eval.voice_measures import voice_scores
from tunesmith.models.load import find_base
from tunesmith.models.tuned import tuned_folder
from tunesmith.pipeline.arena_votes import votes_on
from tunesmith.pipeline.bigger import address_of
from tunesmith.pipeline.context import Context, Judged
from tunesmith.pipeline.evidence import EXAMPLES, known_evidence
from tunesmith.pipeline.items import clusters_of, golden_items, test_items
from tunesmith.pipeline.judged_answers import judge_answers
from tunesmith.pipeline.ruling import rule_on
from tunesmith.pipeline.stages import eval as eval_stage

__all__ = ["CLUSTERS", "comparison", "gathered", "judge", "verdict_event"]

CLUSTERS = "clusters of the test set"  # the name of this fact in the numbers of evidence


def judge(project: Context) -> Judged:
    """The verdict on the project's model. Evidence about the same models on the same items is not gathered twice."""
    r = project.settings
    evidence, look = replace(gathered(project), people=votes_on(project.store, project.run)), project.look
    project.count_look()
    measurements, verdict = rule_on(evidence, r.eval, r.gates, number=look.number, changed=look.changed)
    return Judged(evidence, measurements, verdict)


def gathered(project: Context) -> Evidence:
    """What the systems give on the test split: of an earlier evaluation of the same models on the same items, or asked now."""
    stage = eval_stage.STAGE
    known = known_evidence(project.store, stage.inputs(project), stage.settings(project))
    return read_evidence(known.path / "evidence.json") if known else _gather(project)


def _gather(project: Context) -> Evidence:
    train = project.rows("train")
    own = project.authors_rows(train)
    test = project.rows("test")
    chosen = test_items(test, project.settings)
    items = that_fit(project.chat, chosen, context=project.base.context, baselines=project.settings.eval.baselines)
    if left_out := len(chosen) - len(items):
        project.reporter.warn(
            f"{left_out} of {len(chosen)} test items are longer than the context of the base, or rewritten by its chat"
            " template, and stay unscored"
        )
    golden = that_fit(project.chat, golden_items(project.other_sets.golden, project.settings), context=project.base.context)
    measured = evaluate(
        project.base,
        adapter=tuned_folder(project.run.path),
        merged=find_base(str(project.model.path)),
        items=items,
        train=own,
        general=read_items(EXAMPLES / "general.jsonl"),
        conditions=Conditions(
            baselines=tuple(project.settings.eval.baselines),
            max_new_tokens=project.max_new_tokens,
            batch_examples=project.settings.eval.batch_examples,
            template=project.chat.options,
            use=project.settings_of_use,
            additions=project.additions,
            address=address_of(project.settings.bigger),
            suites=project.suites,
            saved=project.store.root / "answers",
        ),
        golden=golden,
        reporter=project.reporter,
    )
    judged = judge_answers(
        project.settings.judge, items, measured.systems, project.store.root.parent, reporter=project.reporter
    )
    voice = voice_scores(items, measured.systems, own, column=project.settings.split.group)
    reading = project.run.numbers["reading"]
    unit = {LOSS_UNIT: project.objective.loss_unit} if project.objective.loss_unit != A_TOKEN else {}
    used = (project.documents, project.dataset, project.run, project.use, project.model)
    return Evidence(
        items=items,
        systems=measured.systems,
        parity=measured.parity,
        general=measured.general,
        served=measured.served,
        forms=measured.forms,
        probes=measured.probes,
        suites=measured.suites,
        judged=judged,
        voice=voice,
        golden=golden,
        use=project.settings_of_use,
        limit=measured.limit,
        training=tuple(
            {k: v for k, v in row.items() if k != "samples"} for row in project.metrics(project.run) if "event" not in row
        ),
        reading=f"{reading['shape']}: {reading['text']}; {reading['advice']}",
        train_answers=tuple(e.answer for e in train),
        numbers={
            "test items unscored, as too long or rewritten by the template": left_out,
            CLUSTERS: clusters_of(test, project.settings).reason,
            **measured.numbers,
            **unit,
        },
        ids={artifact.kind: artifact.id for artifact in used},
    )


def verdict_event(verdict: Verdict, measurements: Measurements, evaluation: Artifact) -> VerdictReached:
    """The verdict as an event, with the gates that did not pass."""
    notes = [
        f"{gate.name}{'' if gate.required else ' (advisory)'}: {gate.state}. {gate.evidence}"
        for gate in verdict.gates
        if gate.state != "pass"
    ]
    if verdict.not_measured:
        notes.append(f"Not measured: {', '.join(verdict.not_measured)}.")
    return VerdictReached(
        verdict=verdict.verdict,
        sentence=verdict.sentence,
        notes=tuple(notes),
        report=str(evaluation.path / "report.html"),
        comparison=comparison(measurements),
    )


def comparison(m: Measurements) -> dict[str, Any]:
    """Base against tuned in the primary metric, in the shape that `tunesmith compare --json` prints."""
    both = m.comparison("base", "tuned")
    if both is None:
        return {}
    d = both.differences[m.primary]
    return {
        "metric": m.primary,
        "n": d.n,
        "num_groups": d.num_groups,
        "a": _side(m.systems["base"], m.primary),
        "b": _side(m.systems["tuned"], m.primary),
        "difference": {"mean": d.mean, "ci": _pair(d.ci), "p": d.p},
        "relative": d.relative,
        "cut": {"a": m.systems["base"].answers.cut.share, "b": m.systems["tuned"].answers.cut.share},
        "length_matched": _length_matched(m.primary, both.length_matched),
    }


def _length_matched(primary: str, found: Mapping[str, Difference]) -> dict[str, Any]:
    """With what goes beyond the reference's length cut off: the primary metric if it is one of text, else word overlap."""
    metric = primary if primary in found else "word_overlap"
    x = found[metric]
    return {"metric": metric, "difference": {"mean": x.mean, "ci": _pair(x.ci), "p": x.p}}


def _side(system: SystemMeasures, metric: str) -> dict[str, Any]:
    s = system.summaries[metric]
    return {"mean": s.mean, "median": s.median, "std": s.std, "min": s.min, "max": s.max, "ci": _pair(s.ci)}


def _pair(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
