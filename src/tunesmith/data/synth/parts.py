"""Documents cut into parts that fit a prompt, with what speaks to a model withheld; and the passage around some quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tunesmith.core.records import Document, Quote
from tunesmith.data.synth.grounding import WITHHELD, Source
from tunesmith.data.synth.guard import speaks_to_a_model
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import num_words

__all__ = ["Part", "parts_of", "passage_around", "withhold"]

_PART_WORDS = 900
_PASSAGE_WORDS = 350
_BREAK = re.compile(r"\n{2,}")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a document. `source` can be quoted; `material` is what is sent; `count`: questions wanted of it."""

    document: Document
    number: int
    source: Source
    material: str
    count: int


def withhold(text: str) -> tuple[str, list[str]]:
    """The text, as long as before, with blocks that speak to a model blotted out; and these blocks."""
    kept, withheld = [], []
    for start, end in _blocks(text):
        block = text[start:end]
        if speaks_to_a_model(block):
            withheld.append(block)
            kept.append((start, end))
    for start, end in kept:
        text = text[:start] + WITHHELD * (end - start) + text[end:]
    return text, withheld


def parts_of(document: Document, text: str, *, words_per_pair: int) -> list[Part]:
    """Parts of about 900 words, cut between blocks, and how many questions each gets: one for every `words_per_pair` words.

    `text`: the document's text as `withhold` left it. Every document gets at least one question.
    """
    spans = list(_spans(text))
    sizes = [num_words(text[start:end]) for start, end in spans]
    total = max(1, round(sum(sizes) / words_per_pair))
    parts, given, passed = [], 0, 0
    for number, ((start, end), size) in enumerate(zip(spans, sizes, strict=True)):
        passed += size
        due = total if number == len(spans) - 1 else round(total * passed / max(1, sum(sizes)))
        material = _material(text[start:end])
        if due > given and material:
            parts.append(Part(document, number, Source(text[start:end], offset=start), material, due - given))
            given = due
    return parts


def passage_around(source: Source, quotes: Iterable[Quote]) -> str:
    """The blocks that the quotes stand in, with their neighbours as far as 350 words go."""
    offset, spans = source.offset, list(quotes)
    blocks = [span for span in _blocks(source.text) if WITHHELD not in source.text[slice(*span)]]
    touched = {
        index
        for index, (start, end) in enumerate(blocks)
        for quote in spans
        if start < quote.end - offset and quote.start - offset < end
    }
    chosen = set(touched)
    for index in sorted({i + d for i in touched for d in (-1, 1)} - touched):
        if 0 <= index < len(blocks):
            size = sum(num_words(source.text[slice(*blocks[i])]) for i in {*chosen, index})
            if size <= _PASSAGE_WORDS:
                chosen.add(index)
    return "\n\n".join(source.text[slice(*blocks[index])] for index in sorted(chosen))


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for match in _BREAK.finditer(text):
        if match.start() > begin:
            yield begin, match.start()
        begin = match.end()
    if begin < len(text):
        yield begin, len(text)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of about 900 words; a block longer than twice that is cut at sentence ends."""
    begin, size = 0, 0
    for start, end in _pieces(text):
        length = num_words(text[start:end])
        if size and size + length / 2 > _PART_WORDS:
            yield begin, start
            begin, size = start, 0
        size += length
    if size:
        yield begin, len(text)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    for start, end in _blocks(text):
        if num_words(text[start:end]) <= 2 * _PART_WORDS:
            yield start, end
            continue
        position = start
        for sentence in split_sentences(text[start:end]):
            begin = text.index(sentence, position)
            position = begin + len(sentence)
            yield begin, position


def _material(text: str) -> str:
    return "\n\n".join(text[start:end] for start, end in _blocks(text) if WITHHELD not in text[start:end])
