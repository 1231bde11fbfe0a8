"""The budget: what a piece of work may cost in tokens and in money, what it has cost, and what it will probably cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tunesmith.core.errors import GeneratorError
from tunesmith.data.synth.request import Reply, Request

__all__ = ["Budget", "Estimate", "Ledger", "Usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits and prices. `max_tokens`, `max_cost`: 0 is no limit. Prices are for a million tokens in and out."""

    max_tokens: int = 0
    max_cost: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost, in the currency of the prices."""
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used: requests, tokens in and out. `uncounted`: replies whose server gave no count (upper bounds stand in)."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def with_reply(self, reply: Reply) -> Usage:
        """The usage with one more reply."""
        return Usage(
            requests=self.requests + 1,
            prompt_tokens=self.prompt_tokens + reply.prompt_tokens,
            completion_tokens=self.completion_tokens + reply.completion_tokens,
            uncounted=self.uncounted + (not reply.counted),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a piece of work will probably need, said before it begins."""

    work: str
    requests: int
    prompt_tokens: int
    completion_tokens: int

    def text(self, budget: Budget, *, model: str, host: str) -> str:
        """One line: the work, the requests, the tokens, the money, the limit, and where the text goes."""
        tokens = self.prompt_tokens + self.completion_tokens
        where = f"at {host}" if host else "on this machine"
        parts = [f"{self.work}: about {self.requests:,} requests to {model} {where}, {tokens:,} tokens"]
        if budget.price_in or budget.price_out:
            parts.append(f"about {budget.cost(self.prompt_tokens, self.completion_tokens):,.2f} at the prices given")
        limits = [f"{budget.max_tokens:,} tokens"] if budget.max_tokens else []
        limits += [f"{budget.max_cost:,.2f}"] if budget.max_cost else []
        parts.append("stops at " + " or ".join(limits) if limits else "no limit is set")
        return "; ".join(parts)

    def exceeds(self, budget: Budget) -> bool:
        """Whether the work will probably not end within the budget."""
        tokens, cost = self.prompt_tokens + self.completion_tokens, budget.cost(self.prompt_tokens, self.completion_tokens)
        return bool(budget.max_tokens and tokens > budget.max_tokens) or bool(budget.max_cost and cost > budget.max_cost)


class Ledger:
    """Counts what one piece of work has cost, replies paid earlier included, and refuses what could go over the budget.

    A request is let through only if the budget holds even when its prompt and its reply are as long as they can be.
    """

    def __init__(self, budget: Budget, *, section: str = "generator") -> None:
        self.budget = budget
        self._section = section  # of the recipe, which sets the budget
        self.expected = 0  # tokens of the whole work, by estimate
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self._usage = Usage()
        self._paid = 0
        self._under_way = 0
        self._reserved = (0, 0)

    @property
    def usage(self) -> Usage:
        """Every reply that the work has used, each request once."""
        with self._changed:
            return self._usage

    @property
    def paid(self) -> int:
        """Replies that were paid for now; the others were kept from before."""
        with self._changed:
            return self._paid

    def count(self, key: str, reply: Reply, *, paid: bool = False) -> None:
        """Enter a reply; a second use of the same request costs nothing."""
        with self._changed:
            self._paid += paid
            if key not in self._seen:
                self._seen.add(key)
                self._usage = self._usage.with_reply(reply)

    @contextmanager
    def reserved(self, request: Request) -> Iterator[None]:
        """Set aside what a request may cost at most while it is under way; count its reply before leaving.

        Waits where only requests under way stand between this one and the budget: most cost less than they may.

        Raises:
            GeneratorError: the budget could be exceeded.
        """
        most = (request.most_prompt_tokens, request.max_tokens)
        with self._changed:
            while (over := self._over(*most)) is not None and self._under_way:
                self._changed.wait()
            if over is not None:
                raise over
            self._reserve(1, *most)
        try:
            yield
        finally:
            with self._changed:
                self._reserve(-1, *most)
                self._changed.notify_all()

    def _reserve(self, sign: int, most_in: int, most_out: int) -> None:
        self._under_way += sign
        self._reserved = (self._reserved[0] + sign * most_in, self._reserved[1] + sign * most_out)

    def _over(self, most_in: int, most_out: int) -> GeneratorError | None:
        b, u = self.budget, self._usage
        more_in, more_out = self._reserved[0] + most_in, self._reserved[1] + most_out
        if b.max_tokens and u.tokens + more_in + more_out > b.max_tokens:
            return GeneratorError(
                "the token budget is used up",
                value=f"{u.tokens:,} tokens for {u.requests:,} replies; the next could take up to {most_in + most_out:,}",
                expected=f"at most {b.max_tokens:,} tokens ({self._section}.max_tokens_total)",
                hint=f"--set {self._section}.max_tokens_total={max(2 * b.max_tokens, round(1.5 * self.expected))} continues; "
                "replies are cached, and none is paid twice",
            )
        cost = b.cost(u.prompt_tokens + more_in, u.completion_tokens + more_out)
        if b.max_cost and cost > b.max_cost:
            spent = b.cost(u.prompt_tokens, u.completion_tokens)
            return GeneratorError(
                "the money budget is used up",
                value=f"{spent:,.4f} for {u.requests:,} replies; with the next up to {cost:,.4f}",
                expected=f"at most {b.max_cost:,.4f} ({self._section}.max_cost)",
                hint=f"--set {self._section}.max_cost={2 * b.max_cost:g} continues; replies are cached, and none is paid twice",
            )
        return None
