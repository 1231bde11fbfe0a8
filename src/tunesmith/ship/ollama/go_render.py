"""Render the part of Go's text/template that `go_write` writes, as Ollama does: to prove a template before it ships.

Anything else in a template is an error, so that nothing is rendered otherwise than Go would. Source: the lexer and `exec` of
text/template in Go, and `collate` in Ollama's template/template.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message

__all__ = ["collate", "render_go"]

_WORDS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\$\w*(?:\.\w+)*|\.\w+|\w+|:=|=|\(|\)|,|\s+|.')
_LITERAL = re.compile(r'(?:[^"\\\n]|\\["\\nrt]|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8})*')


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Action:
    words: tuple[str, ...]


@dataclass(slots=True)
class _Block:
    """`if` or `range` with its head, its body and, of an `if`, the rest of the chain."""

    words: tuple[str, ...]
    body: list[Any] = field(default_factory=list)
    rest: list[Any] = field(default_factory=list)
    in_rest: bool = False

    def open_list(self) -> list[Any]:
        return self.rest if self.in_rest else self.body


def collate(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """What Ollama passes to a template: all system texts joined, and the messages, neighbours of the same role made one."""
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(role=message.role, content=f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return system, joined


def render_go(template: str, messages: Sequence[Message]) -> str:
    """The prompt that Ollama makes of a conversation by `template`. ModelError for what this renderer does not know."""
    system, joined = collate(messages)
    root = {"System": system, "Messages": [{"Role": m.role, "Content": m.content} for m in joined]}
    return "".join(_execute(_parse(template), root, {"$": root}))


def _parse(template: str) -> list[Any]:
    top: list[Any] = []
    blocks: list[_Block] = []
    chained: list[int] = []  # how many blocks one `end` closes: an `else if` opens a further one

    def here() -> list[Any]:
        return blocks[-1].open_list() if blocks else top

    rest = template
    while rest:
        text, found, rest = rest.partition("{{")
        if text:
            here().append(_Text(text))
        if not found:
            break
        words, rest = _action(rest)
        if words[0] in {"if", "range"}:
            block = _Block(words)
            here().append(block)
            blocks.append(block)
            chained.append(1)
        elif words[0] == "else" and blocks:
            blocks[-1].in_rest = True
            if len(words) > 1:
                further = _Block(words[1:])
                here().append(further)
                blocks.append(further)
                chained[-1] += 1
        elif words == ("end",) and blocks:
            del blocks[-chained.pop() :]
        else:
            here().append(_Action(words))
    if blocks:
        raise _unknown("a block without its end")
    return top


def _action(rest: str) -> tuple[tuple[str, ...], str]:
    """The words of the action that `rest` begins with, and what follows its closing braces."""
    if rest[:1] == "-":
        raise _unknown("{{-, which trims white space")
    words: list[str] = []
    place = 0
    while not rest.startswith("}}", place):
        match = _WORDS.match(rest, place)
        if match is None or "\n" in match[0]:
            raise _unknown("{{" + rest[:40])
        if not match[0].isspace():
            words.append(match[0])
        place = match.end()
    if not words:
        raise _unknown("{{}}")
    if words[-1] == "-":
        raise _unknown("-}}, which trims white space")
    return tuple(words), rest[place + 2 :]


def _execute(nodes: Sequence[Any], dot: Any, names: dict[str, Any]) -> list[str]:
    """What the nodes write. `names`: the variables; those that are declared here end here."""
    written: list[str] = []
    known = set(names)
    for node in nodes:
        if isinstance(node, _Text):
            written.append(node.text)
        elif isinstance(node, _Action) and node.words[1:2] in {(":=",), ("=",)}:
            name, how = node.words[:2]
            if (name in names) != (how == "="):
                raise _unknown(f"{name} {how}, {'already' if how == ':=' else 'not'} declared")
            names[name] = _value(node.words[2:], dot, names)
        elif isinstance(node, _Action):
            value = _value(node.words, dot, names)
            if not isinstance(value, str):
                raise _unknown(f"{' '.join(node.words)}, which is not a text")
            written.append(value)
        elif node.words[0] == "if":
            written += _execute(node.body if _value(node.words[1:], dot, names) else node.rest, dot, names)
        else:
            written += _range(node, dot, names)
    for name in set(names) - known:
        del names[name]
    return written


def _range(node: _Block, dot: Any, names: dict[str, Any]) -> list[str]:
    head = node.words
    if head[2:3] != (",",) or head[4:5] != (":=",):
        raise _unknown(" ".join(head))
    if node.rest or {head[1], head[3]} & set(names):
        raise _unknown(" ".join(head))
    written: list[str] = []
    for number, item in enumerate(_value(head[5:], dot, names)):
        names |= {head[1]: number, head[3]: item}
        written += _execute(node.body, item, names)
        del names[head[1]], names[head[3]]
    return written


def _value(words: Sequence[str], dot: Any, names: Mapping[str, Any]) -> Any:
    values = _arguments(list(words), dot, names)
    if len(values) != 1:
        raise _unknown(" ".join(words))
    return values[0]


def _arguments(words: list[str], dot: Any, names: Mapping[str, Any]) -> list[Any]:
    """The values of `words`. A function takes all that follows it, as in Go; parentheses hold one value."""
    if words and words[0] in _FUNCTIONS:
        return [_FUNCTIONS[words[0]](*_arguments(words[1:], dot, names))]
    values: list[Any] = []
    while words:
        word = words.pop(0)
        if word == "(":
            values.append(_value(_inside(words), dot, names))
        elif word.startswith('"'):
            values.append(_literal(word))
        elif word in {"true", "false"}:
            values.append(word == "true")
        elif word.isdigit():
            values.append(int(word))
        elif word.startswith((".", "$")):
            values.append(_field(word, dot, names))
        else:
            raise _unknown(word)
    return values


def _inside(words: list[str]) -> list[str]:
    """Take the words up to the parenthesis that closes."""
    depth, taken = 1, list[str]()
    while words:
        word = words.pop(0)
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            return taken
        taken.append(word)
    raise _unknown("a parenthesis without its end")


def _field(word: str, dot: Any, names: Mapping[str, Any]) -> Any:
    first, *rest = word.split(".")
    if first and first not in names:
        raise _unknown(f"{first}, which is not declared")
    value = names[first] if first else dot
    for name in rest:
        if not isinstance(value, Mapping) or name not in value:
            raise _unknown(word)
        value = value[name]
    return value


def _literal(word: str) -> str:
    """A Go string: the escapes that JSON does not know are written as it knows them."""
    if not _LITERAL.fullmatch(word[1:-1]):
        raise _unknown(word)
    wide = re.sub(r"\\U([0-9a-fA-F]{8})", lambda m: json.dumps(chr(int(m[1], 16)))[1:-1], word)
    return str(json.loads(wide))


def _eq(first: Any, *others: Any) -> bool:
    if not others or any(type(a) is not type(b) for a, b in pairwise((first, *others))):
        raise _unknown("eq of different types")
    return any(first == other for other in others)


_FUNCTIONS: dict[str, Any] = {
    "eq": _eq,
    "ne": lambda a, b: not _eq(a, b),
    "and": lambda *values: next((v for v in values if not v), values[-1]),
    "or": lambda *values: next((v for v in values if v), values[-1]),
    "not": lambda value: not value,
    "len": len,
    "slice": lambda values, begin: values[begin:],
}


def _unknown(value: str) -> ModelError:
    return ModelError(
        "a Go template has something that cannot be checked here",
        value=value,
        expected="if, else, range, variables, texts, and the functions " + ", ".join(sorted(_FUNCTIONS)),
        hint="derive the template again from the model: tunesmith export",
    )
