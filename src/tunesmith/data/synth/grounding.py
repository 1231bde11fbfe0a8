"""Quotes and the sentences that lean on them: where a quote stands in a document, and whether it carries a sentence.

**Found.** Texts are compared word by word; case, spacing, punctuation and the shape of quotation marks do not count. A quote is
*verbatim* if its words stand in the document in a row. It is *near-verbatim* if it has ten words or more and at most one word
in ten is changed, left out or put in, and none of those is a number, a negation or a name. An ellipsis (`…`, `...`) splits a
quote into parts, each of which must be found, in order. Quotes under four words are too short to support anything.

**Supported.** A sentence is supported by its quotes if at least half of its content words (stems; words of the question do not
count) stand in the sentences that the quotes stand in, if every number in it stands there too, and every name in it stands in
the document or the question. A question is *about* a passage if a third of its content words stand there. Sense is the
critic's business, not ours: the words can agree where the meaning does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunesmith.core.records import Quote
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import fold, stem

__all__ = ["LEAST_QUOTE_WORDS", "WITHHELD", "Source", "content_stems", "fault_of_sentence", "is_about"]

LEAST_QUOTE_WORDS = 4
WITHHELD = "\0"  # stands for every character of a block that nobody may quote
_NEAR_WORDS = 10  # words of a quote for each word that may differ
_SHARE = 0.5
_SHARE_OF_QUESTION = 1 / 3
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ELLIPSIS = re.compile(r"\s*(?:\[?…\]?|\[?\.{3,}\]?)\s*")
_NUMBER = re.compile(r"\d")
_NEGATIONS = frozenset(["no", "not", "never", "none", "nothing", "neither", "nor", "without", "cannot"])
_NAME = re.compile(r"(?<=[a-z,;:’'”\")] )([A-Z][\w’'\-]+(?: [A-Z][\w’'\-]+)*)")
_NOT_NAMES = frozenset(["i", "i'm", "i've", "i'd", "i'll"])


@dataclass(frozen=True, slots=True)
class _Word:
    text: str  # folded
    start: int
    end: int


def _words(text: str) -> list[_Word]:
    return [_Word(fold(match.group()), match.start(), match.end()) for match in _WORD.finditer(text)]


class Source:
    """A text that can be quoted, with an offset that makes positions count from the start of the whole document."""

    def __init__(self, text: str, *, offset: int = 0) -> None:
        self.text = text
        self.offset = offset
        self._said = _words(text)

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, word in enumerate(self._said):
            found.setdefault(word.text, []).append(index)
        return found

    @cached_property
    def _sentences(self) -> list[tuple[int, int]]:
        spans, position = [], 0
        for line in self.text.split("\n"):
            for sentence in split_sentences(line):
                start = self.text.index(sentence, position)
                position = start + len(sentence)
                spans.append((start, position))
        return spans

    def find(self, quote: str) -> tuple[Quote, ...]:
        """Where the quote stands: one span, or one for each part between ellipses, in order. Empty: it does not."""
        found: list[Quote] = []
        begin = 0
        for part in _ELLIPSIS.split(quote.strip()):
            wanted = [word.text for word in _words(part)]
            if not wanted:
                continue
            span = self._verbatim(wanted, begin) or self._near(wanted, begin)
            if span is None:
                return ()
            first, last, exact = span
            found.append(self._quote(first, last, exact))
            if WITHHELD in found[-1].text:
                return ()
            begin = last
        return tuple(found)

    def _quote(self, first: int, last: int, exact: bool) -> Quote:
        start, end = self._said[first].start, self._said[last - 1].end
        return Quote(text=self.text[start:end], start=start + self.offset, end=end + self.offset, exact=exact)

    def _verbatim(self, wanted: Sequence[str], begin: int) -> tuple[int, int, bool] | None:
        first = next(self._runs(wanted, begin), None)
        return None if first is None else (first, first + len(wanted), True)

    def _runs(self, wanted: Sequence[str], begin: int) -> Iterator[int]:
        """Where these words stand in a row, from the `begin`th word on."""
        if any(word not in self._positions for word in wanted):
            return
        rarest = min(range(len(wanted)), key=lambda i: len(self._positions[wanted[i]]))
        for position in self._positions[wanted[rarest]]:
            first = position - rarest
            if first >= begin and [word.text for word in self._said[first : first + len(wanted)]] == list(wanted):
                yield first

    def _near(self, wanted: Sequence[str], begin: int) -> tuple[int, int, bool] | None:
        """The span with the fewest word edits, if they are few enough and weigh little; of several, the first.

        Cut into one piece more than edits are allowed, one piece must stand there untouched: only around those is aligned.
        """
        allowed = len(wanted) // _NEAR_WORDS
        if not allowed:
            return None
        said = [word.text for word in self._said]
        width = -(-len(wanted) // (allowed + 1))
        found = []
        for piece in range(0, len(wanted), width):
            for first in self._runs(wanted[piece : piece + width], begin):
                low = max(begin, first - piece - allowed)
                aligned = _align(wanted, said[low : first - piece + len(wanted) + allowed])
                found.append((len(aligned.edits), low + aligned.first, low + aligned.last, aligned.edits))
        best = min(found, default=None)
        if best is None or best[0] > allowed or any(self._weighs(word) for edit in best[3] for word in edit):
            return None
        return best[1], best[2], False

    def _weighs(self, word: str) -> bool:
        """Whether a word changes what is said: a number, a negation, or a name (never written small in the text)."""
        return bool(_NUMBER.search(word)) or word in _NEGATIONS or word.endswith("n't") or word in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        written = [match.group() for match in _WORD.finditer(self.text)]
        small = {word for word in written if word[0].islower()}
        return frozenset(fold(word) for word in written if word[0].isupper() and fold(word) not in small) - _NOT_NAMES

    def around(self, quotes: Iterable[Quote]) -> str:
        """The sentences that the quotes stand in."""
        spans = [(quote.start - self.offset, quote.end - self.offset) for quote in quotes]
        touched = [s for s in self._sentences if any(s[0] < end and start < s[1] for start, end in spans)]
        return " ".join(self.text[start:end] for start, end in touched) or " ".join(quote.text for quote in quotes)


@dataclass(frozen=True, slots=True)
class _Alignment:
    """Words `first` to `last` of a text lie nearest to those wanted; `edits`: (wanted, said) where they differ."""

    first: int
    last: int
    edits: tuple[tuple[str, str], ...]


def _align(wanted: Sequence[str], said: Sequence[str]) -> _Alignment:
    """The span of `said` nearest to `wanted` in word edits: Sellers' algorithm, edit distance with free ends in the text."""
    height = len(wanted) + 1
    columns = [list(range(height))]
    for word in said:
        before, now = columns[-1], [0]
        for row in range(1, height):
            change = before[row - 1] + (wanted[row - 1] != word)
            now.append(min(change, before[row] + 1, now[row - 1] + 1))
        columns.append(now)
    end = min(range(len(columns)), key=lambda i: (columns[i][-1], i))
    edits: list[tuple[str, str]] = []
    row, column = height - 1, end
    while row:
        here = columns[column][row]
        if column and here == columns[column - 1][row - 1] + (wanted[row - 1] != said[column - 1]):
            if wanted[row - 1] != said[column - 1]:
                edits.append((wanted[row - 1], said[column - 1]))
            row, column = row - 1, column - 1
        elif here == columns[column][row - 1] + 1:
            edits.append((wanted[row - 1], ""))
            row -= 1
        else:
            edits.append(("", said[column - 1]))
            column -= 1
    return _Alignment(column, end, tuple(edits))


def content_stems(text: str) -> list[str]:
    """The content words of a text, without their endings: function words and words under three letters left out."""
    said = (fold(word) for word in _WORD.findall(text))
    return [stem(word) for word in said if len(word) >= 3 and word not in STOP_WORDS and not _NUMBER.search(word)]


def fault_of_sentence(sentence: str, quotes: Sequence[Quote], source: Source, *, question: str) -> str:
    """Why the quotes do not carry the sentence (a reason for people and for the writer), or nothing."""
    support = source.around(quotes)
    carried = {fold(word) for word in _WORD.findall(support)}
    asked = {fold(word) for word in _WORD.findall(question)}
    numbers = {fold(word) for word in _WORD.findall(sentence) if _NUMBER.search(word)}
    if strange := sorted(numbers - carried - asked):
        return f"a number that its quotes do not have: {strange[0]}"
    everywhere = {fold(word) for word in _WORD.findall(source.text)} | asked
    names = {fold(word) for match in _NAME.finditer(sentence) for word in _WORD.findall(match.group(1))} - _NOT_NAMES
    if strange := sorted(names - everywhere - {word + "s" for word in everywhere}):
        return f"a name that the text does not have: {strange[0]}"
    known, given = set(content_stems(support)), set(content_stems(question))
    content = [stem for stem in content_stems(sentence) if stem not in given]
    if content and sum(stem in known for stem in content) < _SHARE * len(content):
        return "a sentence that its quotes do not carry"
    if not content and not given & set(content_stems(support)):
        return "a sentence that its quotes do not carry"
    return ""


def is_about(question: str, passage: str) -> bool:
    """Whether a question is about a passage: a third of its content words stand there, and all of its numbers."""
    said = {fold(word) for word in _WORD.findall(passage)}
    if any(_NUMBER.search(word) and fold(word) not in said for word in _WORD.findall(question)):
        return False
    known, asked = set(content_stems(passage)), content_stems(question)
    return sum(stem in known for stem in asked) >= _SHARE_OF_QUESTION * len(asked)
