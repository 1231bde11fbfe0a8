"""What a row becomes to be learned from: an example, a preference or a labelled answer, with id, group and short columns."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tunesmith.core.answer_weights import as_column, number_in
from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Example, Message, Origin, Preference, Row, digest, from_dict, to_json
from tunesmith.data.rows.entry import Entry, FormatError, Turn, type_name

__all__ = [
    "example_from_entry",
    "labelled_from_entry",
    "preference_from_entry",
    "preferences_from_ranking",
    "text_in",
    "with_own_ids",
]

R = TypeVar("R", bound=Row)
_GROUPS = ("group", "url", "title", "document_id", "source_id", "doc_id", "post_id")
_OWN_COLUMNS = frozenset(("id", "group", "document_id", "source", "title", "license", "system", "system_prompt", "input"))
_MAX_COLUMN = 100  # characters of a column that is kept beside the turns


def example_from_entry(entry: Entry, *, name: str) -> tuple[Example, tuple[str, ...]]:
    """The example that a row is, and what it does not hold of the row, in words (each once).

    The row's `id` is kept; without one, the id is the hash of group and turns. Where turns have a `weight`, the conversation
    ends with the last answer that has some, and the weights are a column. FormatError for rows that must not be learned:
    answers marked as bad or all of weight 0, calls of tools.
    """
    left_out: list[str] = []
    turns = list(entry.turns)
    if entry.kind == "label":
        if not entry.label:
            raise FormatError("it is marked as a bad answer (label: false), and would be learned as a good one")
        turns.append(Turn(role="assistant", content=entry.answers[0]))
        left_out.append("labels (true) of answers left out")
    answered = any(turn.role == "assistant" for turn in turns)
    while turns and (turns[-1].role != "assistant" or _weight(turns[-1]) == 0):
        turns.pop()
        if "turns after the last answer left out" not in left_out:
            left_out.append("turns after the last answer left out")
    if not turns:
        why = "all its answers have the weight 0" if answered else "it has no turn of the assistant to learn from"
        raise FormatError(why)
    weights = [_weight(turn) for turn in turns if turn.role == "assistant"]
    messages, fields = _messages(entry, turns)
    if not any(message.role == "user" for message in messages):
        raise FormatError("it has no turn of the user")
    made = _example(messages, entry.extras, name=name)
    if column := as_column(weights):
        made = replace(made, meta={**made.meta, **column})
    return made, (*left_out, *fields, *_long_columns(entry.extras))


def labelled_from_entry(entry: Entry, *, name: str) -> tuple[Labelled, tuple[str, ...]]:
    """The labelled answer that a row is, and what it does not hold of the row, in words. FormatError for calls of tools."""
    messages, fields = _asked(entry)
    (answer,) = entry.answers
    asked = [[message.role, message.content] for message in messages]
    about = _about([asked, answer], entry.extras, name=name, kind="labelled")
    if about["group"] == about["id"]:  # answers to one prompt stay in one split
        about["group"] = digest("prompt", to_json(asked))[:16]
    made = Labelled(prompt=messages, completion=answer, label=bool(entry.label), **about)
    return made, (*fields, *_long_columns(entry.extras))


def preferences_from_ranking(entry: Entry, *, name: str) -> tuple[tuple[Preference, ...], tuple[str, ...]]:
    """A preference for every two answers of which one is ranked higher, and what they do not hold of the row, in words.

    Answers with the same score are a tie, of which nothing is learned. The difference of the scores is the column `score_gap`.
    FormatError for calls of tools, and where all answers are tied.
    """
    messages, fields = _asked(entry)
    scores = entry.scores or tuple(-float(place) for place in range(len(entry.answers)))
    about = _about([[m.role, m.content] for m in messages] + list(entry.answers), entry.extras, name=name, kind="ranking")
    made, ties = [], 0
    for (high, chosen), (low, rejected) in itertools.combinations(enumerate(entry.answers), 2):
        gap = scores[high] - scores[low]
        if gap <= 0:
            ties += 1
            continue
        own = about | {"id": f"{about['id']}:{high + 1}>{low + 1}"}
        if entry.scores:
            own["meta"] = about["meta"] | {"score_gap": f"{gap:g}"}
        made.append(Preference(prompt=messages, chosen=chosen, rejected=rejected, **own))
    if not made:
        raise FormatError("all its answers have the same rank, so none is preferred")
    tied = [f"pairs of answers with the same rank left out ({ties} in a row)"] if ties else []
    return tuple(made), (*fields, *tied, *_long_columns(entry.extras))


def preference_from_entry(entry: Entry, *, name: str) -> tuple[Preference, tuple[str, ...]]:
    """The preference that a row is, and what it does not hold of the row, in words. FormatError for calls of tools."""
    messages, fields = _asked(entry)
    chosen, rejected = entry.answers
    if not _prefers(entry.extras):
        raise FormatError("its own scores do not prefer the chosen answer")
    said = [[[message.role, message.content] for message in messages], chosen, rejected]
    made = Preference(prompt=messages, chosen=chosen, rejected=rejected, **_about(said, entry.extras, name=name))
    return made, (*fields, *_long_columns(entry.extras))


def _prefers(extras: Mapping[str, Any]) -> bool:
    """Whether the row's own scores, if it has both, are higher for the chosen answer."""
    try:
        return float(extras["score_chosen"]) > float(extras["score_rejected"])
    except (KeyError, TypeError, ValueError):
        return True


def with_own_ids(examples: Iterable[R], known: dict[str, bytes]) -> Iterator[R]:
    """The rows with ids that no two different rows share: of rows with one id, later and other ones get `#2`, `#3` …

    `known` (id → hash of the text) is filled as they pass, so that several files share it. Rows without an id of their
    own keep the hash of their text, which copies share.
    """
    for example in examples:
        mark = hashlib.blake2b(_said(example), digest_size=12).digest()
        id, number = example.id, 2
        while known.setdefault(id, mark) != mark:
            id, number = f"{example.id}#{number}", number + 1
        yield example if id == example.id else replace(example, id=id)


def _said(row: Row) -> bytes:
    """What a row says, as bytes."""
    if isinstance(row, Labelled):
        return to_json([row.messages, row.label])
    return to_json(row.messages if len(row.answers) == 1 else [row.prompt, row.answers])


def _messages(entry: Entry, turns: Sequence[Turn]) -> tuple[tuple[Message, ...], list[str]]:
    if entry.tools or any(turn.tool_calls or turn.role == "tool" for turn in turns):
        raise FormatError("it calls or defines tools, which training does not encode; tunesmith convert keeps such rows")
    messages = []
    fields: dict[str, None] = {}
    for turn in turns:
        fields.update(dict.fromkeys(f"fields of turns left out: {key}" for key in turn.more if key != "weight"))
        if turn.role != "tool":
            messages.append(Message(role=turn.role, content=turn.content))
    return tuple(messages), list(fields)


def _weight(turn: Turn) -> float:
    """How much an answer counts in the loss. FormatError for a weight that is none."""
    given = turn.more.get("weight", 1)
    try:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError(type_name(given))
        return number_in(str(given))
    except ValueError as error:
        raise FormatError(f"the weight of a turn must be a number, 0 or more, not {str(given)[:40]}") from error


def _asked(entry: Entry) -> tuple[tuple[Message, ...], list[str]]:
    """The prompt before the answers. FormatError if it does not end with the user's turn."""
    messages, fields = _messages(entry, entry.turns)
    if not messages or messages[-1].role != "user":
        raise FormatError("its prompt does not end with a turn of the user")
    return messages, fields


def _example(messages: tuple[Message, ...], row: Mapping[str, Any], *, name: str) -> Example:
    content = [[message.role, message.content] for message in messages]
    return Example(messages=messages, **_about(content, row, name=name))


def _about(said: Sequence[Any], row: Mapping[str, Any], *, name: str, kind: str = "example") -> dict[str, Any]:
    """What a row tells about itself, by the fields of its record. `said`: its turns and answers, of which an id is made."""
    group = next(
        (str(row[key]).strip() for key in _GROUPS if isinstance(row.get(key), str | int) and str(row[key]).strip()), ""
    )
    given = row.get("id")
    own = str(given).strip() if isinstance(given, str | int) and not isinstance(given, bool) else ""
    id = own or digest(kind, group, to_json(said))[:16]
    document = row.get("document_id")
    made = digest("document", group)[:16] if group else id
    return {
        "id": id,
        "document_id": document if isinstance(document, str) and document.strip() else made,
        "group": group or id,
        "source": text_in(row, "source") or name,
        "title": text_in(row, "title"),
        "origin": _origin(row.get("origin")),
        "license": text_in(row, "license"),
        "meta": _columns(row),
    }


def _known(row: Mapping[str, Any]) -> Mapping[str, Any]:
    given = row.get("meta")
    return {**given, **row} if isinstance(given, Mapping) else row


def _long_columns(row: Mapping[str, Any]) -> list[str]:
    """Columns of text that are too long to be kept, in words."""
    passed = {*_OWN_COLUMNS, *_GROUPS}
    long = [str(key) for key, v in _known(row).items() if key not in passed and isinstance(v, str) and len(v) > _MAX_COLUMN]
    return [f"fields left out: {key[:_MAX_COLUMN]}" for key in long]


def _columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Further short columns as text, such as author, date, thread or label: what a split can go by."""
    return {
        str(key): " ".join(str(value).split())
        for key, value in _known(row).items()
        if key not in _OWN_COLUMNS
        and isinstance(value, str | int | float)
        and str(value).strip()
        and len(str(value)) <= _MAX_COLUMN
    }


def _origin(value: object) -> Origin | None:
    """The label of generated text in rows that Tunesmith wrote; any other `origin` says nothing here."""
    if not isinstance(value, Mapping) or not {"kind", "model", "prompt_sha256", "date", "generated"} <= value.keys():
        return None
    blank = {"id": "", "messages": [], "document_id": "", "group": "", "source": ""}
    try:
        return from_dict(Example, {**blank, "origin": value}).origin
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"its origin is not as Tunesmith writes it ({error})") from error


def text_in(row: Mapping[str, Any], key: str) -> str | None:
    """The text under a key, or None if there is none but blanks."""
    value = row.get(key)
    return value if isinstance(value, str) and value.strip() else None
