"""`score`: a stronger model grades examples by a written rubric. What it cannot grade is unscored, never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.gates import kind_of
from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.judge import Judge
from tunesmith.data.synth.ledger import Estimate
from tunesmith.data.synth.outcome import Outcome, Tally
from tunesmith.data.synth.rubric import TRAINING_DATA
from tunesmith.data.text.words import num_words

__all__ = ["RUBRIC", "Grade", "score"]

RUBRIC: Mapping[str, str] = TRAINING_DATA.points
_BELOW = "a grade below the threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What an example got, each 1 to 5, and their mean; all None where it could not be graded."""

    id: str
    correctness: int | None
    completeness: int | None
    style: int | None
    mean: float | None
    reason: str


def score(
    rows: Sequence[Example], *, threshold: float, generator: Generator, reporter: Reporter
) -> tuple[list[Example], list[Grade], Outcome]:
    """The rows whose mean grade reaches `threshold`, the grades of all rows in their order, and what came of the work."""
    tokens = round(1.4 * sum(num_words(m.content) for row in rows for m in row.messages))
    estimate = Estimate(
        work=f"grades for {len(rows):,} examples",
        requests=len(rows),
        prompt_tokens=tokens + 330 * len(rows),
        completion_tokens=50 * len(rows),
    )
    generator.announce(estimate, reporter)
    judge = Judge(generator, TRAINING_DATA)
    with reporter.progress("score", total=len(rows), unit="examples") as progress:
        parts = generator.each(lambda row: _grade(row, judge), rows, progress)
    tally, kept, grades = Tally(), list[Example](), list[Grade]()
    for row, (grade, part) in zip(rows, parts, strict=True):
        tally.add(part)
        if grade is None:
            reason = next(iter(part.dropped), "")
            grade = Grade(id=row.id, correctness=None, completeness=None, style=None, mean=None, reason=f"unscored: {reason}")
        elif grade.mean is not None and grade.mean >= threshold:
            kept.append(row)
        else:
            tally.drop(_BELOW, f"{grade.mean:.2f}: {row.prompt[-1].content if row.prompt else ''}")
        grades.append(grade)
    return kept, grades, Outcome.of("score", generator, tally, wanted=len(rows), kept=len(kept))


def _grade(row: Example, judge: Judge) -> tuple[Grade | None, Tally]:
    tally = Tally()
    graded = judge.grade("\n\n".join(f"{message.role}: {message.content}" for message in row.prompt), row.answer)
    tally.refused.update(kind_of(reason) for reason in graded.refused)
    if graded.mean is None:
        tally.drop(kind_of(graded.fault), row.prompt[-1].content if row.prompt else row.answer)
        return None, tally
    return Grade(id=row.id, mean=graded.mean, reason=graded.reason, **graded.points), tally
