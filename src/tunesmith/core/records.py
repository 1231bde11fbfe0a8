"""The records that pass between stages as JSON lines. Immutable; `None` means not known, never zero.

One record, one line of JSON. Lines end at `\\n` alone: U+2028 inside a string does not end a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import orjson

from tunesmith.core.errors import ArtifactError

__all__ = [
    "MIXED",
    "DateOrigin",
    "Document",
    "Example",
    "Failure",
    "Finding",
    "FinishReason",
    "Generation",
    "Interval",
    "Message",
    "Origin",
    "Preference",
    "Quote",
    "Role",
    "Row",
    "Score",
    "Status",
    "Support",
    "as_example",
    "canonical_json",
    "digest",
    "from_dict",
    "read_jsonl",
    "spread_over_documents",
    "to_json",
    "write_jsonl",
]

Role = Literal["system", "user", "assistant"]
Status = Literal["published", "draft", "private", "scheduled", "protected", "deleted"]
DateOrigin = Literal["metadata", "address", "name"]
FinishReason = Literal["stop", "length"]
MIXED = "mixed"  # the column of `meta` that marks a row which was mixed in from another set, with the name of that set
T = TypeVar("T")
R = TypeVar("R", bound="Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One post, page, file or row. `id` is the hash of source and text, `sha256` that of the text alone (UTF-8).

    `date_origin` says where the date was stated; a date is never taken from the text itself. `thread` is the conversation that
    it belongs to, `language` a tag such as `en` if the source states one.
    """

    id: str
    text: str
    source: str
    title: str | None = None
    url: str | None = None
    author: str | None = None
    date: str | None = None
    license: str | None = None
    sha256: str
    extraction: str
    status: Status = "published"
    date_origin: DateOrigin | None = None
    language: str | None = None
    thread: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A span of a document: `text` is `Document.text[start:end]`. `exact`: quoted word for word, else by the near rule."""

    text: str
    start: int
    end: int
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """A generated sentence and the spans of the document that support it."""

    sentence: str
    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The label of generated text: how it was made (`qa`, `rewrite` …), by which model, from which prompt, on which day.

    `generated` says which side a model wrote; the other side is a person's. `prompt_sha256` is the hash of the whole request.
    `support` leads every generated sentence back to its quotes, where the kind has a document to quote.
    """

    kind: str
    model: str
    prompt_sha256: str
    date: str
    generated: Literal["prompt", "answer", "both"]
    support: tuple[Support, ...] = ()


class Row(Protocol):
    """What a dataset is made of, such as an `Example` or a `Preference`. Splits, mixtures, leaks and copies go by this alone.

    `messages` is the conversation with the answer that is right, `answer` that answer, and `answers` every one that is learned
    from. `id` names the row, `group` is what a split must not tear apart, `meta` holds its further columns.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str: ...

    @property
    def document_id(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def title(self) -> str | None: ...

    @property
    def license(self) -> str | None: ...

    @property
    def meta(self) -> Mapping[str, str]: ...

    @property
    def prompt(self) -> tuple[Message, ...]: ...

    @property
    def messages(self) -> tuple[Message, ...]: ...

    @property
    def answer(self) -> str: ...

    @property
    def answers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One training unit: messages that end with the assistant's turn. `group` is what a split must not tear apart.

    `origin` is None where people wrote both sides. `meta`: further columns of its row, as text (author, date, thread, label …).
    """

    id: str
    messages: tuple[Message, ...]
    document_id: str
    group: str
    source: str
    title: str | None = None
    origin: Origin | None = None
    license: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the last assistant turn."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last assistant turn: what is learned and what is scored."""
        return self.messages[-1].content

    @property
    def answers(self) -> tuple[str, ...]:
        """The one answer."""
        return (self.answer,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A prompt with two answers, of which the first is preferred. `prompt` ends with the user's turn."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    document_id: str
    group: str
    source: str
    origin: Origin | None = None
    title: str | None = None
    license: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation with the chosen answer: the reference in evaluation."""
        return (*self.prompt, Message(role="assistant", content=self.chosen))

    @property
    def rejected_messages(self) -> tuple[Message, ...]:
        """The conversation with the rejected answer."""
        return (*self.prompt, Message(role="assistant", content=self.rejected))

    @property
    def answer(self) -> str:
        """The chosen answer."""
        return self.chosen

    @property
    def answers(self) -> tuple[str, ...]:
        """Chosen and rejected."""
        return self.chosen, self.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A source, file or row that could not be used, and why, in words for the user."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A system's answer to one item. `fingerprint` is the hash of weights, adapter, template and sampling settings.

    `draw` counts the draws with the sampling settings from 0; None for a greedy answer.
    """

    item_id: str
    system: str
    text: str
    finish_reason: FinishReason
    num_tokens: int
    fingerprint: str
    draw: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number for one item, or unscored: `value` is None and `reason` says why."""

    item_id: str
    metric: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval: `low` ≤ `high`, at `level` (0.95), made by `method`."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found: `rows` names the records concerned (possibly cut short), `count` how many there are."""

    name: str
    severity: Literal["error", "warning", "info"]
    message: str
    count: int
    rows: tuple[str, ...] = field(default=())


def to_json(value: object) -> bytes:
    """Compact JSON of a record, dict or list; keys in the order given."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def digest(*parts: str | bytes) -> str:
    """SHA-256 (hex) over the parts, each preceded by its length, so that ("ab", "c") differs from ("a", "bc")."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def from_dict(kind: type[T], row: Mapping[str, Any]) -> T:
    """Build a record of `kind` from a JSON object; keys that the record does not know are left out."""
    values = {f.name: row[f.name] for f in fields(kind) if f.name in row}  # type: ignore[arg-type]
    for name in {"messages", "prompt"} & values.keys() if hasattr(kind, "answers") else ():
        values[name] = tuple(Message(**message) for message in values[name])
    if isinstance(values.get("origin"), Mapping):
        values["origin"] = _origin(values["origin"])
    if kind is Finding:
        values["rows"] = tuple(values.get("rows", ()))
    return kind(**values)


def _origin(row: Mapping[str, Any]) -> Origin:
    support = tuple(
        Support(sentence=part["sentence"], quotes=tuple(from_dict(Quote, quote) for quote in part["quotes"]))
        for part in row.get("support", ())
    )
    plain = {f.name: row[f.name] for f in fields(Origin) if f.name in row and f.name != "support"}
    return Origin(**plain, support=support)


def spread_over_documents(examples: Sequence[R], most: int) -> list[R]:
    """At most `most` rows, as many documents as can be: the first row of each, then the second of each; 0 takes all.

    Documents and rows come in the order of their hash, so a larger `most` only adds rows.
    """

    def mark(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    by_document: dict[str, list[R]] = {}
    for row in sorted(examples, key=lambda e: mark(e.id)):
        by_document.setdefault(row.group, []).append(row)
    documents = [by_document[group] for group in sorted(by_document, key=mark)]
    rounds = (rows[turn] for turn in range(max(map(len, documents), default=0)) for rows in documents if turn < len(rows))
    return list(rounds)[: most or None]


def as_example(row: Row) -> Example:
    """The row as an example whose answer is the right one: a preference with its chosen answer."""
    if isinstance(row, Example):
        return row
    names = {f.name for f in fields(Example)} - {"messages"}
    return Example(messages=row.messages, **{name: getattr(row, name) for name in names})


def write_jsonl(path: Path, rows: Iterable[object]) -> int:
    """Write one JSON object a line; returns how many."""
    count = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(to_json(row) + b"\n")
            count += 1
    return count


def read_jsonl(path: Path, kind: type[T]) -> Iterator[T]:
    """Read records of `kind`; an ArtifactError names the first line that is none."""
    with path.open("rb") as file:  # binary: lines end at \n alone
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield from_dict(kind, orjson.loads(line))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                raise ArtifactError(
                    f"line {number} of {path.name} is not a {kind.__name__}",
                    value=line[:80].decode(errors="replace"),
                    expected=f"one JSON object a line with the fields of {kind.__name__} ({error})",
                    hint=f"delete {path.parent} and run the command again: it is rebuilt",
                ) from error
