"""The text export of Movable Type, TypePad and the blog hosts that copied it: entries with their state, without comments."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.containers.wordpress import with_paragraphs
from tunesmith.data.ingest.item import Facts, Kind
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, line
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_BEGIN = re.compile(rb"\s*(?:\xef\xbb\xbf)?(?:AUTHOR|TITLE|BASENAME|STATUS|DATE|UNIQUE URL|ALLOW COMMENTS): ?")
_BODY = re.compile(rb"^-----\r?\nBODY:", re.MULTILINE)
_ENTRY = re.compile(r"^--------[ \t]*$", re.MULTILINE)
_PART = re.compile(r"^-----[ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"([A-Z][A-Z ]+):[ \t]*(.*)$")
_US_DAY = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})\b")
_STATUS: dict[str, Status] = {"publish": "published", "published": "published", "future": "scheduled"}
_HTML_BODY = frozenset(["0", "", "richtext", "none"])


def _is_export(name: str, head: bytes) -> bool:
    return bool(_BEGIN.match(head) and _BODY.search(head))


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    text = decode(tree.read(name)).replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    entries = [entry for entry in _ENTRY.split(text) if entry.strip()]
    if not entries:
        raise UnreadableError("it holds no entry")
    for number, entry in enumerate(entries, 1):
        head, *parts = _PART.split(entry)
        fields = {match[1]: match[2] for row in head.split("\n") if (match := _FIELD.match(row))}
        bodies = {kind: body for kind, body in (_named(part) for part in parts) if kind in {"BODY", "EXTENDED BODY"}}
        others = sum(_named(part)[0] in {"COMMENT", "PING"} for part in parts)
        yield LeftOut(reason="comments and pings left out", count=others)
        content, kind = _content("\n\n".join(bodies.values()), fields.get("CONVERT BREAKS", "0").strip().lower())
        yield Text(name=line(fields.get("BASENAME")) or str(number), content=content, kind=kind, facts=_facts(fields, policy))


def _named(part: str) -> tuple[str, str]:
    kind, _, body = part.lstrip("\n").partition(":")
    return kind.strip(), body.strip()


def _content(body: str, converted: str) -> tuple[str, Kind]:
    if converted.startswith(("markdown", "wiki")):
        return body, "markdown"
    return (body if converted in _HTML_BODY else with_paragraphs(body)), "fragment"


def _facts(fields: dict[str, str], policy: Policy) -> Facts:
    date = fields.get("DATE", "")
    if american := _US_DAY.match(date.strip()):
        date = f"{american[3]}-{int(american[1]):02}-{int(american[2]):02}"
    status: Status = _STATUS.get(fields.get("STATUS", "publish").strip().lower(), "draft")
    return Facts(
        title=line(fields.get("TITLE")),
        url=line(fields.get("UNIQUE URL")) or line(fields.get("PERMALINK")),
        author=policy.named(line(fields.get("AUTHOR")), line(fields.get("AUTHOR EMAIL"))),
        date=day(date),
        status="protected" if fields.get("PASSWORD", "").strip() else status,
    )


CONTAINER = Container(
    name="movable_type",
    title="a Movable Type or TypePad export",
    taken="entries and their extended bodies, with title, author, date and address",
    left_out="drafts, scheduled entries; comments, pings, excerpts, keywords",
    file=_is_export,
    suffixes=frozenset([".txt", ".mt", ".text"]),
    entries=_entries,
)
