"""Documents to be looked through by their author before anything is learned: is this yours, and may it be taken?

The page is that of `review`, with two answers to each document. What is decided is kept in a file beside the recipe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import DatasetError
from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.page import Raw, badge, folded, page, text
from tunesmith.core.records import Document, to_json
from tunesmith.data.dataset.review import SCRIPT, STYLE
from tunesmith.data.ingest.decisions import DECISIONS_FILE, DocumentDecisions, read_document_decisions

__all__ = ["Shown", "choose_documents", "documents_page", "keep_decisions"]

_FIRST_WORDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A document of the sources; `reason` says why it was left out, empty if it is taken."""

    document: Document
    reason: str = ""


def choose_documents(found: Sequence[Shown], most: int) -> list[Shown]:
    """At most `most`, in their order: of a larger set the same ones each time, drawn by the hash of the id."""
    ranked = sorted(found, key=lambda one: hashlib.sha256(one.document.id.encode()).hexdigest())[:most]
    chosen = {one.document.id for one in ranked}
    return [one for one in found if one.document.id in chosen]


def documents_page(chosen: Sequence[Shown], *, total: int, mark: str, command: str) -> str:
    """The page, self-contained. `mark` names this set of documents, `command` what to type when it is done."""
    taken = sum(not one.reason for one in chosen)
    head = (
        f'<header><h1>Are these yours?</h1><p class="lead">{len(chosen)} of {total:,} documents: {taken} are taken, '
        f"{len(chosen) - taken} are left out so far. Accept what the model may learn, drop what it may not.</p>"
        '<p class="soft">Keys: <kbd>a</kbd> accept, <kbd>d</kbd> drop, <kbd>j</kbd> and <kbd>k</kbd> next and previous. '
        "What you do not decide stays as it is. Decisions stay in this browser until you save them.</p></header>"
    )
    bar = (
        '<div class="bar"><progress id="done" max="1" value="0"></progress><span id="count"></span>'
        '<button id="save">Save decisions</button></div>'
    )
    articles = "".join(_article(number, one) for number, one in enumerate(chosen, 1))
    then = (
        f"<section><h2>When you are done</h2><p>Save the decisions, then type</p><pre>{text(command)}</pre>"
        '<p class="soft">Without scripts the page can be read, but keeps no decisions.</p></section>'
    )
    facts = to_json({"file": "documents", "sha256": mark, "total": total}).decode().replace("<", "\\u003c")
    script = f'<script type="application/json" id="facts">{facts}</script><script>{SCRIPT}</script>'
    return page("Are these yours?", [Raw(part) for part in (f"<style>{STYLE}</style>", head, bar, articles, then, script)])


def _article(number: int, one: Shown) -> str:
    document = one.document
    mark = badge(one.reason.removesuffix(" left out"), "unsure") if one.reason else badge("taken", "good")
    about = [document.author or "no author named", document.date or "no date", document.status, document.source]
    words = document.text.split()
    first = " ".join(words[:_FIRST_WORDS])
    rest = folded(f"all {len(words):,} words", Raw(f'<div class="said">{text(document.text)}</div>'))
    whole = str(rest) if len(words) > _FIRST_WORDS else ""
    choices = "".join(
        f'<label><input type="radio" name="row{number}" value="{kind}"> {shown}</label>'
        for kind, shown in (("accept", "accept"), ("drop", "drop"))
    )
    return (
        f'<article data-row="{text(document.id)}" data-id="{text(document.id)}" tabindex="-1">'
        f"<h3>{text(document.title or document.source)} {mark}</h3>"
        f'<p class="soft">{number} · {text(" · ".join(about))}</p>'
        f'<div class="said">{text(first)}{" …" if whole else ""}</div>{whole}'
        f'<div class="choices">{choices}<input class="note" placeholder="a note, if you like"></div></article>'
    )


def keep_decisions(saved: Path, project: Path, *, known: frozenset[str]) -> DocumentDecisions:
    """Add the decisions that the page saved to those of the project, and return all of them; later ones count.

    DatasetError for a file that is none, or that decides about a document outside `known`.
    """
    try:
        rows: list[dict[str, Any]] = orjson.loads(saved.read_bytes())["rows"]
        new = {str(row["row"]): str(row["decision"]) for row in rows}
        if wrong := sorted({kind for kind in new.values() if kind not in ("accept", "drop")}):
            raise ValueError(f"unknown decision {wrong[0]}")
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            "this is not a file of decisions",
            value=str(saved),
            expected=f"what “Save decisions” of the page gave ({error})",
            hint="tunesmith review",
        ) from error
    if unknown := sorted(new.keys() - known):
        raise DatasetError(
            "a decision is about a document that the sources no longer hold",
            value=unknown[0],
            expected="documents of the page that was made last",
            hint="tunesmith review makes a new page",
        )
    old = read_document_decisions(project)
    taken = (set(old.taken) | {id for id, kind in new.items() if kind == "accept"}) - {i for i, k in new.items() if k == "drop"}
    dropped = (set(old.dropped) | {id for id, kind in new.items() if kind == "drop"}) - {
        i for i, k in new.items() if k == "accept"
    }
    kept = DocumentDecisions(taken=tuple(sorted(taken)), dropped=tuple(sorted(dropped)))
    with storage_errors("writing the decisions", project / DECISIONS_FILE):
        replace_file(project / DECISIONS_FILE, to_json(kept) + b"\n")
    return kept
