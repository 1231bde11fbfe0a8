"""Derive a Go template for Ollama from a model's own chat template: what it writes around messages is found by marked messages.

The text before, between and after the messages may depend on whether there is a system text, on whether a user turn is the
first or the last, and on nothing else. A template in which it does is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat
from tunesmith.models.template import PRIVATE

__all__ = ["Around", "find_around", "go_text", "opened", "refused", "write_go"]

_SYSTEM = chr(PRIVATE - 2)
_TURNS = tuple(chr(PRIVATE - 3 - i) for i in range(9))
_MOST_QUESTIONS = 4  # enough to see a first, a middle, a last but one and a last turn
_PIECES = re.compile(r'\{+|"{3,}|.', re.DOTALL)

Key = tuple[bool, bool, bool]
"""With a system text; at the first question; at the last one."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a template writes `before` each question, between it and its `answer`, and at the `end` of the prompt.

    `before` holds the system text as one private character. `folded`: the template has no place for a system text, so it
    opens the first question, as in Tunesmith's own prompts.
    """

    before: Mapping[Key, str]
    answer: Mapping[Key, str]
    end: Mapping[Key, str]
    folded: bool


def refused(value: str, expected: str) -> ModelError:
    """Why there is no Go template."""
    return ModelError(
        "the chat template cannot be written for Ollama",
        value=value,
        expected=expected,
        hint="serve the GGUF with llama.cpp, which uses the model's own template, or choose a base with a plainer one",
    )


def opened(chat: Chat, messages: Sequence[Message], *, folded: bool) -> list[Message]:
    """The conversation as it is rendered: a system text without a place opens the first question."""
    if not folded or messages[0].role != "system":
        return list(messages)
    system, first, *rest = messages
    return [Message(role=first.role, content=f"{system.content}\n\n{first.content}"), *rest]


def find_around(chat: Chat) -> Around:
    """Probe the chat's template. ModelError if a text is left out, written twice, moved, or depends on more than it may."""
    folded = _is_folded(chat)
    before: dict[Key, str] = {}
    answer: dict[Key, str] = {}
    end: dict[Key, str] = {}
    for system in (False, True):
        for questions in range(1, _MOST_QUESTIONS + 1):
            gaps = _gaps(chat, questions, system=system, folded=folded)
            for turn in range(questions):
                first, last = turn == 0, turn == questions - 1
                _keep(before, (system, first, last), gaps[2 * turn])
                if last:
                    _keep(end, (system, first, True), gaps[2 * turn + 1])
                else:
                    _keep(answer, (system, first, turn == questions - 2), gaps[2 * turn + 1])
    return Around(before, answer, end, folded)


def _is_folded(chat: Chat) -> bool:
    try:
        text = chat.render(_probe(1, system=True), answer_next=True)
    except ModelError:
        return True
    return _SYSTEM not in text


def _probe(questions: int, *, system: bool) -> list[Message]:
    turns = [Message(role="assistant" if i % 2 else "user", content=_TURNS[i]) for i in range(2 * questions - 1)]
    return [Message(role="system", content=_SYSTEM), *turns] if system else turns


def _gaps(chat: Chat, questions: int, *, system: bool, folded: bool) -> list[str]:
    """The texts before, between and after the messages of a probe."""
    text = chat.render(opened(chat, _probe(questions, system=system), folded=folded), answer_next=True)
    marks = _TURNS[: 2 * questions - 1]
    wrong = [i for i, mark in enumerate(marks) if text.count(mark) != 1]
    if wrong or text.count(_SYSTEM) != system:
        count = text.count(marks[wrong[0]]) if wrong else text.count(_SYSTEM)
        what = f"the text of turn {wrong[0] + 1}" if wrong else "the system text"
        raise refused(f"{what} is in a prompt of {len(marks)} turns {count} times", "every text once")
    if sorted(marks, key=text.index) != list(marks):
        raise refused(f"the turns of a prompt of {len(marks)} turns are in another order", "the order of the conversation")
    gaps = re.split("[" + "".join(marks) + "]", text)
    if system and not any(_SYSTEM in gap for gap in gaps[::2][:questions]):
        raise refused("the system text is written between a question and its answer", "it is in front of a question")
    return gaps


def _keep(table: dict[Key, str], key: Key, gap: str) -> None:
    if table.setdefault(key, gap) != gap:
        shown = " or ".join(repr(text[:60]) for text in (table[key], gap))
        raise refused(
            f"what is written around a turn depends on how many turns there are: {shown}",
            "the same text around every first, middle and last turn",
        )


def write_go(around: Around) -> str:
    """The Go template. Answers before the first question, which Ollama leaves over where it shortens a conversation, are
    left out; a conversation that ends with an answer is a prompt for the rest of that answer."""
    before = _choose(around.before, ("$.System", "$first", "eq $left 1"))
    answer = _choose(around.answer, ("$.System", "$first", "eq $left 3"))
    end = _choose(around.end, ("$.System", "$first", ""))
    after = answer if answer == end else f"{{{{ if eq $left 1 }}}}{end}{{{{ else }}}}{answer}{{{{ end }}}}"
    return (
        "{{ $first := true }}{{ range $i, $m := .Messages }}{{ $left := len (slice $.Messages $i) }}"
        f'{{{{ if eq .Role "user" }}}}{before}{{{{ .Content }}}}{after}{{{{ $first = false }}}}'
        '{{ else if and (eq .Role "assistant") (not $first) }}{{ .Content }}{{ end }}{{ end }}'
    )


def _choose(table: Mapping[Key, str], conditions: Sequence[str]) -> str:
    """The text that `table` gives under the conditions, one for each part of its keys: the shortest way to write it."""
    return min((_branch(table, conditions, order) for order in permutations(range(3))), key=len)


def _branch(table: Mapping[Key, str], conditions: Sequence[str], order: Sequence[int]) -> str:
    if len(set(table.values())) == 1:
        return "{{ $.System }}".join(go_text(part) for part in next(iter(table.values())).split(_SYSTEM))
    at, *later = order
    yes, no = ({key: text for key, text in table.items() if key[at] is side} for side in (True, False))
    if not yes or not no:
        return _branch(table, conditions, later)
    one, other = _branch(yes, conditions, later), _branch(no, conditions, later)
    if one == other:
        return one
    head = f"{{{{ if {conditions[at]} }}}}"
    return f"{head}{one}{{{{ else }}}}{other}{{{{ end }}}}" if other else f"{head}{one}{{{{ end }}}}"


def go_text(text: str) -> str:
    """A text in a Go template in a Modelfile: as it is, or quoted where Go or the Modelfile would read it otherwise.

    Modelfiles drop characters that are not printable, except spaces, tabs and line feeds, and end at three quotation marks.
    """
    return "".join(
        piece if len(piece) == 1 and piece != "{" and (piece.isprintable() or piece in "\n\t") else _quoted(piece)
        for piece in _PIECES.findall(text)
    )


def _quoted(piece: str) -> str:
    """`{{ "…" }}`, with the escapes of Go."""
    written = ""
    for character in piece:
        if character in '"\\':
            written += f"\\{character}"
        elif character.isprintable():
            written += character
        else:
            written += f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
    return f'{{{{ "{written}" }}}}'
