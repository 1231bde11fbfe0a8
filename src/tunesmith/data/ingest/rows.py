"""JSON and JSON lines to examples and documents: chat messages, prompt and answer, rendered strings, plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tunesmith.core.records import Document, Example, Failure, Message, digest, to_json
from tunesmith.data.ingest.chat_strings import ROLES, is_rendered, parse_rendered, parse_turns
from tunesmith.data.ingest.decode import decode
from tunesmith.data.ingest.item import Reading, UnreadableError, make_document
from tunesmith.data.ingest.logs import logged_turns
from tunesmith.data.ingest.metadata import author_name, iso_date
from tunesmith.data.prose import tidy

__all__ = ["read_objects", "read_rows"]

_PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("input", "output"),
    ("user", "assistant"),
)
_GROUPS = ("url", "title", "document_id", "source_id", "doc_id", "post_id")
_TEXTS = ("text", "content", "body", "document")
_CONTAINERS = ("data", "rows", "examples", "train", "messages")
_MAX_LISTED = 20
_SHAPES = "messages, conversations, prompt and completion, question and answer, instruction and output, or text"


def read_rows(data: bytes, *, name: str) -> Reading:
    """Examples and documents of a `.json` or `.jsonl` file, told apart by content, not by name.

    Lines end at `\\n` alone. Bad rows become failures that name the line (of JSON lines) or row: twenty at most, then a count.
    """
    return read_objects(_rows(decode(data).encode()), name=name)


def read_objects(rows: Iterable[tuple[str, Any, str]], *, name: str) -> Reading:
    """Examples and documents of parsed rows, given as (place, row, problem): one with a problem is only named.

    UnreadableError, with the first problem, if no row could be used.
    """
    documents: list[Document] = []
    pairs: list[Example] = []
    problems: list[str] = []
    for place, row, problem in rows:
        if problem:
            problems.append(f"{place}: {problem}")
            continue
        try:
            made = _read_row(row, name=name, place=place)
        except UnreadableError as error:
            problems.append(f"{place}: {error}")
            continue
        if isinstance(made, Document):
            documents.append(made)
        else:
            pairs.append(made)
    if not documents and not pairs:
        raise UnreadableError(f"no row could be used; {problems[0]}" if problems else "it is empty")
    failures = [Failure(source=name, reason=problem) for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        failures.append(Failure(source=name, reason=f"and {len(problems) - _MAX_LISTED} more rows that could not be used"))
    return Reading(documents=tuple(documents), pairs=tuple(pairs), failures=tuple(failures))


def _rows(data: bytes) -> Iterator[tuple[str, Any, str]]:
    """(place, row, problem) for each row of an array, an object that wraps one, or JSON lines."""
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if data.lstrip()[:1] == b"[" and data.count(b"\n[") == 0:
            raise UnreadableError(f"not valid JSON: {error}") from error
        yield from _lines(data)
        return
    if isinstance(whole, Mapping):
        wrapped = next((whole[key] for key in _CONTAINERS[:-1] if isinstance(whole.get(key), list)), None)
        whole = [whole] if wrapped is None else wrapped
    if not isinstance(whole, list):
        whole = [whole]
    for number, row in enumerate(whole, 1):
        yield f"row {number}", row, ""


def _lines(data: bytes) -> Iterator[tuple[str, Any, str]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", orjson.loads(line), ""
        except orjson.JSONDecodeError as error:
            yield f"line {number}", None, f"not valid JSON ({str(error).split(':')[0]})"


def _read_row(row: object, *, name: str, place: str) -> Document | Example:
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, Mapping):
        raise UnreadableError(f"a row must be an object or a string, not {_type_name(row)}")
    if "chosen" in row or "rejected" in row:
        raise UnreadableError("preference rows (chosen and rejected) are not read yet")
    if row.get("label") is False and "messages" in row:
        raise UnreadableError("it is marked as a bad answer (label: false), and would be learned as a good one")
    if isinstance(row.get("text"), str) and is_rendered(row["text"]):
        return _example(parse_rendered(row["text"]), row, name=name)
    if messages := _messages(row):
        return _example(messages, row, name=name)
    for key in _TEXTS:
        if isinstance(row.get(key), str):
            return _document(row, row[key], name=name, place=place)
    keys = ", ".join(map(str, list(row)[:8])) or "nothing"
    raise UnreadableError(f"it holds {keys}; a row holds {_SHAPES}")


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    if logged := logged_turns(row):
        return tuple(_turn(turn) for turn in logged)
    for key in ("messages", "conversations", "conversation", "dialog", "dialogue", "turns"):
        value = row.get(key)
        if value:
            return _conversation(value, row)
    for prompt_key, answer_key in _PAIRS:
        if prompt_key in row and answer_key in row:
            return _pair(row, prompt_key, answer_key)
    return ()


def _conversation(value: object, row: Mapping[str, Any]) -> tuple[Message, ...]:
    if isinstance(value, str):
        messages = parse_rendered(value) if is_rendered(value) else _json_turns(value) or parse_turns(value)
        if not messages:
            raise UnreadableError("its conversation is a string without turns that can be told apart")
    elif isinstance(value, Mapping):
        messages = _messages(value)
        if not messages:
            raise UnreadableError("its conversation has no turns")
    elif isinstance(value, Sequence):
        messages = tuple(_turn(turn) for turn in value)
    else:
        raise UnreadableError(f"its conversation must be a list of turns, not {_type_name(value)}")
    system = row.get("system") or row.get("system_prompt")
    if isinstance(system, str) and system.strip() and messages and messages[0].role != "system":
        messages = (Message(role="system", content=system.strip()), *messages)
    return messages


def _json_turns(value: str) -> tuple[Message, ...]:
    if value.lstrip()[:1] != "[":
        return ()
    try:
        turns = orjson.loads(value)
    except orjson.JSONDecodeError:
        return ()  # no JSON after all: it may be a dialogue that begins with a bracket
    return tuple(_turn(turn) for turn in turns)


def _turn(turn: object) -> Message:
    if not isinstance(turn, Mapping):
        raise UnreadableError(f"a turn must be an object with role and content, not {_type_name(turn)}")
    said = turn.get("role") or turn.get("from") or turn.get("speaker")
    role = ROLES.get(str(said).strip().lower())
    if role is None:
        raise UnreadableError(f"unknown role {said!r}; known are system, user and assistant")
    content = next((turn[key] for key in ("content", "value", "text") if key in turn), None)
    if isinstance(content, list):  # parts, as vision models take them: only text has a meaning here
        content = "\n".join(
            str(part.get("text", "")) for part in content if isinstance(part, Mapping) and part.get("type", "text") == "text"
        )
    if not isinstance(content, str):
        raise UnreadableError(f"the turn of the {role} has no text")
    return Message(role=role, content=content.strip())


def _pair(row: Mapping[str, Any], prompt_key: str, answer_key: str) -> tuple[Message, ...]:
    prompt, answer = _said(row, prompt_key), _said(row, answer_key)
    if prompt_key == "instruction" and isinstance(row.get("input"), str) and row["input"].strip():
        prompt = f"{prompt}\n\n{row['input'].strip()}"
    system = row.get("system") or row.get("system_prompt")
    head = (Message(role="system", content=system.strip()),) if isinstance(system, str) and system.strip() else ()
    return (*head, Message(role="user", content=prompt), Message(role="assistant", content=answer))


def _said(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value) and value:
        return _turn(value[-1]).content  # prompt and completion as lists of messages
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UnreadableError(f"`{key}` must be text, not {_type_name(value)}")


def _example(messages: Sequence[Message], row: Mapping[str, Any], *, name: str) -> Example:
    kept = list(messages)
    while kept and kept[-1].role != "assistant":
        kept.pop()
    if not kept:
        raise UnreadableError("it has no turn of the assistant to learn from")
    if not any(message.role == "user" for message in kept):
        raise UnreadableError("it has no turn of the user")
    content = [[message.role, message.content] for message in kept]
    title = row.get("title") if isinstance(row.get("title"), str) else None
    group = next(
        (str(row[key]).strip() for key in _GROUPS if isinstance(row.get(key), str | int) and str(row[key]).strip()), ""
    )
    id = digest("example", group, to_json(content))[:16]
    return Example(
        id=id,
        messages=tuple(kept),
        document_id=digest("document", group)[:16] if group else id,
        group=group or id,
        source=name,
        title=title,
    )


def _document(row: Mapping[str, Any], text: str, *, name: str, place: str) -> Document:
    text = "\n\n".join(part for part in map(tidy, text.replace("\r\n", "\n").split("\n\n")) if part)
    if not text:
        raise UnreadableError("its text is empty")
    return make_document(
        name=name,
        text=text,
        title=row["title"] if isinstance(row.get("title"), str) else None,
        url=row["url"] if isinstance(row.get("url"), str) else None,
        author=author_name(row.get("authors") or row.get("author")),
        date=iso_date(row.get("date")),
        license=row["license"] if isinstance(row.get("license"), str) else None,
        extraction="rows",
    )


def _type_name(value: object) -> str:
    names = {
        "NoneType": "null",
        "int": "a number",
        "float": "a number",
        "bool": "true or false",
        "list": "a list",
        "str": "text",
        "dict": "an object",
    }
    return names.get(type(value).__name__, type(value).__name__)
