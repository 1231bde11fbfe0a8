"""Mailboxes (mbox) and single messages (eml) to documents: what the sender wrote, without quoted replies and signatures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from email.utils import parseaddr, parsedate_to_datetime
from mmap import mmap
from typing import NamedTuple

from tunesmith.core.records import Document, Failure, Status, digest
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.mail_places import Place, place_of, place_of_path
from tunesmith.data.ingest.mail_words import own_part, subject_of, without_marked
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.personal import owner
from tunesmith.data.ingest.policy import EVERYBODY, Policy
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks
from tunesmith.data.text.words import num_words

__all__ = ["READER", "is_mail", "read_mail"]

_FROM = re.compile(rb"(?:\A|\n\r?\n)From [^\r\n]{1,500}\d{4}[^\r\n]{0,20}\r?\n")
_BLANK = re.compile(rb"\r?\n\r?\n")
_PARSER = BytesParser(policy=default)
_MAX_MESSAGE_BYTES = 20 * 1024 * 1024
_MAX_LISTED = 20
_MIN_WORDS = 5
_SHORT = "mails with under five words of their own left out"
_STATUS: dict[Place, Status] = {"draft": "draft", "trash": "deleted"}
_ROBOT = re.compile(
    r"(?:no|do[-_.]?not)[-_.]?reply|mailer-daemon|postmaster|notifications?|bounces?|auto(?:mailer|reply)", re.I
)
_DELETED_FLAG = 0x0008  # of X-Mozilla-Status: deleted, and the file not compacted yet
_OTHERS = "mails of other senders left out"
_AUTOMATIC = "automatic mails left out"
_SPAM = "spam left out"
# What the library raises on messages that nobody foresaw: the message's fault, not ours.
_PARSER_ERRORS = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


def is_mail(data: bytes) -> bool:
    """Whether bytes begin as a mailbox does: a line that begins with `From ` and ends with a year."""
    return data.startswith(b"From ") and _FROM.match(data[:1000]) is not None


def read_mail(data: bytes | mmap, *, name: str, policy: Policy = EVERYBODY) -> Reading:
    """One document a message, with subject, sender's name, date, state and thread; plain text is preferred to HTML.

    Whose mails: those of the senders in `policy`; without any, those that labels or folders call sent, with drafts; where none
    says so, everybody's. Spam, automatic mails, and messages with under five words of their own are left out, and noted.
    At most twenty that cannot be read are named. Of a file that is mapped into memory one message at a time is read: a first
    pass over their heads says whose they are. No address is kept but one that the user named. UnreadableError if no message
    could be read.
    """
    documents: list[Document] = []
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    mails: list[_Mail] = []
    data = _without_size(data)
    for number, (start, end) in enumerate(_messages(data), 1):
        try:
            mails.append(_mail(data, start, end, number, place_of_path(name)))
        except UnreadableError as error:
            failures.append(Failure(source=name, reason=f"message {number}: {error}"))
    wanted = _wanted(mails, policy)
    for mail in mails:
        if reason := _why_not(mail, wanted, policy):
            notes[reason] += 1
            continue
        try:
            document = _document(mail, data[mail.start : mail.end], name, policy, notes)
        except UnreadableError as error:
            failures.append(Failure(source=name, reason=f"message {mail.number}: {error}"))
            continue
        if document is not None:
            documents.append(document)
    failures.sort(key=lambda failure: int(failure.reason.split()[1].rstrip(":")))
    if not documents and not notes.keys() - {_SHORT}:
        raise UnreadableError(failures[0].reason if failures else "no message in it holds five words of its own")
    if len(failures) > _MAX_LISTED:
        more = f"and {len(failures) - _MAX_LISTED} more messages that cannot be read"
        failures = [*failures[:_MAX_LISTED], Failure(source=name, reason=more)]
    return Reading(documents=tuple(documents), failures=tuple(failures), notes=dict(notes))


def _without_size(data: bytes | mmap) -> bytes | mmap:
    """A message of Apple Mail (.emlx) stands between a line with its size and a list of properties."""
    size = re.match(rb"\s*(\d{1,9})[ \t]*\r?\n", data[:50])
    return data[size.end() : size.end() + int(size[1])] if size else data


def _messages(data: bytes | mmap) -> Iterator[tuple[int, int]]:
    """Where each message lies: a mailbox is cut where a line that begins with `From ` follows a blank one; anything else is
    one message."""
    start = -1
    for mark in _FROM.finditer(data):
        if start < 0 and mark.start() != 0:
            break
        if start >= 0:
            yield start, mark.start()
        start = mark.end()
    yield max(start, 0), len(data)


class _Mail(NamedTuple):
    """Where a message lies, and what its head says: who sent it, where it was kept, whether a machine wrote it (`is_robot`)
    and sent it by itself."""

    number: int
    start: int
    end: int
    name: str
    address: str
    place: Place
    is_robot: bool
    sends_itself: bool


def _mail(data: bytes | mmap, start: int, end: int, number: int, place: Place) -> _Mail:
    if end - start > _MAX_MESSAGE_BYTES:
        raise UnreadableError("it is larger than 20 MB")
    try:
        message = _PARSER.parsebytes(_head(data[start:end]), headersonly=True)
        sender, address = parseaddr(_header(message, "from"))
        labels = _header(message, "x-gmail-labels")
        flags = _header(message, "x-mozilla-status").strip()
        robot, alone = _is_automatic(message, address), _sends_itself(message)
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"it cannot be parsed ({type(error).__name__})") from error
    if re.fullmatch(r"[0-9a-fA-F]{1,8}", flags) and int(flags, 16) & _DELETED_FLAG:
        place = "trash"
    stated = place_of(labels.split(",")) or ("received" if labels else place)
    return _Mail(number, start, end, " ".join(sender.split()), address, stated, robot, alone)


def _head(raw: bytes) -> bytes:
    """A message up to its first blank line; blank lines before the first header are skipped."""
    end = _BLANK.search(raw, len(raw) - len(raw.lstrip(b"\r\n")))
    return raw[: end.end()] if end else raw


def _header(message: EmailMessage, key: str) -> str:
    return _valid(str(message.get(key, "")))


def _is_automatic(message: EmailMessage, address: str) -> bool:
    is_bulk = _header(message, "precedence").strip().lower() in ("bulk", "junk", "auto_reply") and "list-post" not in message
    is_letter = "list-unsubscribe" in message and "list-post" not in message
    return _sends_itself(message) or is_bulk or is_letter or _ROBOT.search(address.partition("@")[0]) is not None


def _sends_itself(message: EmailMessage) -> bool:
    return _header(message, "auto-submitted").strip().lower() not in ("", "no") or "x-autoreply" in message


class _Wanted(NamedTuple):
    """Whose mails are taken: of those whom the user names (`by_name`) and of these addresses; everybody's if neither is set."""

    by_name: bool
    addresses: frozenset[str]


def _wanted(mails: Sequence[_Mail], policy: Policy) -> _Wanted:
    """A person writes under one address with several names: whose address it is, one mail says for all."""
    named = [mail for mail in mails if policy.own and (mail.name or mail.address) and policy.is_own(mail.name, mail.address)]
    own = named or [mail for mail in mails if mail.place == "sent"]
    addresses = frozenset(mail.address.casefold() for mail in own if mail.address)
    return _Wanted(bool(named) or (bool(policy.own) and not addresses), addresses)


def _why_not(mail: _Mail, wanted: _Wanted, policy: Policy) -> str:
    if mail.place == "spam":
        return _SPAM
    is_own = mail.address.casefold() in wanted.addresses or (wanted.by_name and policy.is_own(mail.name, mail.address))
    if (wanted.by_name or wanted.addresses) and not is_own:
        return _OTHERS
    is_known = mail.place == "sent" or wanted.by_name  # people send newsletters too, but never what sends itself
    return _AUTOMATIC if mail.is_robot and not (is_known and not mail.sends_itself) else ""


def _document(mail: _Mail, raw: bytes, name: str, policy: Policy, notes: Counter[str]) -> Document | None:
    try:
        message = _PARSER.parsebytes(raw)
        text = _valid(text_from_blocks(_own_blocks(message, mail.name)))
        subject, language = _header(message, "subject"), _header(message, "content-language")
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"it cannot be parsed ({type(error).__name__})") from error
    if num_words(text) < _MIN_WORDS:
        notes[_SHORT] += 1
        return None
    status: Status = _STATUS.get(mail.place, "published")
    return make_document(
        name=name,
        text=text,
        title=subject_of(subject),
        author=owner(policy, mail.name, mail.address),
        date=_day(message),
        status=status,
        thread=_thread(message),
        language=language.split(",")[0].strip() or None,
        extraction="mail",
    )


def _thread(message: EmailMessage) -> str | None:
    """The conversation, as a hash: the identifiers of mails hold addresses."""
    ids = re.findall(r"<[^<>]+>", f"{_header(message, 'references')} {_header(message, 'in-reply-to')}")
    first = _header(message, "x-gm-thrid") or next(iter(ids), "") or _header(message, "message-id").strip()
    return digest("mail", first)[:16] if first else None


def _own_blocks(message: EmailMessage, sender: str) -> list[Block]:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return []
    content = part.get_content()
    if not isinstance(content, str):
        return []
    if part.get_content_type() == "text/html":
        written = text_from_blocks(fragment_blocks(without_marked(content)))
    else:
        written = content.replace("\r\n", "\n")
    writer = BlockWriter()
    for paragraph in re.split(r"\n[^\S\n]*\n", own_part(written, sender=sender)):
        lines = [line.strip() for line in paragraph.split("\n") if line.strip()]
        wrapped = len(lines) > 1 and sum(map(len, lines[:-1])) / (len(lines) - 1) > 55
        writer.paragraph((" " if wrapped else "\n").join(lines))
    return writer.blocks


def _valid(text: str) -> str:
    """Raw bytes in a header come as lone surrogates, which no JSON can hold."""
    return text.encode("utf-8", "replace").decode()


def _day(message: EmailMessage) -> str | None:
    try:
        return parsedate_to_datetime(str(message.get("date", ""))).date().isoformat()
    except _PARSER_ERRORS:
        return None


READER = Reader(kind="mail", read_voices=read_mail, first_bytes=is_mail, suffixes=frozenset([".mbox", ".eml", ".emlx"]))
