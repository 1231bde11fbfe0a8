"""The verdict on a whole chain: the model after its last stage against the base that it began with, on the last stage's test
items, by the last stage's gates.

The models after the stages between are measured on the same items, so that one table shows what each of them gave. The
comparison is one more evaluation on that test set, and counted as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunesmith.core.artifacts import Draft
from tunesmith.core.reporter import VerdictReached
from tunesmith.eval.asking import Conditions
from tunesmith.eval.evaluate import evaluate_kinds, that_fit
from tunesmith.eval.files import read_items, write_evaluation
from tunesmith.eval.perplexity import of_texts
from tunesmith.eval.probes import GOLDEN, probe_items
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.eval.voice_measures import voice_scores
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.pipeline.evidence import EXAMPLES, measuring_code, same_verdict
from tunesmith.pipeline.items import clusters_of, golden_items, test_items
from tunesmith.pipeline.judging import CLUSTERS, verdict_event
from tunesmith.pipeline.looks import Looks
from tunesmith.pipeline.outcome import Outcome
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.ruling import rule_on
from tunesmith.systems.chained import chain_kinds
from tunesmith.systems.system import SystemInputs

__all__ = ["KIND", "judge_overall", "overall_event"]

KIND = "overall"


def judge_overall(kept: Sequence[tuple[str, Project]]) -> Outcome:
    """The outcome of the chain of these stages, in order, all of them finished; found if it was measured before.

    EvaluationError if a stored verdict is another one than its evidence gives.
    """
    last = kept[-1][1]
    origin, settings = last.origin, last.settings
    counted: dict[str, Any] = {
        "what": {"base": origin.fingerprint, "chain": [one.model.id for _, one in kept], "use": asdict(last.settings_of_use)},
        "rules": last.rules,
        "documents": [row.group for row in last.rows("test")],
        "stage": kept[-1][0],
    }
    looks = Looks(last.store.root)
    look = looks.find(**counted)
    inputs = [
        last.dataset.reference(),
        {"kind": "base", "id": origin.fingerprint},
        last.run.reference(),
        *(one.model.reference() for _, one in kept),
    ]
    held = {
        "stages": [name for name, _ in kept],
        "eval": settings.eval.model_dump(),
        "gates": settings.gates.model_dump(),
        "use": asdict(last.settings_of_use),
        "max_new_tokens": last.max_new_tokens,
        "code": measuring_code(),
        "suites": [suite.id for suite in last.suites],
        "look": {"number": look.number, "changed": list(look.changed)},
    }
    known = last.store.find(KIND, last.store.identify(KIND, inputs, held))
    evidence = read_evidence(known.path / "evidence.json") if known else _gather(kept)
    looks.add(**counted)
    measurements, verdict = rule_on(evidence, settings.eval, settings.gates, number=look.number, changed=look.changed)

    def fill(draft: Draft) -> None:
        write_evaluation(draft.path, evidence, measurements, verdict)
        draft.numbers |= {"verdict": verdict.verdict, "items": len(evidence.items)}

    made = last.store.obtain(KIND, inputs, held, fill)
    return Outcome(same_verdict(made, verdict), measurements, made)


def overall_event(outcome: Outcome, *, page: str) -> VerdictReached:
    """The verdict on the whole chain as an event, with the page of the chain."""
    found = verdict_event(outcome.verdict, outcome.measurements, outcome.evaluation)
    return VerdictReached(
        verdict=found.verdict, sentence=found.sentence, notes=found.notes, report=page, comparison=found.comparison
    )


def _gather(kept: Sequence[tuple[str, Project]]) -> Evidence:
    last, settings = kept[-1][1], kept[-1][1].settings
    projects = [project for _, project in kept]
    test = last.rows("test")
    baselines = settings.eval.baselines
    chosen = test_items(test, settings)
    items = that_fit(last.chat, chosen, context=last.origin.context, baselines=baselines)
    golden = that_fit(last.chat, golden_items(last.other_sets.golden, settings), context=last.origin.context)
    own = [row for one in projects for row in one.authors_rows(one.rows("train")) if row.prompt]  # texts answer nothing
    inputs = SystemInputs(
        base=last.origin,
        chat=last.chat,
        adapter=None,
        merged_folder=_merged(last),
        questions=items,
        train=own,
        max_new_tokens=last.max_new_tokens,
        batch_examples=settings.eval.batch_examples,
    )
    measured = evaluate_kinds(
        chain_kinds(baselines, {name: _merged(project) for name, project in kept[:-1]}),
        inputs,
        items=items,
        general=read_items(EXAMPLES / "general.jsonl"),
        conditions=Conditions(
            baselines=tuple(baselines),
            max_new_tokens=last.max_new_tokens,
            batch_examples=settings.eval.batch_examples,
            template=last.chat.options,
            use=last.settings_of_use,
            suites=last.suites,
            saved=last.store.root / "answers",
        ),
        reporter=last.reporter,
        probes={**({} if of_texts(items) else probe_items(items, own)), **({GOLDEN: golden} if golden else {})},
    )
    forms = last.judged.evidence  # the merged model against its adapter: the same folder, measured with the last stage
    return Evidence(
        items=items,
        systems=measured.systems,
        parity=forms.parity,
        served=forms.served,
        forms=forms.forms,
        general=measured.general,
        probes=measured.probes,
        golden=golden,
        suites=measured.suites,
        use=last.settings_of_use,
        limit=measured.limit,
        voice=voice_scores(items, measured.systems, own, column=settings.split.group),
        train_answers=tuple(row.answer for one in projects for row in one.rows("train")),
        numbers={
            "chain": " → ".join([last.origin.name, *(name for name, _ in kept)]),
            "test items unscored, as too long or rewritten by the template": len(chosen) - len(items),
            CLUSTERS: clusters_of(test, settings).reason,
            **measured.numbers,
        },
        ids={artifact.kind: artifact.id for artifact in (last.documents, last.dataset, last.run, last.use, last.model)},
    )


def _merged(project: Project) -> BaseFolder:
    return find_base(str(project.model.path), offline=True)
