"""A judge: a language model that compares two answers, grades one on the points of a rubric, or rates it with one number.

What it judges is data. It stands between marks that it cannot contain, each line quoted, and sentences of an answer that speak
to a language model are left out and counted, because an answer may have learned to please judges. Replies are parsed strictly;
what cannot be parsed is asked for once more with the reason, and then counted as missing. Prompts are in files; `Judge.id` is
the hash of them, the rubric and the model, so that verdicts under different ones never mix.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from tunesmith.core.records import canonical_json, digest
from tunesmith.data.synth.attempts import told
from tunesmith.data.synth.gates import NOT_JSON, Fault, object_in
from tunesmith.data.synth.generator import Asked, Generator
from tunesmith.data.synth.guard import delimited, speaks_to_a_model
from tunesmith.data.synth.prompts import DATA, turns
from tunesmith.data.synth.request import Reply
from tunesmith.data.synth.rubric import GENERAL, Rubric
from tunesmith.data.text.sentences import split_sentences

__all__ = ["ATTEMPTS", "WITHHELD", "Compared", "Graded", "Judge", "Winner", "rating_in", "without_orders"]

Winner = Literal["A", "B", "tie"]
_WINNERS: Mapping[str, Winner] = {"A": "A", "B": "B", "tie": "tie"}
ATTEMPTS = 2  # the first, and one repair
WITHHELD = "[left out: a sentence that speaks to a language model]"
_PLEADS = re.compile(
    r"\"winner\"\s*:|\b(?:judges?|graders?|evaluators?|raters?)\b[^.!?\n]{0,40}"
    r"\b(?:must|should|please|give|choose|pick|prefer|select|rate|score|vote|award|reply|say)\b"
    r"|\b(?:choose|pick|prefer|select|vote for|award|rate) (?:this|my) (?:answer|response|reply)\b",
    re.IGNORECASE,
)
_OF_TEN = re.compile(r"(?:/|\bout of|\bof)\s*10\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
_FIRST = re.compile(r"[^\w-]*(?:rating|score)?[^\w-]*(-?\d+(?:[.,]\d+)?)\s*(?:$|[.:;,!)\n–—-])", re.IGNORECASE)
_MOST = 10.0
_REFERENCE = "The material also has a reference, which is right; an answer may say the same in other words. "
_REPEATED = 1000  # draws between a request and its repetition, so that a repair of the one is never the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One comparison in one order. `winner` is None where no verdict could be parsed; `fault` then says why. `points`: the
    better answer on each point, as far as the judge said. `refused`: why earlier replies were not accepted."""

    winner: Winner | None
    points: Mapping[str, Winner] = field(default_factory=dict)
    reason: str = ""
    fault: str = ""
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """Grades from 1 to 5 by point, and their mean; empty and None where they could not be parsed, `fault` then says why."""

    points: Mapping[str, int] = field(default_factory=dict)
    mean: float | None = None
    reason: str = ""
    fault: str = ""
    refused: tuple[str, ...] = ()


class Judge:
    """Compares and grades through a generator: cached, within its budget, at temperature 0. Safe to use from several threads.

    `schema`: also send the JSON schema of the reply, to servers that can hold a model to it. `reason_chars`: the longest reason
    that the schema allows, 0 for any; not every server takes a schema with such a limit.
    """

    def __init__(self, generator: Generator, rubric: Rubric = GENERAL, *, schema: bool = False, reason_chars: int = 0) -> None:
        self.generator = generator
        self.rubric = rubric
        self._pair_schema = _pair_schema(tuple(rubric.points), reason_chars) if schema else ""
        self._grade_schema = _grade_schema(tuple(rubric.points), reason_chars) if schema else ""
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self.withheld = 0  # sentences that were not shown to the judge

    @property
    def id(self) -> str:
        """SHA-256 (hex) of the prompts, the rubric, the model's name, and the schema where one is sent."""
        prompts = [_prompt(name) for name in ("pair", "grade", "rate")]
        return digest("judge", *prompts, self.rubric.text, self.generator.model, *filter(None, [self._pair_schema]))

    @property
    def models(self) -> Mapping[str, int]:
        """Replies by the model and the fingerprint that the server named with them."""
        with self._lock:
            return dict(self._seen)

    def compare(self, prompt: str, a: str, b: str, *, reference: str = "", again: bool = False) -> Compared:
        """Which answer is better, `a` being shown first. `again` makes the request a second time instead of using its reply.

        Raises:
            GeneratorError: the server cannot be used, or the budget is used up.
        """
        letters = ", ".join(f'"{name}": "A" or "B" or "tie"' for name in self.rubric.points)
        system = self._system("pair", reference, letters=letters)
        both = f"{_asked_for(prompt, reference)}\n\nAnswer A: {self._shown(a)}\n\nAnswer B: {self._shown(b)}"
        reasons: list[str] = []
        for attempt in range(ATTEMPTS):
            asked = self._ask(turns(system, delimited(both), reasons), attempt + _REPEATED * again, self._pair_schema)
            try:
                return replace(self._winner_in(asked.reply), refused=tuple(reasons))
            except Fault as fault:
                reasons.append(told(str(fault)))
        return Compared(winner=None, fault=reasons[-1], refused=tuple(reasons))

    def grade(self, prompt: str, answer: str, *, reference: str = "") -> Graded:
        """Grades on all points of the rubric. GeneratorError as in `compare`."""
        numbers = ", ".join(f'"{name}": n' for name in self.rubric.points)
        system = self._system("grade", reference, numbers=numbers)
        shown = f"{_asked_for(prompt, reference, 'Prompt:' + chr(10))}\n\nAnswer:\n{self._shown(answer)}"
        reasons: list[str] = []
        for attempt in range(ATTEMPTS):
            asked = self._ask(turns(system, delimited(shown), reasons), attempt, self._grade_schema)
            try:
                return replace(self._grades_in(asked.reply), refused=tuple(reasons))
            except Fault as fault:
                reasons.append(told(str(fault)))
        return Graded(fault=reasons[-1], refused=tuple(reasons))

    def rate(self, prompt: str, answer: str, *, reference: str = "", template: str = "") -> tuple[float | None, str]:
        """One number from 0 to 1, and the reply: a rating from 0 to 10, divided by 10; None where the reply has none.

        `template` replaces the prompt; `{prompt}`, `{answer}` and `{reference}` in it are filled in. GeneratorError as in
        `compare`.
        """
        if template:
            text = _filled(template, {"prompt": prompt, "reference": reference, "answer": answer})
            asked = self._ask(turns("", text)[1:], 0, "")
        else:
            shown = f"{_asked_for(prompt, reference)}\n\nAnswer: {self._shown(answer)}"
            asked = self._ask(turns(_filled(_prompt("rate"), {"data": DATA}), delimited(shown)), 0, "")
        return rating_in(asked.reply.text), asked.reply.text

    def _ask(self, messages: Sequence[Any], draw: int, schema: str) -> Asked:
        asked = self.generator.ask(messages, draw=draw, temperature=0.0, schema=schema)
        if asked.reply.stop != "not_taken":
            with self._lock:
                self._seen[f"{asked.reply.model} {asked.reply.fingerprint}".strip()] += 1
        return asked

    def _system(self, name: str, reference: str, **more: str) -> str:
        points = " ".join(f"{name}: {text}" for name, text in self.rubric.points.items())
        given = {"question": self.rubric.question, "points": points, "data": DATA, **more}
        return _filled(_prompt(name), {**given, "reference": _REFERENCE if reference else ""})

    def _shown(self, text: str) -> str:
        shown, count = without_orders(text)
        if count:
            with self._lock:
                self.withheld += count
        return shown

    def _winner_in(self, reply: Reply) -> Compared:
        value = object_in(reply)
        winner = value.get("winner")
        if not isinstance(winner, str) or winner not in _WINNERS:
            raise Fault(NOT_JSON)
        said = value.get("points")
        given = said if isinstance(said, dict) else {}
        points = {name: _WINNERS[given[name]] for name in self.rubric.points if given.get(name) in _WINNERS}
        return Compared(winner=_WINNERS[winner], points=points, reason=_line(value))

    def _grades_in(self, reply: Reply) -> Graded:
        value, names = object_in(reply), self.rubric.points
        if not names.keys() <= value.keys():
            raise Fault(NOT_JSON)
        grades = {name: value[name] for name in names if type(value[name]) is int and 1 <= value[name] <= 5}
        if len(grades) < len(names):
            raise Fault("a grade that is not 1 to 5")
        return Graded(points=grades, mean=round(mean(grades.values()), 4), reason=_line(value))


def _asked_for(prompt: str, reference: str, head: str = "Prompt: ") -> str:
    return f"{head}{prompt}" + (f"\n\nReference: {reference}" if reference else "")


def rating_in(reply: str) -> float | None:
    """The rating of a reply as a share of 10: the number that it begins with or consists of, or its only number.

    None if there is none from 0 to 10, or several of which any may be meant ("three of 5 points hold: 7").
    """
    text = _OF_TEN.sub("", reply)
    first, every = _FIRST.match(text), set(_NUMBER.findall(text))
    given = first.group(1) if first else every.pop() if len(every) == 1 else "-1"
    number = float(given.replace(",", "."))
    return number / _MOST if 0 <= number <= _MOST else None


@lru_cache(maxsize=4096)  # every answer is shown in both orders
def without_orders(text: str) -> tuple[str, int]:
    """The text without sentences that read like an instruction to a language model, and how many were left out."""
    if not _orders(text):
        return text, 0
    lines, count = [], 0
    for line in text.split("\n"):
        kept = line
        if _orders(line):
            parts = [WITHHELD if _orders(part) else part for part in split_sentences(line)]
            kept = " ".join(parts)
            if WITHHELD not in parts or _orders(kept.replace(WITHHELD, "")):
                kept = WITHHELD
            count += max(1, parts.count(WITHHELD))
        lines.append(kept)
    whole = "\n".join(lines)
    return (whole, count) if not _orders(whole.replace(WITHHELD, "")) else (WITHHELD, count + 1)


def _orders(text: str) -> bool:
    return speaks_to_a_model(text) or _PLEADS.search(text) is not None


@cache
def _prompt(name: str) -> str:
    return (Path(__file__).parent / "judge_prompts" / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def _filled(text: str, values: Mapping[str, str]) -> str:
    """The template with its places filled in one pass: what is filled in is not a template itself."""
    return re.sub(r"\{(" + "|".join(values) + r")\}", lambda found: values[found.group(1)], text)


def _line(value: Mapping[str, Any]) -> str:
    return " ".join(str(value.get("reason", "")).split())[:300]


@cache
def _pair_schema(names: tuple[str, ...], reason_chars: int) -> str:
    letter = {"type": "string", "enum": ["A", "B", "tie"]}
    points = {
        "type": "object",
        "properties": dict.fromkeys(names, letter),
        "required": list(names),
        "additionalProperties": False,
    }
    return _schema({"winner": letter, "points": points}, reason_chars)


@cache
def _grade_schema(names: tuple[str, ...], reason_chars: int) -> str:
    return _schema({name: {"type": "integer", "minimum": 1, "maximum": 5} for name in names}, reason_chars)


def _schema(properties: Mapping[str, Any], reason_chars: int) -> str:
    whole = {**properties, "reason": {"type": "string"} | ({"maxLength": reason_chars} if reason_chars else {})}
    found = {"type": "object", "properties": whole, "required": list(whole), "additionalProperties": False}
    return canonical_json(found).decode()
