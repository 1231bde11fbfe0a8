"""Find what leaks between splits: same source, exact and near copies, same prompts; and user turns that ask nothing."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from tunesmith.core.records import Example, Finding
from tunesmith.data.prose import words

__all__ = ["find_leaks", "find_non_questions", "without_copies"]

K = TypeVar("K", bound=str)
_SHINGLE = 5
_NEAR, _RELATED = 0.8, 0.5
_MAX_ROWS = 20
_REQUESTS_TEXT = """
write tell describe explain continue give list name show summarize summarise compare discuss share talk walk outline
complete rewrite translate imagine consider help suggest make create draft generate provide define identify state
elaborate reflect finish answer find classify convert calculate compute solve fill choose pick select rank sort edit
correct improve fix extract design propose recommend act pretend speak teach say add go begin start tell read use take
put let please rate evaluate analyze analyse count determine predict paraphrase rephrase shorten expand brainstorm
advise argue assume come do don't expand express formulate illustrate introduce invent justify mention note offer
outline plan point prepare present prove recount categorize categorise change separate split arrange order place match
group brief remove replace correct insert refer relate remind respond reply reverse review simplify sketch specify think
try turn
"""
_REQUESTS = frozenset(_REQUESTS_TEXT.split())
_ASKING_TEXT = """
what why how who whom whose which is are was were do does did can could should would will shall may might have has had
am isn't aren't don't doesn't didn't can't couldn't shouldn't wouldn't won't
"""
_ASKING = frozenset(_ASKING_TEXT.split())
_ASKING_INSIDE = re.compile(
    r"""\b(?:i(?:'d|\ would)\ like\ (?:you\ )?to|i\ want\ (?:you\ )?to|i\ wonder|can\ you|could\ you|would\ you|please
    |tell\ me|give\ me|take\ us|take\ me
    |(?:what|how|when|where|which|who|why)\ (?:do|does|did|is|are|was|were|can|will|would|many|much)|in\ what|of\ what|by\ what
    |extract|summari[sz]e|categori[sz]e|classify|calculate|determine|compute)\b""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One example with the texts that are compared."""

    split: str
    id: str
    group: str
    answer: str
    prompt: str
    shingles: frozenset[int]

    @property
    def label(self) -> str:
        return f"{self.split}:{self.id}"


def find_leaks(splits: Mapping[str, Sequence[Example]]) -> tuple[Finding, ...]:
    """What any two splits share, worst first; each pair of rows appears once, under the worst name that fits.

    `same_source` (error): a group lies in two splits. `exact_copies` (error): equal answers, case, spacing and punctuation
    aside. `near_copies` (error): Jaccard of word 5-shingles of the answers ≥ 0.8, exactly computed. `related_copies`
    (warning): 0.5 to 0.8. `same_prompt` (warning). `no_source` (info): rows that name no document,
    so same-source leaks of theirs cannot be seen. `rows`: the first twenty as `train:ID ~ test:ID`; `count` is of all.
    """
    rows = [_row(name, example) for name, examples in splits.items() for example in examples]
    exact = list(_equal(rows, [row.answer for row in rows]))
    copies = set(exact)
    near: list[tuple[int, int]] = []
    related: list[tuple[int, int]] = []
    for first, second, similarity in _similar(rows):
        if (first, second) not in copies:
            (near if similarity >= _NEAR else related).append((first, second))
    same_prompt = [pair for pair in _equal(rows, [row.prompt for row in rows]) if pair not in copies]
    found = [
        _source_finding(rows),
        _finding("exact_copies", "error", "answers that stand word for word in another split", exact, rows),
        _finding(
            "near_copies", "error", "answers nearly the same as one in another split (shared 5-word runs ≥ 0.8)", near, rows
        ),
        _finding(
            "related_copies", "warning", "answers much like one in another split (shared 5-word runs 0.5 to 0.8)", related, rows
        ),
        _finding("same_prompt", "warning", "prompts that another split has too", same_prompt, rows),
        _orphans(rows),
    ]
    return tuple(finding for finding in found if finding is not None)


def without_copies(splits: Mapping[K, Sequence[Example]]) -> tuple[dict[K, tuple[Example, ...]], int]:
    """The splits without rows whose answers copy (exactly or nearly) one in a split that matters more, and how many went.

    Test matters most, then val: a copy leaves train, or val if its twin is in test. Rows within one split are not compared.
    """
    rows = [_row(name, example) for name, examples in splits.items() for example in examples]
    pairs = [*_equal(rows, [row.answer for row in rows]), *((a, b) for a, b, alike in _similar(rows) if alike >= _NEAR)]
    weight = {"test": 2, "val": 1}
    gone = {min(pair, key=lambda index: weight.get(rows[index].split, 0)) for pair in pairs}
    kept: dict[K, tuple[Example, ...]] = {}
    start = 0
    for name, examples in splits.items():
        kept[name] = tuple(example for index, example in enumerate(examples, start) if index not in gone)
        start += len(examples)
    return kept, len(gone)


def find_non_questions(examples: Sequence[Example]) -> Finding | None:
    """User turns that neither ask nor request anything, such as answers that slipped into the question's place."""
    odd = [example for example in examples if not all(_asks(m.content) for m in example.prompt[-1:] if m.role == "user")]
    if not odd:
        return None
    shown = tuple(f"{example.id}: {' '.join(example.prompt[-1].content.split())[:100]}" for example in odd[:_MAX_ROWS])
    share = len(odd) / len(examples)
    return Finding(
        name="questions",
        severity="warning",
        message=f"{len(odd)} of {len(examples)} prompts ({share:.1%}) are neither a question nor a request",
        count=len(odd),
        rows=shown,
    )


def _asks(text: str) -> bool:
    """Whether a turn asks or requests: a question mark, an asking or commanding first word, or a request inside."""
    text = text.strip()
    if not text or "?" in text or "？" in text:
        return bool(text)
    if text.startswith("**"):
        return False  # a bold label is how a generated list of answers begins
    for line in re.split(r"(?<=[.!])\s+|\n+", text):
        first = line.lstrip("\"'“‘([# ").split(" ")[0].rstrip(",:.").lower().replace("’", "'")
        if first in _REQUESTS or first in _ASKING:
            return True
    return bool(_ASKING_INSIDE.search(text.replace("’", "'")))


def _row(split: str, example: Example) -> _Row:
    said = [word.casefold().replace("’", "'") for word in words(example.answer)]
    prompt = " ".join(w.casefold() for message in example.prompt if message.role != "system" for w in words(message.content))
    answer = " ".join(said) or " ".join(example.answer.split())
    return _Row(split, example.id, example.group, answer, prompt, _shingles(said))


def _shingles(said: Sequence[str]) -> frozenset[int]:
    """Hashes of all runs of five words; a text shorter than that is one run."""
    if len(said) < _SHINGLE:
        return frozenset([hash(tuple(said))]) if said else frozenset()
    return frozenset(hash(tuple(said[i : i + _SHINGLE])) for i in range(len(said) - _SHINGLE + 1))


def _equal(rows: Sequence[_Row], texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of rows of different splits whose texts are the same and not empty."""
    where: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        if text:
            for other in where[text]:
                if rows[other].split != rows[index].split:
                    yield other, index
            where[text].append(index)


def _similar(rows: Sequence[_Row]) -> Iterator[tuple[int, int, float]]:
    """Pairs of different splits with Jaccard ≥ 0.5, found through the rarest shingles of each row.

    Rows with Jaccard ≥ t share at least one of any (1 - t)·n + 1 shingles of either (prefix filter), so nothing is missed.
    """
    frequency: dict[int, int] = defaultdict(int)
    for row in rows:
        for shingle in row.shingles:
            frequency[shingle] += 1
    index: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        size = len(row.shingles)
        rarest = sorted(row.shingles, key=lambda shingle: (frequency[shingle], shingle))[
            : size - math.ceil(_RELATED * size) + 1
        ]
        candidates = {other for shingle in rarest for other in index[shingle] if rows[other].split != row.split}
        for other in sorted(candidates):
            mine, theirs = row.shingles, rows[other].shingles
            if min(len(mine), len(theirs)) < _RELATED * max(len(mine), len(theirs)):
                continue
            shared = len(mine & theirs)
            similarity = shared / (len(mine) + len(theirs) - shared)
            if similarity >= _RELATED:
                yield other, number, similarity
        for shingle in rarest:
            index[shingle].append(number)


def _source_finding(rows: Sequence[_Row]) -> Finding | None:
    splits: dict[str, dict[str, list[_Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        splits[row.group][row.split].append(row)
    torn = [by_split for by_split in splits.values() if len(by_split) > 1]
    if not torn:
        return None
    shown = tuple(" ~ ".join(members[0].label for members in by_split.values()) for by_split in torn[:_MAX_ROWS])
    num_rows = sum(len(members) for by_split in torn for members in by_split.values())
    return Finding(
        name="same_source",
        severity="error",
        message=f"{len(torn)} documents lie in more than one split, with {num_rows} rows",
        count=len(torn),
        rows=shown,
    )


def _orphans(rows: Sequence[_Row]) -> Finding | None:
    alone = [row.label for row in rows if row.group == row.id]
    if not alone:
        return None
    message = (
        f"{len(alone)} of {len(rows)} rows name no document (url, title or document_id): leaks by same source cannot be seen"
    )
    return Finding(name="no_source", severity="info", message=message, count=len(alone), rows=tuple(alone[:_MAX_ROWS]))


def _finding(
    name: str, severity: Literal["error", "warning"], what: str, pairs: Sequence[tuple[int, int]], rows: Sequence[_Row]
) -> Finding | None:
    if not pairs:
        return None
    shown = tuple(f"{rows[first].label} ~ {rows[second].label}" for first, second in pairs[:_MAX_ROWS])
    return Finding(name=name, severity=severity, message=f"{len(pairs)} pairs of {what}", count=len(pairs), rows=shown)
