"""Transcripts of speech: `Name  0:01` and `00:00:01 Name: …` (Otter, Zoom, Rev, Descript), and what Whisper writes as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.ingest.speech import SpokenLine, read_speech
from tunesmith.data.text.decode import UnreadableError

__all__ = ["READER", "is_transcript_json", "is_transcript_text", "read_transcript"]

_NAME = r"([^\W\d_][\w.'’\-]{0,40}(?: [\w.'’(&\-]{1,40}\)?){0,4})"
_CLOCK = r"[\[(]?((?:\d{1,3}:)?\d{1,2}:\d{2})(?:[.,]\d{1,3})?(?: ?[AP]M)?[\])]?"
# `Ada Byron  0:01` on a line of its own, the words below it.
_ABOVE = re.compile(
    rf"{_NAME}:?(?:(?:[ \t]{{2,}}|\t|[ \t]+[-–|][ \t]*|,[ \t]+|[ \t]?(?=[\[(])){_CLOCK}|[ \t](\d{{1,2}}:\d{{2}}:\d{{2}})):?$"
)
# `00:00:01 Ada Byron: words`; Zoom's chat has `From Ada Byron to Everyone:`, its words perhaps on the next line.
_BEFORE = re.compile(
    rf"{_CLOCK}[ \t]+(?:[-–][ \t]+)?(?:From[ \t]+)?{_NAME}(?:[ \t]+to[ \t]+[^:\n]{{1,60}}?)?[ \t]*:(?:[ \t]+(\S.*))?$",
)
# `Ada Byron [00:00:01]: words`.
_BETWEEN = re.compile(rf"{_NAME}[ \t]+[\[(]((?:\d{{1,3}}:)?\d{{1,2}}:\d{{2}})(?:[.,]\d{{1,3}})?[\])]:?[ \t]+(\S.*)$")
_PROBED_LINES, _FIRST_WITHIN = 80, 15
_MAX_LINE = 300
_MAX_JSON_BYTES = 100 * 1024 * 1024
_LISTS = ("segments", "transcription", "utterances", "monologues")


class _Turn(NamedTuple):
    """The line that begins a turn. `is_exact`: its time has hours, minutes and seconds."""

    speaker: str
    start: float
    words: str
    is_exact: bool


def is_transcript_text(head: str) -> bool:
    """Whether a file soon comes to turns with a time and a speaker: in rising order, with words, and of people who speak again.

    A timetable or a diary (`Lunch  12:30`) has times too, but each of its names comes once.
    """
    lines = [line.strip() for line in head.lstrip("\ufeff").split("\n") if line.strip()][:_PROBED_LINES]
    found = [_turn(line) for line in lines]
    places = [number for number, turn in enumerate(found) if turn]
    turns = [turn for turn in found if turn]
    if len(turns) < 2 or places[0] > _FIRST_WITHIN or len(turns) < 0.1 * (len(lines) - places[0]):
        return False
    rising = sum(later.start >= earlier.start for earlier, later in pairwise(turns))
    followed = [number for number in places if number + 1 < len(found) and not found[number + 1]]
    num_worded = len({*followed, *(number for number, turn in enumerate(found) if turn and turn.words)})
    again = len({turn.speaker for turn in turns}) < len(turns) or all(turn.is_exact for turn in turns)
    return again and rising >= 0.9 * (len(turns) - 1) and num_worded >= 0.7 * (len(turns) - 1)


def is_transcript_json(data: bytes) -> bool:
    """Whether JSON is what a recogniser of speech writes: one object with a list of timed pieces of text."""
    if data.lstrip()[:1] != b"{" or len(data) > _MAX_JSON_BYTES or not any(f'"{key}"'.encode() in data for key in _LISTS):
        return False
    try:
        return bool(_pieces(orjson.loads(data)))
    except orjson.JSONDecodeError:
        return False  # lines of JSON, or none


def read_transcript(text: str, *, name: str, policy: Policy) -> Reading:
    """What was said, as `read_speech` reads it: people are numbered, and with names in `policy` their turns are answers."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        value = orjson.loads(text)
        lines = list(_from_json(_pieces(value)))
        language = value.get("language") if isinstance(value.get("language"), str) else None
    else:
        lines, language = list(_from_text(text)), None
    if not lines:
        raise UnreadableError("it holds no words")
    return read_speech(lines, name=name, extraction="transcript", policy=policy, language=language)


def _turn(line: str) -> _Turn | None:
    """What a line that begins a turn says."""
    line = line[:_MAX_LINE]
    for pattern, clock, name, words in ((_BEFORE, 1, 2, 3), (_BETWEEN, 2, 1, 3), (_ABOVE, 2, 1, 0)):
        if found := pattern.match(line):
            stated = found[clock] or found[3]
            speaker = " ".join(found[name].rstrip(" -–").split())
            if " to " in speaker and "From" in line:  # `From Ada Byron to Everyone:` in a chat of Zoom
                speaker = speaker.partition(" to ")[0]
            return _Turn(speaker, _seconds(stated), (found[words] or "") if words else "", stated.count(":") == 2)
    return None


def _seconds(clock: str) -> float:
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _from_text(text: str) -> Iterator[SpokenLine]:
    """Each turn as one line; what comes before the first (a title, a summary, key words) is no speech."""
    speaker, start, words = "", 0.0, list[str]()
    for line in text.lstrip("\ufeff").replace("\r\n", "\n").split("\n"):
        stripped = line.strip()
        turn = _turn(stripped)
        if turn is None:
            words += [stripped] if stripped and speaker else []
            continue
        if words:
            yield SpokenLine(" ".join(words), speaker, start, start)
        speaker, start = turn.speaker, turn.start
        rest = stripped[stripped.find(turn.words) :] if turn.words else ""
        words = [rest] if rest else []
    if words:
        yield SpokenLine(" ".join(words), speaker, start, start)


def _pieces(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return []
    listed: list[Any] = next((value[key] for key in _LISTS if isinstance(value.get(key), list)), [])
    pieces = [piece for piece in listed if isinstance(piece, Mapping) and isinstance(piece.get("text"), str)]
    timed = all("start" in piece or "timestamps" in piece or "offsets" in piece for piece in pieces[:20])
    return pieces if timed and len(pieces) == len(listed) else []


def _from_json(pieces: list[Mapping[str, Any]]) -> Iterator[SpokenLine]:
    for piece in pieces:
        offsets = piece.get("offsets")
        start, end = piece.get("start"), piece.get("end")
        if isinstance(offsets, Mapping):  # in milliseconds
            start, end = (at / 1000 if isinstance(at := offsets.get(key), int) else None for key in ("from", "to"))
        begins = float(start) if isinstance(start, int | float) else 0.0
        speaker = piece.get("speaker")
        text = " ".join(str(piece["text"]).split())
        if text:
            yield SpokenLine(
                text,
                f"Voice {speaker}" if isinstance(speaker, int) else speaker if isinstance(speaker, str) else None,
                begins,
                float(end) if isinstance(end, int | float) else begins,
            )


READER = Reader(kind="transcript", read_chat=read_transcript, first_bytes=is_transcript_json, first_lines=is_transcript_text)
