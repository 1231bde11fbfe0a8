"""Conversations with ChatGPT and Claude, as their exports have them, to pairs; each conversation is one group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.records import Example, Failure, Message, Role, digest
from tunesmith.data.ingest.chat import example
from tunesmith.data.ingest.item import Reading
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import tidy

__all__ = ["read_chatgpt", "read_claude"]

_MAX_LISTED = 20
_CLAUDE: Mapping[str, Role] = {"human": "user", "user": "user", "assistant": "assistant"}
_CHATGPT: Mapping[str, Role] = {"user": "user", "assistant": "assistant"}


def read_chatgpt(conversations: Sequence[object], *, name: str) -> Reading:
    """One pair a conversation: the branch that was open last, text parts only, without system and tool messages."""
    return _read(conversations, name=name, key="conversation_id", branch=_chatgpt_turns, title="title")


def read_claude(conversations: Sequence[object], *, name: str) -> Reading:
    """One pair a conversation: text only; attachments, thinking and tool calls are left out."""
    return _read(conversations, name=name, key="uuid", branch=_claude_turns, title="name")


def _read(conversations: Sequence[object], *, name: str, key: str, branch: Any, title: str) -> Reading:
    pairs: list[Example] = []
    problems: list[str] = []
    for number, conversation in enumerate(conversations, 1):
        if not isinstance(conversation, Mapping):
            problems.append(f"conversation {number}: it is not an object")
            continue
        turns = [Message(role=role, content=text) for role, text in branch(conversation) if text]
        id = str(conversation.get(key) or conversation.get("id") or number)
        label = conversation.get(title)
        made = example(
            turns,
            name=name,
            group=digest("conversation", name, id)[:16],
            title=label.strip() or None if isinstance(label, str) else None,
        )
        if made is None:
            problems.append(f"conversation {number}: it has no question with an answer")
        else:
            pairs.append(made)
    if not pairs:
        raise UnreadableError(f"no conversation could be used; {problems[0]}" if problems else "it holds no conversation")
    failures = [Failure(source=name, reason=problem) for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        failures.append(Failure(source=name, reason=f"and {len(problems) - _MAX_LISTED} more conversations"))
    return Reading(pairs=tuple(pairs), failures=tuple(failures))


def _chatgpt_turns(conversation: Mapping[str, Any]) -> list[tuple[Role, str]]:
    nodes = conversation.get("mapping")
    if not isinstance(nodes, Mapping):
        return []
    turns: list[tuple[Role, str]] = []
    seen: set[str] = set()
    place = conversation.get("current_node") or _last_leaf(nodes)
    while isinstance(place, str) and place not in seen and isinstance(nodes.get(place), Mapping):
        seen.add(place)
        message = nodes[place].get("message")
        place = nodes[place].get("parent")
        if not isinstance(message, Mapping):
            continue
        author, metadata = message.get("author"), message.get("metadata")
        role = _CHATGPT.get(str(author.get("role"))) if isinstance(author, Mapping) else None
        hidden = isinstance(metadata, Mapping) and metadata.get("is_visually_hidden_from_conversation") is True
        if role and not hidden and message.get("recipient", "all") == "all":
            turns.append((role, _chatgpt_text(message.get("content"))))
    return turns[::-1]


def _last_leaf(nodes: Mapping[str, Any]) -> str | None:
    leaves = [key for key, node in nodes.items() if isinstance(node, Mapping) and not node.get("children")]
    return leaves[-1] if leaves else None


def _chatgpt_text(content: object) -> str:
    if not isinstance(content, Mapping) or content.get("content_type") not in ("text", "multimodal_text"):
        return ""
    parts = content.get("parts")
    return _whole([part for part in parts if isinstance(part, str)] if isinstance(parts, list) else [])


def _claude_turns(conversation: Mapping[str, Any]) -> list[tuple[Role, str]]:
    turns: list[tuple[Role, str]] = []
    listed = conversation.get("chat_messages")
    for message in listed if isinstance(listed, list) else []:
        role = _CLAUDE.get(str(message.get("sender"))) if isinstance(message, Mapping) else None
        if role is None:
            continue
        parts = message.get("content")
        texts = [
            str(part.get("text") or "")
            for part in (parts if isinstance(parts, list) else [])
            if isinstance(part, Mapping) and part.get("type") == "text"
        ]
        turns.append((role, _whole(texts) or _whole([message["text"]] if isinstance(message.get("text"), str) else [])))
    return turns


def _whole(parts: Sequence[str]) -> str:
    """Text with its paragraphs and lines as they were: answers hold lists and code."""
    return "\n\n".join(part.strip() for part in parts if tidy(part))
