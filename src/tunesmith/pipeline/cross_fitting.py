"""Cross-fitting: k folds of the documents, k adapters, and one verdict about the recipe on all documents.

Each adapter is trained without the documents of its fold and judged on them, so that every document is tested once, by an
adapter that did not see it. No adapter gets a verdict of its own: all of it is one evaluation of the recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.errors import DatasetError
from tunesmith.eval.files import write_evaluation, write_evidence
from tunesmith.eval.measure import Measurements
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.pooling import Adapter, pool
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.pipeline.evidence import asked, measuring_code, same_verdict
from tunesmith.pipeline.items import clusters_of
from tunesmith.pipeline.judging import CLUSTERS, gathered, verdict_event
from tunesmith.pipeline.looks import Looks
from tunesmith.pipeline.outcome import Outcome
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.ruling import measured, rule_on
from tunesmith.pipeline.stage import check_serves
from tunesmith.pipeline.stages import eval as eval_stage

__all__ = ["cross_fit"]

_MOST_ADAPTERS = 50


def cross_fit(project: Project, *, folds: int = 4, seeds: int = 1) -> Outcome:
    """Train and measure an adapter for each fold and training seed, and judge the recipe on all of them together.

    With one fold, only the seeds vary, on the recipe's own split. Whatever was made before is not made again.

    Raises:
        DatasetError: fewer than two folds or seeds, more than 50 adapters, or too few documents for that many folds.
        EvaluationError: an adapter was judged on a document that it saw, or a stored verdict differs from its evidence.
    """
    if not 1 < folds * seeds <= _MOST_ADAPTERS or min(folds, seeds) < 1:
        raise DatasetError(
            "cross-fitting trains several adapters",
            value=f"{folds} folds, {seeds} seeds",
            expected=f"two folds or two seeds at least, and {_MOST_ADAPTERS} adapters at most",
            hint="--folds 4   or   --folds 1 --seeds 3",
        )
    check_serves("eval", project.objective)
    if folds > 1 and project.recipe.split.by == "time":
        raise DatasetError(
            "a split by time has no folds",
            value="split.by: time",
            expected="another split.by: only the latest days can be the test split",
            hint="--set split.by=document",
        )
    if project.earlier:
        raise DatasetError(
            "a later stage of a chain has no folds",
            value=project.recipe.objective.kind,
            expected="the first stage: test documents of the others may not be among those that earlier stages have learned",
            hint="tunesmith crossfit --recipe FILE, with the recipe of the first stage alone",
        )
    numbers = [project.recipe.train.seed + n for n in range(seeds)]
    variants = [[_variant(project, fold, folds, seed) for seed in numbers] for fold in range(1, folds + 1)]
    first = variants[0][0]
    rules = {**first.rules, "crossfit": f"{folds} folds, {seeds} seeds"}
    documents = [row.group for fold in variants for row in fold[0].rows("test")]  # makes every dataset before a training
    looks = Looks(project.store.root)
    looks.plan(rules=rules, documents=documents)
    first.report_plan()
    project.reporter.note(
        f"{folds * seeds} adapters are trained, one after the other; the plan is that of the first. The verdict rests on all"
        f" {len(set(documents))} documents."
    )
    parts = [
        [_answers(one, f"{place} of {folds}", seed) for one, seed in zip(fold, numbers, strict=True)]
        for place, fold in enumerate(variants, 1)
    ]
    what = {"folds": [part.id for fold in parts for part in fold]}
    look = looks.find(what=what, rules=rules, documents=documents)
    settings = {
        "eval": first.settings.eval.model_dump(),
        "gates": first.settings.gates.model_dump(),
        "code": measuring_code(),
        "folds": folds,
        "seeds": numbers,
        "look": {"number": look.number, "changed": list(look.changed)},
    }
    looks.add(what=what, rules=rules, documents=documents)
    evidence = _pooled(first, variants, parts, numbers)
    chosen, gates = first.settings.eval, first.settings.gates
    measurements, verdict = rule_on(evidence, chosen, gates, number=look.number, changed=look.changed)

    def fill(draft: Draft) -> None:
        write_evaluation(draft.path, evidence, measurements, verdict)
        draft.numbers |= {"verdict": verdict.verdict, "items": len(evidence.items), "documents": measurements.num_documents}

    made = project.store.obtain("crossfit", [part.reference() for fold in parts for part in fold], settings, fill)
    verdict = same_verdict(made, verdict)
    project.reporter.event(verdict_event(verdict, measurements, made))
    return Outcome(verdict, measurements, made)


def _variant(project: Project, fold: int, folds: int, seed: int) -> Project:
    recipe = project.recipe
    split = recipe.split.model_copy(update={"folds": folds, "fold": fold}) if folds > 1 else recipe.split
    train = recipe.train.model_copy(update={"seed": seed})
    return project.with_recipe(recipe.model_copy(update={"split": split, "train": train}))


def _answers(one: Project, fold: str, seed: int) -> Artifact:
    """What base, tuned model and the others gave on the test split of one fold."""
    one.reporter.note(f"fold {fold}, training seed {seed}")
    settings = {"asked": asked(eval_stage.STAGE.settings(one))}

    def fill(draft: Draft) -> None:
        evidence = gathered(one)
        write_evidence(draft.path, evidence)
        draft.numbers |= {"items": len(evidence.items)}

    return one.store.obtain("fold", eval_stage.STAGE.inputs(one), settings, fill)


def _pooled(
    first: Project, variants: Sequence[Sequence[Project]], parts: Sequence[Sequence[Artifact]], seeds: Sequence[int]
) -> Evidence:
    adapters = [
        [_adapter(one, part) for one, part in zip(fold, made, strict=True)] for fold, made in zip(variants, parts, strict=True)
    ]
    rows = [row for fold in variants for row in fold[0].rows("test")]
    found = clusters_of(rows, first.settings)
    clusters = {row.id: name for row, name in zip(rows, found.names, strict=True)}
    gains: list[float | None] = []
    if len(seeds) > 1:
        for place, seed in enumerate(seeds):
            evidence = pool([[fold[place]] for fold in adapters], clusters=clusters, seeds=[seed])
            gains.append(_gain(measured(evidence, first.settings.eval, first.settings.gates, number=1)))
    evidence = pool(adapters, clusters=clusters, seeds=seeds, gains=gains)
    return replace(evidence, numbers={**evidence.numbers, CLUSTERS: found.reason})


def _adapter(one: Project, part: Artifact) -> Adapter:
    def documents(*parts: str) -> tuple[str, ...]:
        rows = [row for name in parts for row in one.rows(name)]
        return tuple(sorted({row.id if one.recipe.split.by == "row" else row.group for row in rows}))

    return Adapter(
        evidence=read_evidence(part.path / "evidence.json"),
        run=one.run.id,
        tested=documents("test"),
        learned=documents("train", "val"),
    )


def _gain(measurements: Measurements) -> float | None:
    """The mean gain of the tuned model over the base, positive where it is better."""
    compared = measurements.comparison("base", "tuned")
    mean = compared.differences[measurements.primary].mean if compared else None
    if mean is None:
        return None
    return -mean if metric_named(measurements.primary).higher_is_better is False else mean
