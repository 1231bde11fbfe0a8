"""Conversations written as one string: rendered chat templates (Phi-3, ChatML) and plain `User: … Assistant: …`."""

from __future__ import annotations

import re

from tunesmith.core.records import Message, Role

__all__ = ["ROLES", "is_rendered", "parse_rendered", "parse_turns"]

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "question": "user",
    "q": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "answer": "assistant",
    "a": "assistant",
}
_PHI = re.compile(r"<\|(system|user|assistant)\|>[ \t]*\n?(.*?)(?:<\|end\|>|(?=<\|(?:system|user|assistant)\|>)|\Z)", re.DOTALL)
_CHATML = re.compile(
    r"<\|im_start\|>[ \t]*(system|user|assistant)[ \t]*\n(.*?)(?:<\|im_end\|>|(?=<\|im_start\|>)|\Z)", re.DOTALL
)
_TURN = re.compile(
    r"^[ \t]*\**(system|user|human|question|q|assistant|bot|ai|answer|a)\**[ \t]*:\**[ \t]*", re.IGNORECASE | re.MULTILINE
)


def is_rendered(text: str) -> bool:
    """Whether a string carries the marks of a chat template."""
    return "<|user|>" in text or "<|im_start|>" in text


def parse_rendered(text: str) -> tuple[Message, ...]:
    """The messages of a string rendered through a Phi-3 or ChatML template; none if the marks are incomplete."""
    pattern = _CHATML if "<|im_start|>" in text else _PHI
    return tuple(Message(role=ROLES[match[1]], content=match[2].strip()) for match in pattern.finditer(text))


def parse_turns(text: str) -> tuple[Message, ...]:
    """The messages of `User: … Assistant: …` (also Human, Q, A) at line starts; none if it is no such dialogue."""
    marks = list(_TURN.finditer(text))
    if len(marks) < 2 or text[: marks[0].start()].strip():
        return ()
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return tuple(
        Message(role=ROLES[mark[1].lower()], content=text[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    )
