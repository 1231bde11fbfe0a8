"""Folders of mail (Google Takeout, Apple Mail, Thunderbird, maildir, .eml files): read together, as one says what was sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tunesmith.data.ingest.container import Broken, Container, Entry, File, LeftOut, Text
from tunesmith.data.ingest.mail_places import place_of_path
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_MAIL = (".mbox", ".mbx", ".eml", ".emlx")
_MAILDIR = re.compile(r"(?:.*/)?(?:cur|new)/(\d{6,}[^/]*?)(?:[:!;]2,([A-Za-z]*))?")
_LISTS = re.compile(
    r"(?:.*\.mbox/)?table_of_contents|.*\.partial\.emlx|(?:.*/)?(?:msgFilterRules\.dat|filterlog\.html|popstate\.dat)"
)


def _claimed(tree: Tree) -> Collection[str]:
    """All mail below a folder, so that it is found from the root of a source on. One file by itself needs no container."""
    mails = [name for name in tree.names if _is_mail(tree, name)]
    if len(mails) < 2:
        return ()
    return {*mails, *(name for name in tree.names if name.endswith(".msf") or _LISTS.fullmatch(name))}


def _is_mail(tree: Tree, name: str) -> bool:
    folder, _, last = name.rpartition("/")
    if last.lower().endswith(_MAIL) and ".partial." not in last:
        return True
    is_named = "." not in last and bool(place_of_path(last))  # `Inbox` and `Sent` of Thunderbird, copied without their lists
    if is_named or f"{name}.msf" in tree or (last == "mbox" and folder.endswith(".mbox")):
        return tree.head(name, 5) == b"From "
    return _MAILDIR.fullmatch(name) is not None and b":" in tree.head(name, 200)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    mails = [name for name in tree.names if _is_mail(tree, name)]
    yield LeftOut(reason="lists of a mail program left out", count=len(tree.names) - len(mails))
    places = {name: place_of_path(name) for name in mails}
    only_sent = not policy.own and "sent" in places.values()
    for name in sorted(part for part in tree.hidden if place_of_path(part) == "sent" and "/" not in part):
        yield Broken(name=name, reason="a mail folder whose name begins with a dot is hidden; copy it to a folder named Sent")
    for name in mails:
        if places[name] == "spam":
            yield LeftOut(reason="files of spam left out")
        elif only_sent and places[name] not in ("sent", "draft"):
            yield LeftOut(reason="files of received mail left out")
        elif (flags := _MAILDIR.fullmatch(name)) is None:
            yield File(name=name, kind="mail")
        else:
            yield _of_maildir(tree, name, flags[2] or "")


def _of_maildir(tree: Tree, name: str, flags: str) -> Entry:
    """Maildir keeps what became of a mail in the name of its file: D for a draft, T for the trash."""
    text = tree.read(name)
    if "T" in flags:
        return LeftOut(reason="deleted texts left out")
    return Text(name=name, content=text, kind="mail", facts={"status": "draft"} if "D" in flags else {})


CONTAINER = Container(
    name="mailbox",
    title="a folder of mail",
    taken="mails of the senders named in `me` or `authors`; without those, what labels or folders call sent; with "
    "subject, date and thread",
    left_out="mails of others, drafts, spam, trash, automatic mails; quotations, forwarded mails, sign-offs, signatures "
    "and addresses",
    folder=_claimed,
    entries=_entries,
)
