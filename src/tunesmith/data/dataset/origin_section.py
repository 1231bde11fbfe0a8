"""Where the rows of a dataset come from, in one picture: documents, what was left out and why, authors, years, rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tunesmith.core.page import Raw, folded, section, table, text
from tunesmith.core.records import Document
from tunesmith.data.dataset.voices import voices

__all__ = ["origin_facts", "origin_section"]

_MOST_AUTHORS, _MOST_REASONS = 8, 12


def origin_facts(documents: Iterable[Document]) -> dict[str, Any]:
    """Authors and years of the documents that were taken, as report.json holds them."""
    every = list(documents)
    years = Counter(one.date[:4] for one in every if one.date)
    stated = Counter(one.date_origin or "not stated" for one in every)
    return {
        "authors": [asdict(voice) for voice in voices(every)],
        "years": dict(sorted(years.items())),
        "dates": dict(stated),
        "languages": dict(Counter(one.language for one in every if one.language)),
    }


def origin_section(
    facts: Mapping[str, Any] | None,
    *,
    documents: int | None,
    notes: Sequence[str],
    failures: int,
    dropped: Mapping[str, int],
    splits: Mapping[str, int],
) -> str:
    """The flow from what was read to the rows, and whose words they are; empty if no documents were read.

    `notes`: what was left out, such as `4 drafts left out`. `dropped`: pieces by reason. `splits`: rows of each.
    """
    if documents is None or facts is None:
        return ""
    left = [note for note in notes if note.endswith("left out")]
    others = [note for note in notes if not note.endswith("left out")]
    steps = [
        _step("left out", f"{sum(map(_number, left)):,}", "on purpose", [_reason(note) for note in left]),
        _step("taken", f"{documents:,}", "documents", [f"{failures:,} files could not be read"] if failures else []),
        _step("dropped", f"{sum(dropped.values()):,}", "passages", [f"{count:,} {why}" for why, count in _by_count(dropped)]),
        _step(
            "rows", f"{sum(splits.values()):,}", "to learn and to test", [f"{count:,} {name}" for name, count in splits.items()]
        ),
    ]
    parts: list[str] = [Raw(f'<ol class="flow">{"".join(steps)}</ol>'), _authors(facts), _years(facts)]
    if others:
        parts.append(folded("also noted while reading", Raw("<ul>" + "".join(f"<li>{text(n)}</li>" for n in others) + "</ul>")))
    return section("Where the rows come from", *[part for part in parts if part])


def _step(name: str, figure: str, what: str, reasons: Sequence[str]) -> str:
    shown = "".join(f"<li>{text(reason)}</li>" for reason in reasons[:_MOST_REASONS])
    more = f"<li>and {len(reasons) - _MOST_REASONS} more reasons</li>" if len(reasons) > _MOST_REASONS else ""
    listed = f"<ul>{shown}{more}</ul>" if shown else ""
    return f"<li><small>{text(name)}</small><b>{text(figure)}</b> <span>{text(what)}</span>{listed}</li>"


def _authors(facts: Mapping[str, Any]) -> str:
    authors = facts["authors"]
    if not any(one["name"] for one in authors):
        return Raw('<p class="soft">No document names an author.</p>')
    rows = [
        [
            one["name"] or "no author named",
            f"{one['documents']:,}",
            f"{one['words']:,}",
            f"{one['share']:.0%}",
            _bar(one["share"]),
        ]
        for one in authors[:_MOST_AUTHORS]
    ]
    rest = authors[_MOST_AUTHORS:]
    if rest:
        share = sum(one["share"] for one in rest)
        rows.append([f"{len(rest)} more", f"{sum(o['documents'] for o in rest):,}", f"{sum(o['words'] for o in rest):,}"])
        rows[-1] += [f"{share:.0%}", _bar(share)]
    return Raw("<h3>Whose words</h3>" + table(["author", "documents", "words", "share", ""], rows, numeric=[1, 2, 3]))


def _bar(share: float) -> Raw:
    return Raw(f'<span class="share" style="--share:{100 * share:.1f}%"></span>')


def _years(facts: Mapping[str, Any]) -> str:
    years: Mapping[str, int] = facts["years"]
    if not years:
        return Raw('<p class="soft">No document states a date, so a split by time is not possible.</p>')
    first, last = min(years), max(years)
    most = max(years.values())
    every = [str(year) for year in range(int(first), int(last) + 1)]
    bars = "".join(
        f'<span style="height:{100 * years.get(year, 0) / most:.1f}%" title="{year}: {years.get(year, 0)} documents"></span>'
        for year in every
    )
    axis = f"<small>{first}</small><small>{last}</small>" if first != last else f"<small>{first}</small>"
    undated = facts["dates"].get("not stated", 0)
    words = {"metadata": "in metadata", "address": "in the address", "name": "in the name of the file"}
    stated = ", ".join(f"{count:,} {words[how]}" for how, count in facts["dates"].items() if how in words)
    note = f"Dates are stated {stated}" + (f"; {undated:,} documents state none." if undated else ".")
    return Raw(
        f'<h3>When</h3><div class="bars" role="img" aria-label="documents by year, {first} to {last}">{bars}</div>'
        f'<div class="axis">{axis}</div><p class="soft">{text(note)}</p>'
    )


def _by_count(dropped: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(dropped.items(), key=lambda item: -item[1])


def _number(note: str) -> int:
    number = note.split(" ", 1)[0].replace(",", "")
    return int(number) if number.isdecimal() else 0


def _reason(note: str) -> str:
    return note.removesuffix(" left out")
