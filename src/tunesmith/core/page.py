"""One self-contained page for people: no network, no script. Stages fill in sections; this file only lays them out.

Text that comes from a user, a model or a file goes through `text` (or `table`, which escapes plain strings itself).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

__all__ = ["STYLE", "Raw", "badge", "card", "folded", "histogram", "page", "scrolling", "section", "table", "text"]


class Raw(str):
    """HTML that is already safe: `table` and `card` put it in as it is."""

    __slots__ = ()


STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def text(value: object) -> Raw:
    """Any value as safe text."""
    return Raw(escape(str(value), quote=True))


def _cell(value: object) -> str:
    return value if isinstance(value, Raw) else text(value)


def page(title: str, sections: Iterable[str]) -> str:
    """The whole page as HTML."""
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def section(heading: str, *parts: str) -> Raw:
    """A heading and the content below it."""
    return Raw(f"<section><h2>{text(heading)}</h2>\n" + "\n".join(parts) + "</section>")


def folded(summary: str, *parts: str) -> Raw:
    """Something to open with a click: the raw numbers under a picture."""
    return Raw(f"<details><summary>{text(summary)}</summary>\n" + "\n".join(parts) + "</details>")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[int] = ()) -> Raw:
    """A table; the columns in `numeric` are set to the right. A heading that is empty is no heading, for those who listen."""
    right = set(numeric)
    mark = [' class="n"' if i in right else "" for i in range(len(head))]
    top = "".join(f"<th{mark[i]}>{_cell(cell)}</th>" if cell else f"<td{mark[i]}></td>" for i, cell in enumerate(head))
    lines = ["".join(f"<td{mark[i]}>{_cell(cell)}</td>" for i, cell in enumerate(row)) for row in rows]
    rows_text = "".join(f"<tr>{line}</tr>" for line in lines)
    return scrolling(f"<table><thead><tr>{top}</tr></thead><tbody>{rows_text}</tbody></table>")


def scrolling(content: str) -> Raw:
    """HTML that may be wider than the window: it scrolls by itself, with the keyboard too."""
    return Raw(f'<div class="wide" tabindex="0">{content}</div>')


def badge(label: str, tone: str) -> Raw:
    """A word in a pill; `tone` is good, bad or unsure. The word says it without the colour."""
    return Raw(f'<span class="badge {text(tone)}">{text(label)}</span>')


def card(heading: str, body: object) -> Raw:
    """A box with a small heading; several of them go into `<div class="cards">`."""
    return Raw(f'<div class="card"><h4>{text(heading)}</h4><div class="body">{_cell(body)}</div></div>')


def histogram(values: Sequence[float], *, unit: str, bins: int = 24) -> Raw:
    """A small histogram in plain HTML with its smallest, middle and largest value."""
    if not values:
        return Raw('<p class="soft">nothing to show</p>')
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    bars = "".join(
        f'<span style="height:{100 * count / max(counts):.1f}%" '
        f'title="{count} from {low + i * width:.0f} to {low + (i + 1) * width:.0f} {text(unit)}"></span>'
        for i, count in enumerate(counts)
    )
    middle = sorted(values)[len(values) // 2]
    axis = "".join(f"<small>{text(label)}</small>" for label in (f"{low:.0f}", f"median {middle:.0f} {unit}", f"{high:.0f}"))
    return Raw(
        f'<div class="bars" role="img" aria-label="histogram of {len(values)} values">{bars}</div>'
        f'<div class="axis">{axis}</div>'
    )
