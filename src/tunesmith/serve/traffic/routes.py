"""The routes of traffic: `/v1/ab/NAME` and `/v1/models/NAME/rollback`. To change who gets which model needs an admin's key."""

from __future__ import annotations

import time
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from tunesmith.serve.app import read_json
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.routes import validated
from tunesmith.serve.registry import LIVE
from tunesmith.serve.traffic.moves import Moves
from tunesmith.serve.traffic.split import Split, Splits

__all__ = ["ArmsBody", "RollbackBody", "add_traffic_routes"]


class ArmsBody(BaseModel):
    """New weights of a split: a number for each arm, the control first."""

    model_config = ConfigDict(extra="forbid", strict=True)

    arms: dict[str, float]
    why: str = Field(default="", max_length=500)


class RollbackBody(BaseModel):
    """Which alias to move back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    alias: str = Field(default=LIVE, max_length=64)


def add_traffic_routes(app: FastAPI, splits: Splits, moves: Moves) -> None:
    """Add them."""

    @app.get("/v1/ab/{name}")
    async def shown(name: str) -> Response:
        if name not in splits.now:
            raise ApiError(404, f"there is no split {name[:64]!r} here", code="split_not_found")
        return _json(_about(splits.now[name]))

    @app.put("/v1/ab/{name}")
    async def change(name: str, request: Request) -> Response:
        body: ArmsBody = validated(ArmsBody, read_json(await request.body()))
        return _json(_about(await splits.change(name, body.arms, body.why or f"by {request.state.key}")))

    @app.post("/v1/models/{name}/rollback")
    async def back(name: str, request: Request) -> Response:
        raw = await request.body()
        body: RollbackBody = validated(RollbackBody, read_json(raw) if raw else {})
        begin = time.monotonic()
        before, after = await moves.back(name, body.alias, why=f"rolled back by {request.state.key}")
        return _json({"from": before, "to": after, "seconds": round(time.monotonic() - begin, 4)})


def _about(split: Split) -> dict[str, Any]:
    return {"object": "split", "name": split.name, "arms": dict(split.arms), "period": split.period}


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
