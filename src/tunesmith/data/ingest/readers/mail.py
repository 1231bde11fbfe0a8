"""Mailboxes (mbox) and single messages (eml) to documents: what the sender wrote, without quoted replies and signatures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import parseaddr, parsedate_to_datetime

from tunesmith.core.records import Document, Failure
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks
from tunesmith.data.text.words import num_words

__all__ = ["READER", "is_mail", "read_mail"]

_FROM = re.compile(rb"(?:\A|\n\r?\n)From [^\r\n]{1,500}\d{4}[^\r\n]{0,20}\r?\n")
_MAX_MESSAGE_BYTES = 20 * 1024 * 1024
_MAX_LISTED = 20
_MIN_WORDS = 5
_WROTE = re.compile(
    r"^(?:on|am|le|el|il) .{5,200}(?:wrote|schrieb|a écrit|escribió|ha scritto)[^\n]{0,80}:\s*$", re.IGNORECASE | re.MULTILINE
)
_WROTE_IN_TWO = re.compile(r"^(On [^\n]{5,120})\n([^\n]{0,120}wrote:[ \t]*)$", re.MULTILINE)
_CUT = re.compile(
    r"^(?:-- ?|-{3,} ?(?:original message|forwarded message|ursprüngliche nachricht).*|begin forwarded message:"
    r"|sent from my \w.*|get outlook for .*)$",
    re.IGNORECASE | re.MULTILINE,
)
_OUTLOOK = re.compile(r"^\*?From:\*? [^\n]+\n\*?(?:Sent|Date|To):\*? ", re.MULTILINE)
_RULE = re.compile(r"^_{10,}[ \t]*$", re.MULTILINE)  # of Outlook only where a head follows; newsletters draw such lines too
_RULE_AND_HEAD = re.compile(rf"{_RULE.pattern}(?:\n[^\n]*){{0,3}}?\n\*?(?:From|Von|De|Da|Van|Från):\*? [^\n]", re.MULTILINE)
_SUBJECT = re.compile(r"^(?:(?:re|aw|sv|fwd?|wg|tr)(?:\[\d+\])?:\s*)+", re.IGNORECASE)
# What the library raises on messages that nobody foresaw: the message's fault, not ours.
_PARSER_ERRORS = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


def is_mail(data: bytes) -> bool:
    """Whether bytes begin as a mailbox does: a line that begins with `From ` and ends with a year."""
    return data.startswith(b"From ") and _FROM.match(data[:1000]) is not None


def read_mail(data: bytes, *, name: str) -> Reading:
    """One document a message, with subject, sender's name and date; plain text is preferred to HTML.

    Messages with under five words of their own are left out, and noted. At most twenty that cannot be read are named. Addresses
    are never kept. UnreadableError if no message holds words.
    """
    documents: list[Document] = []
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    for number, raw in enumerate(_messages(data), 1):
        try:
            document = _document(raw, name, notes)
        except UnreadableError as error:
            failures.append(Failure(source=name, reason=f"message {number}: {error}"))
            continue
        if document is not None:
            documents.append(document)
    if not documents:
        raise UnreadableError(failures[0].reason if failures else "no message in it holds five words of its own")
    if len(failures) > _MAX_LISTED:
        more = f"and {len(failures) - _MAX_LISTED} more messages that cannot be read"
        failures = [*failures[:_MAX_LISTED], Failure(source=name, reason=more)]
    return Reading(documents=tuple(documents), failures=tuple(failures), notes=dict(notes))


def _messages(data: bytes) -> Iterator[bytes]:
    """A mailbox is cut where a line that begins with `From ` follows a blank one; anything else is one message."""
    marks = list(_FROM.finditer(data))
    if not marks or marks[0].start() != 0:
        yield data
        return
    ends = [mark.start() for mark in marks[1:]] + [len(data)]
    for mark, end in zip(marks, ends, strict=True):
        yield data[mark.end() : end]


def _document(raw: bytes, name: str, notes: Counter[str]) -> Document | None:
    if len(raw) > _MAX_MESSAGE_BYTES:
        raise UnreadableError("it is larger than 20 MB")
    try:
        message = message_from_bytes(raw, policy=policy.default)
        blocks = _own_blocks(message)
        subject, sender = (_valid(str(message.get(header, ""))) for header in ("subject", "from"))
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"it cannot be parsed ({type(error).__name__})") from error
    text = _valid(text_from_blocks(blocks))
    if num_words(text) < _MIN_WORDS:
        notes["mails with under five words of their own left out"] += 1
        return None
    author = " ".join(parseaddr(sender)[0].split())
    return make_document(
        name=name,
        text=text,
        title=_SUBJECT.sub("", " ".join(subject.split())) or None,
        author=author if author and "@" not in author else None,
        date=_day(message),
        extraction="mail",
    )


def _own_blocks(message: EmailMessage) -> list[Block]:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return []
    content = part.get_content()
    if not isinstance(content, str):
        return []
    if part.get_content_type() == "text/html":
        written = text_from_blocks(block for block in fragment_blocks(content) if block.kind != "quote")
    else:
        written = content.replace("\r\n", "\n")
    writer = BlockWriter()
    for paragraph in re.split(r"\n[^\S\n]*\n", _own(written)):
        lines = [line.strip() for line in paragraph.split("\n") if line.strip()]
        wrapped = len(lines) > 1 and sum(map(len, lines[:-1])) / (len(lines) - 1) > 55
        writer.paragraph((" " if wrapped else "\n").join(lines))
    return writer.blocks


def _own(text: str) -> str:
    """What the sender wrote: up to a signature or a forwarded message, without quotations and the lines that announce them."""
    text = _WROTE_IN_TWO.sub(r"\1 \2", text)
    ends = [match.start() for pattern in (_CUT, _OUTLOOK, _RULE_AND_HEAD) if (match := pattern.search(text))]
    text = text[: min(ends)] if ends else text
    kept = [line for line in _RULE.sub("", text).split("\n") if not line.lstrip().startswith(">")]
    return _WROTE.sub("", "\n".join(kept))


def _valid(text: str) -> str:
    """Raw bytes in a header come as lone surrogates, which no JSON can hold."""
    return text.encode("utf-8", "replace").decode()


def _day(message: EmailMessage) -> str | None:
    try:
        return parsedate_to_datetime(str(message.get("date", ""))).date().isoformat()
    except _PARSER_ERRORS:
        return None


READER = Reader(kind="mail", read=read_mail, first_bytes=is_mail, suffixes=frozenset([".mbox", ".eml"]))
