"""Find what leaks between splits: same source, exact and near copies, same prompts."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeVar

from tunesmith.core.records import Finding, Row
from tunesmith.core.texts import Text
from tunesmith.data.similar.same_words import same_words_between
from tunesmith.data.similar.shingles import shingled
from tunesmith.data.text.words import fold, words

__all__ = ["find_leaks", "not_looked_for", "without_copies"]

K = TypeVar("K", bound=str)
R = TypeVar("R", bound=Row)
_NEAR, _RELATED = 0.8, 0.5
_CONTAINED = 8  # shingles of the smaller row from which "it stands in the larger" means something
_MUCH_SHORTER = 0.75  # share of the larger row's length up to which standing inside it counts
_OWN_WORDS = 20  # words from which an answer can be a copy by itself
_WEIGHT = {"golden": 3, "test": 2, "val": 1}  # a copy leaves the split that matters less
_MAX_ROWS = 20
_WINDOW = 100  # words of plain text that are compared at once


@dataclass(frozen=True, slots=True)
class _Row:
    """One row, and what its prompts say."""

    split: str
    id: str
    group: str
    prompt: str

    @property
    def label(self) -> str:
        return f"{self.split}:{self.id}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """One turn of the assistant in the row of this number, and what of it is compared."""

    row: int
    split: str
    text: str
    shingles: frozenset[int]


def find_leaks(splits: Mapping[str, Sequence[Row]]) -> tuple[Finding, ...]:
    """What any two splits share, worst first; each pair of rows appears once, under the worst name that fits.

    `same_source` (error): a group lies in two splits. `exact_copies` (error): equal answers, case, spacing and punctuation
    aside. `near_copies` (error): ≥ 0.8 of the word 5-shingles shared (Jaccard, or share of a much shorter one), exactly
    computed. `same_words` (error): copies with words inserted, swapped, moved or replaced (`similar.same_words`).
    `related_copies` (warning): 0.5 to 0.8. `same_prompt` (warning). `no_source` (info): rows that name no document, so
    same-source leaks of theirs cannot be seen. Every turn of the assistant is compared, since every one is learned, chosen and
    rejected ones alike; last answers under 20 words copy only with their prompts, earlier ones not at all.
    `rows`: the first twenty as `train:ID ~ test:ID`; `count` is of all.
    """
    rows, answers = _compared(splits)
    exact = dict.fromkeys(_equal_answers(answers))
    copies = set(exact)
    likeness: dict[tuple[int, int], float] = defaultdict(float)
    for first, second, shared in _similar(answers):
        pair = (answers[first].row, answers[second].row)
        if pair not in copies:
            likeness[pair] = max(likeness[pair], _alike(answers[first].shingles, answers[second].shingles, shared))
    near = sorted(pair for pair, similarity in likeness.items() if similarity >= _NEAR)
    copies.update(near)
    reordered = sorted(set(_same_words(answers)) - copies)
    copies.update(reordered)
    related = sorted(pair for pair, similarity in likeness.items() if similarity >= _RELATED and pair not in copies)
    prompts = [(row.split, row.prompt) for row in rows]
    same_prompt = [pair for pair in _equal(prompts) if pair not in exact]
    found = [
        _source_finding(rows),
        _finding("exact_copies", "error", "answers that occur word for word in another split", list(exact), rows),
        _finding(
            "near_copies", "error", "answers nearly the same as one in another split (shared 5-word runs ≥ 0.8)", near, rows
        ),
        _finding(
            "same_words",
            "error",
            "answers of the same words as one in another split, in another order or with words inserted or replaced",
            reordered,
            rows,
        ),
        _finding(
            "related_copies", "warning", "answers much like one in another split (shared 5-word runs 0.5 to 0.8)", related, rows
        ),
        _finding("same_prompt", "warning", "prompts that another split has too", same_prompt, rows),
        _orphans(rows),
    ]
    return tuple(finding for finding in found if finding is not None)


def without_copies(splits: Mapping[K, Sequence[R]]) -> tuple[dict[K, tuple[R, ...]], dict[str, int]]:
    """The splits without rows whose answers copy one in a split that matters more, and how many went, by kind of copy.

    `exact_copies`; `near_copies`: half of the word 5-shingles is shared, which is enough to leave, because a post published
    twice is seldom cut into the same passages twice; `same_words`, as in `find_leaks`. Test matters most, then val: a copy
    leaves train, or val if its twin is in test. Rows within one split are not compared.
    """
    rows, answers = _compared(splits)
    similar = ((answers[first].row, answers[second].row) for first, second, _ in _similar(answers))
    searches = {"exact_copies": _equal_answers(answers), "near_copies": similar, "same_words": _same_words(answers)}
    gone: set[int] = set()
    removed: dict[str, int] = {}
    for kind, pairs in searches.items():
        found = {min(pair, key=lambda index: _WEIGHT.get(rows[index].split, 0)) for pair in pairs} - gone
        if found:
            removed[kind] = len(found)
        gone |= found
    kept: dict[K, tuple[R, ...]] = {}
    start = 0
    for name, examples in splits.items():
        kept[name] = tuple(example for index, example in enumerate(examples, start) if index not in gone)
        start += len(examples)
    return kept, removed


def not_looked_for(*, paraphrases: bool) -> list[str]:
    """Leaks that no search here looks for; `paraphrases`: whether those of every split were searched (`find_rewordings`)."""
    missing = [
        "translations",
        "words shuffled over the whole text",
        "answers under 20 words, but for the same answer to the same prompt",
    ]
    return missing if paraphrases else [*missing, "paraphrases in other words (build.semantic looks for them)"]


def _windows(text: str) -> list[str]:
    """A text in overlapping windows of a passage's length, so that a passage that stands in two long texts is found wherever
    these are cut; the last one is as long as the others."""
    said = text.split()
    ends = range(_WINDOW, len(said) + _WINDOW // 2, _WINDOW // 2)
    return [" ".join(said[max(0, min(end, len(said)) - _WINDOW) : end]) for end in ends] or [text]


def _compared(splits: Mapping[K, Sequence[Row]]) -> tuple[list[_Row], list[_Answer]]:
    """The rows of all splits, and their answers in the same order.

    A short answer (a label, a number) is no copy by itself: it is one only together with its prompt, and exactly. Short ones
    before the last turn are no answers here. A row of plain text is compared in windows.
    """
    rows: list[_Row] = []
    turns: list[tuple[int, str, bool]] = []
    for split, examples in splits.items():
        for example in examples:
            asked = [w.casefold() for message in example.prompt if message.role != "system" for w in words(message.content)]
            said = [(len(rows), message.content, False) for message in example.prompt if message.role == "assistant"]
            parts = _windows(example.text) if isinstance(example, Text) else example.answers
            turns += [*said, *((len(rows), answer, True) for answer in parts)]
            rows.append(_Row(str(split), example.id, example.group, " ".join(asked)))
    made = shingled([text for _, text, _ in turns])
    answers = []
    for number, (row, text, is_last) in enumerate(turns):
        is_own = int(made.num_words_D[number]) >= _OWN_WORDS
        if not is_own and not is_last:
            continue
        plain = " ".join(fold(word) for word in words(text)) or " ".join(text.split())
        runs = frozenset(made.of(number).tolist()) if is_own else frozenset()
        answers.append(_Answer(row, rows[row].split, plain if is_own else f"{rows[row].prompt}\0{plain}", runs))
    return rows, answers


def _equal_answers(answers: Sequence[_Answer]) -> list[tuple[int, int]]:
    """Pairs of rows of different splits with an answer that is the same, each pair once."""
    found = _equal([(answer.split, answer.text) for answer in answers])
    return list(dict.fromkeys((answers[first].row, answers[second].row) for first, second in found))


def _equal(texts: Sequence[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """(Split, text)s of different splits whose texts are the same and not empty: each with one twin in the split that matters
    most.
    """
    where: dict[str, list[int]] = defaultdict(list)
    for index, (_, text) in enumerate(texts):
        if text:
            where[text].append(index)
    for same in where.values():
        twin = max(same, key=lambda index: _WEIGHT.get(texts[index][0], 0))
        yield from ((min(twin, other), max(twin, other)) for other in same if texts[other][0] != texts[twin][0])


def _similar(answers: Sequence[_Answer]) -> Iterator[tuple[int, int, int]]:
    """Pairs of different splits that share half of the smaller one's shingles or more, and how many they share.

    Answers of one split with the same shingles are compared as one. A set of n shingles that shares half of them with another
    has a common one among any n/2 + 1 of its own, so probing with each set's rarest misses nothing.
    """
    members: dict[tuple[str, frozenset[int]], list[int]] = defaultdict(list)
    for number, answer in enumerate(answers):
        if answer.shingles:
            members[answer.split, answer.shingles].append(number)
    sets = list(members)
    index: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (split, shingles) in enumerate(sets):
        for shingle in shingles:
            index[split][shingle].append(number)
    seen: set[tuple[int, int]] = set()
    for number, (split, shingles) in enumerate(sets):
        for other in (o for name in index if name != split for o in _probed(shingles, index[name])):
            pair = (min(other, number), max(other, number))
            if pair in seen:
                continue
            seen.add(pair)
            shared = len(shingles & sets[other][1])
            if shared >= _RELATED * min(len(shingles), len(sets[other][1])):
                for first, second in product(members[sets[number]], members[sets[other]]):
                    yield min(first, second), max(first, second), shared


def _same_words(answers: Sequence[_Answer]) -> Iterator[tuple[int, int]]:
    """Pairs of rows of different splits with answers of the same words."""
    long = [answer for answer in answers if answer.shingles]
    for first, second in same_words_between([answer.text for answer in long], [answer.split for answer in long]):
        yield long[first].row, long[second].row


def _probed(shingles: frozenset[int], index: Mapping[int, Sequence[int]]) -> set[int]:
    """What stands in the index under the rarest of these shingles (half of them and one more, those under which nothing does
    among them).
    """
    places = [index[shingle] for shingle in shingles if shingle in index]
    most = len(places) - math.ceil(_RELATED * len(shingles)) + 1
    return {other for place in heapq.nsmallest(most, places, key=len) for other in place} if most > 0 else set()


def _alike(a: frozenset[int], b: frozenset[int], shared: int) -> float:
    """The Jaccard index, or the share of a row that stands in a much longer one, if it has eight shingles or more."""
    smaller, larger = min(len(a), len(b)), max(len(a), len(b))
    jaccard = shared / (smaller + larger - shared)
    return max(jaccard, shared / smaller) if _CONTAINED <= smaller <= _MUCH_SHORTER * larger else jaccard


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
        message=f"{len(torn)} documents are in more than one split, with {num_rows} rows",
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
