"""What a judge goes by: the question that it answers about two answers, and the points on which it grades one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import canonical_json

__all__ = ["GENERAL", "TRAINING_DATA", "Rubric", "read_rubric"]

_RESERVED = {"winner", "points", "reason"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """`question`: what decides between two answers. `points`: the name of each point, and what 5, 3 and 1 mean on it."""

    name: str
    question: str
    points: Mapping[str, str]

    @property
    def text(self) -> bytes:
        """All of it, in a form that can be hashed."""
        return canonical_json({"name": self.name, "question": self.question, "points": dict(self.points)})


GENERAL = Rubric(
    name="general",
    question="Which one is more correct, more complete and better written?",
    points={
        "accuracy": "5: every statement is true and answers the prompt. 3: mostly right, one slip that misleads. "
        "1: wrong, or answers something else.",
        "completeness": "5: nothing that was asked is missing. 3: the main point is there, parts are missing. "
        "1: hardly anything of what was asked.",
        "format": "5: exactly the form that was asked for, clear and whole. 3: readable, with clumsy or padded places. "
        "1: cut off, repeated, or hard to follow.",
    },
)
TRAINING_DATA = Rubric(
    name="training data",
    question=GENERAL.question,
    points={
        "correctness": GENERAL.points["accuracy"],
        "completeness": GENERAL.points["completeness"],
        "style": "5: clear, whole sentences, to the point, a pleasure to read. 3: readable with some clumsy or padded places. "
        "1: hard to follow, cut off, or full of phrases that say nothing.",
    },
)


def read_rubric(path: Path) -> Rubric:
    """The rubric of a YAML file with `question` and `points`, a mapping from names to descriptions; `name` if it has one.

    Raises:
        EvaluationError: a file that cannot be read, or holds something else.
    """

    def wrong(what: str, value: object, expected: str) -> EvaluationError:
        hint = "question: Which one is clearer?   and   points: {clarity: '5: … 3: … 1: …'}"
        return EvaluationError(f"the rubric {path} cannot be used: {what}", value=value, expected=expected, hint=hint)

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise wrong("it cannot be read", " ".join(str(error).split())[:120], "a YAML file") from error
    if not isinstance(found, dict):
        raise wrong("it is not a mapping", found, "question and points")
    if unknown := sorted(map(str, found.keys() - {"name", "question", "points"})):
        raise wrong("an unknown key", unknown[0], "name, question and points")
    question, points = found.get("question", GENERAL.question), found.get("points")
    if not isinstance(question, str) or not question.strip():
        raise wrong("the question is not text", question, "a sentence that ends with a question mark")
    if not isinstance(points, dict) or not points:
        raise wrong("there are no points", points, "one point at least, with what 5, 3 and 1 mean")
    for name, text in points.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
            raise wrong("a point's name cannot be used", name, "letters, digits and underscores, such as accuracy")
        if not isinstance(text, str) or not text.strip():
            raise wrong(f"the point {name} has no description", text, "what 5, 3 and 1 mean on it")
    return Rubric(name=str(found.get("name", path.stem)), question=question.strip(), points=dict(points))
