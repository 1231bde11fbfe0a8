"""Recorded speech to text: timed lines joined to paragraphs, and conversations of named people read as chats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.chat import Said, read_chats
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.metadata import stated_metadata, title_from_name
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import text_from_blocks
from tunesmith.data.text.words import num_words

__all__ = ["SpokenLine", "read_speech"]

_ENDS = re.compile(r"[.!?…][\"'”’»)\]]*$")
_PAUSE_S = 3.0
_PARAGRAPH_WORDS = 90
_NAMED_SHARE = 0.8  # of the lines, in a conversation whose speakers are all known


class SpokenLine(NamedTuple):
    """A line of speech; `speaker` is None where the file does not say, empty where another speaker begins without a name."""

    text: str
    speaker: str | None
    start: float
    end: float


def read_speech(
    lines: Sequence[SpokenLine], *, name: str, extraction: str, policy: Policy, language: str | None = None
) -> Reading:
    """What was said. A conversation of several people who are named is read as a chat: see `chat.read_chats`.

    Anything else is one document, of the one person who is named, if there is one. A paragraph ends where the speaker changes,
    after a silence of 3 s, or with the sentence that passes 90 words. UnreadableError if there are no words.
    """
    paragraphs = list(_paragraphs(lines))
    speakers = {line.speaker for line in lines if line.speaker}
    named = sum(bool(line.speaker) for line in lines)
    title, stated = title_from_name(name), stated_metadata({}, name)
    if len(speakers) > 1 and named >= _NAMED_SHARE * len(lines):
        said = [Said(speaker or "?", text, time=start, date=stated.date) for speaker, text, start in paragraphs]
        return read_chats([(title, said)], name=name, policy=policy)
    writer = BlockWriter()
    for speaker, text, _ in paragraphs:
        writer.paragraph(f"{speaker}: {text}" if speaker and len(speakers) > 1 else text)
    prose = text_from_blocks(writer.blocks)
    if not num_words(prose):
        raise UnreadableError("it holds no words")
    alone = next(iter(speakers)) if len(speakers) == 1 and named >= _NAMED_SHARE * len(lines) else None
    document = make_document(
        name=name,
        text=prose,
        title=title,
        author=alone,
        date=stated.date,
        date_origin=stated.date_origin,
        language=language,
        extraction=extraction,
    )
    return Reading(documents=(document,))


def _paragraphs(lines: Sequence[SpokenLine]) -> Iterator[tuple[str, str, float]]:
    """The speaker of each paragraph (empty: unknown), its text, and when it begins."""
    current: list[str] = []
    speaker, begins = "", 0.0
    last: SpokenLine | None = None
    size = 0
    for line in lines:
        changes = line.speaker is not None and (line.speaker == "" or line.speaker != speaker)
        paused = last is not None and line.start - last.end >= _PAUSE_S
        full = size >= _PARAGRAPH_WORDS and bool(_ENDS.search(current[-1]))
        if current and (changes or paused or full):
            yield speaker, " ".join(current), begins
            current, size = [], 0
        if not current:
            begins = line.start
        if changes:
            speaker = line.speaker or ""
        current.append(line.text)
        size += num_words(line.text)
        last = line
    if current:
        yield speaker, " ".join(current), begins
