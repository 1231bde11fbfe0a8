"""Routing by domain: what is like the training texts goes to the tuned model, all else, and what is unsure, to the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.serve.pipeline import Answer, Call, Handler
from tunesmith.serve.traffic.domain import DomainRouter

__all__ = ["Route", "Routing"]


@dataclass(frozen=True, slots=True)
class Route:
    """A router and the models for both sides."""

    router: DomainRouter
    inside: str
    outside: str


class Routing:
    """The stage. The last user message decides, or the prompt of a completion."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    async def __call__(self, call: Call, inner: Handler) -> Answer:
        """Ask the model of the side that the text is on, and say in a header which it was."""
        route = self._routes.get(call.model)
        if route is None:
            return await inner(call)
        place = route.router.places([_text(call)])[0]
        call.model = route.inside if place == "inside" else route.outside
        call.notes["route"] = place
        answer = await inner(call)
        answer.headers["x-tunesmith-route"] = place
        return answer


def _text(call: Call) -> str:
    if call.ask.kind == "chat":
        own = [turn["role"] for turn in call.ask.turns] or [one.role for one in call.ask.messages]
        asked = (one.content for one, role in zip(call.ask.messages, own, strict=True) if role == "user")
        return next(reversed(list(asked)), "")
    first = call.ask.prompts[0]
    return first if isinstance(first, str) else ""
