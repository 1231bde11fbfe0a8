"""Chains of models: if the first does not begin to answer in its time, or fails, the next one is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import TunesmithError
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.recording import Log
from tunesmith.serve.pipeline import Answer, Call, Handler

__all__ = ["Fallback", "Link"]


@dataclass(frozen=True, slots=True)
class Link:
    """A model, how long its first piece may take, and how long it may be silent after that; 0 sets no limit, None takes that of
    the model."""

    model: str
    seconds: float = 0.0
    stall: float | None = None


class Fallback:
    """The stage. A request that is at fault itself (4xx but 404, 408 and 429) is not asked again.

    An answer that has begun is not taken back: if it breaks off, its stream ends with the error."""

    def __init__(self, chains: Mapping[str, Sequence[Link]], log: Log) -> None:
        self._chains, self._log = chains, log

    async def __call__(self, call: Call, inner: Handler) -> Answer:
        """The first answer that begins in time; the last error if none does."""
        chain = self._chains.get(call.model)
        if chain is None:
            return await inner(call)
        failed: list[str] = []
        for at, link in enumerate(chain):
            call.model, call.stall_s = link.model, link.stall
            try:
                answer = await _in_time(inner, call, link)
            except (ApiError, TunesmithError) as error:
                if at + 1 == len(chain) or _at_fault(error):
                    raise
                why = error.message if isinstance(error, ApiError) else error.problems[0].what
                failed.append(link.model)
                self._log("fallback", id=call.id, model=link.model, why=why[:300])
                continue
            if failed:
                answer.headers["x-tunesmith-fallback"] = ", ".join(failed)
            return answer
        raise AssertionError("a chain has a model")


async def _in_time(inner: Handler, call: Call, link: Link) -> Answer:
    try:
        async with asyncio.timeout(link.seconds or None):
            return await inner(call)
    except TimeoutError as error:
        message = f"{link.model} did not begin to answer in {link.seconds:g} s"
        raise ApiError(503, message, code="timeout") from error


def _at_fault(error: ApiError | TunesmithError) -> bool:
    """Whether the request, not the model, is why there is no answer."""
    return isinstance(error, ApiError) and 400 <= error.status < 500 and error.status not in (404, 408, 429)
