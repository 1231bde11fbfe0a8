"""What a reader of one kind of file is. Each file in `readers/` holds one as `READER`, and nothing else names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunesmith.data.ingest.item import Kind, Reading
from tunesmith.data.ingest.policy import Policy

__all__ = ["OfBytes", "OfChat", "OfText", "OfVoices", "Reader"]


class OfBytes(Protocol):
    """Reads the content of a file; `name` is relative to its source. UnreadableError says why it cannot be used."""

    def __call__(self, data: bytes, *, name: str) -> Reading: ...


class OfVoices(Protocol):
    """The same for files with the words of several people, where it matters whose are wanted."""

    def __call__(self, data: bytes, *, name: str, policy: Policy) -> Reading: ...


class OfText(Protocol):
    """The same for text that is decoded already, by what a server or the file itself says of its encoding."""

    def __call__(self, text: str, *, name: str) -> Reading: ...


class OfChat(Protocol):
    """The same for what several people said or wrote: `policy` names those whose turns are wanted."""

    def __call__(self, text: str, *, name: str, policy: Policy) -> Reading: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One kind of file: how it is recognised, and the one function that reads it: `read` or `read_voices` (bytes),
    `read_text` or `read_chat` (decoded text). `read_voices` and `read_chat` are asked with whose words are wanted.

    Content counts more than the name. In this order a file is recognised by `first_bytes` (given all of its bytes), by
    `member` (a name inside of a zip), by its suffix if that is among `suffixes`, and by `first_lines` (of its decoded
    beginning).
    `promises` holds suffixes that say nothing unless the content agrees, with what a file named so ought to hold (`PDF`).
    """

    kind: Kind
    read: OfBytes | None = None
    read_voices: OfVoices | None = None
    read_text: OfText | None = None
    read_chat: OfChat | None = None
    first_bytes: Callable[[bytes], bool] | None = None
    member: str | None = None
    suffixes: frozenset[str] = frozenset()
    first_lines: Callable[[str], bool] | None = None
    promises: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        functions = (self.read, self.read_voices, self.read_text, self.read_chat)
        if sum(function is not None for function in functions) != 1:
            raise AssertionError(f"the reader of {self.kind} needs one of read, read_voices, read_text and read_chat")
        if not (self.first_bytes or self.member or self.suffixes or self.first_lines):
            raise AssertionError(f"the reader of {self.kind} recognises no file")
