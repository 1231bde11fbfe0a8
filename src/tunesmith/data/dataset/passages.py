"""Documents to examples: the author's own passages, word for word, each under a question made from what stands around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from tunesmith.core.records import Document, Example, Message, Row, digest
from tunesmith.data.dataset.phrases import study
from tunesmith.data.dataset.questions import Cue, ask
from tunesmith.data.text.prose import Block, blocks_from_text
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import num_words

__all__ = ["Built", "Drops", "build_examples", "build_passages"]

R = TypeVar("R", bound=Row)

_STRETCH = 1.8  # a passage may be this much longer than asked before it is cut
_MAX_PREVIOUS_WORDS = 40
_NUM_SAMPLES = 3
_SHORT_DOCUMENT = "document too short"
_SHORT = "passage too short"
_LEAD_IN = "lead-in to something left out"
_ONLY_QUOTED = "only quoted text"
_COPY = "exact copy of another passage"
_UNBROKEN = "text without sentence ends"
_NOT_PROSE = "mostly addresses, figures or repetitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built(Generic[R]):
    """Examples or preferences, and what was dropped: reason → count, and up to three short samples of each."""

    examples: tuple[R, ...]
    dropped: Mapping[str, int]
    dropped_samples: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive text under one heading. `glue` joins it to the piece before: blank line, or blank for a cut paragraph."""

    text: str
    kind: str
    glue: str = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passage:
    document: Document
    heading: str
    text: str
    previous: str = ""
    heads: bool = False
    opens: bool = False
    closes: bool = False


class Drops:
    """Counts what is dropped and keeps the first samples of each reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: dict[str, tuple[str, ...]] = {}

    def add(self, reason: str, sample: str) -> None:
        self.counts[reason] += 1
        kept = self.samples.get(reason, ())
        if len(kept) < _NUM_SAMPLES:
            line = " ".join(sample.split())
            self.samples[reason] = (*kept, line if len(line) <= 160 else line[:157].rstrip() + "…")


def build_passages(documents: Sequence[Document], *, passage_words: int, min_words: int, system_prompt: str) -> Built[Example]:
    """Examples whose answers are passages of the documents, verbatim: whole paragraphs, long ones cut at sentence ends only.

    Passages aim at `passage_words` and stay below 1.8 times that, except for single sentences longer than it. Those under
    `min_words` are dropped, as are copies and text that is nothing but a quotation. Prompts are unique over the whole set.
    """
    drops = Drops()
    passages: list[_Passage] = []
    seen: set[str] = set()
    for document in documents:
        if num_words(document.text) < min_words:
            drops.add(_SHORT_DOCUMENT, f"{document.title or document.source}: {document.text}")
            continue
        for passage in _passages(document, passage_words, min_words, drops):
            key = " ".join(passage.text.casefold().split())
            if key in seen:
                drops.add(_COPY, passage.text)
                continue
            seen.add(key)
            passages.append(passage)
    questions = ask(_cues(passages, documents))
    examples = tuple(_example(p, question, system_prompt) for p, question in zip(passages, questions, strict=True))
    return Built(examples=examples, dropped=dict(drops.counts), dropped_samples=drops.samples)


def build_examples(pairs: Sequence[Example], *, system_prompt: str) -> Built[Example]:
    """Ready pairs, passed through: empty prompts or answers and exact copies dropped, a system message added where none is.

    Blanks at the ends of turns go. A right answer may be one word, so no answer is too short.
    """
    drops = Drops()
    examples: list[Example] = []
    seen: set[str] = set()
    for pair in pairs:
        asked = [message for message in pair.prompt if message.role == "user"]
        if not asked or not asked[-1].content.strip():
            drops.add("empty prompt", pair.answer)
            continue
        if not pair.answer.strip():
            drops.add("empty answer", asked[-1].content)
            continue
        key = digest(*(f"{message.role}\n{message.content.strip()}" for message in pair.messages if message.role != "system"))
        if key in seen:
            drops.add("exact copy of another pair", f"{asked[-1].content} → {pair.answer}")
            continue
        seen.add(key)
        pair = replace(pair, messages=tuple(replace(message, content=message.content.strip()) for message in pair.messages))
        if system_prompt.strip() and pair.messages[0].role != "system":
            pair = replace(pair, messages=(Message(role="system", content=system_prompt.strip()), *pair.messages))
        examples.append(pair)
    return Built(examples=tuple(examples), dropped=dict(drops.counts), dropped_samples=drops.samples)


def _cues(passages: Sequence[_Passage], documents: Sequence[Document]) -> list[Cue]:
    collection = study(document.text for document in documents)
    repeated = _repeated_sentences(documents)
    cues = []
    for passage in passages:
        title, heading = _shown(passage.document.title), _shown(passage.heading)
        cues.append(
            Cue(
                key=digest(passage.document.id, passage.text),
                title=title,
                heading="" if heading.casefold() == title.casefold() else heading,
                phrases=tuple(collection.key_phrases(passage.text, context=f"{title}\n{heading}")),
                previous="" if passage.previous in repeated else _quotable(passage.previous),
                begins=" ".join(_quotable(passage.text).lstrip("->0123456789. ").split()[:6]),
                heads=passage.heads,
                opens=passage.opens,
                closes=passage.closes,
            )
        )
    return cues


def _repeated_sentences(documents: Sequence[Document]) -> set[str]:
    """An author's refrains: what comes again and again says nothing about what follows."""
    counts = Counter(
        sentence
        for document in documents
        for block in blocks_from_text(document.text)
        for sentence in split_sentences(block.text)
    )
    return {sentence for sentence, count in counts.items() if count > 1}


def _example(passage: _Passage, question: str, system_prompt: str) -> Example:
    document = passage.document
    head = (Message(role="system", content=system_prompt.strip()),) if system_prompt.strip() else ()
    return Example(
        id=digest("passage", document.id, passage.text)[:16],
        messages=(*head, Message(role="user", content=question), Message(role="assistant", content=passage.text)),
        document_id=document.id,
        group=document.id,
        source=document.source,
        title=document.title,
    )


def _shown(text: str | None) -> str:
    """A title or heading fit to stand between quotation marks."""
    line = _quotable(text or "").rstrip(".")
    return line if len(line) <= 120 else ""


def _passages(document: Document, target: int, min_words: int, drops: Drops) -> list[_Passage]:
    made: list[_Passage] = []
    first = last = True
    for heading, blocks in _sections(blocks_from_text(document.text)):
        previous, heads = "", True
        for pieces in _merge_short(_pack(_pieces(blocks, target), target), target, min_words):
            kept = _without_lead_in(pieces, drops)
            text = _joined(kept)
            reason = _fault(kept, text, target, min_words)
            if reason and kept:
                drops.add(reason, text)
            last = not reason
            if last:
                made.append(
                    _Passage(document=document, heading=heading, text=text, previous=previous, heads=heads, opens=first)
                )
            previous, heads, first = _last_sentence(pieces), False, False
    if len(made) > 1 and last:
        made[-1] = replace(made[-1], closes=True)
    return made


def _fault(kept: Sequence[_Piece], text: str, target: int, min_words: int) -> str:
    """Why a passage cannot be an answer, or nothing."""
    if num_words(text) < min_words:
        return _SHORT
    if all(piece.kind == "quote" for piece in kept):
        return _ONLY_QUOTED
    if num_words(text) > 4 * _STRETCH * target:
        return _UNBROKEN
    tokens = [token for token in text.split() if any(c.isalnum() for c in token)]
    plain = sum(any(c.isalpha() for c in token) and "/" not in token and "@" not in token for token in tokens)
    repeats = len(tokens) >= 30 and len({token.casefold() for token in tokens if not token[0].isdigit()}) < 0.12 * len(tokens)
    return _NOT_PROSE if plain < 0.6 * len(tokens) or repeats else ""


def _sections(blocks: Iterable[Block]) -> Iterator[tuple[str, list[Block]]]:
    """(heading, blocks below it). Passages never cross a heading."""
    heading, below = "", list[Block]()
    for block in blocks:
        if block.kind == "heading":
            if below:
                yield heading, below
            heading, below = block.text.lstrip("#").strip(), []
        else:
            below.append(block)
    if below:
        yield heading, below


def _pieces(blocks: Iterable[Block], target: int) -> Iterator[_Piece]:
    """Blocks, those too long cut at sentence ends (paragraphs) or between lines (lists, quotes)."""
    for block in blocks:
        if num_words(block.text) <= _STRETCH * target:
            yield _Piece(block.text, block.kind)
            continue
        parts = split_sentences(block.text) if block.kind == "paragraph" else block.text.split("\n")
        blank = " " if block.kind == "paragraph" else "\n"
        position = 0
        for number, part in enumerate(parts):
            start = block.text.index(part, position)
            glue = block.text[position:start] or blank
            position = start + len(part)
            yield _Piece(part, block.kind, glue if number else "\n\n")


def _pack(pieces: Iterable[_Piece], target: int) -> list[list[_Piece]]:
    """Fill passages to the target. A list or quote stays with the lead-in that ends in a colon."""
    packed: list[list[_Piece]] = []
    size = 0
    for piece in pieces:
        length = num_words(piece.text)
        led_in = bool(packed) and packed[-1][-1].text.endswith(":")
        fits = size + length <= _STRETCH * target
        if packed and fits and (size + length / 2 <= target or led_in):
            packed[-1].append(piece)
            size += length
        elif led_in and len(packed[-1]) > 1 and num_words(packed[-1][-1].text) < target:
            packed.append([packed[-1].pop(), piece])
            size = num_words(packed[-1][0].text) + length
        else:
            packed.append([piece])
            size = length
    return packed


def _merge_short(packed: list[list[_Piece]], target: int, min_words: int) -> list[list[_Piece]]:
    """A passage well under the target joins the one before it, under the same heading, where there is room."""
    merged: list[list[_Piece]] = []
    for pieces in packed:
        size = num_words(_joined(pieces))
        if merged and size < max(min_words, target // 2) and num_words(_joined(merged[-1])) + size < _STRETCH * target:
            merged[-1] = merged[-1] + pieces
        else:
            merged.append(pieces)
    return merged


def _without_lead_in(pieces: list[_Piece], drops: Drops) -> list[_Piece]:
    """`Here is the code:` at the end of a passage leads to what is not there."""
    kept = list(pieces)
    while kept and kept[-1].kind == "paragraph" and kept[-1].text.rstrip().endswith(":"):
        sentences = split_sentences(kept[-1].text)
        drops.add(_LEAD_IN, sentences[-1])
        rest = kept[-1].text[: kept[-1].text.rindex(sentences[-1])].rstrip()
        kept[-1:] = [replace(kept[-1], text=rest)] if rest else []
    return kept


def _joined(pieces: Sequence[_Piece]) -> str:
    return "".join((piece.glue if number else "") + piece.text for number, piece in enumerate(pieces))


def _last_sentence(pieces: Sequence[_Piece]) -> str:
    """The sentence that the next passage goes on from, if it is prose of a fair length."""
    last = pieces[-1]
    if last.kind != "paragraph" or "\n" in last.text:
        return ""
    sentence = split_sentences(last.text)[-1]
    return sentence if 5 <= num_words(sentence) <= _MAX_PREVIOUS_WORDS and sentence[-1] in ".!?…’'”\"" else ""


def _quotable(text: str) -> str:
    """Text fit to stand between double quotation marks."""
    return " ".join(text.replace("“", "‘").replace("”", "’").replace('"', "'").split())
