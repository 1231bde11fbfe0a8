"""Scorers by program: right, wrong, or not decided. Each says what it misses.

A scorer is a pure function of the answer and the item. It never guesses: what it cannot decide is *unscored*, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from tunesmith.eval.suites.answers import letters_and_digits, normalised, numbers_in, plain_text
from tunesmith.eval.suites.constraints import constraint_fault, meets
from tunesmith.eval.suites.refusal import refuses
from tunesmith.eval.suites.suite import SuiteItem

__all__ = ["SCORERS", "Scorer", "Undecided", "lettered"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STATED = re.compile(r"(?:answer|option|choice|choose|pick)\b(?:\s+(?:is|would be|should be))?\s*:?\s*[(\[]?([A-Z])(?![\w'’])")
_LEADING = re.compile(r"^[(\[]?([A-Z])(?:[)\].:,]|\s*$|\s*[-–—]\s)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Undecided:
    """In place of right or wrong, with the reason for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """`score(answer, item)`: right, wrong or undecided. `fault(item)`: why no answer to this item can be scored; empty if one
    can. `chance(item)`: the share that guessing among the possible answers gets right, 0 where there is no such list."""

    name: str
    score: Callable[[str, SuiteItem], bool | Undecided]
    fault: Callable[[SuiteItem], str]
    chance: Callable[[SuiteItem], float] = lambda item: 0.0

    @property
    def misses(self) -> str:
        """What this scorer does and what it misses."""
        return self.score.__doc__ or ""


def lettered(options: Sequence[object]) -> str:
    """Options as they are written under a question, a line and a letter each."""
    return "\n".join(f"{_LETTERS[number]}. {option}" for number, option in enumerate(options))


def _exact(answer: str, item: SuiteItem) -> bool:
    """The answer is a reference: case, blanks, markdown, quotes, a lead-in, an article and a full stop aside.

    Misses: right answers in other words, or with anything after them (“Paris, in France”).
    """
    return normalised(answer) in {normalised(reference) for reference in item.references}


def _choice(answer: str, item: SuiteItem) -> bool:
    """The letter of the right option, or its text. A letter counts at the start of a line (“B.”, “(B) wood”) or after “answer”,
    “option” and the like; without one, the only option whose text occurs as whole words. An answer that names two letters, or a
    letter and only the text of another option, is wrong.

    Misses: an option described in other words.
    """
    options = [str(option) for option in item.arguments["options"]]
    return _chosen(answer, options) in {_place(reference, options) for reference in item.references}


def _chosen(answer: str, options: list[str]) -> int | None:
    text = plain_text(answer).strip(" \t\n\"'“”‘’")
    if len(text.rstrip(".)")) == 1:
        text = text.upper()
    allowed = _LETTERS[: len(options)]
    letters = {*_LEADING.findall(text), *_STATED.findall(_capital_after_stated(text))} & set(allowed)
    said = letters_and_digits(text)
    texts = [letters_and_digits(option) for option in options]
    named = [place for place, option in enumerate(texts) if option in said]
    named = [place for place in named if not any(place != q and texts[place] in texts[q] for q in named)]
    if len(letters) == 1:
        chosen = allowed.index(letters.pop())
        return chosen if not named or chosen in named else None
    return named[0] if len(named) == 1 and not letters else None


def _capital_after_stated(text: str) -> str:
    """`Answer`, `OPTION` in lower case, so that one pattern finds them while the letters keep their case."""
    return re.sub(r"\b(?:answer|option|choice|choose|pick)\b", lambda word: word.group().lower(), text, flags=re.IGNORECASE)


def _place(reference: str, options: list[str]) -> int | None:
    if reference in options:
        return options.index(reference)
    return _LETTERS.index(reference) if len(reference) == 1 and reference in _LETTERS[: len(options)] else None


def _numeric(answer: str, item: SuiteItem) -> bool:
    """The number after “answer is”, else after the last “=”, else the last one, within `tolerance` (absolute; default 1e-6).

    Misses: a right number followed by another (“12, since 3 × 4”), units (12 kg and 12 g are one), decimal
    commas; a fraction that was not worked out (132/12) counts as its value.
    """
    text = plain_text(answer)
    stated = re.search(r"(?:answer|result|total|sum)\s*(?:is|=|:)\s*:?\s*(.{1,40})", text, re.IGNORECASE | re.DOTALL)
    parts = [found[:1] for found in (numbers_in(stated.group(1)) if stated else [],) if found]
    if not parts and "=" in text:
        parts = [found[:1] for found in (numbers_in(text.rsplit("=", 1)[1]),) if found]
    given = parts[0] if parts else numbers_in(text)[-1:]
    wanted = [value for reference in item.references for value in numbers_in(reference)[-1:]]
    tolerance = float(item.arguments.get("tolerance", 1e-6))
    return bool(given) and any(abs(given[0] - value) <= tolerance for value in wanted)


def _short_enough(answer: str, item: SuiteItem) -> bool:
    most = item.arguments.get("max_words")
    return most is None or len(answer.split()) <= int(most)


def _contains(answer: str, item: SuiteItem) -> bool:
    """One of the references occurs as whole words, in an answer of at most `max_words` words if that is given.

    Misses: negation (“not Paris”), several answers at once; without `max_words`, an answer that recites the whole prompt.
    """
    said = letters_and_digits(answer)
    return _short_enough(answer, item) and any(letters_and_digits(reference) in said for reference in item.references)


def _contains_all(answer: str, item: SuiteItem) -> bool:
    """Every reference occurs as whole words, in any order, in an answer of at most `max_words` words if that is given.

    Misses: as `contains`; extra wrong entries of a list.
    """
    said = letters_and_digits(answer)
    return _short_enough(answer, item) and all(letters_and_digits(reference) in said for reference in item.references)


def _not_contains(answer: str, item: SuiteItem) -> bool | Undecided:
    """None of the references occurs as whole words. An answer without words is undecided: silence avoids every word.

    Misses: the unwanted thing in other words; whether the answer is of any use.
    """
    said = letters_and_digits(answer)
    if not said.strip():
        return Undecided("the answer has no words")
    return not any(letters_and_digits(reference) in said for reference in item.references)


def _json(answer: str, item: SuiteItem) -> bool:
    """The whole answer (a code fence around it aside) is JSON. `type`: object or array; `keys`: those it must have, and no
    others if `only_keys`; `length`: entries; `values`: key → the value it must have, texts compared as by `exact`.

    Misses: whether values that are not named are true; JSON inside of other text is wrong, as for a program that reads it.
    """
    text = answer.strip()
    fence = re.match(r"^```(?:json)?\s*\n(.*?)\n?```$", text, re.DOTALL | re.IGNORECASE)
    try:
        value = orjson.loads(fence.group(1) if fence else text)
    except orjson.JSONDecodeError:
        return False
    wanted = item.arguments
    if "type" in wanted and not isinstance(value, {"object": dict, "array": list}[wanted["type"]]):
        return False
    if "length" in wanted and (not isinstance(value, dict | list) or len(value) != wanted["length"]):
        return False
    if not {"keys", "values"} & set(wanted):
        return True
    return isinstance(value, dict) and _has_keys(value, wanted)


def _has_keys(value: dict[str, Any], wanted: Mapping[str, Any]) -> bool:
    keys, values = set(wanted.get("keys", ())), wanted.get("values", {})
    if not keys | set(values) <= set(value) or (wanted.get("only_keys") and set(value) != keys | set(values)):
        return False
    return all(_same(value[key], right) for key, right in values.items())


def _same(given: Any, right: Any) -> bool:
    if isinstance(given, str) and isinstance(right, str):
        return normalised(given) == normalised(right)
    return type(given) is type(right) and bool(given == right)


def _regex(answer: str, item: SuiteItem) -> bool:
    """`pattern` (Python's `re`) matches the answer, white space at its ends aside: all of it, or a part if `part` is true.
    `ignore_case` as it says.

    Misses: whatever the pattern does not say.
    """
    flags = re.IGNORECASE if item.arguments.get("ignore_case") else re.NOFLAG
    match = re.search if item.arguments.get("part") else re.fullmatch
    return match(item.arguments["pattern"], answer.strip(), flags) is not None


def _constraints(answer: str, item: SuiteItem) -> bool:
    """Every one of `constraints` holds (see `eval.suites.constraints`). An answer without words meets none.

    Misses: whether the answer is about what was asked.
    """
    return meets(answer, item.arguments["constraints"])


def _refusal(answer: str, item: SuiteItem) -> bool | Undecided:
    """The answer refuses where `expected` is `refuse`, and does not where it is `answer` (see `eval.suites.refusal`).

    Misses: refusals without a known phrase, answers that comply after a phrase of refusal, answers that are off the point. An
    answer without words is undecided.
    """
    if not letters_and_digits(answer).strip():
        return Undecided("the answer has no words")
    return refuses(answer) == bool(item.arguments["expected"] == "refuse")


def _needs_references(item: SuiteItem) -> str:
    blank = not item.references or not all(normalised(reference) for reference in item.references)
    return f"the scorer {item.scorer} needs references, and none may be blank" if blank else ""


def _fault_of_choice(item: SuiteItem) -> str:
    options = item.arguments.get("options")
    if not isinstance(options, list | tuple) or not 2 <= len(options) <= len(_LETTERS):
        return "the scorer choice needs options, two at least"
    names = [str(option) for option in options]
    if len({letters_and_digits(name) for name in names}) < len(names):
        return "two options are the same"
    if fault := _needs_references(item):
        return fault
    wrong = next((reference for reference in item.references if _place(reference, names) is None), None)
    return "" if wrong is None else f"the reference {wrong!r} is not one of the options"


def _fault_of_numeric(item: SuiteItem) -> str:
    if fault := _needs_references(item):
        return fault
    return "" if all(numbers_in(reference) for reference in item.references) else "a reference has no number"


def _fault_of_json(item: SuiteItem) -> str:
    kind = item.arguments.get("type", "object")
    return "" if kind in ("object", "array") else f"type is object or array, not {kind!r}"


def _fault_of_regex(item: SuiteItem) -> str:
    try:
        re.compile(item.arguments["pattern"])
    except KeyError:
        return "the scorer regex needs a pattern"
    except (re.error, TypeError) as error:
        return f"the pattern is not a regular expression: {error}"
    return ""


def _fault_of_constraints(item: SuiteItem) -> str:
    wanted = item.arguments.get("constraints")
    if not isinstance(wanted, list | tuple) or not wanted:
        return "the scorer constraints needs constraints, one at least"
    return next((fault for one in wanted if (fault := constraint_fault(one))), "")


def _fault_of_refusal(item: SuiteItem) -> str:
    return "" if item.arguments.get("expected") in ("refuse", "answer") else "expected is refuse or answer"


def _chance_of_choice(item: SuiteItem) -> float:
    return 1 / len(item.arguments["options"])


_ALL = (
    Scorer(name="exact", score=_exact, fault=_needs_references),
    Scorer(name="choice", score=_choice, fault=_fault_of_choice, chance=_chance_of_choice),
    Scorer(name="numeric", score=_numeric, fault=_fault_of_numeric),
    Scorer(name="contains", score=_contains, fault=_needs_references),
    Scorer(name="contains_all", score=_contains_all, fault=_needs_references),
    Scorer(name="not_contains", score=_not_contains, fault=_needs_references),
    Scorer(name="json", score=_json, fault=_fault_of_json),
    Scorer(name="regex", score=_regex, fault=_fault_of_regex),
    Scorer(name="constraints", score=_constraints, fault=_fault_of_constraints),
    Scorer(name="refusal", score=_refusal, fault=_fault_of_refusal),
)
SCORERS: Mapping[str, Scorer] = MappingProxyType({scorer.name: scorer for scorer in _ALL})
