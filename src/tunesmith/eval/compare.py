"""Prediction files compared: the scriptable contract behind `tunesmith compare A.jsonl B.jsonl … --json`.

The first file is the reference system. Every other one is compared with it and with each other, paired by item and clustered by
document; Holm's adjustment is over all these pairs. What trivial answers would score (`eval.floors`) is measured as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.compare_details import classes_of, specificity_of, voice_metric
from tunesmith.eval.compare_warnings import Compared, warnings_of
from tunesmith.eval.floors import FLOORS, floor_answers
from tunesmith.eval.metrics.metric import Metric
from tunesmith.eval.metrics.registry import all_metrics, metric_named
from tunesmith.eval.metrics.text import length_matched
from tunesmith.eval.metrics.voice import Writing
from tunesmith.eval.predictions import Prediction, aligned, read_predictions
from tunesmith.eval.scoring import PairedDifference, Scored, Scoring, ends
from tunesmith.eval.stats import holm

__all__ = ["compare_files"]

_OF_LENGTH = ("writing", "questions", "form")  # tasks in which an answer can be trimmed and still be one


def compare_files(
    files: Sequence[Path],
    *,
    metric: str = "word_overlap",
    group: str = "group",
    train: Sequence[Writing] | None = None,
    run_code: bool = False,
    draws: int = 10_000,
    seed: int = 7,
) -> dict[str, Any]:
    """Compare systems on the same items; differences are later − earlier file, paired by id and clustered by `group`.

    Returns the object that `tunesmith compare --json` prints (docs/reference/scripting.md). `a`, `b`, `difference`, `relative`,
    `cut`, `length_matched`, `better` and `worse` are those of the first two files; `systems` and `pairs` have all. An interval
    is `[low, high]` at 95 %, or null where it cannot be computed. `train`: the training answers, for the floors and to
    learn the voice. `run_code`: execute answers where the metric does that.

    Raises EvaluationError for files that cannot be read or compared, and for a metric that answers alone do not give.
    """
    scorer = _metric(metric, files)
    if len(files) < 2:
        raise EvaluationError(
            "one file has nothing to be compared with",
            value=[str(path) for path in files],
            expected="two prediction files or more, the reference system first",
            hint="tunesmith compare BASE.jsonl TUNED.jsonl",
        )
    read = [read_predictions(path, group=group, references="reference" in scorer.needs) for path in files]
    systems = aligned(files, read)
    items = systems[0]
    if len(items) == 1:
        raise EvaluationError(
            "one item says nothing about two systems",
            value=items[0].id,
            expected="two items or more; several documents for an interval",
            hint="answer more questions with all systems, then compare",
        )
    groups = [next((row.group for row in rows if row.group is not None), rows[0].id) for rows in zip(*systems, strict=True)]
    check = None
    if scorer.task == "voice":
        scorer, check = voice_metric(scorer, train, items, groups, seed)
    scoring = Scoring(
        metric=scorer, expected=[row.expected for row in items], groups=groups, draws=draws, seed=seed, run_code=run_code
    )
    scored = [scoring.score([row.prediction for row in rows]) for rows in systems]
    names = _names(files)
    numbers = {(a, b): scoring.difference(scored[a], scored[b]) for a, b in combinations(range(len(files)), 2)}
    matched = _length_matched(scoring, systems[0], systems[1])
    floors = _floors(scoring, items, None if train is None else [one.text for one in train])
    over = {name: [scoring.difference(floor, system) for system in scored] for name, floor in floors.items()}
    compared = Compared(
        metric=scorer,
        names=names,
        systems=systems,
        groups=groups,
        scored=scored,
        pairs=numbers,
        floors=over,
        specificity=[specificity_of(scoring, rows) for rows in systems],
    )
    return _result(scoring, compared, matched, floors) | {
        "check": None if check is None else asdict(check) | {"ci": ends(check.ci)}
    }


def _metric(name: str, files: Sequence[Path]) -> Metric:
    found = metric_named(name)
    if found.score is None and found.corpus is None and found.task != "voice":
        raise EvaluationError(
            f"{found.label} cannot be computed from answers alone",
            value=name,
            expected=", ".join(name for name, one in all_metrics().items() if one.task != "likelihood"),
            hint=f"tunesmith compare {' '.join(map(str, files[:2]))} --metric word_overlap",
        )
    return found


def _names(files: Sequence[Path]) -> list[str]:
    """File names, or whole paths where two names are the same."""
    short = [path.name for path in files]
    return short if len(set(short)) == len(short) else [str(path) for path in files]


def _length_matched(scoring: Scoring, a: Sequence[Prediction], b: Sequence[Prediction]) -> PairedDifference | None:
    """The difference with the longer answer trimmed to the reference; None where a trimmed answer is not an answer."""
    if scoring.metric.task not in _OF_LENGTH or not all(row.expected.references for row in a):
        return None
    trimmed = [length_matched(x.prediction, y.prediction, x.reference) for x, y in zip(a, b, strict=True)]
    return scoring.difference(scoring.score([x for x, _ in trimmed]), scoring.score([y for _, y in trimmed]))


def _floors(scoring: Scoring, items: Sequence[Prediction], train_answers: Sequence[str] | None) -> dict[str, Scored]:
    """The scores of the floors that have an answer for every item."""
    if scoring.metric.runs_code or scoring.metric.task == "voice" or not all(row.expected.references for row in items):
        return {}
    questions, references = [row.question for row in items], [row.reference for row in items]
    found = floor_answers(questions, references, scoring.groups, train_answers, seed=scoring.seed)
    return {
        name: scoring.score([answer or "" for answer in answers])
        for name, answers in found.items()
        if sum(answer is None for answer in answers) <= len(answers) / 2
    }


def _result(
    scoring: Scoring, compared: Compared, matched: PairedDifference | None, floors: dict[str, Scored]
) -> dict[str, Any]:
    sides = [scoring.side(scored) for scored in compared.scored]
    cut = [sum(row.cut for row in rows) / len(rows) for rows in compared.systems]
    first = compared.pairs[0, 1]
    known = [key for key, pair in compared.pairs.items() if pair.p is not None]
    adjusted = dict(zip(known, holm([compared.pairs[key].p or 0.0 for key in known]), strict=True))
    nothing = {"mean": None, "ci": None, "p": None}
    return {
        "warnings": warnings_of(compared, matched),
        "metric": scoring.metric.name,
        "n": first.n,
        "a": sides[0],
        "b": sides[1],
        "difference": _difference(first),
        "relative": first.relative,
        "cut": {"a": cut[0], "b": cut[1]},
        "length_matched": {"difference": nothing if matched is None else _difference(matched)},
        "num_groups": first.num_groups,
        "unscored": first.unscored,
        "better": first.better,
        "worse": first.worse,
        "smallest_p": first.smallest_p,
        "higher_is_better": scoring.metric.higher_is_better,
        "method": first.method,
        "systems": [
            {"name": name, **side, "cut": share, "not_above": compared.not_above(number), **_details(scoring, compared, number)}
            for number, (name, side, share) in enumerate(zip(compared.names, sides, cut, strict=True))
        ],
        "pairs": [
            {
                "a": compared.names[a],
                "b": compared.names[b],
                **_difference(pair),
                "p_holm": adjusted.get((a, b)),
                "better": pair.better,
                "worse": pair.worse,
            }
            for (a, b), pair in compared.pairs.items()
        ],
        "floors": {name: {"meaning": FLOORS[name], **scoring.side(scored)} for name, scored in floors.items()},
    }


def _details(scoring: Scoring, compared: Compared, number: int) -> dict[str, Any]:
    specific = compared.specificity[number]
    shown = None if specific is None else {"mean": specific.mean, "ci": ends(specific.ci)}
    return {"specificity": shown, **(classes_of(scoring, compared.systems[number]) or {})}


def _difference(difference: PairedDifference) -> dict[str, Any]:
    return {"mean": difference.mean, "ci": ends(difference.ci), "p": difference.p}
