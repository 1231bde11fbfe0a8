"""Subtitles (SRT, VTT, SBV) to speech: cues joined to paragraphs, speakers kept, timing, tags and repeated lines dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from typing import NamedTuple

from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.policy import EVERYBODY, Policy
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.ingest.speech import SpokenLine, read_speech
from tunesmith.data.text.decode import UnreadableError

__all__ = ["READER", "is_subtitles", "read_subtitles"]

_STAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^\s*{_STAMP}\s*(?:-->|,)\s*{_STAMP}(?:\s.*)?$")
_VOICE = re.compile(r"<v(?:\.[\w.-]+)*\s+([^<>]{1,80})>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<\d[\d:.]{3,20}>|</?>|\{\\[^{}]{1,80}\}")
_SOUND = re.compile(r"\[[^\[\]]{1,60}\]|【[^【】]{1,60}】|\([^()a-z]{2,60}\)|^[-–— ]*\([^()]{1,60}\)$|[♪♫][^♪♫]*[♪♫]|[♪♫]")
_NAMED = re.compile(r"^(?:>>+\s*|-\s*)?((?:[A-Z][\w.'’-]*)(?: (?:[A-Z0-9][\w.'’-]*)){0,3}):\s+(?=\S)")
_CHANGE = re.compile(r"^(?:>>+|[-–—])\s*(?=\w|[\"'“¿¡])")
_ROLLING_SHARE = 0.3


class _Cue(NamedTuple):
    """What is shown from `start` to `end` (s): its lines, tags still in them."""

    start: float
    end: float
    lines: tuple[str, ...]


def is_subtitles(head: str) -> bool:
    """Whether a file begins as WebVTT does, or with a timed cue within its first lines."""
    if head.lstrip("\ufeff").startswith("WEBVTT"):
        return True
    return any(_TIMING.match(line) and "-->" in line for line in head.lstrip("\ufeff\r\n").split("\n")[:3])


def read_subtitles(text: str, *, name: str, policy: Policy = EVERYBODY) -> Reading:
    """The speech in them, as `read_speech` reads it: several people who are named are a chat. UnreadableError without words.

    Lines that automatic captions repeat from cue to cue are kept once.
    """
    cues = list(_cues(text))
    if not cues:
        raise UnreadableError("it holds no timed cue with text")
    return read_speech(_spoken(cues), name=name, extraction="subtitles", policy=policy)


def _cues(text: str) -> Iterator[_Cue]:
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    position = 0
    while position < len(lines):
        timing = _TIMING.match(lines[position][:300])
        position += 1
        if not timing:
            continue
        shown: list[str] = []
        while position < len(lines) and not _TIMING.match(lines[position][:300]):
            if not lines[position].strip() and shown:
                break
            if lines[position].strip():
                shown.append(lines[position].strip())
            elif position + 1 < len(lines) and not lines[position + 1].strip():
                break  # two blank lines: an empty cue
            position += 1
        if shown and shown[-1].isdecimal() and position < len(lines) and _TIMING.match(lines[position][:300]):
            shown.pop()  # the number of the next cue, where no blank line stands before it
        numbers = timing.groups()
        if shown:
            yield _Cue(_seconds(numbers[:4]), _seconds(numbers[4:]), tuple(shown))


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, thousandths = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths.ljust(3, "0")) / 1000


def _spoken(cues: list[_Cue]) -> list[SpokenLine]:
    found: list[list[SpokenLine]] = []
    for cue in cues:
        speaker: str | None = None
        lines: list[SpokenLine] = []
        for raw in cue.lines:
            if voice := _VOICE.search(raw):
                speaker = " ".join(unescape(voice[1]).split())
            text = " ".join(_SOUND.sub(" ", unescape(_TAG.sub("", raw))).split())
            said = speaker
            if named := _NAMED.match(text):
                said, text = named[1], text[named.end() :]
            elif change := _CHANGE.match(text):
                said, text = said or "", text[change.end() :]
            if text and re.search(r"\w", text):
                lines.append(SpokenLine(text, said, cue.start, cue.end))
        if lines:
            found.append(lines)
    repeats = sum(_overlap([a.text for a in one], [b.text for b in two]) > 0 for one, two in pairwise(found))
    if repeats >= max(2, _ROLLING_SHARE * (len(found) - 1)):
        return _unrolled(found)
    return [line for lines in found for line in lines]


def _unrolled(cues: list[list[SpokenLine]]) -> list[SpokenLine]:
    """Each line once: a cue's head that repeats the tail of what was said is dropped, a line that grows replaces itself."""
    said: list[SpokenLine] = []
    for lines in cues:
        again = _overlap([line.text for line in said[-4:]], [line.text for line in lines])
        fresh = lines[again:]
        if fresh and said and not again and fresh[0].text.startswith(f"{said[-1].text} "):
            said.pop()
        said += fresh
    return said


def _overlap(before: list[str], after: list[str]) -> int:
    """How many lines the end of one and the beginning of the other share."""
    return next((n for n in range(min(len(before), len(after)), 0, -1) if before[-n:] == after[:n]), 0)


READER = Reader(
    kind="subtitles",
    read_chat=read_subtitles,
    suffixes=frozenset([".srt", ".vtt", ".sbv"]),
    first_lines=is_subtitles,
)
