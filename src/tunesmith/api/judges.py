"""`calibrate_judge`, `judge_compare`, `judge_grade`: a judge against people, and systems compared by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.eval.judge.calibration import Calibration, calibrate_pairs
from tunesmith.eval.judge.corrected import WinRate, win_rates
from tunesmith.eval.judge.next_labels import NextLabel, next_labels
from tunesmith.eval.judge.rows import JudgedPair, read_pairs

if TYPE_CHECKING:
    from tunesmith.eval.judge.asking import Judged
    from tunesmith.eval.judge.biases import Measured
    from tunesmith.pipeline.open_judge import OpenedJudge
    from tunesmith.pipeline.sections.eval import JudgeConfig

__all__ = ["JudgeCalibration", "JudgeComparison", "JudgeGrades", "JudgeWork", "calibrate_judge", "judge_compare", "judge_grade"]

_NEXT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeWork:
    """What a judge did. `name`: the model and where it is; `id`: the hash of prompts, rubric and model. `weak`: it runs on this
    machine. `models`: replies by what the server said answered. `withheld`: sentences that spoke to a language model and were
    not shown. `requests` and `tokens` count cached replies too, `paid` only new requests. `failed`: tries that brought no reply
    and were made again: timed out, rate limited, server error, connection lost."""

    name: str
    id: str
    weak: bool
    models: Mapping[str, int]
    withheld: int
    requests: int
    tokens: int
    paid: int
    failed: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As the commands print it."""
        return {field: getattr(self, field) for field in self.__slots__} | {
            "models": dict(self.models),
            "failed": dict(self.failed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCalibration:
    """What was found out about a judge. `calibration`: every figure with its interval; None is not measured. `work`: of a judge
    that was asked; None if its verdicts were in the file."""

    calibration: Calibration
    work: JudgeWork | None = None

    @property
    def may_gate(self) -> bool:
        """Whether the judge may decide in people's place."""
        return self.calibration.may_gate

    @property
    def why(self) -> str:
        """The reasons, in words."""
        return "; ".join(self.calibration.why)

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith judge calibrate --json` prints."""
        c = self.calibration
        diagnosed = {
            "agreement": c.agreement,
            "changed": c.changed,
            "reversed": c.reversed,
            "length_preference": c.length_preference,
            "position_preference": c.position_preference,
            "family_preference": c.family_preference,
            "retest": c.retest,
        }
        return {
            "n": c.n,
            "prompts": c.prompts,
            "agreement": c.agreement.value,
            "kappa": c.kappa.as_dict(),
            "kappa_both_orders": c.kappa_both_orders.as_dict(),
            "kappa_decided": c.kappa_decided.as_dict(),
            "ceiling": c.ceiling.as_dict(),
            "changed": c.changed.value,
            "reversed": c.reversed.value,
            "length_preference": c.length_preference.value,
            "position_preference": c.position_preference.value,
            "family_preference": c.family_preference.value,
            "retest": c.retest.value,
            "unparsed": c.unparsed,
            "swapped_missing": c.swapped_missing,
            "may_gate": c.may_gate,
            "why": self.why,
            "confusion": c.confusion,
            "learning_curve": c.learning.as_dict(),
            "win_rates": [one.as_dict() for one in c.win_rates],
            "next_labels": [{"id": one.id, "because": one.because} for one in c.next_labels],
            "measured": {name: one.as_dict() for name, one in diagnosed.items()},
            "points": {
                name: {"changed": changed.value, "reversed": reversed_.value, "position_preference": first.value}
                for name, (changed, reversed_, first) in c.by_point.items()
            },
            "judge": None if self.work is None else self.work.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeComparison:
    """Two systems compared by a judge on the same items. `win_rate`: how often people would prefer the first, corrected for the
    judge's errors; not measured without their labels. `calibration`: of the judge on all labels that were given; None without
    any. `next_labels`: the pairs to label next."""

    systems: tuple[str, str]
    n: int
    win_rate: WinRate
    calibration: JudgeCalibration | None
    next_labels: tuple[NextLabel, ...]
    work: JudgeWork

    @property
    def measured(self) -> bool:
        """Whether there is a corrected win rate by a judge that may decide."""
        return self.win_rate.value is not None and self.calibration is not None and self.calibration.may_gate

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith judge compare --json` prints."""
        return {
            "systems": list(self.systems),
            "n": self.n,
            "win_rate": self.win_rate.as_dict(),
            "may_gate": self.calibration is not None and self.calibration.may_gate,
            "why": "no labels were given" if self.calibration is None else self.calibration.why,
            "calibration": None if self.calibration is None else self.calibration.as_dict(),
            "next_labels": [{"id": one.id, "because": one.because} for one in self.next_labels],
            "judge": self.work.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeGrades:
    """Grades of a system's answers by a judge that nobody calibrated for this: they compare runs and decide nothing. `points`:
    the mean on each point, from 1 to 5; `mean`: over all points. `unparsed` answers are in no mean."""

    n: int
    rubric: str
    points: Mapping[str, Measured]
    mean: Measured
    unparsed: int
    work: JudgeWork

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith judge grade --json` prints."""
        return {
            "n": self.n,
            "rubric": self.rubric,
            "mean": self.mean.as_dict(),
            "points": {name: one.as_dict() for name, one in self.points.items()},
            "unparsed": self.unparsed,
            "judge": self.work.as_dict(),
        }


def calibrate_judge(
    file: str | Path,
    *,
    judge: str = "",
    model: str = "",
    settings: Mapping[str, Any] | None = None,
    project: str | Path = ".",
    out: str | Path | None = None,
    family: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> JudgeCalibration:
    """Compare the verdicts of a judge with people's labels on the same pairs of answers.

    Each line of `file` is a JSON object with `id`, `prompt`, `a`, `b`, `human` (or `annotators`, a list), `judge`, and
    optionally `judge_swapped` (from the request that showed `b` first), `judge_again`, `group`, `system_a`, `system_b`,
    `reference`. Labels are `A`, `B` and `tie` and name the answers `a` and `b` of the row, also in `judge_swapped`.

    With `judge`, the pairs are judged now: by `model` at the address `judge` of an OpenAI-compatible server, or by a local
    model (a folder, a base, an artifact). `settings` are those of the recipe, such as `{"judge.rubric": "mine.yaml"}`; replies
    are cached in the project and paid for once. `out`: file for the pairs with the verdicts. `family`: names of systems
    that belong to the judge's own family; with `model`, those whose names begin like it.

    Raises:
        EvaluationError: a file that cannot be read, or without labels or verdicts.
        GeneratorError: the judge cannot be used, or its budget is used up.
    """
    from tunesmith.eval.judge.biases import family_of

    pairs, work, faults = read_pairs(Path(file)), None, tuple[str, ...]()
    if judge:
        done, work = _judged(pairs, [Path(file)], judge, model, settings, project, out, reporter)
        pairs, faults = list(done.pairs), done.faults
    own = family_of(model)
    names = {name for pair in pairs for name in (pair.system_a, pair.system_b) if name}
    members = {*family, *(name for name in names if own and family_of(name) == own)}
    return JudgeCalibration(calibration=calibrate_pairs(pairs, family=members, faults=faults), work=work)


def judge_compare(  # noqa: PLR0913 (two files, a judge, and where things are)
    a: str | Path,
    b: str | Path,
    *,
    judge: str,
    model: str = "",
    labels: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    project: str | Path = ".",
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> JudgeComparison:
    """Let a judge compare two prediction files in both orders, and correct it by people's labels of some of these pairs.

    The files are those of `compare`. `labels`: labelled pairs as for `calibrate_judge`; those of these two systems, known by
    prompt and answers, correct the win rate, and all of them calibrate the judge. `out`: file for the pairs with the verdicts,
    ready to be labelled. Everything else is as in `calibrate_judge`.

    Raises:
        EvaluationError: files that cannot be read or paired.
        GeneratorError: the judge cannot be used, or its budget is used up.
    """
    from tunesmith.eval.judge.files import labelled_with, pairs_of_predictions

    first, second = Path(a), Path(b)
    pairs, others = pairs_of_predictions(first, second), list[JudgedPair]()
    if labels is not None:
        pairs, others = labelled_with(pairs, Path(labels))
        others = [replace(pair, id=f"{pair.id} (other)") for pair in others]
    read = [first, second, *([] if labels is None else [Path(labels)])]
    done, work = _judged([*pairs, *others], read, judge, model, settings, project, out, reporter)
    judged = list(done.pairs[: len(pairs)])
    has_labels = any(pair.human for pair in done.pairs)
    calibration = calibrate_pairs(done.pairs, faults=done.faults) if has_labels else None
    return JudgeComparison(
        systems=(first.stem, second.stem),
        n=len(judged),
        win_rate=win_rates(judged)[0],
        calibration=None if calibration is None else JudgeCalibration(calibration=calibration),
        next_labels=tuple(next_labels(judged, _NEXT)),
        work=work,
    )


def judge_grade(
    file: str | Path,
    *,
    judge: str,
    model: str = "",
    settings: Mapping[str, Any] | None = None,
    project: str | Path = ".",
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> JudgeGrades:
    """Let a judge grade the answers of a prediction file from 1 to 5 on the points of its rubric (`judge.rubric`).

    `out`: file for the rows with their grades. Everything else is as in `judge_compare`.

    Raises:
        EvaluationError: a file that cannot be read.
        GeneratorError: the judge cannot be used, or its budget is used up.
    """
    from tunesmith.api.row_files import write_rows
    from tunesmith.core.files import check_out
    from tunesmith.eval.judge.grading import grade_predictions
    from tunesmith.eval.predictions import read_predictions
    from tunesmith.pipeline.open_judge import open_judge

    if out is not None:
        check_out(Path(out), [Path(file)], hint="--out grades.jsonl")
    chosen, told = _chosen(Path(file), judge, model, settings, project), reporter or SilentReporter()
    rows = list(read_predictions(Path(file), references=False).values())
    with open_judge(chosen, Path(project), reporter=told) as opened:
        found = grade_predictions(rows, opened.judge, reporter=told, reference=chosen.reference)
    if out is not None:
        graded = zip(rows, found.grades, strict=True)
        made = [{"id": row.id, "mean": one.mean, **one.points, "reason": one.reason or one.fault} for row, one in graded]
        write_rows(made, Path(out), what="graded")
    return JudgeGrades(
        n=len(rows),
        rubric=opened.judge.rubric.name,
        points=found.points,
        mean=found.mean,
        unparsed=found.unparsed,
        work=_work_of(opened),
    )


def _judged(
    pairs: Sequence[JudgedPair],
    read: Sequence[Path],
    judge: str,
    model: str,
    settings: Mapping[str, Any] | None,
    project: str | Path,
    out: str | Path | None,
    reporter: Reporter | None,
) -> tuple[Judged, JudgeWork]:
    from tunesmith.api.row_files import write_rows
    from tunesmith.core.files import check_out
    from tunesmith.eval.judge.asking import judge_pairs
    from tunesmith.eval.judge.files import as_rows
    from tunesmith.pipeline.open_judge import open_judge

    if out is not None:
        check_out(Path(out), read, hint="--out judged.jsonl")  # before anything is paid for
    chosen, told = _chosen(read[0], judge, model, settings, project), reporter or SilentReporter()
    with open_judge(chosen, Path(project), reporter=told) as opened:
        done = judge_pairs(pairs, opened.judge, reporter=told, reference=chosen.reference, again=chosen.again)
    if out is not None:
        write_rows(as_rows(done.pairs, done.reasons), Path(out), what="judged")
    return done, _work_of(opened)


def _chosen(file: Path, judge: str, model: str, settings: Mapping[str, Any] | None, project: str | Path) -> JudgeConfig:
    """The recipe's `judge` section with the judge that was named."""
    from tunesmith.api.recipes import as_overrides, find_recipe

    at_address = "://" in judge
    named: dict[str, Any] = {"judge.url": judge if at_address else "", "judge.local": "" if at_address else judge}
    if model:
        named["judge.model"] = model
    return find_recipe({"sources": [str(file)]}, as_overrides({**(settings or {}), **named}), project=project).judge


def _work_of(opened: OpenedJudge) -> JudgeWork:
    judge, ledger = opened.judge, opened.judge.generator.ledger
    return JudgeWork(
        name=opened.name,
        id=judge.id,
        weak=opened.weak,
        models=dict(judge.models),
        withheld=judge.withheld,
        requests=ledger.usage.requests,
        tokens=ledger.usage.tokens,
        paid=ledger.paid,
        failed=judge.generator.failed,
    )
