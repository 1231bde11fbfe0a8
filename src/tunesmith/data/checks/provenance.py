"""Where rows come from: documents and sources that outweigh the rest, licences, ids that two rows share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["MOST_SOURCE", "check_ids", "check_licences", "check_sources"]

MOST_SOURCE = 0.20
_FEWEST_ROWS = 20
_NOT_FREE = ("-nc", " nc", "noncommercial", "non-commercial", "-nd", "no derivatives", "all rights reserved", "proprietary")


def check_sources(rows: Sequence[Row], cap: float = MOST_SOURCE) -> Iterator[Finding]:
    """`source_share`: a document with over `cap` of the rows, and over 1.5 times its even share, from 20 rows on."""
    counts = Counter(row.example.group for row in rows)
    named = any(row.example.group != row.example.id for row in rows)
    limit = max(cap, 1.5 / max(1, len(counts))) * len(rows)
    heavy = [group for group, count in counts.items() if count > limit]
    if len(rows) < _FEWEST_ROWS or not named or not heavy:
        return
    odd = [row for row in rows if row.example.group in heavy]
    titles = ", ".join(f"{group[:60]} {counts[group]:,}" for group in heavy)
    yield from found(
        "source_share",
        "warning",
        odd,
        f"{shared(odd, rows)} rows come from one document each ({titles}): over {cap:.0%} of the set, so that text is learned.",
        f"thin it out, add other documents, or allow more (--cap {max(counts.values()) / len(rows):.2f}).",
    )


def check_licences(rows: Sequence[Row]) -> Iterator[Finding]:
    """`licences`: rows whose licence forbids commercial use or changes. `licence_mix`: some rows without any."""
    odd = [row for row in rows if row.example.license and any(mark in row.example.license.lower() for mark in _NOT_FREE)]
    names = ", ".join(sorted({str(row.example.license)[:40] for row in odd})[:5])
    yield from found(
        "licences",
        "warning",
        odd,
        f"{shared(odd, rows)} rows have a licence that forbids commercial use or changed copies ({names}).",
        "drop them, unless your use is allowed; the model card must name the licence.",
    )
    without = [row for row in rows if not row.example.license]
    if len(without) < len(rows):
        yield from found(
            "licence_mix",
            "info",
            without,
            f"{shared(without, rows)} rows name no licence, the others do.",
            "find out under which licence they are, and write it into the rows.",
        )


def check_ids(rows: Sequence[Row]) -> Iterator[Finding]:
    """`duplicate_ids`: rows whose own id another, different row has already; reading has made them `ID#2`, `ID#3` …"""
    ids = {row.example.id for row in rows}
    odd = []
    for row in rows:
        before, mark, number = row.example.id.rpartition("#")
        if mark and number.isdigit() and int(number) > 1 and before in ids:
            odd.append(row)
    yield from found(
        "duplicate_ids",
        "warning",
        odd,
        f"{shared(odd, rows)} rows have the id of another row that says something else.",
        "give every row an id of its own: results are matched by it.",
    )
