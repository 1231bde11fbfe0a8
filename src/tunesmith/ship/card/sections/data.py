"""Where the training data came from, as counts: sources, authors, years, licences, sizes, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.ship.card.facts import Facts
from tunesmith.ship.card.material import FACTS
from tunesmith.ship.card.text import bullet, count, percent, plain, table

__all__ = ["data"]

_MOST = 12  # names in a list; the rest is counted
_SUMMARY = "summary.json"
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def data(facts: Facts) -> str:
    """The section about the dataset; says that nothing is known where there is none."""
    if facts.at("dataset", FACTS) is None:
        return "## Training data\n\n*Not recorded*: the dataset of this run is not in the project."
    rows = [
        ("sources", facts.show("sources", "dataset", _SUMMARY, "sources", as_text=_sources)),
        (
            "documents read",
            facts.show("documents", "documents", FACTS, "numbers", "documents", as_text=count, missing="not recorded"),
        ),
        ("words read", facts.show("words", "documents", FACTS, "numbers", "words", as_text=count, missing="not recorded")),
        ("authors", facts.show("authors", "dataset", _SUMMARY, "authors", as_text=_authors)),
        ("years", facts.show("years", "dataset", _SUMMARY, "years", as_text=_years)),
        ("licences of the writing", facts.show("licences", "dataset", _SUMMARY, "licences", as_text=_counted)),
        ("languages", facts.show("languages", "dataset", _SUMMARY, "languages", as_text=_counted, missing="not recorded")),
        ("answers written by a model", _synthetic(facts)),
        (
            "target tokens in the training split",
            facts.show("target tokens", "dataset", FACTS, "numbers", "learned_tokens", as_text=count),
        ),
    ]
    parts = [
        "## Training data",
        "The writing itself is not part of this card.",
        table(["", "", "source"], [[name, shown.text, shown.source] for name, shown in rows]),
        _splits(facts),
        *_left_out(facts),
    ]
    return "\n\n".join(part for part in parts if part)


def _synthetic(facts: Facts) -> Any:
    paths = [("synthetic_answers",), ("answers",)]
    return facts.computed("answers written by a model", "dataset", _SUMMARY, paths, compute=list, as_text=_of)


def _of(values: list[Any]) -> str:
    some, total = values
    return f"{count(some)} of {count(total)} ({percent(some / total)})" if total else "0"


def _sources(found: Mapping[str, Any]) -> str:
    parts = _first([plain(name) for name in found.get("sites") or {}])
    parts += _first([f"data set {plain(name)}" for name in found.get("hub") or {}])
    files = found.get("files") or 0
    parts += [f"{count(files)} file{'' if files == 1 else 's'} of the author"] if files else []
    parts += [f"{count(found['own_answers'])} answers of the base itself"] if found.get("own_answers") else []
    return "; ".join(parts) or "not named"


def _first(names: list[str]) -> list[str]:
    return names if len(names) <= _MOST else [*names[:_MOST], f"{len(names) - _MOST} more"]


def _authors(found: list[Mapping[str, Any]]) -> str:
    if not any(one.get("name") for one in found):
        return "none is named in the sources"
    return "; ".join(_first([f"{plain(one.get('name') or 'not named')} ({percent(one['share'])})" for one in found]))


def _years(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{plain(year)} ({count(number)})" for year, number in found.items()) or "not dated"


def _counted(found: Mapping[str, Any]) -> str:
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{plain(name)} ({count(number)})" for name, number in ranked[:_MOST]) or "not recorded"


def _splits(facts: Facts) -> str:
    splits = facts.at("dataset", _SUMMARY, "splits") or {}
    rows = []
    for name in [one for one in _SPLITS if one in splits]:
        numbers = [
            facts.show(
                f"{key} in {name}", "dataset", _SUMMARY, "splits", name, *path, as_text=count, missing="not recorded"
            ).text
            for key, path in (("examples", ("examples",)), ("documents", ("documents",)), ("words", ("answer_words", "total")))
        ]
        rows.append([_SPLITS[name], *numbers])
    if not rows:
        return ""
    note = (
        "Every answer of the base itself counts as a document. "
        if facts.at("dataset", _SUMMARY, "sources", "own_answers")
        else ""
    )
    listed = table(["split", "examples", "documents", "words in answers"], rows)
    return f"{listed}\n\n{note}Source: {facts.source('dataset', _SUMMARY)}"


def _left_out(facts: Facts) -> Iterator[str]:
    lines = [plain(note) for note in facts.at("dataset", _SUMMARY, "left_out") or []]
    dropped = facts.at("dataset", FACTS, "numbers", "dropped") or {}
    for reason in dropped:
        shown = facts.show(f"dropped: {reason}", "dataset", FACTS, "numbers", "dropped", reason, as_text=count)
        lines.append(f"{shown.text} passages: {plain(reason)}")
    for key, words in (
        ("leaks", "rows that leak between the splits, after checking"),
        ("removed_copies", "training rows removed because the test split holds a copy"),
        ("copies_dropped", "copies dropped inside of a split"),
    ):
        shown = facts.show(words, "dataset", FACTS, "numbers", key, as_text=count, missing="")
        if shown.text and (shown.text != "0" or key == "leaks"):
            lines.append(f"{shown.text} {words}")
    if (unreadable := facts.show("files not read", "dataset", _SUMMARY, "unreadable", as_text=count)).text not in {"0", ""}:
        lines.append(f"{unreadable.text} files could not be read")
    if lines:
        yield f"What was left out, and why (source: {facts.source('dataset', FACTS)}):"
        yield bullet(lines)
    missing = facts.at("dataset", FACTS, "numbers", "not_looked_for") or []
    if missing:
        yield f"Copies between the splits that were not searched for: {'; '.join(plain(text) for text in missing)}."
