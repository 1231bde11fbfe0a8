"""A sample of rows to be read by a person: the page, and what becomes of the file by the decisions made on it.

The page needs no server: it keeps decisions in the browser and hands them out as a file, which `apply_decisions` takes.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from tunesmith.core.errors import DatasetError
from tunesmith.core.files import sha256_file
from tunesmith.core.page import Raw, badge, page, text
from tunesmith.core.proportion import wilson
from tunesmith.core.records import Example, Finding, to_json
from tunesmith.data.ingest.row_file import raw_rows
from tunesmith.data.rows.entry import Entry, FormatError, Turn
from tunesmith.data.rows.read import read_entry
from tunesmith.data.rows.write import needs_turns, write_entry

__all__ = ["SCRIPT", "STYLE", "Applied", "Decision", "apply_decisions", "choose_rows", "read_decisions", "review_page"]

_KINDS = ("accept", "fix", "drop")
SCRIPT = (Path(__file__).parent / "review.js").read_text(encoding="utf-8")
STYLE = (Path(__file__).parent / "review.css").read_text(encoding="utf-8")
_TONES = {"error": "bad", "warning": "unsure", "info": "unsure"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a reader said about one row, named by its place (`line 7`). `prompt` and `answer` are the new texts of a fix."""

    row: str
    decision: Literal["accept", "fix", "drop"]
    prompt: str | None = None
    answer: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The rows that remain, and what was done. `low` to `high`: the share of the file that needs work, by what was read."""

    rows: tuple[Any, ...]
    accepted: int
    fixed: int
    dropped: int
    unread: int
    unreadable: int
    low: float
    high: float


def choose_rows(examples: Sequence[Example], most: int) -> list[Example]:
    """At most `most` examples for reading: strata of turns, length (thirds) and source get their share, one each at least.

    Within a stratum the order is that of the hash of the id, so the same file gives the same sample and a larger one only adds.
    """
    lengths = sorted(len(example.answer) for example in examples)
    thirds = [lengths[len(lengths) * part // 3] for part in (1, 2)] if lengths else [0, 0]
    strata: dict[tuple[bool, int, str], list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda example: hashlib.sha256(example.id.encode()).hexdigest()):
        several = sum(message.role == "user" for message in example.messages) > 1
        strata[several, sum(len(example.answer) >= border for border in thirds), example.source].append(example)
    ranked: list[tuple[float, str, Example]] = []
    for members in strata.values():
        # The n-th of N members stands at (n + ½) / N: any head of the ranking holds every stratum by its share.
        ranked += [((n + 0.5) / len(members) if n else 0.0, example.id, example) for n, example in enumerate(members)]
    ranked.sort(key=lambda entry: (entry[0], entry[1]))
    chosen = {id(example) for _, _, example in ranked[:most]}
    return [example for example in examples if id(example) in chosen]


def review_page(
    file: Path, chosen: Sequence[Example], *, total: int, places: Mapping[str, str], findings: Sequence[Finding]
) -> str:
    """The page of the chosen rows, self-contained, with what the checks say about each."""
    said: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        for row in finding.rows:
            said[row].append(finding)
    shared = {system for example in chosen if (system := _system(example)) is not None}
    system = shared.pop() if len(shared) == 1 and all(_system(example) is not None for example in chosen) else ""
    told = f'<p class="soft">All rows begin with the system prompt:</p><div class="said">{text(system)}</div>' if system else ""
    head = (
        f'<header><h1>Review: {text(file.name)}</h1><p class="lead">{len(chosen)} of {total:,} rows, drawn by turns, length '
        "and source. Read each as the model will: would you be glad if it answered so?</p>"
        '<p class="soft">Keys: <kbd>a</kbd> accept, <kbd>f</kbd> fix, <kbd>d</kbd> drop, <kbd>j</kbd> and <kbd>k</kbd> next '
        f"and previous. Decisions stay in this browser until you save them.</p>{told}</header>"
    )
    bar = (
        '<div class="bar"><progress id="done" max="1" value="0"></progress><span id="count"></span>'
        '<button id="save">Save decisions</button></div>'
    )
    rows = "".join(
        _row(number, example, places[example.id], said[example.id], without_system=bool(system))
        for number, example in enumerate(chosen, 1)
    )
    then = (
        "<section><h2>When you are done</h2><p>Save the decisions, then type</p>"
        f"<pre>tunesmith review {text(file)} --apply decisions.json --out reviewed.jsonl</pre>"
        '<p class="soft">Without scripts the page can be read, but keeps no decisions.</p></section>'
    )
    facts = to_json({"file": file.name, "sha256": sha256_file(file), "total": total}).decode().replace("<", "\\u003c")
    script = f'<script type="application/json" id="facts">{facts}</script><script>{SCRIPT}</script>'
    style = f"<style>{STYLE}</style>"
    return page(f"Review: {file.name}", [Raw(part) for part in (style, head, bar, rows, then, script)])


def _system(example: Example) -> str | None:
    first = example.messages[0]
    return first.content if first.role == "system" else None


def _row(number: int, example: Example, place: str, findings: Sequence[Finding], *, without_system: bool) -> str:
    marks = "".join(
        f'<span title="{text(finding.message)}">{badge(finding.name.replace("_", " "), _TONES[finding.severity])}</span> '
        for finding in findings
    )
    asked = max((at for at, message in enumerate(example.prompt) if message.role == "user"), default=-1)
    turns = []
    for at, message in enumerate(example.prompt):
        if without_system and at == 0:
            continue
        field = ' data-field="prompt"' if at == asked else ""
        turns.append(f'<h3>{message.role}</h3><div class="said"{field}>{text(message.content)}</div>')
    answer = f'<h3>assistant, learned</h3><div class="said answer" data-field="answer">{text(example.answer)}</div>'
    choices = "".join(f'<label><input type="radio" name="row{number}" value="{kind}"> {kind}</label>' for kind in _KINDS)
    title = f" · {text(example.title)}" if example.title else ""
    return (
        f'<article data-row="{text(place)}" data-id="{text(example.id)}" tabindex="-1">'
        f'<p class="soft">{number} · {text(place)}{title} {marks}</p>{"".join(turns)}{answer}'
        f'<div class="choices">{choices}<input class="note" placeholder="a note, if you like"></div></article>'
    )


def read_decisions(path: Path, file: Path) -> tuple[Decision, ...]:
    """The decisions of a saved file. DatasetError if it is none, or was made on another version of `file`."""
    try:
        saved = orjson.loads(path.read_bytes())
        decisions = tuple(_decision(row) for row in saved["rows"])
        sha256 = saved["sha256"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DatasetError(
            "this is not a file of decisions",
            value=str(path),
            expected=f"what “Save decisions” of a review page gave ({error})",
            hint=f"tunesmith review {file}",
        ) from error
    if sha256 != sha256_file(file):
        raise DatasetError(
            "the file has changed since it was reviewed",
            value=str(file),
            expected="the same content, since decisions name rows by their places",
            hint=f"tunesmith review {file} makes a new page; the old decisions fit the old file only",
        )
    return decisions


def _decision(row: Mapping[str, Any]) -> Decision:
    if row["decision"] not in _KINDS or not isinstance(row["row"], str):
        raise ValueError(f"unknown decision {row['decision']!r}")
    texts = {key: row[key] for key in ("prompt", "answer", "note") if isinstance(row.get(key), str)}
    return Decision(row=row["row"], decision=row["decision"], **texts)


def apply_decisions(file: Path, decisions: Sequence[Decision]) -> Applied:
    """The rows of the file in their order and format, without those dropped and with the fixed ones as the reader wrote them.

    DatasetError for a decision about a row that is not there, or a fix that the row's format cannot hold.
    """
    by_row = {decision.row: decision for decision in decisions}
    raw = raw_rows(file)
    if missing := sorted(by_row.keys() - {where for where, _, _ in raw}):
        raise DatasetError(
            "a decision is about a row that is not in the file",
            value=missing[0],
            expected=f"one of the {len(raw):,} rows of {file.name}",
            hint=f"tunesmith review {file}",
        )
    kept: list[Any] = []
    counts: Counter[str] = Counter()
    for where, row, problem in raw:
        decision = by_row.get(where)
        if decision is None and problem:
            counts["unreadable"] += 1
            continue
        counts["unread" if decision is None else decision.decision] += 1
        if decision is None or decision.decision == "accept":
            kept.append(row)
        elif decision.decision == "fix":
            kept.append(_fixed(row, decision))
    read, bad = len(by_row), counts["fix"] + counts["drop"]
    low, high = wilson(bad / max(1, read), read)
    return Applied(
        rows=tuple(kept),
        accepted=counts["accept"],
        fixed=counts["fix"],
        dropped=counts["drop"],
        unread=counts["unread"],
        unreadable=counts["unreadable"],
        low=low,
        high=high,
    )


def _fixed(row: Any, decision: Decision) -> Any:
    """The row with new texts: in the place of the old ones where these stand as they are, else written anew in its format."""
    wanted, found = read_entry(row)
    changed: Any = row
    for field, new in (("prompt", decision.prompt), ("answer", decision.answer)):
        if new is not None and new != _text_of(wanted, field):
            old, wanted = _text_of(wanted, field), _with_text(wanted, field, new)
            places = _replaced(changed, old, new) if changed is not None else ()
            changed = next((one for one in places if _says(one, wanted)), None)
    if changed is not None:
        return changed
    try:
        return write_entry(wanted, found.format, turns=needs_turns(wanted, found.format)).rows[0]
    except (FormatError, KeyError) as error:
        raise DatasetError(
            "a fix cannot be written into its row",
            value=decision.row,
            expected=f"a text that the format {found.format} can hold ({error})",
            hint="tunesmith convert FILE --to messages first, then review that file",
        ) from error


def _says(row: Any, wanted: Entry) -> bool:
    try:
        read = read_entry(row)[0]
    except FormatError:
        return False
    return (read.turns, read.answers) == (wanted.turns, wanted.answers)


def _text_of(entry: Entry, field: str) -> str:
    if field == "answer" and entry.answers:
        return entry.answers[0]
    return entry.turns[_turn(entry, field)].content


def _turn(entry: Entry, field: str) -> int:
    role = "assistant" if field == "answer" else "user"
    return max(at for at, turn in enumerate(entry.turns) if turn.role == role)


def _with_text(entry: Entry, field: str, new: str) -> Entry:
    if field == "answer" and entry.answers:
        return replace(entry, answers=(new, *entry.answers[1:]))
    at = _turn(entry, field)
    turns: list[Turn] = list(entry.turns)
    turns[at] = replace(turns[at], content=new)
    return replace(entry, turns=tuple(turns))


def _replaced(row: Any, old: str, new: str) -> Iterator[Any]:
    """The row with one text that is `old` made `new`, the last one first; then with `old` replaced inside of a longer text."""
    if isinstance(row, str):
        before, found, after = row.rpartition(old)
        if found and old:
            yield before + new + after
        return
    items = list(row.items()) if isinstance(row, dict) else list(enumerate(row)) if isinstance(row, list) else []
    for key, value in reversed(items):
        changes = [new] if value == old else _replaced(value, old, new)
        for changed in changes:
            yield {**row, key: changed} if isinstance(row, dict) else [*row[:key], changed, *row[key + 1 :]]
