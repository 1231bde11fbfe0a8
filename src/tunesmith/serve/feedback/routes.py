"""`POST /v1/feedback`: what people say of an answer. 200 means that it is on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Literal

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, select

from tunesmith.core.errors import StorageError
from tunesmith.core.records import canonical_json
from tunesmith.data.checks.redact import redact
from tunesmith.serve.app import read_json
from tunesmith.serve.errors import ApiError, bad_field
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.recording import Recording, has_answer
from tunesmith.serve.feedback.tables import feedback

__all__ = ["FeedbackBody", "add_feedback_route", "validated"]

_WAIT_S = 30.0


class FeedbackBody(BaseModel):
    """What people say of an answer; at least one of `thumb`, `score`, `correction`, `tag` and `text`.

    `response_id`: the `id` of the answer as the client got it. `key`: names this feedback, so that it is kept once however
    often it is sent; without one, equal bodies are one feedback. `score`: 0 (worst) to 1.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    response_id: str = Field(min_length=1, max_length=128)
    key: str | None = Field(default=None, min_length=1, max_length=128)
    thumb: Literal["up", "down"] | None = None
    score: float | None = Field(default=None, ge=0, le=1)
    correction: str | None = Field(default=None, min_length=1, max_length=100_000)
    tag: str | None = Field(default=None, min_length=1, max_length=64)
    text: str | None = Field(default=None, min_length=1, max_length=20_000)


def validated(kind: type[Any], body: Any) -> Any:
    """A body as its model; ApiError 400 that names the field at fault."""
    if not isinstance(body, dict):
        raise bad_field("body", "the body must be a JSON object", code="invalid_json")
    try:
        found = kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise bad_field(param, f"unknown field: {param}", code="unknown_parameter") from error
        raise bad_field(param, f"{param}: {first['msg']}") from error
    for name, value in body.items():
        if isinstance(value, str) and "\0" in value:
            raise bad_field(name, f"{name} contains a NUL character")
    return found


def add_feedback_route(app: FastAPI, recording: Recording, *, redacted: bool) -> None:
    """Add `POST /v1/feedback`. `redacted`: corrections and texts are stored without what the data stage's checks find."""
    database = recording.database

    @app.post("/v1/feedback")
    async def give(request: Request) -> Response:
        body: FeedbackBody = validated(FeedbackBody, read_json(await request.body()))
        said = body.model_dump(exclude={"key", "response_id"}, exclude_none=True)
        if not said:
            raise bad_field("thumb", "one of thumb, score, correction, tag and text is needed")
        row = _row(body, said, database, redacted=redacted)
        if database.full:
            raise ApiError(503, "feedback cannot be written now", code="storage_full", retry_after_s=5)
        outcome = await _written(database, row)
        if outcome == "unknown" and recording.again(row["answer_id"]):
            outcome = await _written(database, row)
            if outcome == "unknown":
                raise ApiError(503, "the answer itself cannot be written now", code="storage_failed", retry_after_s=5)
        if outcome == "unknown":
            what = f"no answer of this id was given here: {body.response_id}"
            raise ApiError(404, what, code="response_not_found", param="response_id")
        if outcome == "other":
            raise ApiError(409, "under this key another feedback was given", code="key_in_use", param="key")
        stored = {"object": "feedback", "key": row["key"], "response_id": body.response_id, "again": outcome == "again"}
        return Response(orjson.dumps(stored), media_type="application/json")


async def _written(database: Database, row: dict[str, Any]) -> str:
    """The outcome, once it is on disk. ApiError 503, after which the client may send the same again."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(database.write(lambda connection: _keep(connection, row))), _WAIT_S)
    except (StorageError, TimeoutError) as error:
        logging.getLogger("tunesmith.serve").error("feedback was not written: %s", error)
        raise ApiError(503, "feedback cannot be written now", code="storage_failed", retry_after_s=5) from error


def _row(body: FeedbackBody, said: dict[str, Any], database: Database, *, redacted: bool) -> dict[str, Any]:
    id = body.response_id.rpartition("-")[2]
    digest = database.user_hash(canonical_json({"id": id, **said}).decode())  # keyed: says nothing of the texts
    clean = {name: redact(value) if redacted and name in ("correction", "text") else value for name, value in said.items()}
    empty = dict.fromkeys(("thumb", "score", "correction", "tag", "text"))
    return {"key": body.key or digest, "digest": digest, "answer_id": id, "at": time.time(), **empty, **clean}


def _keep(connection: Connection, row: dict[str, Any]) -> Literal["kept", "again", "other", "unknown"]:
    known = connection.execute(select(feedback.c.digest).where(feedback.c.key == row["key"])).scalar()
    if known is not None:
        return "again" if known == row["digest"] else "other"
    if not has_answer(connection, row["answer_id"]):
        return "unknown"
    connection.execute(feedback.insert().values(row))
    return "kept"
