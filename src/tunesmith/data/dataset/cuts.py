"""Where a document is cut into passages: at borders of paragraphs, near a length, with openings that stand alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunesmith.core.records import Document
from tunesmith.data.text.openings import (
    announces,
    is_closing_heading,
    is_furniture,
    is_label,
    is_sign_off,
    points_at_missing,
    points_back,
)
from tunesmith.data.text.prose import Block, blocks_from_text
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import num_words

__all__ = ["Drops", "Passage", "cut_document", "heading_text", "quotable"]

STRETCH = 1.8  # several paragraphs together are at most this much longer than asked
_WHOLE = 3.0  # one paragraph or list stays whole up to this much longer than asked
_MAX_BEFORE_WORDS = 60
_NUM_SAMPLES = 3
_MOST_QUOTED = 1 / 3  # of the words of a passage: the rest would be other people's
_FIGURES = re.compile(r"\d+")
_ANCHOR = re.compile(r"\s*(?:\{[:#.][^{}]*\}|¶|\[¶\]\([^)]*\)|(?<=\s)#+)\s*$")

_SHORT = "passage too short"
_LEAD_IN = "lead-in to something left out"
_QUOTED = "more than a third is quoted text"
_UNBROKEN = "text without sentence ends"
_NOT_PROSE = "mostly addresses, figures or repetitions"
_FURNITURE = "footnote, thanks, sign-off or navigation"
_MISSING = "points at code, a table or a picture that is not there"
_AFTER_GAP = "points back at something left out"


class Drops:
    """Counts what is dropped, and its words, and keeps the first samples of each reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.samples: dict[str, tuple[str, ...]] = {}

    def add(self, reason: str, sample: str) -> None:
        self.counts[reason] += 1
        self.words[reason] += num_words(sample)
        kept = self.samples.get(reason, ())
        if len(kept) < _NUM_SAMPLES:
            line = " ".join(sample.split())
            self.samples[reason] = (*kept, line if len(line) <= 160 else line[:157].rstrip() + "…")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """An answer to be, and where it stands in its document.

    `before`: the end of the text that it follows, for a prompt; empty where nothing precedes it. `leans`: it cannot be
    understood without `before`. `heads`: it is the first below its heading; `fills`: it is all there is below its heading;
    `opens`, `closes`: it is the first or the last of its document. `goes_on`: it is part of a list or paragraph that was cut.
    """

    document: Document
    heading: str
    text: str
    before: str = ""
    leans: bool = False
    heads: bool = False
    fills: bool = False
    opens: bool = False
    closes: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block, or a part of one that is too long. `glue` joins it to the piece before it; `leans`: it needs what precedes it.

    `leads`: it announces what follows; `asks`: it ends in a question, which what follows answers.
    """

    text: str
    kind: str
    glue: str
    words: int
    leans: bool
    ends_block: bool
    leads: bool
    asks: bool


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Pieces under one heading, or a part of them between things left out. `after_gap`: what precedes it is not in the text."""

    heading: str
    pieces: Sequence[_Piece]
    after_gap: bool
    heads: bool


def cut_document(document: Document, *, target: int, min_words: int, missing: str, drops: Drops) -> list[Passage]:
    """The passages of a document, in order; what is left out is added to `drops`.

    `missing`: "drop" leaves out passages that point at code, tables or pictures which are not in the text; "keep" keeps them.
    """
    made: list[Passage] = []
    before, first, last_kept, keep = "", True, False, missing == "keep"
    for stretch in _stretches(blocks_from_text(document.text), target, keep=keep, drops=drops):
        before = "" if stretch.after_gap else before
        parts = list(_parts(_grouped(stretch.pieces, target, min_words), keep=keep, drops=drops))
        for number, (pieces, is_cut) in enumerate(parts):
            before, heads = "" if is_cut else before, stretch.heads and number == 0 and not is_cut
            kept = pieces if keep else _without_ending(pieces, drops)
            text = _joined(kept)
            leans = pieces[0].leans or (pieces[0].kind in {"list", "quote"} and not heads and not first)
            reason = _fault(kept, text, target, min_words)
            if not reason and leans and not before and not first:
                reason = _AFTER_GAP
            if reason and kept:
                drops.add(reason, text)
            last_kept = not reason
            if last_kept:
                made.append(
                    Passage(
                        document=document,
                        heading=stretch.heading,
                        text=text,
                        before=before,
                        leans=leans,
                        heads=heads,
                        fills=heads and len(parts) == 1,
                        opens=first,
                        goes_on=not kept[-1].ends_block,
                    )
                )
            before, first = _ending(pieces), False
    if len(made) > 1 and last_kept:
        made[-1] = replace(made[-1], closes=True)
    return made


def _parts(groups: Sequence[Sequence[_Piece]], *, keep: bool, drops: Drops) -> Iterator[tuple[Sequence[_Piece], bool]]:
    """The groups without what points at code, tables or pictures that are not there, each run of what is left by itself.

    The second value says that something was taken out between this run and the one before it.
    """
    is_cut = False
    for pieces in groups:
        run: list[_Piece] = []
        for piece in pieces:
            if keep or not points_at_missing(piece.text):
                run.append(piece)
                continue
            head = _until_pointing(piece)
            drops.add(_MISSING, piece.text[len(head) :])
            if head:
                run.append(replace(piece, text=head, words=num_words(head), leads=False, asks=False))
            if run:
                yield run, is_cut
            run, is_cut = [], True
        if run:
            yield run, is_cut
            is_cut = False


def _until_pointing(piece: _Piece) -> str:
    """The sentences of a paragraph before the first that points at what is not there."""
    end = 0
    for sentence in split_sentences(piece.text) if piece.kind == "paragraph" else ():
        if points_at_missing(sentence):
            break
        end = piece.text.index(sentence, end) + len(sentence)
    head = piece.text[:end].rstrip()
    return "" if points_at_missing(head) else head


def heading_text(line: str) -> str:
    """A heading or title without its marks and without the anchor that pages add to it (`{#name}`, ¶, a trailing #)."""
    text = line.lstrip("#").strip()
    while (shorter := _ANCHOR.sub("", text)) != text:
        text = shorter
    return text


def quotable(text: str) -> str:
    """Text fit to stand between double quotation marks."""
    return " ".join(text.replace("“", "‘").replace("”", "’").replace('"', "'").split())


def _stretches(blocks: Sequence[Block], target: int, *, keep: bool, drops: Drops) -> Iterator[_Stretch]:
    """Runs of blocks between headings and what is left out. Passages never cross their borders, so they are verbatim."""
    heading, gap, heads, closing = "", False, True, False
    pieces: list[_Piece] = []
    for number, block in enumerate(blocks):
        if block.kind == "heading":
            if pieces:
                yield _Stretch(heading, pieces, gap, heads)
            heading, gap, heads, pieces = heading_text(block.text), False, True, []
            closing = is_closing_heading(heading)
            continue
        if closing or (block.kind in {"paragraph", "list"} and is_furniture(block.text)):
            drops.add(_FURNITURE, block.text)
            if pieces:
                yield _Stretch(heading, pieces, gap, heads)
                gap, heads, pieces = False, False, []
            continue
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        if keep or not _leads_to_nothing(block, following):
            pieces += _pieces(block, target, after=pieces[-1] if pieces else None)
            continue
        sentence = split_sentences(block.text)[-1]
        drops.add(_LEAD_IN, sentence)
        rest = block.text[: block.text.rindex(sentence)].rstrip()
        if rest and not rest.endswith(":"):
            pieces += _pieces(replace(block, text=rest), target, after=pieces[-1] if pieces else None)
        if pieces:
            yield _Stretch(heading, pieces, gap, heads)
        gap, heads, pieces = True, False, []
    if pieces:
        yield _Stretch(heading, pieces, gap, heads)


def _leads_to_nothing(block: Block, following: Block | None) -> bool:
    """`Here is the code:` before a heading, a paragraph of prose or the end. Direct speech (`“…`) may follow a colon."""
    if block.kind != "paragraph" or not block.text.rstrip().endswith(":"):
        return False
    if following is None or following.kind == "heading":
        return True
    return following.kind == "paragraph" and following.text[0] not in "\"“‘'«(–—"


def _pieces(block: Block, target: int, *, after: _Piece | None) -> Iterator[_Piece]:
    """A block whole, or, far over the target, cut at sentence ends (paragraphs) or between lines (lists, quotes)."""
    words = num_words(block.text)
    led = after is not None and after.leads
    leans = led or points_back(block.text)
    leads = block.kind == "paragraph" and (block.text.rstrip().endswith(":") or is_label(block.text) or announces(block.text))
    asks = block.text.rstrip("”\"'’) ").endswith("?")
    if words <= _WHOLE * target:
        yield _Piece(block.text, block.kind, "\n\n", words, leans, True, leads, asks)
        return
    parts = split_sentences(block.text) if block.kind == "paragraph" else block.text.split("\n")
    blank = " " if block.kind == "paragraph" else "\n"
    position = 0
    for number, part in enumerate(parts):
        start = block.text.index(part, position)
        glue = block.text[position:start] or blank
        position = start + len(part)
        needs = leans if number == 0 else block.kind != "paragraph" or points_back(part)
        last = number == len(parts) - 1
        yield _Piece(part, block.kind, glue if number else "\n\n", num_words(part), needs, last, leads and last, False)


def _grouped(pieces: Sequence[_Piece], target: int, min_words: int) -> list[Sequence[_Piece]]:
    """The partition of the pieces with the least cost: near the target, whole blocks, openings that stand alone.

    Dynamic programming: costs[n] is the least cost of the first n pieces, starts[n] where the last group of them begins.
    """
    costs, starts = [0.0], [0]
    for end in range(1, len(pieces) + 1):
        best, best_start, words = float("inf"), end - 1, 0
        for start in range(end - 1, -1, -1):
            words += pieces[start].words
            if start < end - 1 and words > STRETCH * target and not pieces[start].leads:
                break
            cost = costs[start] + _cost(pieces, start, end, words, target, min_words)
            if cost < best:
                best, best_start = cost, start
        costs.append(best)
        starts.append(best_start)
    groups: list[Sequence[_Piece]] = []
    end = len(pieces)
    while end:
        groups.append(pieces[starts[end] : end])
        end = starts[end]
    return groups[::-1]


def _cost(pieces: Sequence[_Piece], start: int, end: int, words: int, target: int, min_words: int) -> float:
    """What a group costs: a share of the target for its length, and fixed sums for a bad opening or a bad border."""
    off = (words - target) / target
    cost = -off if off < 0 else 0.7 * off
    if words < min_words:
        cost += 3.0
    if start > 0:
        cost += 0.4 if pieces[start].leans else 0.0
        cost += 10.0 if pieces[start - 1].leads else 0.0
        cost += 1.2 if pieces[start - 1].asks else 0.0
        cost += 0.5 if pieces[start].kind != "paragraph" and pieces[start].glue == "\n\n" else 0.0
        cost += 1.0 if pieces[start].glue != "\n\n" else 0.0
    return cost


def _fault(kept: Sequence[_Piece], text: str, target: int, min_words: int) -> str:
    """Why a passage cannot be an answer, or nothing."""
    size = sum(piece.words for piece in kept)
    if size < min_words:
        return _SHORT
    if len(kept) == 1 and kept[0].kind == "paragraph" and announces(text) and len(split_sentences(text)) == 1:
        return _LEAD_IN
    if sum(piece.words for piece in kept if piece.kind == "quote") > _MOST_QUOTED * size:
        return _QUOTED
    if size > 4 * STRETCH * target:
        return _UNBROKEN
    return _NOT_PROSE if _is_no_prose(text) else ""


def _is_no_prose(text: str) -> bool:
    """Whether most of a text is addresses and figures, or the same words again and again."""
    tokens = text.casefold().split()
    signs = text.count("/") + text.count("@") + len(_FIGURES.findall(text))
    if signs < 0.2 * len(tokens) and len(set(tokens)) - signs >= 0.3 * len(tokens):
        return False  # the bounds are wide: what follows looks at every character
    tokens = [token for token in tokens if any(c.isalnum() for c in token)]
    plain = sum(any(c.isalpha() for c in token) and "/" not in token and "@" not in token for token in tokens)
    repeats = len(tokens) >= 30 and len({token for token in tokens if not token[0].isdigit()}) < 0.12 * len(tokens)
    return plain < 0.6 * len(tokens) or repeats


def _without_ending(pieces: Sequence[_Piece], drops: Drops) -> Sequence[_Piece]:
    """The pieces without last sentences that take leave of the reader, or promise an enumeration that does not come."""
    last = pieces[-1]
    sentences = split_sentences(last.text) if last.kind == "paragraph" else []
    promises = announces(last.text) or (len(pieces) > 1 and is_label(last.text))
    reason = "" if not sentences else _FURNITURE if is_sign_off(sentences[-1]) else _LEAD_IN if promises else ""
    if not reason or (len(sentences) < 2 and (len(pieces) < 2 or reason == _FURNITURE)):
        return pieces
    drops.add(reason, sentences[-1])
    rest = last.text[: last.text.rindex(sentences[-1])].rstrip()
    if not rest:
        return _without_ending(pieces[:-1], drops)
    return _without_ending([*pieces[:-1], replace(last, text=rest, words=num_words(rest))], drops)


def _joined(pieces: Sequence[_Piece]) -> str:
    return "".join((piece.glue if number else "") + piece.text for number, piece in enumerate(pieces))


def _ending(pieces: Sequence[_Piece]) -> str:
    """The end of the pieces, for a prompt that asks to continue: whole sentences or items, as many as fit into 60 words."""
    parts: list[str] = []
    room = _MAX_BEFORE_WORDS
    for piece in reversed(pieces):
        split = split_sentences(piece.text) if piece.kind == "paragraph" else piece.text.split("\n")
        for part in reversed(split):
            part = re.sub(r"^(?:> |- )+", "", part)
            words = part.split()
            if len(words) > room:
                if not parts:
                    parts.append("… " + " ".join(words[-_MAX_BEFORE_WORDS:]))
                return quotable(" ".join(reversed(parts)))
            parts.append(part if piece.kind != "list" or part[-1:] in ".!?:;…" else part + ";")
            room -= len(words)
            if room < _MAX_BEFORE_WORDS - 25 and piece.kind == "paragraph":
                return quotable(" ".join(reversed(parts)))
    return quotable(" ".join(reversed(parts)))
