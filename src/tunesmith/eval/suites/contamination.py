"""Whether a suite's items occur in a dataset: four tests, and the score with and without the items that do.

What is compared: the user's turns of an item, without options and without sentences that three groups of the suite share (its
instructions), with every turn of every row and the row's user turns together. Not looked for:
translations, and the same thing asked in wholly other words (unless the encoder sees it).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message, Row
from tunesmith.data.similar.embeddings import BUNDLED
from tunesmith.data.similar.semantic import Similarity, similar_pairs, similarity_named
from tunesmith.data.similar.shingles import words_of
from tunesmith.eval.proportions import Share, clustered_share
from tunesmith.eval.suites.run import SuiteRun
from tunesmith.eval.suites.scorers import lettered
from tunesmith.eval.suites.suite import Suite

__all__ = ["NGRAM_WORDS", "Contamination", "Match", "SplitScore", "Test", "contamination", "split_score"]

Test = Literal["exact", "ngram", "near", "embedding"]
_Found = dict[tuple[int, Test], list[str]]  # (place of the item, test) → ids of rows
NGRAM_WORDS = 13
"""As in GPT-3 (Brown et al. 2020, appendix C)."""

_NEAR = 0.7
_NEAR_WORDS = 3
_LEAST_WORDS = 6  # of a question: shorter ones occur everywhere
_INSTRUCTION = 3  # groups of a suite in which a run of words is an instruction, such as "answer with the number only"
_ROWS_SHOWN = 5
_SENTENCE = re.compile(r"(?<=[.:!?])\s+|\n+")
_Words = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Rows that contaminate one item, by one test: the first five, and how many there are."""

    item_id: str
    test: Test
    rows: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """What was found. `tests`: those that were made; `not_measured`: a test that was not, and why. `too_short`: items whose
    question has under six words and can only be found if the reference is in the same row."""

    matches: tuple[Match, ...]
    tests: tuple[Test, ...]
    not_measured: Mapping[Test, str]
    too_short: tuple[str, ...]

    @property
    def item_ids(self) -> frozenset[str]:
        """Items that any test found."""
        return frozenset(match.item_id for match in self.matches)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitScore:
    """The share right of a run on all items, without the contaminated ones, and on those alone."""

    all: Share
    clean: Share
    contaminated: Share


@dataclass(frozen=True, slots=True)
class _Turn:
    row: str
    words: _Words
    text: str


def contamination(suite: Suite, rows: Sequence[Row], *, encoder: str | None = BUNDLED) -> Contamination:
    """Every item that occurs in `rows`, by each test.

    exact: the question is in a turn, word for word: one of six words or more within it, a shorter one as all of it, or with a
    reference somewhere in the same row. ngram: 13 words in a row are shared; a question of fewer has none. near: 0.7 of the
    question's runs of three words are in one turn. In both, runs that occur in three or more groups of the suite do not count:
    they are its instructions. embedding: the vectors of question and turn say the same (`data.similar.semantic`). `encoder`: as
    `similarity_named` takes it; None leaves the test out. Where the encoder is not installed, embedding is *not measured*.
    """
    turns = [
        _Turn(row.id, tuple(words_of(text)), text)
        for row in rows
        for text in dict.fromkeys([_asked(row.messages), *(message.content for message in row.messages), *row.answers])
    ]
    texts = _questions(suite)
    questions = [tuple(words_of(text)) for text in texts]
    found: _Found = defaultdict(list)
    _by_words(suite, questions, turns, found)
    _by_runs(suite, questions, turns, found, test="ngram", length=NGRAM_WORDS)
    _by_runs(suite, questions, turns, found, test="near", length=_NEAR_WORDS)
    tests: list[Test] = ["exact", "ngram", "near"]
    not_measured: dict[Test, str] = {}
    try:
        if encoder is None:
            not_measured["embedding"] = "it was not asked for"
        else:
            _by_vectors(texts, turns, similarity_named(encoder), found)
            tests.append("embedding")
    except ModelError as error:
        not_measured["embedding"] = error.problems[0].lines()[0]
    matches = (
        Match(item_id=suite.items[place].id, test=test, rows=tuple(ids[:_ROWS_SHOWN]), count=len(ids))
        for (place, test), some in sorted(found.items())
        for ids in [list(dict.fromkeys(some))]
    )
    short = (item.id for item, question in zip(suite.items, questions, strict=True) if len(question) < _LEAST_WORDS)
    return Contamination(matches=tuple(matches), tests=tuple(tests), not_measured=not_measured, too_short=tuple(short))


def split_score(suite: Suite, run: SuiteRun, found: Contamination) -> SplitScore:
    """The scores of a run, apart. Unscored items are in none of the three."""
    rows = [
        (score.value == 1, item.group, item.id in found.item_ids)
        for item, score in zip(suite.items, run.scores, strict=True)
        if score.value is not None
    ]

    def share(wanted: frozenset[bool]) -> Share:
        some = [(right, group) for right, group, dirty in rows if dirty in wanted]
        return clustered_share([right for right, _ in some], [group for _, group in some])

    return SplitScore(
        all=share(frozenset({True, False})), clean=share(frozenset({False})), contaminated=share(frozenset({True}))
    )


def _asked(messages: Sequence[Message]) -> str:
    """The user's turns together."""
    return "\n".join(message.content for message in messages if message.role == "user")


def _questions(suite: Suite) -> list[str]:
    """What is asked in each item, without its options and without the instructions of the suite."""
    texts = [_asked(item.messages) for item in suite.items]
    for place, item in enumerate(suite.items):
        if options := item.arguments.get("options"):
            texts[place] = texts[place].removesuffix("\n" + lettered(options))
    parts = [_SENTENCE.split(text) for text in texts]
    groups: dict[_Words, set[str]] = defaultdict(set)
    for item, sentences in zip(suite.items, parts, strict=True):
        for sentence in sentences:
            groups[tuple(words_of(sentence))].add(item.group)
    own = [[one for one in sentences if len(groups[tuple(words_of(one))]) < _INSTRUCTION] for sentences in parts]
    return [" ".join(sentences) or text for sentences, text in zip(own, texts, strict=True)]


def _runs(words: Sequence[str], length: int) -> set[_Words]:
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


def _by_words(suite: Suite, questions: Sequence[_Words], turns: Sequence[_Turn], found: _Found) -> None:
    """The whole question within a turn, looked up by its first words, so that each turn is read once."""
    by_start: dict[_Words, list[int]] = defaultdict(list)
    said_in_row: dict[str, str] = defaultdict(str)
    whole = [tuple(words_of(_asked(item.messages))) for item in suite.items]
    for place, question in enumerate(questions):
        by_start[question[:_NEAR_WORDS]].append(place)
    for turn in turns:
        said_in_row[turn.row] += _spaced(turn.words)
    for turn in turns:
        for length in {len(start) for start in by_start if start}:
            for start in range(len(turn.words) - length + 1):
                for place in by_start.get(turn.words[start : start + length], ()):
                    question = questions[place]
                    if turn.words[start : start + len(question)] == question and (
                        len(question) >= _LEAST_WORDS
                        or turn.words in (question, whole[place])
                        or any(_spaced(words_of(one)) in said_in_row[turn.row] for one in suite.items[place].references)
                    ):
                        found[place, "exact"].append(turn.row)


def _spaced(words: Sequence[str]) -> str:
    return f" {' '.join(words)} "


def _by_runs(
    suite: Suite,
    questions: Sequence[_Words],
    turns: Sequence[_Turn],
    found: _Found,
    *,
    test: Literal["ngram", "near"],
    length: int,
) -> None:
    """Runs of words that a turn shares with a question: one long one, or most of the short ones."""
    places_of: dict[_Words, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        for run in _runs(question, length):
            places_of[run].append(place)
    own = {run: places for run, places in places_of.items() if len({suite.items[p].group for p in places}) < _INSTRUCTION}
    sizes: dict[int, int] = defaultdict(int)
    for place in (place for places in own.values() for place in places):
        sizes[place] += 1
    for turn in turns:
        shared: dict[int, int] = defaultdict(int)
        for place in (place for run in _runs(turn.words, length) for place in own.get(run, ())):
            shared[place] += 1
        for place, count in shared.items():
            if test == "ngram" or (len(questions[place]) >= _LEAST_WORDS and count >= _NEAR * sizes[place]):
                found[place, test].append(turn.row)


def _by_vectors(texts: Sequence[str], turns: Sequence[_Turn], similarity: Similarity, found: _Found) -> None:
    vectors = np.concatenate([similarity.vectors(texts), similarity.vectors([turn.text for turn in turns])])
    for place, other, _ in similar_pairs(vectors, threshold=similarity.same, first=len(texts)):
        found[place, "embedding"].append(turns[other - len(texts)].row)
