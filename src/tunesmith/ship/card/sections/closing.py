"""The end of a card: limits, licence, the author's own notes, hashes, and the artifacts that everything above came from."""

from __future__ import annotations

from tunesmith.ship.card.base import base_of
from tunesmith.ship.card.facts import Facts
from tunesmith.ship.card.material import FACTS
from tunesmith.ship.card.sections.forms import folder_of_form
from tunesmith.ship.card.text import bullet, code, megabytes, plain, table

__all__ = ["NOTES_BEGIN", "NOTES_END", "hashes", "licence", "limits", "notes"]

NOTES_BEGIN, NOTES_END = "<!-- notes: begin -->", "<!-- notes: end -->"
_WEIGHTS = (".safetensors", ".gguf", ".npz")
_PLACEHOLDER = (
    "*Nothing yet. What you write between the two marks in the source of this card stays when the card is made again.*"
)


def limits(facts: Facts) -> str:
    """What was not measured, and what no number here can say."""
    lines = [plain(text) for text in facts.at("eval", "verdict.json", "not_measured") or []]
    if facts.at("eval", "verdict.json") is None:
        lines.append("everything that an evaluation measures: this run has none")
    lines += [
        "energy",
        "how fair its answers are to groups of people",
        "answers in languages other than those of the training data",
    ]
    if not facts.material.exports:
        lines.append("forms other than those named above, such as quantised files")
    closing = "The numbers hold for the test documents and the settings named above. Other writing can give other numbers."
    return "\n\n".join(["## Limits", "Not measured:", bullet(lines), closing])


def licence(facts: Facts) -> str:
    """The licence of the base with its conditions, and those of the writing."""
    base = base_of(facts.material)
    origin = facts.show("origin of the base", "base", FACTS, "origin", as_text=plain, missing="")
    name = facts.show("base", "run", FACTS, "settings", "base", as_text=code)
    where = f" ({plain(base.hub)} on the hub)" if base.hub and base.hub != base.name else ""
    made = f", from {origin.text}" if origin.text else ""
    writing = facts.at("dataset", "summary.json", "licences") or {}
    unnamed = writing.get("not named", 0)
    lines = [
        f"**Base:** {name.text}{where}{made}. Source: {name.source}",
        f"**Licence of the base:** {plain(base.licence.id)}. {base.licence.conditions}",
    ]
    if unnamed:
        lines.append(
            "**Writing:** some or all of it names no licence. Whoever publishes this model must have the right to use it so."
        )
    return "\n\n".join(["## Licence", bullet(lines)])


def notes(kept: str) -> str:
    """Room for the author's own words. `kept`: what was written there before."""
    return f"## Notes by the author\n\n{NOTES_BEGIN}\n{kept.strip() or _PLACEHOLDER}\n{NOTES_END}"


def hashes(facts: Facts, present: list[str]) -> str:
    """Hashes of the weights of each form, and the id of every artifact."""
    of_form = {"adapter": ("run", "adapter/"), "merged": ("model", "")}
    rows = []
    for form in present:
        part, start = of_form.get(form, (form, "files/"))
        for place, fact in enumerate(facts.at(part, FACTS, "files") or []):
            path = str(fact["path"])
            if path.startswith(start) and path.endswith(_WEIGHTS):
                size = facts.show(f"size of {path}", part, FACTS, "files", place, "size", as_text=megabytes)
                sha = facts.show(f"SHA-256 of {path}", part, FACTS, "files", place, "sha256", as_text=code)
                rows.append([code(f"{folder_of_form(form)}/{path.removeprefix(start)}"), size.text, sha.text])
    parts = ["## Hashes", table(["file", "size", "SHA-256"], rows)] if rows else []
    listed = [[code(name), plain(part.kind), code(part.id)] for name, part in sorted(facts.material.parts.items())]
    return "\n\n".join(
        [
            *parts,
            "## Where the numbers come from",
            "Every number above was read from a file of one of these artifacts. `tunesmith card --verify` reads them again.",
            table(["name in this card", "kind", "id"], listed),
        ]
    )
