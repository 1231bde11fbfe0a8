"""A card out of its material. The same material and options give the same text, so a card can be made again and compared."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith import __version__
from tunesmith.core.errors import ArtifactError
from tunesmith.eval.figures import training_figure
from tunesmith.ship.card.base import origin_of
from tunesmith.ship.card.facts import Facts, Number
from tunesmith.ship.card.material import FACTS, Material
from tunesmith.ship.card.metadata import metadata
from tunesmith.ship.card.sections.abilities import abilities
from tunesmith.ship.card.sections.closing import NOTES_BEGIN, NOTES_END, hashes, licence, limits, notes
from tunesmith.ship.card.sections.data import data
from tunesmith.ship.card.sections.forms import forms, present_forms, usage
from tunesmith.ship.card.sections.training import training
from tunesmith.ship.card.sections.verdict import gates, scores, top
from tunesmith.ship.card.text import as_page

__all__ = ["Card", "Options", "default_name", "options_for", "options_in", "own_notes", "write_card"]

_MARK = re.compile(r"^<!-- tunesmith card: (\{.*\}) -->$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a card was made with; it is written into the card, so that the card can be made again.

    `forms`: what is described, `adapter`, `merged` and names of exports. `release`: in a release, sources are links and the
    curves are a picture. `base`: whether the base's own manifest was at hand.
    """

    run: str
    evaluation: str
    name: str
    forms: tuple[str, ...]
    release: bool = False
    base: bool = False
    version: str = __version__

    def line(self) -> str:
        """The comment that holds them."""
        held = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).replace("--", "-\\u002d")
        return f"<!-- tunesmith card: {held} -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card as Markdown, with every number in it and where it came from. `curves`: the training curves as SVG."""

    text: str
    curves: str
    numbers: tuple[Number, ...]
    options: Options

    def page(self) -> str:
        """The card as one self-contained HTML page."""
        return as_page(self.text, self.options.name, picture=self.curves)

    def as_dict(self) -> dict[str, Any]:
        """What `card.json` holds."""
        return {"options": asdict(self.options), "numbers": [asdict(number) for number in self.numbers]}


def default_name(material: Material) -> str:
    """`smollm2-tuned-617b61ba`: the base and the run."""
    base = (origin_of(material) or str(material.at("run", FACTS, "settings", "base") or "model")).rpartition("/")[2]
    return f"{base}-tuned-{material.parts['run'].id[:8]}"


def options_for(material: Material, *, name: str = "", forms: Sequence[str] = (), release: bool = False) -> Options:
    """The options of a card of this material; every form that there is, unless `forms` names some."""
    return Options(
        run=material.parts["run"].id,
        evaluation=material.parts["eval"].id if "eval" in material.parts else "",
        name=name or default_name(material),
        forms=tuple(forms or present_forms(material)),
        release=release,
        base="base" in material.parts,
    )


def write_card(material: Material, options: Options, *, kept_notes: str = "") -> Card:
    """The card. `kept_notes`: the author's own words, which stay as they are."""
    facts = Facts(_of_forms(material, options.forms), linked=options.release)
    present = list(options.forms)
    sections = [
        top(facts, options.name),
        forms(facts),
        usage(facts, present),
        scores(facts),
        gates(facts),
        abilities(facts),
        limits(facts),
        data(facts),
        training(facts, picture=options.release),
        licence(facts),
        notes(kept_notes),
        hashes(facts, present),
    ]
    front = metadata(facts, options.name, present).strip()
    body = "\n\n".join(section for section in sections if section)
    text = f"---\n{front}\n---\n\n{options.line()}\n\n{body}\n"
    rows = [row for row in facts.at("run", "metrics.jsonl") or [] if "event" not in row]
    curves = training_figure(rows) if rows else ""
    return Card(text=text, curves=curves, numbers=tuple(facts.numbers), options=options)


def _of_forms(material: Material, present: Sequence[str]) -> Material:
    """The material without exports that the card is not about."""
    parts = {name: part for name, part in material.parts.items() if part.kind != "export" or name in present}
    return Material(parts=parts)


def options_in(text: str) -> Options:
    """The options that a card was made with. ArtifactError if the text is not a card of Tunesmith."""
    found = _MARK.search(text)
    try:
        held = json.loads(found[1]) if found else {}
        return Options(**{**held, "forms": tuple(held["forms"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            "this is not a card that can be verified",
            value=text.lstrip()[:60],
            expected="a card that `tunesmith card` or `tunesmith release` wrote, with its first comment as it was",
            hint="tunesmith card --out README.md",
        ) from error


def own_notes(text: str) -> str:
    """What an author wrote between the marks for notes; empty if nothing was."""
    _, begin, rest = text.partition(f"{NOTES_BEGIN}\n")
    inside, end, _ = rest.partition(NOTES_END)
    return "" if not begin or not end or inside.strip() == notes("").split("\n")[3] else inside.strip()
