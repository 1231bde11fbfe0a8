"""The pages of an arena: a name, one pair after another, the results. Every page is a plain form; a script only adds the keys.

Nothing is revealed before a voter has ended; who has ended votes no more. A second tab that shows an old pair casts nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tunesmith.core.errors import EvaluationError, TunesmithError
from tunesmith.core.page import STYLE
from tunesmith.web.guard import App, Guard, form_of
from tunesmith.web.views import results_view, token_of, voting_view

if TYPE_CHECKING:
    from tunesmith.api import Arena

__all__ = ["arena_app"]

_HERE = Path(__file__).parent
_CHOICES = {"1": "left", "2": "right", "0": "tie", "s": "skip"}
_SEE_OTHER = 303


def arena_app(arena: Arena, *, port: int, voter: str = "") -> App:
    """The application that serves an arena at `port`. `voter`: the name that the first page suggests."""
    pages = _Pages(arena, voter)
    routes = [
        Route("/", pages.start),
        Route("/start", pages.begin, methods=["POST"]),
        Route("/v/{voter}", pages.pair),
        Route("/v/{voter}", pages.vote, methods=["POST"]),
        Route("/v/{voter}/stop", pages.stop),
        Route("/v/{voter}/stop", pages.end, methods=["POST"]),
        Route("/v/{voter}/results", pages.results),
        Route("/page.css", _style),
        Route("/arena.js", _script),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={TunesmithError: _error}), port)


async def _style(request: Request) -> Response:
    own = (_HERE / "static" / "arena.css").read_text(encoding="utf-8")
    return Response(STYLE + own, media_type="text/css")


async def _script(request: Request) -> Response:
    return Response((_HERE / "static" / "arena.js").read_text(encoding="utf-8"), media_type="text/javascript")


def _render(page: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(_TEMPLATES.get_template(page).render(**values), status_code=status)


_TEMPLATES = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined)


async def _error(request: Request, error: Exception) -> Response:
    problems = error.problems if isinstance(error, TunesmithError) else ()
    status = 400 if isinstance(error, EvaluationError) else 500
    return _render("error.html", status, problems=problems)


class _Pages:
    """The handlers. Reading and writing votes waits for the disk and therefore runs in a thread."""

    def __init__(self, arena: Arena, suggested: str) -> None:
        self._arena, self._suggested = arena, suggested

    def _voter(self, request: Request) -> str:
        from tunesmith.api import check_voter

        return check_voter(request.path_params["voter"])

    async def start(self, request: Request) -> Response:
        """The first page: what this is, and the voter's name."""
        pairs = len(self._arena.pairs)
        return _render("start.html", ask=self._arena.ask, name=self._suggested, pairs=pairs)

    async def begin(self, request: Request) -> Response:
        """To the voter's first pair, or the one where they stopped."""
        from tunesmith.api import check_voter

        voter = check_voter((await form_of(request)).get("name", ""))
        decided = (await run_in_threadpool(self._arena.decision)).state in ("enough", "never")
        return _to(voter, "?more=1" if decided else "")  # whoever comes after the decision may still vote

    async def pair(self, request: Request) -> Response:
        """The next pair; without any, or where the rule says that it is enough, the end."""
        return await run_in_threadpool(self._pair, self._voter(request), request.query_params.get("more") == "1")

    def _pair(self, voter: str, more: bool) -> Response:
        arena = self._arena
        votes = arena.votes()
        if any(vote.voter == voter and vote.choice == "end" for vote in votes):
            return _to(voter, "/results")
        showing = arena.showing(voter, votes)
        if showing is None:
            done, _ = arena.progress(voter, votes)
            return _render("done.html", voter=voter, state="all", done=done, total=done)
        state = arena.decision(votes).state if votes and not more else "more votes"
        if state in ("enough", "never"):
            done, total = arena.progress(voter, votes)
            return _render("done.html", voter=voter, state=state, done=done, total=total)
        return _render("pair.html", more=more, **voting_view(arena, voter, showing))

    async def vote(self, request: Request) -> Response:
        """Cast a vote on the pair that is shown; then the next one."""
        form, more = await form_of(request), request.query_params.get("more") == "1"
        choice = _CHOICES.get(form.get("choice", ""))
        if choice is None:
            raise EvaluationError(
                "this is not a vote",
                value=form.get("choice", "")[:20],
                expected="1, 2, 0 for a tie or s to skip",
                hint="press one of the four buttons",
            )
        voter = self._voter(request)
        await run_in_threadpool(self._cast, voter, form.get("token", ""), choice)
        return _to(voter, "?more=1" if more else "")

    def _cast(self, voter: str, token: str, choice: Any) -> None:
        showing = self._arena.showing(voter)
        if showing is not None and token_of(self._arena, voter, showing) == token:
            self._arena.cast(voter, showing.pair.id, choice, again=showing.again)

    async def stop(self, request: Request) -> Response:
        """Ask before revealing: afterwards this voter votes no more."""
        voter = self._voter(request)
        done, total = await run_in_threadpool(self._arena.progress, voter)
        return _render("done.html", voter=voter, state="stop", done=done, total=total)

    async def end(self, request: Request) -> Response:
        """Note that the voter has ended, and show the results."""
        voter = self._voter(request)
        await run_in_threadpool(self._arena.end, voter)
        return _to(voter, "/results")

    async def results(self, request: Request) -> Response:
        """The results, for a voter who has ended."""
        return await run_in_threadpool(self._results, self._voter(request))

    def _results(self, voter: str) -> Response:
        arena = self._arena
        if not any(vote.voter == voter and vote.choice == "end" for vote in arena.votes()):
            return _to(voter)
        return _render("results.html", **results_view(arena, voter, arena.results()))


def _to(voter: str, rest: str = "") -> RedirectResponse:
    return RedirectResponse(f"/v/{quote(voter)}{rest}", status_code=_SEE_OTHER)
