"""Whether evidence can be true at all: the same model twice, foreign answers, unknown items, impossible likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.results import Evidence, FoldRows, Item, Likelihood, SystemRun

__all__ = ["check_evidence"]

_ROUNDING = 1e-3  # nats by which a sum of −log p may be below zero


def check_evidence(evidence: Evidence) -> None:
    """EvaluationError if the evidence cannot be true: the same model twice, foreign answers, double or unknown items, an
    adapter judged on what it has seen."""
    _unique([item.id for item in evidence.items], "items of the test set")
    _unique([run.name for run in evidence.systems], "systems")
    seen: dict[str, str] = {}
    known = {item.id for item in evidence.items}
    for run in evidence.systems:
        if run.fingerprint in seen:
            raise EvaluationError(
                f"{seen[run.fingerprint]} and {run.name} are the same system, so a comparison is meaningless",
                value=run.fingerprint,
                expected="another fingerprint for each system: other weights, adapter, prompt or settings",
                hint="check that the adapter was really loaded: tunesmith run",
            )
        seen[run.fingerprint] = run.name
        _check_run(run, known)
    _check_likelihoods("references", {run.name: run.likelihoods for run in evidence.systems})
    for name, sides in evidence.probes.items():
        _check_pairs(f"rows of the probe {name}", sides)
    if evidence.general is not None:
        _check_pairs("general texts", {"base": evidence.general.base, "tuned": evidence.general.tuned})
    if evidence.recipe is not None:
        _check_folds(evidence.recipe.folds, evidence.items)


def _check_folds(folds: Sequence[FoldRows], items: Sequence[Item]) -> None:
    """Every item is tested in one fold, whose adapters saw nothing of its document."""
    tested = [id for fold in folds for id in fold.items]
    _unique(tested, "items of the folds")
    if set(tested) != {item.id for item in items}:
        raise EvaluationError(
            "the folds do not hold the items of the test set",
            value=sorted(set(tested) ^ {item.id for item in items})[:3],
            expected="every item in one fold",
            hint="delete the evaluation's folder and run it again",
        )
    for fold in folds:
        if seen := sorted(set(fold.tested) & set(fold.learned)):
            raise EvaluationError(
                "an adapter was judged on a document that it was trained on",
                value=seen[0],
                expected="documents that the adapter did not see",
                hint="delete the folder .tunesmith/folds and run it again",
            )


def _check_pairs(what: str, sides: Mapping[str, Sequence[Likelihood]]) -> None:
    """Every system was given the same rows, each once: who has only the easy ones is compared with nobody."""
    for name, rows in sides.items():
        _unique([row.item_id for row in rows], f"{what} under {name}")
    ids = {name: {row.item_id for row in rows} for name, rows in sides.items()}
    every = set[str]().union(*ids.values())
    if lacking := next((name for name, found in ids.items() if found != every), ""):
        raise EvaluationError(
            f"{what}: {lacking} lacks some that another system has",
            value=sorted(every - ids[lacking])[:3],
            expected="the same rows for every system",
            hint="delete the evaluation's folder and run it again",
        )
    _check_likelihoods(what, sides)


def _check_likelihoods(what: str, sides: Mapping[str, Sequence[Likelihood]]) -> None:
    """No probability is above one, and a reference has as many bytes for one system as for another."""
    sizes: dict[str, int] = {}
    for name, rows in sides.items():
        for row in rows:
            if sizes.setdefault(row.item_id, row.num_bytes) != row.num_bytes or row.nats < -_ROUNDING:
                raise EvaluationError(
                    f"{what}: {name} has a likelihood that cannot be",
                    value=f"{row.item_id}: {row.nats:.4g} nats on {row.num_bytes} bytes",
                    expected=f"no less than 0 nats, on {sizes[row.item_id]} bytes as for the other systems",
                    hint="delete the evaluation's folder and run it again",
                )


def _check_run(run: SystemRun, known: set[str]) -> None:
    foreign = sorted({g.fingerprint for g in (*run.generations, *run.greedy)} - {run.fingerprint})
    if foreign:
        raise EvaluationError(
            f"answers filed under {run.name} were made by another system",
            value=foreign[0],
            expected=f"the fingerprint of {run.name}: {run.fingerprint}",
            hint="delete the evaluation's folder and run it again",
        )
    answers = [(g.item_id, g.draw) for g in run.generations]
    greedy, likelihoods = [(g.item_id, None) for g in run.greedy], [(row.item_id, None) for row in run.likelihoods]
    for what, ids in (("answers", answers), ("greedy answers", greedy), ("likelihoods", likelihoods)):
        _unique(ids, f"{what} of {run.name}")
        if unknown := [i for i, _ in ids if i not in known]:
            raise EvaluationError(
                f"{what} of {run.name} belong to no item of the test set",
                value=unknown[:3],
                expected="ids of the test set",
                hint="evaluate every system on the same dataset",
            )


def _unique(ids: Sequence[object], what: str) -> None:
    if len(set(ids)) != len(ids):
        double = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise EvaluationError(f"{what} carry an id twice", value=double, expected="each id once", hint="tunesmith check FILE")
