"""The training curve as an SVG: held-out bits per byte by source over the tokens seen.

    python curve.py --history history.json --out curve.svg

`history.json` is the list of evaluations that stands in a checkpoint's `state.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["draw", "main"]

_WIDTH, _HEIGHT = 900, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 50, 60  # margins; the legend stands in the right one
_COLOURS = ("#1b6ca8", "#c8502d", "#3a8f4d", "#8a5aa8", "#b8860b", "#3f7f93", "#a8326b", "#666666")
_SHOWN = (
    "text-transcripts",
    "text-articles",
    "text-stories",
    "text-facts",
    "chat-articles",
    "chat-stories",
    "chat-dialogues",
    "chat-instructions",
)


def _points(history: Sequence[Mapping[str, Any]], source: str) -> list[tuple[float, float]]:
    """(million tokens, bits per byte) where the source was measured."""
    return [(entry["tokens"] / 1e6, entry["held"][source]) for entry in history if source in entry["held"]]


def draw(history: Sequence[Mapping[str, Any]], title: str) -> str:
    """An SVG with axes, units and a legend; a dashed line wherever a new phase begins."""
    series = {source: points for source in _SHOWN if (points := _points(history, source))}
    most = max(x for points in series.values() for x, _ in points) * 1.03
    values = [y for points in series.values() for _, y in points]
    low, high = int(min(values) * 5) / 5, (int(max(values) * 5) + 1) / 5

    def x_at(tokens: float) -> float:
        return _LEFT + tokens / most * (_WIDTH - _LEFT - _RIGHT)

    def y_at(bits: float) -> float:
        return _HEIGHT - _BOTTOM - (bits - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="28" font-size="16">{escape(title)}</text>',
    ]
    for step in range(round((high - low) / 0.2) + 1):
        bits = low + 0.2 * step
        parts.append(f'<path d="M{_LEFT} {y_at(bits):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y_at(bits) + 4:.1f}" text-anchor="end">{bits:.1f}</text>')
    gap = next(g for g in (1, 2, 5, 10, 20, 50) if most / g <= 8)
    for tokens in range(0, int(most) + 1, gap):
        parts.append(f'<text x="{x_at(tokens):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{tokens}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 15}" text-anchor="middle">tokens seen, millions</text>')
    parts.append(
        f'<text x="20" y="{_HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 20 {_HEIGHT / 2:.0f})">'
        "held-out bits per byte</text>"
    )
    for before, after in pairwise(history):
        if after["phase"] != before["phase"]:
            x = x_at(before["tokens"] / 1e6)
            parts.append(f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#999" stroke-dasharray="4 4"/>')
    for number, (source, points) in enumerate(series.items()):
        colour = _COLOURS[number]
        line = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="7 3"' if source.startswith("chat") else ""
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
        y = _TOP + 20 + 24 * number
        parts.append(
            f'<path d="M{_WIDTH - _RIGHT + 15} {y}h28" stroke="{colour}" stroke-width="2"{dash}/>'
            f'<text x="{_WIDTH - _RIGHT + 50}" y="{y + 4}">{escape(source)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(history: Path, out: Path, title: str) -> None:
    """Draw the history of a run; a `state.json` will do as well."""
    read = json.loads(history.read_text())
    out.write_text(draw(read["history"] if isinstance(read, dict) else read, title))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="Training of apprentice (dashed upright: a new phase)")
    given = parser.parse_args()
    main(given.history, given.out, given.title)
