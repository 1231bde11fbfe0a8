"""Markdown of a card, its numbers as text, and the same card as a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from tunesmith.core.page import Raw, page, scrolling

__all__ = [
    "PAGE_MARK",
    "as_page",
    "bullet",
    "code",
    "count",
    "decimals",
    "interval",
    "megabytes",
    "percent",
    "plain",
    "seconds",
    "table",
]

_MARKUP = re.compile(r"([\\`*_\[\]<>|#~])")


def plain(value: object) -> str:
    """Text of a user, a model or a file as Markdown that shows it as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """A name or hash in typewriter letters, on one line and without what would end it."""
    return f"`{' '.join(str(value).split()).replace('`', '').replace('|', '')}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a blank line belongs before and after it."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def bullet(lines: Iterable[str]) -> str:
    """A list, one line an entry."""
    return "\n".join(f"- {line}" for line in lines)


def count(value: Any) -> str:
    """`12,345`."""
    return f"{int(value):,}"


def decimals(value: Any) -> str:
    """Three decimals, or three digits where that would show nothing."""
    number = float(value)
    return f"{number:.3f}" if number == 0 or 1e-3 <= abs(number) < 1e6 else f"{number:.2e}"


def percent(value: Any) -> str:
    """`12.3 %` of a share."""
    return f"{100 * float(value):.1f} %"


def megabytes(value: Any) -> str:
    """`538.1 MB` of bytes."""
    return f"{int(value) / 1e6:,.1f} MB"


def seconds(value: Any) -> str:
    """`4 min 40 s`."""
    whole = round(float(value))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def interval(mean: Any, low: Any, high: Any) -> str:
    """`0.318 [0.250, 0.359]`."""
    return f"{decimals(mean)} [{decimals(low)}, {decimals(high)}]"


PAGE_MARK = "<!-- tunesmith card, as a page -->"  # by which a page is known before another one replaces it


def as_page(markdown: str, title: str, *, picture: str = "") -> str:
    """The card as one self-contained page in the style of the reports. `picture`: the curves as SVG, put under their heading.

    HTML inside of the Markdown is shown as text and never run.
    """
    from markdown_it import MarkdownIt

    _, _, body = markdown.partition("\n---\n")
    body = re.sub(r"<!--.*?-->\n?|^!\[[^\]]*\]\(curves\.svg\)$", "", body, flags=re.DOTALL | re.MULTILINE)
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    html = re.sub(r"<table>.*?</table>", lambda found: scrolling(found.group()), html, flags=re.DOTALL).replace(
        "<th></th>", "<td></td>"
    )
    drawn = f'<figure class="light">{picture}</figure>' if picture else ""
    return page(title, [Raw(PAGE_MARK + html.replace("<h3>Curves</h3>", f"<h3>Curves</h3>{drawn}"))])
