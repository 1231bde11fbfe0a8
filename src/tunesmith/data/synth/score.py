"""`score`: a stronger model grades examples by a written rubric. What it cannot grade is unscored, never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.attempts import attempted
from tunesmith.data.synth.gates import NOT_JSON, Fault, object_in
from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.guard import delimited
from tunesmith.data.synth.ledger import Estimate
from tunesmith.data.synth.outcome import Outcome, Tally
from tunesmith.data.synth.prompts import DATA, turns
from tunesmith.data.text.words import num_words

__all__ = ["RUBRIC", "Grade", "score"]

RUBRIC: Mapping[str, str] = {
    "correctness": "5: every statement is true and answers the prompt. 3: mostly right, one slip that misleads. "
    "1: wrong, or answers something else.",
    "completeness": "5: nothing that was asked is missing. 3: the main point is there, parts are missing. "
    "1: hardly anything of what was asked.",
    "style": "5: clear, whole sentences, to the point, a pleasure to read. 3: readable with some clumsy or padded places. "
    "1: hard to follow, cut off, or full of phrases that say nothing.",
}
_GRADES = range(1, 6)
_BELOW = "a grade below the threshold"
_GRADER = (
    "You grade answers in training data from 1 to 5 on three points. "
    + " ".join(f"{name}: {text}" for name, text in RUBRIC.items())
    + " Use 2 and 4 for what lies between. Length earns nothing. "
    + DATA
    + ' Reply with one JSON object and nothing else: {"correctness": n, "completeness": n, "style": n, "reason": "…"}'
)


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
    with reporter.progress("score", total=len(rows), unit="examples") as progress:
        parts = generator.each(lambda row: _grade(row, generator), rows, progress)
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


def _grade(row: Example, generator: Generator) -> tuple[Grade | None, Tally]:
    asked_for = "\n\n".join(f"{message.role}: {message.content}" for message in row.prompt)
    both = f"Prompt:\n{asked_for}\n\nAnswer:\n{row.answer}"

    def work(attempt: int, reasons: Sequence[str]) -> Grade:
        asked = generator.ask(turns(_GRADER, delimited(both), reasons), draw=attempt, temperature=0.0)
        value = object_in(asked.reply)
        if not RUBRIC.keys() <= value.keys():
            raise Fault(NOT_JSON)
        grades = {name: value[name] for name in RUBRIC if type(value[name]) is int and value[name] in _GRADES}
        if len(grades) < len(RUBRIC):
            raise Fault("a grade that is not 1 to 5")
        return Grade(
            id=row.id,
            mean=round(mean(grades.values()), 4),
            reason=" ".join(str(value.get("reason", "")).split())[:300],
            **grades,
        )

    return attempted(work, row.prompt[-1].content if row.prompt else row.answer)
