"""Conversations with a model: what the person wrote is writing, what the model answered is learned only when asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.core.records import Document, Example, Failure, Message, Role, digest
from tunesmith.data.ingest.chat import example
from tunesmith.data.ingest.item import Facts, Reading, make_document
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import owner, utc_day
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import tidy
from tunesmith.data.text.words import num_words

__all__ = ["Turn", "own_words", "read_chatgpt", "read_claude", "read_turns"]

_MAX_LISTED = 20
_LEAST_WORDS = 40
_ANSWERS = "answers of a model (taken with --include model-answers) left out"
_SHORT = f"requests to a model with under {_LEAST_WORDS} words of your own left out"
_TAKEN = "answers of a model taken: you learn the style of that model"
_FENCED = re.compile(r"^[ \t]*(```|~~~|\"\"\").*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_QUOTATION = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_CODE = re.compile(
    r"[{};]\s*$|^\s*(?:import |from \w+ import|def |class |const |let |var |function|#include|public |private |return\b)"
    r"|^\s*(?:</?\w|[})\]])"
    r"|^\s*(?:Traceback|File \"|at [\w.$]+\()|^\W*\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\b(?:ERROR|WARN(?:ING)?|DEBUG|INFO)\b"
)
_CLAUDE: Mapping[str, Role] = {"human": "user", "user": "user", "assistant": "assistant"}
_CHATGPT: Mapping[str, Role] = {"user": "user", "assistant": "assistant"}


class Turn(NamedTuple):
    """What one side said; `date` is ISO."""

    role: Role
    text: str
    date: str | None = None


Branch = Callable[[Mapping[str, Any]], list[Turn]]


def read_chatgpt(conversations: Sequence[object], *, name: str, policy: Policy) -> Reading:
    """See `read_turns`. The branch that was open last, text parts only, without system and tool messages."""
    return _read(conversations, name=name, key="conversation_id", branch=_chatgpt_turns, title="title", policy=policy)


def read_claude(conversations: Sequence[object], *, name: str, policy: Policy) -> Reading:
    """See `read_turns`. Text only; attachments, thinking and tool calls are left out."""
    return _read(conversations, name=name, key="uuid", branch=_claude_turns, title="name", policy=policy)


def read_turns(conversations: Iterable[tuple[str, str | None, Sequence[Turn]]], *, name: str, policy: Policy) -> Reading:
    """Conversations of a person with a model, each with an id and a title.

    The person's own words are a document for each turn of at least 40 words, without code, quotations and what was pasted in
    below a request. The answers of the model are learned only if `model-answers` is asked for: then a conversation is a pair.
    Conversations that give neither are counted.
    """
    if "model-answers" in policy.extras:
        return _pairs(conversations, name=name)
    documents: list[Document] = []
    notes: Counter[str] = Counter()
    for id, _, turns in conversations:
        group = digest("conversation", name, id)[:16]
        for turn in turns:
            if turn.role == "assistant":
                notes[_ANSWERS] += 1
            elif num_words(text := own_words(turn.text)) >= _LEAST_WORDS:
                facts = Facts(author=owner(policy), date=turn.date, thread=group)
                documents.append(make_document(name=name, text=text, extraction="assistant", **facts))
            else:
                notes[_SHORT] += 1
    return Reading(documents=tuple(documents), notes=dict(notes))


def own_words(text: str) -> str:
    """What a person wrote in a request to a model: without code, quotations, and all that stands below a short first
    paragraph which announces it (`Summarise this:`)."""
    text = _FENCED.sub("\n\n", text.replace("\r\n", "\n"))
    parts = [part for part in (_QUOTATION.sub("", part).strip() for part in re.split(r"\n[^\S\n]*\n", text)) if part]
    first = parts[0].split("\n")[0].rstrip() if parts else ""
    if first.endswith(":") and num_words(first) < _LEAST_WORDS:
        return tidy(first)
    return "\n\n".join(tidy(part) for part in parts if not _is_code(part))


def _is_code(part: str) -> bool:
    lines = part.split("\n")
    return 2 * sum(_CODE.search(line) is not None for line in lines) >= len(lines)


def _pairs(conversations: Iterable[tuple[str, str | None, Sequence[Turn]]], *, name: str) -> Reading:
    pairs: list[Example] = []
    problems: list[str] = []
    for number, (id, title, turns) in enumerate(conversations, 1):
        said = [Message(role=turn.role, content=turn.text) for turn in turns]
        made = example(said, name=name, group=digest("conversation", name, id)[:16], title=title)
        if made is None:
            problems.append(f"conversation {number}: it has no question with an answer")
        else:
            pairs.append(made)
    if not pairs:
        raise UnreadableError(f"no conversation could be used; {problems[0]}" if problems else "it holds no conversation")
    failures = [Failure(source=name, reason=problem) for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        failures.append(Failure(source=name, reason=f"and {len(problems) - _MAX_LISTED} more conversations"))
    answers = sum(message.role == "assistant" for pair in pairs for message in pair.messages)
    return Reading(pairs=tuple(pairs), failures=tuple(failures), notes={_TAKEN: answers})


def _read(conversations: Sequence[object], *, name: str, key: str, branch: Branch, title: str, policy: Policy) -> Reading:
    found: list[tuple[str, str | None, list[Turn]]] = []
    for number, conversation in enumerate(conversations, 1):
        stated = conversation if isinstance(conversation, Mapping) else {}
        turns = [turn for turn in branch(stated) if turn.text]
        label = stated.get(title)
        id = str(stated.get(key) or stated.get("id") or number)
        found.append((id, label.strip() or None if isinstance(label, str) else None, turns))
    return read_turns(found, name=name, policy=policy)


def _chatgpt_turns(conversation: Mapping[str, Any]) -> list[Turn]:
    nodes = conversation.get("mapping")
    if not isinstance(nodes, Mapping):
        return []
    turns: list[Turn] = []
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
            turns.append(Turn(role, _chatgpt_text(message.get("content")), utc_day(message.get("create_time"))))
    return turns[::-1]


def _last_leaf(nodes: Mapping[str, Any]) -> str | None:
    leaves = [key for key, node in nodes.items() if isinstance(node, Mapping) and not node.get("children")]
    return leaves[-1] if leaves else None


def _chatgpt_text(content: object) -> str:
    if not isinstance(content, Mapping) or content.get("content_type") not in ("text", "multimodal_text"):
        return ""
    parts = content.get("parts")
    return _whole([_said(part) for part in parts] if isinstance(parts, list) else [])


def _said(part: object) -> str:
    """A part of a message: text, or what was said aloud and written down; nothing for a picture."""
    if isinstance(part, Mapping) and part.get("content_type") == "audio_transcription":
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _claude_turns(conversation: Mapping[str, Any]) -> list[Turn]:
    turns: list[Turn] = []
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
        text = _whole(texts) or _whole([message["text"]] if isinstance(message.get("text"), str) else [])
        turns.append(Turn(role, text, iso_date(message.get("created_at"))))
    return turns


def _whole(parts: Sequence[str]) -> str:
    """Text with its paragraphs and lines as they were: answers hold lists and code."""
    return "\n\n".join(part.strip() for part in parts if tidy(part))
