"""A chat that WhatsApp exported with its media: the text of the chat alone, no file that somebody sent in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tunesmith.data.ingest.chat_text import is_chat_text
from tunesmith.data.ingest.container import Container, Entry, File, LeftOut
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_CHAT = re.compile(r"_chat\.txt|[^/]*WhatsApp[^/]*\.txt", re.IGNORECASE)
_SENT = re.compile(r"\d{8}-.+|(?:IMG|VID|AUD|PTT|STK|DOC)-\d{8}-WA\d+.*", re.IGNORECASE)


def _claimed(tree: Tree) -> Collection[str]:
    chats = [name for name in tree.files if _CHAT.fullmatch(name) and _is_chat(tree, name)]
    if not chats:
        return ()
    others = [name for name in tree.files if name not in chats]
    named = b"".join(tree.read(name) for name in chats) if any(not _SENT.fullmatch(name) for name in others) else b""
    return {*chats, *(name for name in others if _SENT.fullmatch(name) or name.encode() in named)}


def _is_chat(tree: Tree, name: str) -> bool:
    head = tree.head(name, 8192)
    for cut in range(4):  # the last character may be cut
        try:
            return is_chat_text(decode(head[: len(head) - cut]))
        except UnreadableError:
            continue
    return False


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    chats = [name for name in tree.names if _CHAT.fullmatch(name)]
    yield LeftOut(reason="files sent in a chat left out", count=len(tree.names) - len(chats))
    for name in chats:
        yield File(name=name, kind="chat")


CONTAINER = Container(
    name="whatsapp",
    title="a chat of WhatsApp",
    taken="the chat as documents, names replaced; with `me` your answers",
    left_out="the files that were sent in it",
    folder=_claimed,
    entries=_entries,
)
