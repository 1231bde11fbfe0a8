"""A generator: a server, a model and settings, with the replies kept so far and the budget. What the kinds of work talk to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from tunesmith.core.records import Message
from tunesmith.core.reporter import Progress, Reporter
from tunesmith.data.synth.ledger import Estimate, Ledger
from tunesmith.data.synth.request import Reply, Request

__all__ = ["Asked", "Generator", "Kept", "Server"]

A = TypeVar("A")
B = TypeVar("B")


class Kept(Protocol):
    """Where replies are kept: `Replies` on disk, or `RepliesInMemory`."""

    def find(self, key: str) -> Reply | None:
        """The reply kept for this request."""

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a reply."""


class Server(Protocol):
    """Whatever answers requests: an Endpoint."""

    url: str

    def ask(self, request: Request) -> Reply:
        """The reply, or a GeneratorError."""

    @property
    def failed(self) -> Mapping[str, int]:
        """Tries that brought no reply, by what happened."""

    def stop(self) -> None:
        """Nobody waits for replies any more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A reply with the hash of the request that it answers."""

    key: str
    reply: Reply


class Generator:
    """Asks, within a budget and with at most `concurrency` requests under way, and never pays a request twice."""

    def __init__(
        self,
        server: Server,
        replies: Kept,
        ledger: Ledger,
        *,
        model: str,
        temperature: float = 0.7,
        seed: int = 7,
        max_tokens: int = 1024,
        concurrency: int = 4,
    ) -> None:
        self.model = model
        self.ledger = ledger
        self._server = server
        self._replies = replies
        self._temperature, self._seed, self._max_tokens = temperature, seed, max_tokens
        self._concurrency = concurrency
        self._changed = threading.Condition()
        self._under_way: set[str] = set()  # keys of requests that a worker is asking now

    @property
    def host(self) -> str:
        """The server's name and port, as people know it; empty for a model of this machine."""
        return urlsplit(self._server.url).netloc

    @property
    def failed(self) -> Mapping[str, int]:
        """Tries that brought no reply, by what happened: timed out, rate limited, server error, connection lost."""
        return self._server.failed

    @property
    def max_tokens(self) -> int:
        """Tokens of a reply at most."""
        return self._max_tokens

    def announce(self, estimate: Estimate, reporter: Reporter) -> None:
        """Say before the work begins what it will probably take, and whether the budget will do."""
        self.ledger.expected = estimate.prompt_tokens + estimate.completion_tokens
        reporter.note(estimate.text(self.ledger.budget, model=self.model, host=self.host))
        if estimate.exceeds(self.ledger.budget):
            reporter.warn("this will probably reach the budget before it ends; finished work is kept")

    def ask(
        self,
        messages: Sequence[Message],
        *,
        draw: int = 0,
        temperature: float | None = None,
        top_logprobs: int = 0,
        schema: str = "",
    ) -> Asked:
        """The reply to these messages: the one kept, or a new one. Another `draw` asks for another sample. With
        the log-probabilities of `top_logprobs` tokens at each place, if there are any; `schema`: the JSON schema of the reply.

        Workers that ask the same thing at the same time share one reply, paid once.
        """
        request = Request(
            url=self._server.url,
            model=self.model,
            messages=tuple(messages),
            temperature=self._temperature if temperature is None else temperature,
            seed=self._seed + draw,
            max_tokens=self._max_tokens,
            top_logprobs=top_logprobs,
            schema=schema,
        )
        key = request.key
        with self._alone(key):
            return Asked(key, self._kept_or_paid(key, request))

    def _kept_or_paid(self, key: str, request: Request) -> Reply:
        reply = self._replies.find(key)
        if reply is not None:
            self.ledger.count(key, reply)
            return reply
        with self.ledger.reserved(request):
            reply = self._server.ask(request)
            if reply.stop != "not_taken":
                self._replies.keep(key, reply)
            self.ledger.count(key, reply, paid=True)
        return reply

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Wait until no other worker asks this request: the second of two then finds the reply that the first has paid for."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._under_way)
            self._under_way.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._under_way.discard(key)
                self._changed.notify_all()

    def each(self, work: Callable[[A], B], items: Iterable[A], progress: Progress) -> list[B]:
        """`work` done on every item, several at a time; the results in the order of the items, however fast each was.

        The first error ends all of it: requests under way are waited for, so that what is paid is kept.
        """
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="generator") as pool:
            futures: list[Future[B]] = [pool.submit(work, item) for item in items]
            try:
                for done in as_completed(futures):
                    done.result()
                    progress.advance()
            except BaseException:
                for future in futures:
                    future.cancel()
                self._server.stop()
                raise
            return [future.result() for future in futures]
