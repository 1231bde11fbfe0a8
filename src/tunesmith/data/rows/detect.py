"""What format a row is in: told by its fields and their types, with what was seen and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.rows.entry import FormatError, type_name
from tunesmith.data.rows.rendered import TEMPLATES, parse_rendered, template_of

__all__ = ["ANSWERS", "CONVERSATIONS", "FORMATS", "PAIRS", "PROMPTS", "TEXTS", "Detected", "as_label", "detect"]

FORMATS = (
    "messages",
    "tool_messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "preference",
    "kto",
    "ranking",
    "text",
    "seed_qa",
    *TEMPLATES,
    "request_log",
)
CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns")
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("input", "output"),
    ("user", "assistant"),
)
_ALPACA = ("output", "response", "completion", "answer")
PROMPTS = ("prompt", "instruction", "question", "query", "input")
TEXTS = ("text", "content", "body", "document")
ANSWERS = ("answers", "responses", "completions", "candidates", "generations")
_TOOL_ROLES = frozenset(("tool", "function", "observation", "function_call", "tool_call", "ipython"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A format ("" if none fits), how sure that is (0 to 1), and what was seen, in words."""

    format: str
    sure: float
    saw: str


def detect(row: object) -> Detected:
    """The format of one row. 1.0: its own fields and types; 0.9: other names for them; 0.5 to 0.8: another reading exists."""
    if isinstance(row, str):
        return _string(row, bare=True)
    if not isinstance(row, Mapping):
        return Detected(format="", sure=0.0, saw=f"a row must be an object or a string, not {type_name(row)}")
    for look in (_log, _preference, _ranking, _label, _conversation, _pair, _text):
        if found := look(row):
            return found
    keys = ", ".join(str(key)[:40] for key in list(row)[:8]) or "nothing"
    return Detected(format="", sure=0.0, saw=f"it holds {keys}")


def as_label(row: Mapping[str, Any]) -> bool | None:
    """Whether the row's answer is marked as good or bad (`label` or `kto_tag`: true or false); None if it is not."""
    for key in ("label", "kto_tag"):
        value = row.get(key)
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            value = value.strip().lower() == "true"
        if isinstance(value, bool):
            return value
    return None


def _log(row: Mapping[str, Any]) -> Detected | None:
    if isinstance(row.get("request"), Mapping) and isinstance(row.get("response"), Mapping):
        return Detected(format="request_log", sure=0.9, saw="request and response of a logged call")
    return None


def _preference(row: Mapping[str, Any]) -> Detected | None:
    if "chosen" not in row and "rejected" not in row:
        return None
    if "chosen" not in row or "rejected" not in row:
        return Detected(format="preference", sure=0.5, saw="chosen without rejected, or rejected without chosen")
    prompt = next((key for key in (*PROMPTS, *CONVERSATIONS) if key in row), "")
    plain = prompt == "prompt"
    saw = f"{prompt}, chosen and rejected" if prompt else "chosen and rejected, the prompt inside of both"
    return Detected(format="preference", sure=1.0 if plain else 0.9, saw=saw)


def _ranking(row: Mapping[str, Any]) -> Detected | None:
    key = next((key for key in ANSWERS if isinstance(row.get(key), list) and len(row[key]) > 1), None)
    prompt = next((name for name in (*PROMPTS, *CONVERSATIONS) if name in row), None)
    if key is None or prompt is None or not all(isinstance(answer, str | Mapping) for answer in row[key]):
        return None
    order = next((name for name in ("scores", "ranks") if isinstance(row.get(name), list)), "")
    saw = f"{prompt} and a list of {key}" + (f" with {order}" if order else ", taken as best first")
    return Detected(format="ranking", sure=1.0 if order or key == "answers" else 0.7, saw=saw)


def _label(row: Mapping[str, Any]) -> Detected | None:
    label = as_label(row)
    if label is None:
        return None
    inner = _conversation(row) or _pair(row)
    if inner is None or inner.format not in ("messages", "sharegpt", "prompt_completion", "alpaca"):
        return None
    sure = 1.0 if inner.format == "prompt_completion" and isinstance(row.get("label"), bool) else 0.9
    return Detected(format="kto", sure=sure, saw=f"{inner.saw}, labelled {str(label).lower()}")


def _conversation(row: Mapping[str, Any]) -> Detected | None:
    for key in CONVERSATIONS:
        value = row.get(key)
        if isinstance(value, Mapping) and (inner := _conversation(value)):
            return Detected(format=inner.format, sure=min(inner.sure, 0.8), saw=f"{key} that hold {inner.saw}")
        if isinstance(value, str) and value.strip():
            return _spoken(key, value)
        if isinstance(value, list) and value:
            return _turns(key, value, row)
    return None


def _spoken(key: str, value: str) -> Detected | None:
    template = template_of(value)
    if template:
        return Detected(format=template, sure=0.9, saw=f"{key} as a string with the marks of {template}")
    if value.lstrip()[:1] == "[":
        return Detected(format="messages", sure=0.7, saw=f"{key} as a string that begins like a list")
    return Detected(format="dialogue", sure=0.7, saw=f"{key} as a string with speakers at line starts")


def _turns(key: str, value: Sequence[Any], row: Mapping[str, Any]) -> Detected:
    if all(isinstance(turn, str) for turn in value):
        return Detected(format="", sure=0.0, saw=f"{key} is a list of texts without roles")
    turns = [turn for turn in value if isinstance(turn, Mapping)]
    shared = any("from" in turn for turn in turns)
    roles = list(dict.fromkeys(str(turn.get("role", turn.get("from", "?")))[:20] for turn in turns))
    saw = f"{key} with the roles {', '.join(roles[:5])}"
    if shared:
        return Detected(format="sharegpt", sure=1.0 if key == "conversations" else 0.9, saw=saw)
    calls = any(turn.get("tool_calls") or turn.get("function_call") for turn in turns) or bool(_TOOL_ROLES & set(roles))
    if calls or row.get("tools"):
        saw += " and calls of tools" if calls else " and definitions of tools"
    named = "tool_messages" if calls or row.get("tools") else "messages"
    return Detected(format=named, sure=1.0 if key == "messages" else 0.9, saw=saw)


def _pair(row: Mapping[str, Any]) -> Detected | None:
    if "instruction" in row and (answer := next((key for key in _ALPACA if key in row), "")):
        exact = answer == "output"
        with_input = ", input" if "input" in row else ""
        return Detected(format="alpaca", sure=1.0 if exact else 0.9, saw=f"instruction{with_input} and {answer}")
    for prompt, answer in PAIRS:
        if prompt in row and answer in row:
            if prompt == "prompt" and answer == "completion":
                return Detected(format="prompt_completion", sure=1.0, saw="prompt and completion")
            sure = 0.7 if prompt in ("input", "user") else 0.9
            return Detected(format="prompt_completion", sure=sure, saw=f"{prompt} and {answer}")
    return None


def _text(row: Mapping[str, Any]) -> Detected | None:
    for key in TEXTS:
        if isinstance(row.get(key), str):
            found = _string(row[key], bare=False)
            return (
                found if key == "text" else Detected(format=found.format, sure=min(0.8, found.sure), saw=f"{key}: {found.saw}")
            )
    return None


def _string(text: str, *, bare: bool) -> Detected:
    """A string: rendered through a template, if its marks leave no words outside of turns; else plain text."""
    where = "a string" if bare else "text"
    template = template_of(text)
    if not template:
        return Detected(format="text", sure=0.9 if bare else 1.0, saw=f"{where} without marks of a chat template")
    try:
        parse_rendered(text, template)
    except FormatError:
        return Detected(format="text", sure=0.5, saw=f"{where} with marks of {template}, and words outside of its turns")
    named = "seed_qa" if bare and template == "phi3" else template
    return Detected(format=named, sure=0.95, saw=f"{where} with the marks of {template}")
