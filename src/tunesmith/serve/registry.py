"""The models by name: `NAME`, `NAME@VERSION` or `NAME@ALIAS`. An alias can be moved while requests run.

A request is resolved once, at its beginning: it ends on the version that it began with.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from tunesmith.core.errors import ModelError
from tunesmith.serve.engine import Engine
from tunesmith.serve.errors import ApiError

__all__ = ["LIVE", "NAME", "Registry", "Version", "plain_name"]

LIVE = "live"
"""The alias that a bare name means."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def plain_name(text: str) -> str:
    """A name for a model from a folder's or file's name: lower case, other characters as `-`."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64] or "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a model: which engine answers for it, under which `target`. `id`: first digits of the hash of its content.

    `label`: what it is, for people. `parity`: what the check of its prompts found. `base`: name of the base of an adapter.
    `stall_s`: see `Call`.
    """

    name: str
    id: str
    engine: Engine
    target: str
    label: str
    parity: str = "not measured"
    base: str = ""
    stall_s: float = 0.0
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def full_name(self) -> str:
        """NAME@VERSION"""
        return f"{self.name}@{self.id}"


class Registry:
    """Names, versions and aliases. All changes are made under a lock; what is read is always one consistent state."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._versions: dict[str, dict[str, Version]] = {}
        self._aliases: dict[str, dict[str, str]] = {}

    def __iter__(self) -> Iterator[Version]:
        with self._lock:
            return iter([version for versions in self._versions.values() for version in versions.values()])

    def add(self, version: Version, *aliases: str) -> None:
        """Add a version. The first of a name becomes `live`; `aliases` are set to it. ModelError for a name that is not one."""
        for name in (version.name, version.id, *aliases):
            if not NAME.fullmatch(name):
                raise ModelError(
                    "this cannot be the name of a model, a version or an alias",
                    value=name,
                    expected="lower-case letters, digits, `.`, `_` and `-`, at most 64, a letter or digit first",
                    hint="tunesmith serve NAME=REFERENCE",
                )
        with self._lock:
            self._versions.setdefault(version.name, {})[version.id] = version
            own = self._aliases.setdefault(version.name, {})
            own.setdefault(LIVE, version.id)
            own.update(dict.fromkeys(aliases, version.id))

    def set_alias(self, name: str, alias: str, version: str) -> str | None:
        """Let an alias mean a version from now on; returns the version that it meant before. ApiError 404 or 400."""
        with self._lock:
            versions = self._versions.get(name)
            if versions is None or version not in versions:
                raise self._unknown(f"{name}@{version}")
            if not NAME.fullmatch(alias) or alias in versions:
                raise ApiError(400, f"this cannot be an alias: {alias}", code="invalid_value", param="alias")
            before = self._aliases[name].get(alias)
            self._aliases[name][alias] = version
            return before

    def resolve(self, wanted: str) -> Version:
        """The version that a name means now. ApiError 404 for one that is not here."""
        name, _, tail = wanted.partition("@")
        with self._lock:
            versions, aliases = self._versions.get(name), self._aliases.get(name, {})
            found = versions.get(aliases.get(tail or LIVE, tail)) if versions is not None else None
            if found is None:
                raise self._unknown(wanted)
            return found

    def aliases_of(self, version: Version) -> tuple[str, ...]:
        """The aliases that mean this version now."""
        with self._lock:
            own = self._aliases.get(version.name, {})
            return tuple(sorted(alias for alias, id in own.items() if id == version.id))

    def names(self) -> tuple[str, ...]:
        """The names of all models."""
        with self._lock:
            return tuple(self._versions)

    def _unknown(self, wanted: str) -> ApiError:
        known = [
            *self._versions,
            *(f"{n}@{tail}" for n in self._versions for tail in (*self._versions[n], *self._aliases.get(n, {}))),
        ]
        near = difflib.get_close_matches(wanted, known, n=1)
        close = f"; did you mean {near[0]}?" if near else ""
        message = f"there is no model {wanted[:120]!r} here{close} (models: {', '.join(sorted(self._versions)[:8])})"
        return ApiError(404, message, code="model_not_found", param="model")
