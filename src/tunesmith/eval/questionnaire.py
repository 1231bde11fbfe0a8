"""Advice before anything is measured: a few answers about the task, and written rules (docs/concepts/advice.md has reasons).

An answer that was not given is no reason for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["ENOUGH_EXAMPLES", "QUESTIONS", "TaskAnswers", "advise_by_rules", "excluded_by"]

ENOUGH_EXAMPLES = 100

Changes = Literal["rarely", "monthly", "daily"]
About = Literal["style", "format", "facts", "skill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswers:
    """What is known of the task; None is not known.

    `examples`: good examples or passages there are. `changes`: how often what the answers say changes. `citations`: whether an
    answer must name its source. `about`: what is to get better. `fast`: whether an answer must come at once or from a
    small machine. `private`: whether no text may leave this machine. `paid`: whether there is money for a server.
    """

    examples: int | None = None
    changes: Changes | None = None
    citations: bool | None = None
    about: About | None = None
    fast: bool | None = None
    private: bool | None = None
    paid: bool | None = None

    @property
    def given(self) -> bool:
        """Whether anything is known."""
        return self != TaskAnswers()


QUESTIONS = {
    "examples": "How many good examples or passages do you have?",
    "changes": "How often does what the answers say change (rarely, monthly, daily)?",
    "citations": "Must an answer name its source?",
    "about": "What is to get better (style, format, facts, skill)?",
    "fast": "Must an answer come at once, or from a small machine?",
    "private": "Must all text stay on this machine?",
    "paid": "Is there money for a server with a bigger model?",
}
"""Each question of the short form, in order."""


def excluded_by(answers: TaskAnswers) -> dict[str, str]:
    """What the answers rule out, whatever was measured: advice → reason."""
    found: dict[str, str] = {}
    needs = [reason for wanted, reason in _NEEDS_SOURCES if wanted(answers)]
    if needs:
        found |= {name: f"{needs[0]}, which needs passages to answer from" for name in ("prompt", "tune", "bigger model")}
    if answers.private:
        found["bigger model"] = "no text may leave this machine"
    elif answers.paid is False:
        found["bigger model"] = "there is no money for a server"
    return found


_NEEDS_SOURCES = (
    (lambda answers: answers.citations is True, "answers must name their sources"),
    (lambda answers: answers.changes == "daily", "what the answers say changes daily"),
)


def advise_by_rules(answers: TaskAnswers) -> tuple[str, tuple[str, ...]]:
    """What to try first, and why: one sentence for each rule that applied."""
    retrieve, tune = [*_for_retrieval(answers)], [*_for_tuning(answers)]
    against = [*_against_tuning(answers)]
    if against:
        tune = []
    if retrieve and tune:
        return "tune + retrieve", (*retrieve, *tune)
    if retrieve:
        return "retrieve", (*retrieve, *against)
    if tune:
        return "tune", tuple(tune)
    out = excluded_by(answers).get("bigger model")
    if answers.about == "skill":
        if out is None:
            return "bigger model", ("Harder reasoning comes with size: a small model does not learn it from examples.",)
        against.append(f"Harder reasoning would want a bigger model, but {out}.")
    return "prompt", (*against, "Nothing that you said asks for more than a good prompt, which costs nothing to try.")


def _for_retrieval(answers: TaskAnswers) -> Iterator[str]:
    if answers.citations:
        yield "Answers must name their sources: only a system that answers from passages can."
    if answers.changes in ("monthly", "daily"):
        yield f"What the answers say changes {answers.changes}: an index is updated in seconds, a tuned model is not."
    if answers.about == "facts":
        yield "Facts are to get better: a small model learns facts badly from a few examples, and reads them well."


def _for_tuning(answers: TaskAnswers) -> Iterator[str]:
    if answers.examples is None or answers.examples < ENOUGH_EXAMPLES:
        return
    if answers.about in ("style", "format"):
        yield f"The {answers.about} is to get better, and {answers.examples} examples are enough to learn it."
    if answers.fast:
        yield "Answers must be fast: a tuned model needs no examples or passages in its prompt, and can be small."


def _against_tuning(answers: TaskAnswers) -> Iterator[str]:
    wanted = answers.about in ("style", "format") or answers.fast
    if wanted and answers.examples is None:
        yield "How many examples there are is not known, so nothing speaks for tuning."
    elif wanted and answers.examples is not None and answers.examples < ENOUGH_EXAMPLES:
        yield f"{answers.examples} examples are too few to tune and to test on ({ENOUGH_EXAMPLES} do): put them in prompts."
