"""`card`: the model card of a run from its artifacts, and checking a card against them again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import replace_file, storage_errors

if TYPE_CHECKING:
    from tunesmith.ship.card.write import Card

_MARKDOWN, _PAGE = (".md", ".markdown"), (".html", ".htm")

__all__ = ["CardCheck", "CardResult", "card", "verify_card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardResult:
    """A model card: `text` is Markdown with front matter for a hub, `page` the same as HTML.

    `numbers`: every value in it with the artifact, file and place that it came from. `out`: the file written, if any.
    """

    text: str
    numbers: tuple[dict[str, Any], ...]
    out: Path | None
    made: Card

    @property
    def page(self) -> str:
        """The card as one self-contained HTML page, with the curves drawn."""
        return self.made.page()

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith card --json` prints."""
        return {"text": self.text, "numbers": list(self.numbers), "out": None if self.out is None else str(self.out)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCheck:
    """A card compared with its artifacts. `drift`: each line that they do not give, with its number; empty if all hold."""

    ok: bool
    drift: tuple[dict[str, Any], ...]
    texts: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith card --verify FILE --json` prints."""
        return {"ok": self.ok, "drift": list(self.drift)}


def card(run: str = "run:latest", *, out: str | Path | None = None, name: str = "", project: str | Path = ".") -> CardResult:
    """The model card of a run, with its newest evaluation and every export. `out`: a file for it, `.md` or `.html`.

    The author's notes in a card that is already there are kept.

    Raises:
        ArtifactError: no such run, a damaged artifact, another ending of `out`, or a file at `out` that is not a card.
        StorageError: the file cannot be written.
    """
    from tunesmith.ship.card.collect import lineage, material_of
    from tunesmith.ship.card.write import options_for, write_card

    target = None if out is None else Path(out)
    notes = _notes_at(target)
    material = material_of(lineage(Store(Path(project) / ".tunesmith"), run))
    made = write_card(material, options_for(material, name=name), kept_notes=notes)
    if target is not None:
        _save(made, target)
    return CardResult(text=made.text, numbers=tuple(asdict(number) for number in made.numbers), out=target, made=made)


def verify_card(file: str | Path, *, project: str | Path = ".") -> CardCheck:
    """Make the card at `file` again from the artifacts of the project, and name every line that differs.

    Raises:
        ArtifactError: the file is not a card, or an artifact that it describes is missing or damaged.
    """
    from tunesmith.ship.card.collect import described_by
    from tunesmith.ship.card.verify import drift
    from tunesmith.ship.card.write import options_in

    text = _read(Path(file))
    material = described_by(Store(Path(project) / ".tunesmith"), options_in(text))
    found = drift(text, material)
    return CardCheck(ok=not found, drift=tuple(asdict(one) for one in found), texts=tuple(one.text() for one in found))


def _save(made: Card, target: Path) -> None:
    content = made.page() if target.suffix.lower() in _PAGE else made.text
    with storage_errors("writing the card", target):
        replace_file(target, content.encode())


def _notes_at(target: Path | None) -> str:
    """The author's notes in a card that a new one replaces. ArtifactError for a file that is something else."""
    from tunesmith.ship.card.text import PAGE_MARK
    from tunesmith.ship.card.write import options_in, own_notes

    if target is None:
        return ""
    ending = target.suffix.lower()
    if ending not in _MARKDOWN + _PAGE:
        raise ArtifactError(
            "a card is not written in this format",
            value=target.name,
            expected=f"a file that ends in {', '.join(_MARKDOWN + _PAGE)}",
            hint="tunesmith card --out README.md",
        )
    if not target.exists():
        return ""
    text = _read(target)
    if ending in _PAGE and PAGE_MARK not in text:
        raise ArtifactError(
            "this page is not a card, and is not replaced",
            value=str(target),
            expected="a new file, or a page that `tunesmith card` wrote",
            hint="tunesmith card --out card.html",
        )
    if ending in _PAGE:
        return ""
    options_in(text)
    return own_notes(text)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(
            "the card cannot be read",
            value=str(file),
            expected=f"a Markdown file that `tunesmith card` wrote ({error})",
            hint="tunesmith card --out README.md",
        ) from error
