"""Training prompts against real ones: are they longer, better typed, better punctuated than what will be asked in use?

Typing errors are counted without a dictionary: abbreviations of chats and missing apostrophes from a list, and words that
come once or twice but are one edit away from a word that is common in both sets together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot
from statistics import median
from typing import Any

from tunesmith.core.proportion import wilson
from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import FIX
from tunesmith.data.text.words import words

__all__ = ["Difference", "Style", "compare_prompts", "queries_from_rows", "style_of"]

_TEXTS = ("query", "question", "prompt", "instruction", "input", "text", "content", "message", "user")
_TURNS = ("messages", "conversations", "conversation", "turns")
_CHAT_TEXT = """
dont cant wont isnt doesnt didnt whats thats youre im ive u ur pls plz thx thanx ty btw idk gonna wanna coz cuz bc tho thru
lol ok okk hii helo hey plss thier recieve seperate definately alot teh adn becuase wich
"""
_CHAT = frozenset(_CHAT_TEXT.split())
_ENDS = re.compile(r"[.?!…:。？！][\"”’')\]]*\s*\Z")
_COMMON, _RARE, _LEAST_LETTERS, _MOST_LETTERS = 12, 2, 5, 30
_LEAST_DIFFERENCE, _LEAST_RATIO = 0.10, 1.5
_FEWEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Prompts in figures: how many, words in the middle, and shares of prompts that have each mark of careful writing."""

    count: int
    median_words: float
    capitalised: float
    ended: float
    without_typos: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One share of the training prompts less the same of the queries, with a 95 % interval (Newcombe 1998, method 10)."""

    name: str
    training: float
    queries: float
    low: float
    high: float

    @property
    def cleaner(self) -> bool:
        """Whether training prompts are cleaner by ten points or more, and by more than chance."""
        return self.low > 0 and self.training - self.queries >= _LEAST_DIFFERENCE


def queries_from_rows(rows: Iterable[object]) -> list[str]:
    """The user's words in rows of any kind: strings, objects with a query or prompt, or with turns (all of the user's)."""
    found: list[str] = []
    for row in rows:
        if isinstance(row, str):
            found.append(row)
        elif isinstance(row, Mapping):
            turns = next((row[key] for key in _TURNS if isinstance(row.get(key), list)), None)
            request = row.get("request")
            if turns is None and isinstance(request, Mapping):
                found += queries_from_rows([request.get("body", request)])
            elif turns is not None:
                found += [str(turn.get("content", turn.get("value", ""))) for turn in turns if _asks(turn)]
            elif (text := next((row[key] for key in _TEXTS if isinstance(row.get(key), str)), None)) is not None:
                found.append(text)
    return [text for text in found if text.strip()]


def _asks(turn: object) -> bool:
    return isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in ("user", "human")


def compare_prompts(training: Sequence[str], queries: Sequence[str]) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """What differs, as findings, and all figures: `training`, `queries`, `differences`.

    `cleaner_than_queries` (warning): training prompts are typed or punctuated better by ten points or more, and by more than
    chance. `other_length` (warning): half as long again, or two thirds as long, in the middle. `few_queries` (info): under 20.
    """
    common = _common([*training, *queries])
    here, there = style_of(training, common), style_of(queries, common)
    names = {"capitalised": "begin with a capital", "ended": "end with a mark", "without_typos": "are without typing errors"}
    differences = [_difference(name, here, there) for name in names]
    findings = []
    if len(queries) < _FEWEST:
        findings.append(
            _finding("few_queries", "info", f"{len(queries)} queries are few to compare with.", "give more, 100 say.")
        )
    if cleaner := [d for d in differences if d.cleaner]:
        told = "; ".join(f"{d.training:.0%} {names[d.name]}, of the queries {d.queries:.0%}" for d in cleaner)
        findings.append(
            _finding(
                "cleaner_than_queries",
                "warning",
                f"training prompts are cleaner than the {len(queries):,} real ones: {told}.",
                "take prompts from the log, or write part of them as people type: lower case, no end mark, typos.",
            )
        )
    ratio = here.median_words / max(1.0, there.median_words)
    if not 1 / _LEAST_RATIO < ratio < _LEAST_RATIO:
        findings.append(
            _finding(
                "other_length",
                "warning",
                f"training prompts have {here.median_words:.0f} words in the middle, real ones {there.median_words:.0f}.",
                "add prompts of the length that will be asked.",
            )
        )
    figures = {"training": asdict(here), "queries": asdict(there), "differences": [asdict(d) for d in differences]}
    return tuple(findings), figures


def style_of(prompts: Sequence[str], common: Mapping[str, set[str]] | None = None) -> Style:
    """The figures of prompts. `common`: as `compare_prompts` makes it of both sets; without it, of these alone."""
    near = _common(prompts) if common is None else common

    def share(holds: Callable[[str], bool]) -> float:
        return sum(map(holds, prompts)) / max(1, len(prompts))

    return Style(
        count=len(prompts),
        median_words=float(median(len(text.split()) for text in prompts)) if prompts else 0.0,
        capitalised=share(lambda text: not text.lstrip("\"'“‘([ ")[:1].islower()),
        ended=share(lambda text: bool(_ENDS.search(text))),
        without_typos=share(lambda text: not any(_mistyped(word, near) for word in words(text))),
    )


def _common(texts: Sequence[str]) -> dict[str, set[str]]:
    """Rare words → the common words that are one edit away, over all texts (deletions of one letter meet in an index)."""
    counts = Counter(word.lower() for text in texts for word in words(text) if word.isalpha())
    common = [word for word, count in counts.items() if count >= _COMMON and _LEAST_LETTERS <= len(word) <= _MOST_LETTERS]
    index: dict[str, set[str]] = {}
    for word in common:
        for form in _forms(word):
            index.setdefault(form, set()).add(word)
    near: dict[str, set[str]] = {}
    for word, count in counts.items():
        if count <= _RARE and _LEAST_LETTERS <= len(word) <= _MOST_LETTERS:
            met = {other for form in _forms(word) for other in index.get(form, ()) if _slip(word, other)}
            if met:
                near[word] = met
    return near


def _forms(word: str) -> set[str]:
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def _slip(word: str, other: str) -> bool:
    """One letter more or less, or two neighbours changed; endings that grammar makes are no slip."""
    short, long = sorted((word, other), key=len)
    if len(long) - len(short) > 1 or word[0] != other[0]:
        return False
    if len(long) != len(short):
        return long[:-1] != short and long[-2:] not in ("ed", "er", "es", "ly") and not long.endswith("s")
    differ = [at for at, (a, b) in enumerate(zip(word, other, strict=True)) if a != b]
    swapped = len(differ) == 2 and differ[1] == differ[0] + 1 and word[differ[0]] == other[differ[1]]
    return swapped and word[differ[1]] == other[differ[0]]


def _mistyped(word: str, near: Mapping[str, set[str]]) -> bool:
    low = word.lower()
    return low in _CHAT or (low in near and word == low)


def _difference(name: str, here: Style, there: Style) -> Difference:
    p, q = getattr(here, name), getattr(there, name)
    (low_p, high_p), (low_q, high_q) = wilson(p, here.count), wilson(q, there.count)
    return Difference(
        name=name,
        training=p,
        queries=q,
        low=p - q - hypot(p - low_p, high_q - q),
        high=p - q + hypot(high_p - p, q - low_q),
    )


def _finding(name: str, severity: str, reason: str, fix: str) -> Finding:
    return Finding(name=name, severity="warning" if severity == "warning" else "info", message=f"{reason}{FIX}{fix}", count=1)
