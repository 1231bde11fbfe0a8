"""Rows to entries: one reader a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from tunesmith.data.rows.detect import ANSWERS, CONVERSATIONS, PAIRS, PROMPTS, TEXTS, Detected, as_label, detect
from tunesmith.data.rows.entry import Entry, FormatError, Turn, type_name
from tunesmith.data.rows.logs import logged_turns
from tunesmith.data.rows.rendered import TEMPLATES, parse_rendered, template_of
from tunesmith.data.rows.turns import turns_from
from tunesmith.data.text.decode import UnreadableError

__all__ = ["SHAPES", "read_entry"]

Row = Mapping[str, Any]
SHAPES = (
    "messages, conversations, prompt and completion, question and answer, instruction and output, chosen and rejected, or text"
)
_NO_INPUT = "<noinput>"
_ALPACA_ANSWERS = ("output", "response", "completion", "answer")
_TEXT_OF_ANSWER = ("text", "response", "content", "answer", "completion", "output", "value")
_SCORE_OF_ANSWER = ("score", "overall_score", "rating", "reward")


def read_entry(row: object, format: str = "") -> tuple[Entry, Detected]:
    """What a row says, and how its format was told. With `format` the row is read as that, whatever it looks like.

    FormatError, with the reason, for a row that no format fits, or that the format cannot read.
    """
    found = Detected(format=format, sure=1.0, saw="as asked for") if format else detect(row)
    if not found.format:
        raise FormatError(f"{found.saw}; a row holds {SHAPES}")
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, Mapping):
        raise FormatError(f"a row must be an object or a string, not {type_name(row)}")
    reader = _READERS.get(found.format)
    return (reader(row) if reader else _rendered(row, found.format)), found


def _extras(row: Row, *taken: str) -> dict[str, Any]:
    return {str(key): value for key, value in row.items() if key not in taken}


def _conversation(row: Row) -> Entry:
    """Messages, ShareGPT and messages with tools: turns under one of the usual names, `system` and `tools` beside them."""
    key = next((key for key in CONVERSATIONS if row.get(key)), None)
    if key is None:
        raise FormatError("it has no list of turns (messages or conversations)")
    value = row[key]
    if isinstance(value, Mapping):
        inner, _ = read_entry(value)
        return Entry(
            kind=inner.kind,
            turns=_with_system(row, inner.turns),
            answers=inner.answers,
            label=inner.label,
            tools=inner.tools,
            extras={**_extras(row, key, "system", "system_prompt"), **inner.extras},
        )
    turns = _from_json(value) if isinstance(value, str) else turns_from(value)
    tools = row.get("tools")
    if isinstance(tools, str) and tools.strip():
        try:
            tools = orjson.loads(tools)
        except orjson.JSONDecodeError as error:
            raise FormatError("its tools are a string that is not valid JSON") from error
    extras = _extras(row, key, "tools", "system", "system_prompt")
    return Entry(kind="conversation", turns=_with_system(row, turns), tools=tools or None, extras=extras)


def _from_json(value: str) -> tuple[Turn, ...]:
    try:
        return turns_from(orjson.loads(value))
    except orjson.JSONDecodeError:
        return parse_rendered(value, "dialogue")  # it only began like a list


def _with_system(row: Row, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    given = [row[key] for key in ("system", "system_prompt") if row.get(key)]
    if any(not isinstance(system, str) for system in given) or len(set(given)) > 1:
        raise FormatError("its system prompt must be one text")
    system = given[0] if given else ""
    if not system.strip():
        return turns
    if turns and turns[0].role == "system":
        if turns[0].content != system:
            raise FormatError("it has two system prompts, one in a field of its own and one among its turns")
        return turns
    return (Turn(role="system", content=system), *turns)


def _alpaca(row: Row) -> Entry:
    answer = next((key for key in _ALPACA_ANSWERS if key in row), None)
    if answer is None or "instruction" not in row:
        raise FormatError("it has no instruction and output")
    prompt, extras, used = _instructed(row)
    said = _said(row, answer)
    past = [turn for pair in _history(row) for turn in pair]
    turns = (*past, Turn(role="user", content=prompt), Turn(role="assistant", content=said))
    taken = (*used, answer, "system", "system_prompt", "history")
    return Entry(kind="conversation", turns=_with_system(row, turns), extras={**_extras(row, *taken), **extras})


def _instructed(row: Row) -> tuple[str, dict[str, Any], set[str]]:
    """The prompt of instruction and input (or context), the input beside it, so that the two can be told apart again, and the
    names of the fields they came from.
    """
    prompt = _said(row, "instruction")
    if not _is_blank(row.get("input")):
        key = "input"
    elif isinstance(row.get("context"), str) and not _is_blank(row["context"]):
        key = "context"
    else:
        return prompt, {}, {"instruction", "input"}
    given = _said(row, key)
    return (f"{prompt}\n\n{given}" if prompt else given), {"input": given}, {"instruction", "input", key}


def _is_blank(given: object) -> bool:
    return given is None or (isinstance(given, str) and given.strip().lower() in ("", _NO_INPUT))


def _about(row: Row, prompt: str) -> tuple[tuple[Turn, ...], dict[str, Any], set[str]]:
    """The turns of a prompt, joined to the text (`input` or `context`) that it is about; else as `_instructed`.

    A prompt that ends with this text has it already: so does every row that was converted.
    """
    turns = _spoken(row, prompt, "user")
    key = next((k for k in ("input", "context") if k != prompt and isinstance(row.get(k), str) and not _is_blank(row[k])), "")
    if not key or isinstance(row[prompt], list):
        return turns, {}, {prompt}
    asked, given = turns[0].content, row[key]
    if asked != given and not asked.endswith(f"\n\n{given}"):
        asked = f"{asked}\n\n{given}" if asked else given
    return (Turn(role="user", content=asked),), {"input": given}, {prompt, key}


def _history(row: Row) -> list[tuple[Turn, Turn]]:
    past = row.get("history") or []
    pairs = past if isinstance(past, list) else None
    if pairs is None or not all(isinstance(p, list) and len(p) == 2 and all(isinstance(t, str) for t in p) for p in pairs):
        raise FormatError("its history is not a list of pairs of texts")
    return [(Turn(role="user", content=asked), Turn(role="assistant", content=said)) for asked, said in pairs]


def _pair(row: Row) -> Entry:
    keys = next((pair for pair in PAIRS if pair[0] in row and pair[1] in row), None)
    if keys is None:
        raise FormatError("it has no prompt and completion")
    prompt, answer = keys
    before, extras, used = _about(row, prompt)
    turns = (*before, *_spoken(row, answer, "assistant"))
    tools = row.get("tools") or None
    rest = _extras(row, *used, answer, "system", "system_prompt", "tools")
    return Entry(kind="conversation", turns=_with_system(row, turns), tools=tools, extras={**rest, **extras})


def _spoken(row: Row, key: str, role: str) -> tuple[Turn, ...]:
    """A text as one turn of `role`, or a list of turns as they are."""
    value = row[key]
    if isinstance(value, list) and value and all(isinstance(turn, Mapping) for turn in value):
        return turns_from(value)
    return (Turn(role="user" if role == "user" else "assistant", content=_said(row, key)),)


def _said(row: Row, key: str) -> str:
    value = row[key]
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise FormatError(f"`{key}` must be text, not {type_name(value)}")


def _prompt(row: Row) -> tuple[tuple[Turn, ...], dict[str, Any], set[str]]:
    """The turns before an answer, the input of an instruction, and the names of the fields they came from."""
    for key in CONVERSATIONS:
        if row.get(key):
            return _with_system(row, turns_from(row[key])), {}, {key}
    if "instruction" in row:
        prompt, extras, used = _instructed(row)
        return _with_system(row, (Turn(role="user", content=prompt),)), extras, used
    key = next((key for key in PROMPTS if key in row), "")
    if not key:
        return (), {}, set()
    if isinstance(row.get("chosen"), list):  # the answers hold the prompt too, as it is
        return _with_system(row, _spoken(row, key, "user")), {}, {key}
    turns, extras, used = _about(row, key)
    return _with_system(row, turns), extras, used


def _preference(row: Row) -> Entry:
    if "chosen" not in row or "rejected" not in row:
        raise FormatError("a preference has both chosen and rejected")
    before, extras, taken = _prompt(row)
    chosen, rejected = (_answer_turns(row, key) for key in ("chosen", "rejected"))
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if shared:
        given, inside = before[-1:], chosen[shared - 1 : shared]
        if given and given[0].content != inside[0].content:
            raise FormatError("chosen and rejected begin with other turns than the prompt")
        before = chosen[:shared] if len(chosen[:shared]) >= len(before) else before
    last = (chosen[shared:], rejected[shared:])
    if any(len(turns) != 1 or turns[0].role != "assistant" or turns[0].tool_calls for turns in last):
        raise FormatError("chosen and rejected must differ in one answer, the last")
    if not before:
        raise FormatError("it has no prompt")
    answers = tuple(turns[0].content for turns in last)
    rest = _extras(row, *taken, "chosen", "rejected", "system", "system_prompt", "tools")
    return Entry(kind="preference", turns=before, answers=answers, tools=row.get("tools") or None, extras={**rest, **extras})


def _answer_turns(row: Row, key: str) -> tuple[Turn, ...]:
    value = row[key]
    if isinstance(value, Mapping):
        return turns_from([value])
    if isinstance(value, list):
        return turns_from(value)
    text = _said(row, key)
    if not any(name in row for name in (*PROMPTS, *CONVERSATIONS)):  # the whole conversation as one string
        return parse_rendered(text.lstrip(), template_of(text) or "dialogue")
    return (Turn(role="assistant", content=text),)


def _label(row: Row) -> Entry:
    label = as_label(row)
    if label is None and row.get("label") in (0, 1):
        label = bool(row["label"])
    if label is None:
        raise FormatError("it has no label that is true or false")
    plain = {key: value for key, value in row.items() if key not in ("label", "kto_tag")}
    inner, _ = read_entry(plain)
    if inner.kind != "conversation" or not inner.turns or inner.turns[-1].role != "assistant" or inner.turns[-1].tool_calls:
        raise FormatError("it has no answer that the label could be about")
    return Entry(
        kind="label",
        turns=inner.turns[:-1],
        answers=(inner.turns[-1].content,),
        label=label,
        tools=inner.tools,
        extras=inner.extras,
    )


def _ranking(row: Row) -> Entry:
    key = next((key for key in ANSWERS if isinstance(row.get(key), list)), None)
    before, extras, taken = _prompt(row)
    if key is None or not before:
        raise FormatError("it has no prompt with a list of answers")
    answers = [_ranked_text(answer) for answer in row[key]]
    scores, order = _scores(row, row[key])
    if len(scores) not in (0, len(answers)):
        raise FormatError(f"it has {len(answers)} answers and {len(scores)} {order}")
    if scores:
        ranked = sorted(zip(scores, answers, strict=True), key=lambda pair: -pair[0])
        scores, answers = [score for score, _ in ranked], [answer for _, answer in ranked]
    rest = _extras(row, *taken, key, order, "system", "system_prompt", "tools")
    if any(isinstance(answer, Mapping) and len(answer) > 1 for answer in row[key]):
        extras = {**extras, f"{key}_as_given": row[key]}  # models, critiques and the like beside each text
    tools = row.get("tools") or None
    return Entry(
        kind="ranking", turns=before, answers=tuple(answers), scores=tuple(scores), tools=tools, extras={**rest, **extras}
    )


def _ranked_text(answer: object) -> str:
    if isinstance(answer, Mapping):
        answer = next((answer[key] for key in _TEXT_OF_ANSWER if isinstance(answer.get(key), str)), None)
    if not isinstance(answer, str):
        raise FormatError("one of its ranked answers has no text")
    return answer


def _scores(row: Row, answers: Sequence[Any]) -> tuple[list[float], str]:
    """A number for each answer, higher for better, and the field it came from; none where the order says it."""
    for order, sign in (("scores", 1.0), ("ranks", -1.0)):
        if isinstance(values := row.get(order), list):
            if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
                raise FormatError(f"`{order}` must be numbers")
            return [sign * value for value in values], order
    for key in _SCORE_OF_ANSWER:
        found = [answer.get(key) for answer in answers if isinstance(answer, Mapping)]
        numbers = [float(value) for value in found if isinstance(value, int | float)]
        if numbers and len(numbers) == len(answers):
            return numbers, ""
    return [], ""


def _text(row: Row) -> Entry:
    key = next((key for key in TEXTS if isinstance(row.get(key), str)), None)
    if key is None:
        raise FormatError("it has no text")
    return Entry(kind="text", text=row[key], extras=_extras(row, key))


def _rendered(row: Row, template: str) -> Entry:
    key = next((key for key in ("text", *CONVERSATIONS, *TEXTS) if isinstance(row.get(key), str)), None)
    if key is None or template not in TEMPLATES:
        raise FormatError(f"it has no string in the format {template}")
    turns = _with_system(row, parse_rendered(row[key], template))
    return Entry(kind="conversation", turns=turns, extras=_extras(row, key, "system", "system_prompt"))


def _log(row: Row) -> Entry:
    try:
        turns = logged_turns(row)
    except UnreadableError as error:
        raise FormatError(str(error)) from error
    if turns is None:
        raise FormatError("it is not a logged call with request and response")
    return Entry(kind="conversation", turns=turns_from(turns), extras=_extras(row, "request", "response"))


_READERS: Mapping[str, Callable[[Row], Entry]] = {
    "messages": _conversation,
    "tool_messages": _conversation,
    "sharegpt": _conversation,
    "alpaca": _alpaca,
    "prompt_completion": _pair,
    "preference": _preference,
    "kto": _label,
    "ranking": _ranking,
    "text": _text,
    "seed_qa": lambda row: _rendered(row, "phi3"),
    "request_log": _log,
}
