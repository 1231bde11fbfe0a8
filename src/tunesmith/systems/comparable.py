"""What a system may show besides its answers, so that two of them can be compared token by token.

A model in this process shows all of it; a server what its interface has. What is not shown is *not measured*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tunesmith.core.records import Message

__all__ = ["GivesTopTokens", "Rendered", "ShowsPrompts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A prompt as a system reads it: the text that its template makes, and the tokens. None is not known.

    `refused`: why the template does not write this conversation; empty if it does.
    """

    text: str | None = None
    ids: tuple[int, ...] | None = None
    refused: str = ""


@runtime_checkable
class ShowsPrompts(Protocol):
    """A system that says how it reads a conversation, up to the start of the answer."""

    def rendered(self, prompts: Sequence[Sequence[Message]]) -> list[Rendered]:
        """One a prompt, in their order."""


@runtime_checkable
class GivesTopTokens(Protocol):
    """A system that names the likeliest next tokens, where whole distributions are out of reach."""

    def top_tokens(
        self, rows: Sequence[Sequence[int]], begins: Sequence[int], count: int
    ) -> list[list[Mapping[int, float]]] | None:
        """Of each row, for every token from its `begins` (at least 1) on: the `count` likeliest tokens in its place with ln p,
        given all tokens before it. None where this system cannot tell."""
