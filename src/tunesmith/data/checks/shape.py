"""The outer shape of answers: blanks at the ends, JSON among JSON, Markdown among plain text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import orjson

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["check_blanks", "check_json", "check_markdown"]

_JSON = re.compile(r"""\s*(?:```(?:json)?\s*)?(?:\{\s*["'}\w]|\[\s*[\[{"'\]]|\[\s*-?\d+(?:\.\d+)?\s*,)""")
_FENCE = re.compile(r"\s*```(?:json)?\s*\n?(.*?)\n?\s*```\s*\Z", re.DOTALL)
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|[-*+] \S|\d{1,2}\. \S|> \S|```|\|.*\|)|\*\*[^\s*]|\]\(", re.MULTILINE)
_MOST = 0.8
_FEWEST = 3


def check_blanks(rows: Sequence[Row]) -> Iterator[Finding]:
    """`blanks`: prompts or answers that begin or end with blanks, unless (nearly) all answers do."""
    odd = [row for row in rows if row.answer.strip() and (_padded(row.answer) or _padded(row.said))]
    if len(odd) > 0.95 * len(rows) > 1:
        return
    yield from found(
        "blanks",
        "warning",
        odd,
        f"{shared(odd, rows)} rows begin or end with blanks, which tokenizers take for another token than the word alone.",
        "strip both ends of every turn.",
    )


def check_json(rows: Sequence[Row]) -> Iterator[Finding]:
    """`broken_json`, `not_json`, `json_style`: among answers of which at least three parse as JSON objects or lists.

    What the base itself answered to general questions is left out: its form is not that of the rows, and nobody can repair it.
    """
    rows = [row for row in rows if row.example.origin is None or row.example.origin.kind != "own_answers"]
    meant, broken, styles = [], [], []
    for row in rows:
        if row.answer.lstrip()[:1] in ("{", "[", "`") and _JSON.match(row.answer):
            meant.append(row)
            style = _style(row.answer)
            if style is None:
                broken.append(row)
            else:
                styles.append((row, style))
    if len(styles) < max(_FEWEST, len(broken)):
        return
    yield from found(
        "broken_json",
        "error",
        broken,
        f"{shared(broken, meant)} answers that begin as JSON do not parse, the others do.",
        "repair them with a JSON library (quotes, commas, cut ends), or drop the rows.",
    )
    if len(meant) >= _MOST * len(rows):
        whole = {id(row) for row in meant}
        odd = [row for row in rows if id(row) not in whole and row.answer.strip()]
        yield from found(
            "not_json",
            "warning",
            odd,
            f"{shared(odd, rows)} answers are not JSON although the others are.",
            "bring them into the same form, or drop the rows.",
        )
    common, count = Counter(style for _, style in styles).most_common(1)[0]
    if _MOST * len(styles) <= count < len(styles):
        odd = [row for row, style in styles if style != common]
        yield from found(
            "json_style",
            "info",
            odd,
            f"{shared(odd, styles)} JSON answers have other keys or another wrapping than the commonest form ({common}).",
            "use the same keys in the same order everywhere, and a code fence always or never.",
        )


def check_markdown(rows: Sequence[Row]) -> Iterator[Finding]:
    """`markdown_mix`: the smaller part, where some answers have Markdown (headings, lists, bold, links) and some have none."""
    judged = [row for row in rows if len(row.tokens) >= 5]
    marked = [row for row in judged if _MARKDOWN.search(row.answer)]
    if not marked or len(marked) == len(judged):
        return
    have = len(marked) <= len(judged) / 2
    whole = {id(row) for row in marked}
    few = marked if have else [row for row in judged if id(row) not in whole]
    yield from found(
        "markdown_mix",
        "info",
        few,
        f"{shared(few, judged)} of the longer answers are {'in Markdown' if have else 'plain text'}, unlike the rest.",
        "keep it if the content needs it; otherwise use one style for all answers.",
    )


def _padded(text: str) -> bool:
    return text[:1].isspace() or text[-1:].isspace()


def _style(answer: str) -> str | None:
    """How a JSON answer is written: its keys in order, and whether it is fenced; None if it does not parse."""
    fenced = _FENCE.match(answer)
    try:
        value = orjson.loads(fenced[1] if fenced else answer)
    except orjson.JSONDecodeError:
        return None
    wrapped = ", fenced" if fenced else ""
    if isinstance(value, dict):
        return ", ".join(list(value)[:6]) + wrapped
    return "list" + wrapped
