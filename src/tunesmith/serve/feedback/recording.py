"""The stage that keeps which version gave which answer to whom and, with capture, prompt and answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from tunesmith.core.errors import TunesmithError
from tunesmith.data.checks.redact import redact
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import CallsOfTools, Delta, Usage
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.tables import answers
from tunesmith.serve.pipeline import Answer, Call, Handler

__all__ = ["Recording", "has_answer", "user_of"]

Log = Callable[..., None]
_NAMES = ("id", "tool_call_id", "role", "type", "name")  # of turns and calls: no words of people
_MOST_UNWRITTEN = 2_000  # answers that a failing disk did not take


def user_of(call: Call) -> str:
    """Who asks: the header `X-User`, or the field `user`; empty if the request says neither."""
    return call.headers.get("x-user", "").strip() or call.ask.user


class Recording:
    """A stage. `texts`: keep prompt and answer; `redacted`: first replace what the data stage's checks find in them.

    The answer never waits for the database; a row that cannot be written is logged, and tried again when feedback comes for it.
    """

    def __init__(self, database: Database, *, texts: bool, redacted: bool, log: Log) -> None:
        self.database, self.texts, self._redacted, self._log = database, texts, redacted, log
        self._unwritten: dict[str, Callable[[Connection], None]] = {}

    async def __call__(self, call: Call, inner: Handler) -> Answer:
        """Ask on, and keep what comes."""
        call.id = uuid.uuid4().hex  # the id that feedback names: never one that a client chose
        try:
            answer = await inner(call)
        except (ApiError, TunesmithError) as error:
            if not isinstance(error, ApiError) or error.status >= 500:
                self._begin(call, call.model, failed=True)
            raise
        self._begin(call, answer.version.full_name)
        answer.pieces = self.heard(call, answer.pieces)
        return answer

    def keep(self, call: Call, model: str, *, shadow_of: str) -> None:
        """Keep an answer that is not shown; `heard` brings its text."""
        self._begin(call, model, shadow_of=shadow_of)

    def heard(self, call: Call, pieces: AsyncIterator[Delta | Usage]) -> AsyncIterator[Delta | Usage]:
        """The same pieces; at their end the text is kept, and a failure is noted."""
        return _Heard(self, call, pieces, keep=self.texts and _is_single(call.ask))

    def end(self, id: str, answer: Any) -> None:
        """Keep an answer that came to its end: its text, or, where there were tools, its message."""
        self._change(id, answer=answer)

    def failed(self, id: str) -> None:
        """Note that an answer broke off."""
        self._change(id, failed=True)

    def _begin(self, call: Call, model: str, *, failed: bool = False, shadow_of: str | None = None) -> None:
        user = self.database.user_hash(user_of(call))
        row: dict[str, Any] = {
            "id": call.id,
            "at": time.time(),
            "model": model[:160],
            "split": call.notes.get("split"),
            "period": call.notes.get("period"),
            "arm": call.notes.get("arm"),
            "user": user or None,
            "unit": user or call.id,
            "shadow_of": shadow_of,
            "failed": failed,
        }
        prompt = _prompt(call.ask) if self.texts and _is_single(call.ask) else None

        def work(connection: Connection) -> None:
            row["prompt"] = None if prompt is None else orjson.dumps(self._clean(prompt)).decode()
            connection.execute(answers.insert().values(row))

        self._write(work, call.id)

    def _change(self, id: str, *, failed: bool = False, answer: Any = "") -> None:
        def work(connection: Connection) -> None:
            kept = self._clean(answer)
            values: dict[str, Any] = {"answer": kept if isinstance(kept, str) else orjson.dumps(kept).decode()}
            values = {"failed": True} if failed else values
            connection.execute(update(answers).where(answers.c.id == id).values(**values))

        self._write(work)

    def again(self, id: str) -> bool:
        """Whether this answer could not be written when it was given. Then that is tried once more: feedback needs it."""
        work = self._unwritten.pop(id, None)
        if work is not None:
            self._write(work, id)
        return work is not None

    def _write(self, work: Callable[[Connection], None], begun: str = "") -> None:
        """Of an answer that begins, `begun` is the id: it is kept in memory if it cannot be written."""

        def told(future: Future[None]) -> None:
            if (error := future.exception()) is not None:
                self._missed(str(error)[:300], work, begun)

        if self.database.full:
            self._missed("more waits to be written than may", work, begun)
        else:
            self.database.write(work).add_done_callback(told)

    def _missed(self, why: str, work: Callable[[Connection], None], begun: str) -> None:
        self._log("not recorded", why=why)
        if begun:
            self._unwritten[begun] = work
            while len(self._unwritten) > _MOST_UNWRITTEN:
                self._unwritten.pop(next(iter(self._unwritten)), None)

    def _clean(self, given: Any) -> Any:
        """A text, or what has texts in it, without what must not be kept; PostgreSQL takes no NUL."""
        if isinstance(given, str):
            return (redact(given) if self._redacted else given).replace("\0", "\ufffd")
        if isinstance(given, dict):
            return {
                name: value if name in _NAMES and isinstance(value, str) else self._clean(value)
                for name, value in given.items()
            }
        return [self._clean(one) for one in given] if isinstance(given, list | tuple) else given


class _Heard:
    """Not a generator: one that was never begun would not close what it reads from."""

    def __init__(self, recording: Recording, call: Call, pieces: AsyncIterator[Delta | Usage], *, keep: bool) -> None:
        self._recording, self._id, self._pieces, self._has_tools = recording, call.id, pieces, call.ask.tools is not None
        self._parts: list[str] | None = [] if keep else None
        self._calls = CallsOfTools()

    def __aiter__(self) -> _Heard:
        return self

    async def __anext__(self) -> Delta | Usage:
        try:
            piece = await anext(self._pieces)
        except (ApiError, TunesmithError):
            self._recording.failed(self._id)
            raise
        if self._parts is not None:
            if isinstance(piece, Delta):
                self._parts.append(piece.text)
                self._calls.hear(piece)
            else:
                text = "".join(self._parts)
                self._recording.end(self._id, _message(text, self._calls) if self._has_tools else text)
                self._parts = None
        return piece

    async def aclose(self) -> None:
        """Close what is read from."""
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


def has_answer(connection: Connection, id: str) -> bool:
    """Whether an answer of this id was given."""
    return connection.execute(select(answers.c.seq).where(answers.c.id == id)).first() is not None


def _is_single(ask: Ask) -> bool:
    """Whether the request is for one answer in text: feedback names an answer, not a choice, and a prompt in it is none."""
    return ask.n == 1 and not ask.echo and (ask.kind == "chat" or (len(ask.prompts) == 1 and isinstance(ask.prompts[0], str)))


def _prompt(ask: Ask) -> Any:
    """A text, turns, or, where there are tools, an object of `messages` and `tools`: then the answer is kept as a message."""
    if ask.kind != "chat":
        return ask.prompts[0]
    turns: list[Any] = [{"role": one.role, "content": one.content} for one in ask.messages]
    if ask.turns:
        turns = [
            {**turn, **{name: own[name] for name in ("tool_calls", "tool_call_id") if own.get(name)}}
            | ({"role": "tool"} if own["role"] == "tool" else {})
            for turn, own in zip(turns, ask.turns, strict=True)
        ]
    return turns if ask.tools is None else {"messages": turns, "tools": list(ask.tools.given)}


def _message(text: str, calls: CallsOfTools) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    return message | ({"tool_calls": calls.whole} if calls.whole else {})
