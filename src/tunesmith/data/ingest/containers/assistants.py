"""The exports of ChatGPT and Claude: their conversations alone, without the page that repeats them, settings and projects."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

from tunesmith.data.ingest.assistants import read_chatgpt
from tunesmith.data.ingest.container import Container, Entry, File, LeftOut, Ready
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_CONVERSATIONS = re.compile(r"(?:[\w-]*/)?(?:shared_)?conversations(?:[-_]\d+)?\.json|chat_?\d*\.html")
_REST_TEXT = """
user users user_settings message_feedback model_comparisons shared_conversations projects memories group_chats sora shopping
export_manifest conversation_asset_file_names chat_with_team library_files ads tasks
"""
_REST = frozenset(f"{name}.json" for name in _REST_TEXT.split())
_FOLDERS = ("dalle-generations/", "projects/", "design_chats/", "audio/", "user-")
_PAGE = re.compile(r"\bvar\s+jsonData\s*=\s*(?=\[)")
_MEDIA = re.compile(r"file[-_][\w-]+\.\w+|[0-9a-f-]{36}/.*", re.IGNORECASE)


def _claimed(tree: Tree) -> Collection[str]:
    found = [name for name in tree.files if _is_conversations(tree, name)]
    if not found:
        return ()
    rest = [name for name in tree.names if name in _REST or name.startswith(_FOLDERS) or _MEDIA.fullmatch(name)]
    return {*found, *rest}


def _is_conversations(tree: Tree, name: str) -> bool:
    if not _CONVERSATIONS.fullmatch(name):
        return False
    head = tree.head(name)
    if name.endswith(".html"):
        return b"jsonData" in head
    return b'"chat_messages"' in head or (b'"mapping"' in head and (b'"conversation_id"' in head or b'"author"' in head))


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    found = [name for name in tree.files if _is_conversations(tree, name)]
    whole = [name for name in found if name.endswith(".json") and not name.startswith("shared_")]
    yield LeftOut(
        reason="files of an assistant's export that hold no conversation left out", count=len(tree.names) - len(whole or found)
    )
    for name in whole or found:
        if name.endswith(".json"):
            yield File(name=name)
            continue
        page = decode(tree.read(name))
        start = _PAGE.search(page)
        try:
            conversations, _ = json.JSONDecoder().raw_decode(page, start.end()) if start else ([], 0)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UnreadableError(f"the conversations in {name} are broken or cut") from error
        yield Ready(name=name, reading=read_chatgpt(conversations, name=name, policy=policy))


CONTAINER = Container(
    name="assistants",
    title="an export of ChatGPT or Claude",
    taken="your own requests of at least 40 words; with `--include model-answers` whole conversations as pairs",
    left_out="the answers of the model, code, quotations, texts pasted below a request, attachments, projects, memories, "
    "settings",
    folder=_claimed,
    entries=_entries,
)
