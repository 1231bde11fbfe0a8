"""Feedback as rows to learn from: corrections, preferences, and labels for the calibration of a judge."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from sqlalchemy import RowMapping, and_, select

from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.tables import answers, feedback

__all__ = ["Form", "Rows", "rows_of", "value_of"]

Form = Literal["sft", "preference", "labels", "shadows"]


@dataclass(slots=True)
class Rows:
    """What was found. `left_out`: how many feedbacks could not become a row, by reason."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Judged:
    """An answer with what was said of it. `tools`: those that the model had; then the answer is a message, else a text."""

    id: str
    model: str
    arm: str | None
    split: str | None
    prompt: Any
    answer: Any
    tools: Any = None
    value: float | None = None
    correction: str | None = None


def value_of(thumb: str | None, score: float | None) -> float | None:
    """A feedback as a number from 0 to 1: its score, else 1 for a thumb up and 0 for one down."""
    return score if score is not None else None if thumb is None else float(thumb == "up")


def rows_of(database: Database, form: Form, *, since: float | None = None) -> Rows:
    """The rows of a form. `since`: of feedback given from this time on (seconds since 1970).

    `sft`: the prompt with a correction as its answer. `preference`: a correction over the answer that it corrects, and, of
    answers of two models to the same prompt, the one that people valued more over the other. `labels`: the same pairs, and the
    ties among them, as `tunesmith judge calibrate` reads them; which of the two is `a` depends on a hash of the row's id.
    `shadows`: the answer that was shown and that of the shadow, without a label, for a judge or an arena.

    Of several feedbacks on an answer the last correction and the last value count.
    """
    if form == "shadows":
        return _shadows(database, since)
    found, left_out = _judged(database, since)
    rows = Rows(left_out=left_out)
    for one in (one for one in found if one.correction is not None):
        id = f"correction-{one.id}"
        if one.prompt is None:
            rows.left_out["correction without a captured prompt"] += 1
        elif form == "sft":
            rows.rows.append(_example(one))
        elif one.answer is None:
            rows.left_out["correction without a captured answer"] += 1
        elif one.correction == _words(one.answer):
            rows.left_out["correction equal to the answer"] += 1
        elif form == "preference":
            rows.rows.append(_pair(id, one, one.correction, one.answer))
        else:
            rows.rows.append(_label(id, one.prompt, (one.correction, "person"), (one.answer, one.model), 1))
    if form != "sft":
        rows.rows += _between_models(found, form)
    return rows


def _shadows(database: Database, since: float | None) -> Rows:
    """`a` is the answer that was shown."""
    shown = answers.alias("shown")
    columns = (answers.c.id, answers.c.model, answers.c.answer, shown.c.prompt, shown.c.answer.label("first"))
    joined = select(*columns, shown.c.model.label("first_model")).join(shown, shown.c.id == answers.c.shadow_of)
    rows = Rows()
    with database.read() as connection:
        for row in connection.execute(joined.where(answers.c.at >= (since or 0.0)).order_by(answers.c.seq)):
            if row.prompt is None or row.answer is None or row.first is None:
                rows.left_out["shadow without captured texts"] += 1
                continue
            prompt, _, first = _read(row.prompt, row.first)
            second = _read(row.prompt, row.answer)[2]
            found = {"id": f"shadow-{row.id}", "prompt": _text(prompt), "a": _words(first), "b": _words(second)}
            rows.rows.append(found | {"system_a": row.first_model, "system_b": row.model})
    return rows


def _judged(database: Database, since: float | None) -> tuple[list[_Judged], Counter[str]]:
    wanted = and_(feedback.c.at >= (since or 0.0), answers.c.shadow_of.is_(None))
    columns = (answers.c.id, answers.c.model, answers.c.arm, answers.c.split, answers.c.prompt, answers.c.answer)
    said = (feedback.c.thumb, feedback.c.score, feedback.c.correction)
    statement = (
        select(*columns, *said).join(answers, answers.c.id == feedback.c.answer_id).where(wanted).order_by(feedback.c.seq)
    )
    by_id: dict[str, _Judged] = {}
    left_out: Counter[str] = Counter()
    with database.read() as connection:
        for row in connection.execute(statement).mappings():
            one = by_id.setdefault(row["id"], _begun(row))
            value = value_of(row["thumb"], row["score"])
            one.value = one.value if value is None else value
            one.correction = row["correction"] or one.correction
            left_out["neither a correction nor a value"] += value is None and row["correction"] is None
    return list(by_id.values()), +left_out


def _begun(row: RowMapping) -> _Judged:
    prompt, tools, answer = _read(row["prompt"], row["answer"])
    return _Judged(row["id"], row["model"], row["arm"], row["split"], prompt, answer, tools)


def _read(prompt: str | None, answer: str | None) -> tuple[Any, Any, Any]:
    """Prompt, tools and answer as `recording` keeps them."""
    found = None if prompt is None else orjson.loads(prompt)
    if not isinstance(found, dict):
        return found, None, answer
    return found["messages"], found["tools"], None if answer is None else orjson.loads(answer)


def _example(one: _Judged) -> dict[str, Any]:
    if isinstance(one.prompt, str):
        return {"id": f"correction-{one.id}", "prompt": one.prompt, "completion": one.correction}
    made = {"id": f"correction-{one.id}", "messages": [*one.prompt, {"role": "assistant", "content": one.correction}]}
    return made if one.tools is None else made | {"tools": one.tools}


def _pair(id: str, one: _Judged, chosen: Any, rejected: Any) -> dict[str, Any]:
    """Two answers to the prompt of `one`; where the model had tools, as messages."""
    if one.tools is None:
        return {"id": id, "prompt": _brief(one.prompt), "chosen": chosen, "rejected": rejected}
    sides = {
        name: [{"role": "assistant", "content": side} if isinstance(side, str) else side]
        for name, side in (("chosen", chosen), ("rejected", rejected))
    }
    return {"id": id, "prompt": one.prompt, **sides, "tools": one.tools}


def _between_models(found: Sequence[_Judged], form: Form) -> Iterator[dict[str, Any]]:
    """Best and worst answer to each prompt that several models were asked; equal values are a tie of the first two."""
    by_prompt: dict[bytes, list[_Judged]] = defaultdict(list)
    for one in found:
        if one.prompt is not None and one.answer is not None and one.value is not None:
            by_prompt[orjson.dumps([one.prompt, one.tools])].append(one)
    for same in by_prompt.values():
        ordered = sorted(same, key=lambda one: -(one.value or 0.0))
        best = ordered[0]
        others = [one for one in ordered[1:] if one.model != best.model and one.answer != best.answer]
        if not others:
            continue
        worst = others[-1]
        tie = best.value == worst.value
        id = f"models-{best.id}-{worst.id}"
        if form == "labels":
            yield _label(id, best.prompt, (best.answer, best.model), (worst.answer, worst.model), 0 if tie else 1)
        elif not tie:
            yield _pair(id, best, best.answer, worst.answer)


def _label(id: str, prompt: Any, first: tuple[Any, str], second: tuple[Any, str], better: int) -> dict[str, Any]:
    """`better`: 1 if the first is, 0 for a tie."""
    swapped = hashlib.sha256(id.encode()).digest()[0] % 2 == 1
    (a, system_a), (b, system_b) = (second, first) if swapped else (first, second)
    human = "tie" if not better else "B" if swapped else "A"
    sides = {"a": _words(a), "b": _words(b), "human": human, "system_a": system_a, "system_b": system_b}
    return {"id": id, "prompt": _text(prompt), **sides}


def _brief(prompt: Any) -> Any:
    """A prompt of one user turn as its text; any other as turns."""
    return prompt[0]["content"] if isinstance(prompt, list) and len(prompt) == 1 else prompt


def _text(prompt: Any) -> str:
    brief = _brief(prompt)
    return brief if isinstance(brief, str) else "\n\n".join(f"{turn['role']}: {_words(turn)}" for turn in brief)


def _words(answer: Any) -> str:
    """An answer for people and judges to read: its text, and its calls of tools as `name {arguments}`."""
    if isinstance(answer, str):
        return answer
    functions = (call.get("function") or {} for call in answer.get("tool_calls") or ())
    return "\n".join([*filter(None, [answer["content"]]), *(f"{one.get('name')} {one.get('arguments')}" for one in functions)])
