"""Conversations written as one string: rendered chat templates, and plain `User: … Assistant: …`; parsed and written.

A string is written only if parsing it gives the same turns back, so a text that holds a template's own marks is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.rows.entry import FormatError, Speaker, Turn
from tunesmith.data.rows.turns import ROLES

__all__ = ["TEMPLATES", "parse_rendered", "render", "template_of"]


@dataclass(frozen=True, slots=True)
class _Marks:
    """How a template writes a turn: `opening` with the role's name in the place of `{}`, the text, `closing`."""

    opening: str
    closing: str
    begin: str = ""
    between: str = ""
    roles: tuple[tuple[str, Speaker], ...] = (("system", "system"), ("user", "user"), ("assistant", "assistant"))


_MARKS = {
    "phi3": _Marks("<|{}|>\n", "<|end|>", between="\n"),
    "chatml": _Marks("<|im_start|>{}\n", "<|im_end|>", between="\n"),
    "llama3": _Marks("<|start_header_id|>{}<|end_header_id|>\n\n", "<|eot_id|>", begin="<|begin_of_text|>"),
    "gemma": _Marks(
        "<start_of_turn>{}\n",
        "<end_of_turn>",
        begin="<bos>",
        between="\n",
        roles=(("user", "user"), ("model", "assistant")),
    ),
    "zephyr": _Marks("<|{}|>\n", "</s>", between="\n"),
}
_SEEN = {
    "llama3": "<|start_header_id|>",
    "chatml": "<|im_start|>",
    "gemma": "<start_of_turn>",
    "llama2": "[INST]",
    "alpaca_text": "### Response:",
}
_TURN = re.compile(
    r"^[ \t]*\**(system|user|human|question|q|assistant|bot|ai|answer|a)\**[ \t]*:\**[ \t]*", re.IGNORECASE | re.MULTILINE
)
_LLAMA2_SYSTEM = re.compile(r"\s*<<SYS>>\n?(.*?)\n?<</SYS>>\s*(.*)\Z", re.DOTALL)
_ALPACA_HEAD = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n{}"
)
_LLAMA2_BEGIN = re.compile(r"\s*(?:<s>\s*)?\[INST\]")
_ENDS = re.compile(r"(?:\s|<\|endoftext\|>|<\|end_of_text\|>|<eos>|</s>|<s>)*\Z")
TEMPLATES = (*_MARKS, "llama2", "alpaca_text", "dialogue")


def template_of(text: str) -> str:
    """The template whose marks a string carries, or "". Dialogues have no marks of their own and are not told here."""
    if "<|user|>" in text:
        return "zephyr" if "</s>" in text and "<|end|>" not in text else "phi3"
    for name, mark in _SEEN.items():
        if mark in text and _begins(text, name):
            return name
    return ""


def _begins(text: str, template: str) -> bool:
    """Whether a text begins as the template does, where its marks also stand in texts about it."""
    if template == "llama2":
        return _LLAMA2_BEGIN.match(text) is not None
    return template != "alpaca_text" or bool(_alpaca(text))


def parse_rendered(text: str, template: str) -> tuple[Turn, ...]:
    """The turns of a string written through `template`. FormatError if there are none, or words outside of turns."""
    if template == "llama2":
        turns = _llama2(text)
    elif template == "alpaca_text":
        turns = _alpaca(text)
    elif template == "dialogue":
        turns = _dialogue(text)
    else:
        turns = _marked(text, _MARKS[template])
    if not turns:
        raise FormatError(f"it has no turns of the template {template} that can be distinguished")
    return turns


def render(turns: Sequence[Turn], template: str) -> str:
    """The turns as one string. FormatError if the template cannot hold them, which parsing the string again decides."""
    if any(turn.tool_calls or turn.role == "tool" for turn in turns):
        raise FormatError(f"the template {template} holds no calls of tools")
    text = _write(turns, template)
    plain = [(turn.role, turn.content) for turn in turns]
    try:
        back = [(turn.role, turn.content) for turn in parse_rendered(text, template)]
    except FormatError:
        back = []
    if back != plain or template_of(text) not in (template, "" if template == "dialogue" else template):
        raise FormatError(f"the template {template} does not give these turns back (roles, blanks at ends, or its own marks)")
    return text


def _write(turns: Sequence[Turn], template: str) -> str:
    if template == "llama2":
        return _as_llama2(turns)
    if template == "alpaca_text":
        asked, said, *_ = [*turns, None, None]
        return _ALPACA_HEAD.format(asked.content if asked else "", said.content if said else "")
    if template == "dialogue":
        return "\n".join(f"{turn.role.title()}: {turn.content}" for turn in turns)
    marks = _MARKS[template]
    names = {role: name for name, role in marks.roles}
    if unknown := [turn.role for turn in turns if turn.role not in names]:
        raise FormatError(f"the template {template} has no {unknown[0]} turn")
    return marks.begin + marks.between.join(
        marks.opening.format(names[turn.role]) + turn.content + marks.closing for turn in turns
    )


def _marked(text: str, marks: _Marks) -> tuple[Turn, ...]:
    """Turns between opening and closing marks. One line break after the opening belongs to it; beside it, blanks do."""
    roles = dict(marks.roles)
    head, _, tail = marks.opening.rstrip("\n").partition("{}")
    opening = re.compile(f"{re.escape(head)}[ \t]*({'|'.join(roles)})[ \t]*{re.escape(tail)}")
    breaks = "\n" * marks.opening.count("\n")
    openings = list(opening.finditer(text))
    if not openings or text[: openings[0].start()].replace(marks.begin or "\0", "").replace("<s>", "").strip():
        return ()
    turns = []
    for number, mark in enumerate(openings):
        end = openings[number + 1].start() if number + 1 < len(openings) else len(text)
        content, closed, after = text[mark.end() : end].partition(marks.closing)
        if not _ENDS.match(after):
            return ()
        exact = content.startswith(breaks) and bool(closed)
        content = content[len(breaks) :] if exact else content.strip()
        last = number + 1 == len(openings)
        if last and not content and not closed:
            break  # the header that asks the model to go on
        turns.append(Turn(role=roles[mark[1]], content=content))
    return tuple(turns)


def _llama2(text: str) -> tuple[Turn, ...]:
    before, *rounds = text.split("[INST]")
    if before.replace("<s>", "").strip():
        return ()
    turns: list[Turn] = []
    for number, one in enumerate(rounds):
        asked, closed, said = one.partition("[/INST]")
        asked, said = asked.strip(), said.strip().removesuffix("<s>").rstrip().removesuffix("</s>").rstrip()
        if not closed:
            return ()
        if number == 0 and (system := _LLAMA2_SYSTEM.match(asked)):
            turns.append(Turn(role="system", content=system[1].strip()))
            asked = system[2].strip()
        turns.append(Turn(role="user", content=asked))
        if said:
            turns.append(Turn(role="assistant", content=said))
    return tuple(turns)


def _as_llama2(turns: Sequence[Turn]) -> str:
    system = turns[0].content if turns and turns[0].role == "system" else ""
    rest = turns[1:] if system else turns
    parts = []
    for number, turn in enumerate(rest):
        if turn.role == "user":
            lead = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system and number == 0 else ""
            parts.append(f"<s>[INST] {lead}{turn.content} [/INST]")
        else:
            parts.append(f" {turn.content} </s>")
    return "".join(parts)


def _alpaca(text: str) -> tuple[Turn, ...]:
    lead, mark, body = text.partition("### Instruction:\n")
    asked, closed, said = body.partition("\n\n### Response:")
    if not mark or not closed or (lead and not lead.startswith("Below is an instruction")):
        return ()
    asked, _, given = asked.partition("\n\n### Input:\n")
    prompt = f"{asked}\n\n{given}" if given else asked
    return Turn(role="user", content=prompt), Turn(role="assistant", content=said.removeprefix("\n"))


def _dialogue(text: str) -> tuple[Turn, ...]:
    """`User: … Assistant: …` (also Human, Q, A) at line starts; none if it is no such dialogue."""
    marks = list(_TURN.finditer(text))
    if len(marks) < 2 or text[: marks[0].start()].strip():
        return ()
    roles = [ROLES[mark[1].lower()] for mark in marks]
    if "user" not in roles or "assistant" not in roles:
        return ()
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return tuple(
        Turn(role=role, content=text[mark.end() : end].strip()) for role, mark, end in zip(roles, marks, ends, strict=True)
    )
