"""Numbers with their origin: whatever a card shows is asked for here, and what was asked for is listed next to the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.ship.card.material import FACTS, FOLDER, Material

__all__ = ["NOT_MEASURED", "Facts", "Number", "Shown"]

NOT_MEASURED = "*not measured*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value that the card shows as `text`, and where it came from: artifact, file, and the path inside of the file.

    `of` is the part's name in the card (`run`, `eval`). A computed value lists its origins in `pointers`, several of them.
    """

    name: str
    value: Any
    text: str
    of: str
    kind: str
    id: str
    file: str
    pointers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as the card prints it, and its source as Markdown."""

    text: str
    source: str


class Facts:
    """Gives values of the material as text, and keeps what it gave. `linked`: sources are links into a release."""

    def __init__(self, material: Material, *, linked: bool) -> None:
        self.material = material
        self.numbers: list[Number] = []
        self._linked = linked

    def at(self, part: str, file: str, *path: str | int) -> Any:
        """A value that decides what is written and is not itself shown; None if it is not there."""
        return self.material.at(part, file, *path)

    def show(
        self,
        name: str,
        part: str,
        file: str,
        *path: str | int,
        as_text: Callable[[Any], str] = str,
        missing: str = NOT_MEASURED,
    ) -> Shown:
        """The value at a place as text with its source; `missing` without a source if it is not there."""
        return self.computed(name, part, file, [path], compute=lambda values: values[0], as_text=as_text, missing=missing)

    def computed(
        self,
        name: str,
        part: str,
        file: str,
        paths: Sequence[Sequence[str | int]],
        *,
        compute: Callable[[list[Any]], Any],
        as_text: Callable[[Any], str] = str,
        missing: str = NOT_MEASURED,
    ) -> Shown:
        """What `compute` makes of several values of one file; `missing` if any of them is not there."""
        values = [self.material.at(part, file, *path) for path in paths]
        if any(value is None for value in values):
            return Shown(missing, "")
        value = compute(values)
        text = as_text(value)
        found = self.material.parts[part]
        pointers = tuple("/" + "/".join(map(str, path)) for path in paths)
        self.numbers.append(
            Number(name=name, value=value, text=text, of=part, kind=found.kind, id=found.id, file=file, pointers=pointers)
        )
        return Shown(text, self.source(part, file))

    def source(self, part: str, file: str) -> str:
        """A file of a part as Markdown: `run: metrics.jsonl`, a link in a release."""
        label = f"{part}: {'manifest' if file == FACTS else file}"
        return f"[{label}]({FOLDER}/{part}/{file})" if self._linked else label
