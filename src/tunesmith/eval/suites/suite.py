"""A suite and its items: what is asked, how an answer is scored, and what the set of questions is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tunesmith.core.records import Message, canonical_json, digest

__all__ = ["Suite", "SuiteItem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteItem:
    """One question. `messages` ends with the user's turn; `references` are right answers, any of which will do.

    `group` is what items have in common (a passage, a template): the unit of all intervals. `tags` are labels such as
    `kind=reading`. `scorer` names an entry of `scorers.SCORERS`, `arguments` are what it takes. `unscored`: why no answer to
    this item can be scored; it is then not asked. Empty for a good item.
    """

    id: str
    messages: tuple[Message, ...]
    scorer: str
    group: str
    references: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    max_new_tokens: int = 64
    unscored: str = ""

    @property
    def question(self) -> str:
        """The last turn, which is the user's."""
        return self.messages[-1].content

    @property
    def asked_hash(self) -> str:
        """Hash of what a system gets to see. References and scorer stay out: another scorer needs no other answer."""
        turns = [[message.role, message.content] for message in self.messages]
        return digest(canonical_json(turns), str(self.max_new_tokens))

    def tag(self, name: str) -> str:
        """The value of the tag `name=value`; empty without one."""
        return next((tag.partition("=")[2] for tag in self.tags if tag.startswith(f"{name}=")), "")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A set of questions. `source` is where it was read from; two suites with the same items have the same `content_hash`."""

    name: str
    version: str
    licence: str
    items: tuple[SuiteItem, ...]
    description: str = ""
    source: str = ""

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every item: questions, references, scorers, tags, limits. Where the suite is stored stays out."""
        return digest(*(canonical_json(item) for item in self.items))

    @property
    def id(self) -> str:
        """For people and file names: `general-1-3f2a91c0`."""
        return f"{self.name}-{self.version}-{self.content_hash[:8]}"

    def tag_values(self, name: str) -> tuple[str, ...]:
        """The different values of the tag `name=value`, in the order of the items."""
        return tuple(dict.fromkeys(value for item in self.items if (value := item.tag(name))))
