"""Chats saved as text, one message a line with its date and author: WhatsApp in its many styles, Signal."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from tunesmith.data.ingest.chat import Said, read_chats
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.text.decode import UnreadableError

__all__ = ["is_chat_text", "read_chat_text"]

_DATE = r"(\d{1,4})[./\-](\d{1,2})[./\-](\d{1,4})"
_BETWEEN = r",?(?:\s(?:à|at|um|om|kl\.?|klo|às|a\ las|alle(?:\ ore)?))?\s+"
_TIME = r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?\s*([AaPp])?\.?\s?(?:[Mm]\.?)?"
_LINE = re.compile(rf"^[\u200e\u200f]*(?:\[{_DATE}{_BETWEEN}{_TIME}\]\s*|{_DATE}{_BETWEEN}{_TIME}\s+[-–]\s+)(.*)$", re.DOTALL)
_AUTHOR = re.compile(r"^([^:\n]{1,80}):(?:\s+|(?=\S)|$)(.*)$", re.DOTALL)
_MARKS = dict.fromkeys([0x200E, 0x200F, 0x202A, 0x202C])
# WhatsApp sets a mark of direction before what it says itself, whatever its language: a picture left out, a message deleted.
_NOTICE = re.compile(r"^(?:(?!:\s).)*:\s\u200e")
_EDITED = re.compile(r"\s*(?:\u200e<[^<>\n]{4,80}>|<[^<>\n]{3,60}\s[^<>\n]{3,60}>)\s*$")
_ATTACHED = re.compile(r"^\s*(?:<[^<>\n]{3,60}>|[^\n]*\.\w{2,4} \([^()\n]{5,40}\))[ \t]*(?:\n|$)")
_CALLED = re.compile(r"@\u2068([^\u2069\n]{1,80})\u2069|@(\d{8,15})\b")
_NUMBER = re.compile(r"~?\s*\+?[\d\s().-]{7,}")
_PROBED_LINES = 30
_LONGEST = 100_000


class _Stamped(NamedTuple):
    """A message with the three numbers of its date, whose order is not known yet."""

    date: tuple[int, int, int]
    clock: tuple[int, int, int]
    author: str
    text: str


def is_chat_text(head: str) -> bool:
    """Whether the first line is a dated message with an author, and no line before it is anything else."""
    lines = [line for line in head.lstrip("\ufeff").split("\n")[:_PROBED_LINES] if line.strip()]
    dated = [match for line in lines if (match := _LINE.match(line.rstrip("\r")))]
    return bool(dated) and _LINE.match(lines[0]) is not None and any(_AUTHOR.match(match[match.re.groups]) for match in dated)


def read_chat_text(text: str, *, name: str, policy: Policy) -> Reading:
    """The chat of one file: see `chat.read_chat`. Lines without a date belong to the message above; notices are left out.

    Whether 03/04/2023 is in March or April is settled by the other dates of the file; if they cannot settle it, by their order;
    otherwise dates are unknown.
    """
    stamped = list(_messages(text))
    if not stamped:
        raise UnreadableError("it holds no message of a chat")
    order = _order([one.date for one in stamped])
    known = {one.author.lstrip("~ ") for one in stamped} | {alias for one in stamped for alias in _aliases(one.author)}
    said = []
    for one in stamped:
        when = _when(one, order)
        said.append(
            Said(
                one.author,
                _text(one.text, known),
                aliases=_aliases(one.author),
                time=when.timestamp() if when else None,
                date=when.date().isoformat() if when else None,
            )
        )
    return read_chats([(None, said)], name=name, policy=policy)


def _aliases(author: str) -> tuple[str, ...]:
    """The digits of a number: where somebody without a name in the address book is called, only they stand."""
    return (re.sub(r"\D", "", author),) if _NUMBER.fullmatch(author) else ()


def _text(text: str, known: Collection[str]) -> str:
    """What was typed: without notes on attached files, and without the names of people who are called and say nothing."""
    text = _ATTACHED.sub("", text)

    def called(match: re.Match[str]) -> str:
        name = (match[1] or match[2]).strip("~ ")
        return f"@{name}" if name in known else "@Somebody"

    return _CALLED.sub(called, text).replace("\u2068", "").replace("\u2069", "")


def _messages(text: str) -> Iterator[_Stamped]:
    current: _Stamped | None = None
    more: list[str] = []
    for line in text.lstrip("\ufeff").replace("\r\n", "\n").split("\n"):
        is_notice = _NOTICE.match(line) is not None if len(line) < _LONGEST else False
        line = (_EDITED.sub("", line) if len(line) < _LONGEST and not _ATTACHED.fullmatch(line) else line).translate(_MARKS)
        match = _LINE.match(line.replace("\u202f", " ").replace("\u00a0", " ")) if len(line) < _LONGEST else None
        if match is None:
            more.append(line)
            continue
        if current is not None:
            yield current._replace(text="\n".join([current.text, *more]))
        more = []
        groups = match.groups()
        date, clock = (groups[:3], groups[3:7]) if groups[0] else (groups[7:10], groups[10:14])
        author = _AUTHOR.match(groups[14])  # a line without one is a notice: somebody was added, a call was missed
        current = (
            _Stamped(_numbers(date), _clock(clock), " ".join(author[1].split()), author[2])
            if author and not is_notice
            else None
        )
    if current is not None:
        yield current._replace(text="\n".join([current.text, *more]))


def _numbers(parts: tuple[str | None, ...]) -> tuple[int, int, int]:
    first, second, third = (int(part or 0) for part in parts)
    return first, second, third


def _clock(parts: tuple[str | None, ...]) -> tuple[int, int, int]:
    hour, minute, second = _numbers(parts[:3])
    half = (parts[3] or "").lower()
    if half == "p" and hour < 12:
        hour += 12
    return (0 if half == "a" and hour == 12 else hour), minute, second


def _order(dates: list[tuple[int, int, int]]) -> str:
    """`ymd`, `dmy` or `mdy`, or nothing if both of the latter fit equally well."""
    if all(first > 31 for first, _, _ in dates):
        return "ymd"
    day_first = all(second <= 12 for _, second, _ in dates)
    month_first = all(first <= 12 for first, _, _ in dates)
    if day_first != month_first:
        return "dmy" if day_first else "mdy"
    as_days = [(year, second, first) for first, second, year in dates]
    as_months = [(year, first, second) for first, second, year in dates]
    rising_days, rising_months = as_days == sorted(as_days), as_months == sorted(as_months)
    if day_first and rising_days != rising_months:
        return "dmy" if rising_days else "mdy"
    return ""


def _when(one: _Stamped, order: str) -> datetime | None:
    if not order:
        return None
    year, month, day = (one.date[order.index(part)] for part in "ymd")
    try:
        return datetime(year + 2000 if year < 100 else year, month, day, *one.clock, tzinfo=UTC)
    except ValueError:
        return None  # the 31st of a month that has none: the message is worth more than its date
