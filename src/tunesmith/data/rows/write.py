"""Entries to rows: one writer a format. What a format cannot hold is named, so that nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import orjson

from tunesmith.data.rows.detect import FORMATS
from tunesmith.data.rows.entry import Entry, FormatError, Turn
from tunesmith.data.rows.rendered import TEMPLATES, render
from tunesmith.data.rows.turns import as_messages, as_sharegpt

__all__ = ["TARGETS", "Written", "needs_turns", "write_entry"]

TARGETS = tuple(name for name in FORMATS if name != "request_log")
_PROMPTED = frozenset(("prompt_completion", "preference", "kto", "ranking"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The rows that an entry becomes (a ranking gives several preferences), and what they do not hold of it, in words."""

    rows: tuple[Any, ...]
    lost: tuple[str, ...] = ()


def needs_turns(entry: Entry, to: str) -> bool:
    """Whether the format `to` must write this entry's prompt as a list of turns, since one user turn is not all there is.

    A file has one form: if one row needs lists, all rows are written so.
    """
    if to not in _PROMPTED:
        return False
    before = entry.turns[:-1] if entry.kind == "conversation" else entry.turns
    rich = any(turn.tool_calls or turn.tool_call_id or turn.more for turn in entry.turns)
    return bool(entry.tools) or rich or [turn.role for turn in before] != ["user"]


def write_entry(entry: Entry, to: str, *, turns: bool = False) -> Written:
    """The entry as rows of the format `to`; with `turns`, prompts and completions are lists of turns (see `needs_turns`).

    FormatError, with the reason, where the format has no place for what the entry is. KeyError for an unknown format.
    """
    if to in TEMPLATES:
        return _with_extras(entry, *_template(entry, to))
    if to == "text" and entry.kind != "text":
        raise FormatError("plain text has no turns; a template such as chatml writes them as one string")
    if to != "text" and entry.kind == "text":
        raise FormatError("it is plain text without turns; tunesmith build makes examples of texts")
    rows, lost = _WRITERS[to](entry, turns)
    if to == "seed_qa":
        return Written(rows=tuple(rows), lost=(*lost, *entry.extras))
    return _with_extras(entry, rows, lost)


def _with_extras(entry: Entry, rows: Sequence[Any], lost: Sequence[str]) -> Written:
    """Further fields stand beside the format's own; one that has the name of such a field is lost."""
    taken = {key for row in rows for key in row}
    clash = [key for key, value in entry.extras.items() if key in taken and any(row.get(key) != value for row in rows)]
    extras = {key: value for key, value in entry.extras.items() if key not in taken}
    return Written(rows=tuple({**row, **extras} for row in rows), lost=tuple(dict.fromkeys((*lost, *clash))))


def _talk(entry: Entry) -> tuple[tuple[Turn, ...], list[str]]:
    """The entry as one conversation, and what that leaves out."""
    if entry.kind in ("conversation", "text"):
        return entry.turns, []
    if entry.kind == "label" and not entry.label:
        raise FormatError("it is marked as a bad answer (label: false), and would be learned as a good one")
    lost = {"preference": ["rejected"], "label": ["label"], "ranking": ["all answers but the best"]}[entry.kind]
    return (*entry.turns, Turn(role="assistant", content=entry.answers[0])), lost


def _plain(turns: Sequence[Turn], format: str) -> None:
    if any(turn.tool_calls or turn.role == "tool" for turn in turns):
        raise FormatError(f"the format {format} holds no calls of tools; tool_messages does")


def _fields(turns: Sequence[Turn]) -> list[str]:
    return list(dict.fromkeys(f"{key} of a turn" for turn in turns for key in turn.more))


def _messages(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    said, lost = _talk(entry)
    _plain(said, "messages")
    if entry.tools:
        raise FormatError("the format messages holds no definitions of tools; tool_messages does")
    return [{"messages": as_messages(said)}], lost


def _tool_messages(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    said, lost = _talk(entry)
    return [{"messages": as_messages(said)} | ({"tools": entry.tools} if entry.tools else {})], lost


def _sharegpt(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    said, lost = _talk(entry)
    rows, ids = as_sharegpt(said)
    tools = {"tools": orjson.dumps(entry.tools).decode()} if entry.tools else {}
    return [{"conversations": rows} | tools], [*lost, *ids]


def _alpaca(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    said, lost = _talk(entry)
    _plain(said, "alpaca")
    system = said[:1] if said and said[0].role == "system" else ()
    rest = said[len(system) :]
    if len(rest) < 2 or len(rest) % 2 or any(turn.role != ("user", "assistant")[n % 2] for n, turn in enumerate(rest)):
        raise FormatError("alpaca rows hold a system prompt and turns of user and assistant by turns, the assistant last")
    instruction, given = rest[-2].content, entry.extras.get("input")
    if not isinstance(given, str) or not instruction.endswith(given) or not given.strip():
        given = ""
    elif instruction == given:
        instruction = ""
    elif instruction.endswith(f"\n\n{given}"):
        instruction = instruction[: -len(given) - 2]
    else:
        given = ""
    row: dict[str, Any] = {"instruction": instruction, "input": given, "output": rest[-1].content}
    if system:
        row["system"] = system[0].content
    if len(rest) > 2:
        row["history"] = [[rest[n].content, rest[n + 1].content] for n in range(0, len(rest) - 2, 2)]
    tools = ["tools"] if entry.tools else []
    return [row], [*lost, *_fields(said), *tools]


def _prompt_completion(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    said, lost = _talk(entry)
    if not said or said[-1].role != "assistant":
        raise FormatError("it does not end with an answer")
    if turns:
        row = {"prompt": as_messages(said[:-1]), "completion": as_messages(said[-1:])}
        return [row | ({"tools": entry.tools} if entry.tools else {})], lost
    _one_prompt(entry, said[:-1])
    return [{"prompt": said[0].content, "completion": said[1].content}], [*lost, *_fields(said)]


def _one_prompt(entry: Entry, before: Sequence[Turn]) -> None:
    if [turn.role for turn in before] != ["user"] or entry.tools or any(turn.tool_calls for turn in entry.turns):
        raise FormatError("its prompt is more than one user turn, and is written as a list of turns only")


def _answered(entry: Entry, answer: str, *, turns: bool) -> tuple[Any, Any]:
    """Prompt and answer as texts, or as lists of turns."""
    if turns:
        return as_messages(entry.turns), as_messages([Turn(role="assistant", content=answer)])
    _one_prompt(entry, entry.turns)
    return entry.turns[0].content, answer


def _preference(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    if entry.kind not in ("preference", "ranking"):
        raise FormatError("it has one answer; a preference needs a chosen and a rejected one")
    pairs = list(combinations(range(len(entry.answers)), 2))
    if entry.kind == "preference":
        pairs = [(0, 1)]
    rows = []
    for better, worse in pairs:
        if entry.scores and entry.scores[better] == entry.scores[worse]:
            continue
        prompt, chosen = _answered(entry, entry.answers[better], turns=turns)
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": _answered(entry, entry.answers[worse], turns=turns)[1]})
    if not rows:
        raise FormatError("all its answers have the same score")
    lost = ["scores"] if entry.scores else []
    return _with_tools(entry, rows), [*lost, *([] if turns else _fields(entry.turns))]


def _kto(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    if entry.kind not in ("preference", "label"):
        raise FormatError("its answers are not marked as good or bad")
    labels = (True, False) if entry.kind == "preference" else (entry.label,)
    rows = []
    for label, answer in zip(labels, entry.answers, strict=True):
        prompt, completion = _answered(entry, answer, turns=turns)
        rows.append({"prompt": prompt, "completion": completion, "label": label})
    return _with_tools(entry, rows), [] if turns else _fields(entry.turns)


def _ranking(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    if entry.kind not in ("preference", "ranking"):
        raise FormatError("it has one answer; a ranking needs several")
    row = {"prompt": _answered(entry, "", turns=turns)[0], "answers": list(entry.answers)}
    if entry.scores:
        row["scores"] = list(entry.scores)
    return _with_tools(entry, [row]), [] if turns else _fields(entry.turns)


def _with_tools(entry: Entry, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "tools": entry.tools} for row in rows] if entry.tools else rows


def _template(entry: Entry, template: str) -> tuple[list[dict[str, Any]], list[str]]:
    if entry.kind == "text":
        raise FormatError("it is plain text without turns; tunesmith build makes examples of texts")
    said, lost = _talk(entry)
    key = "conversation" if template == "dialogue" else "text"
    tools = ["tools"] if entry.tools else []
    return [{key: render(said, template)}], [*lost, *_fields(said), *tools]


def _seed_qa(entry: Entry, turns: bool) -> tuple[list[Any], list[str]]:
    rows, lost = _template(replace(entry, extras={}), "phi3")
    return [row["text"] for row in rows], lost


def _text(entry: Entry, turns: bool) -> tuple[list[dict[str, Any]], list[str]]:
    return [{"text": entry.text}], []


_WRITERS: Mapping[str, Callable[[Entry, bool], tuple[list[Any], list[str]]]] = {
    "messages": _messages,
    "tool_messages": _tool_messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
    "preference": _preference,
    "kto": _kto,
    "ranking": _ranking,
    "text": _text,
    "seed_qa": _seed_qa,
}
