"""The figures of an option with so many clients: time to the first token, tokens per second, what a million tokens cost.

An interval of a mean is over rounds (`eval.stats`: a round counts as one), as are comparisons of two options, paired by round.
That of a quantile is from the order of all requests (scipy's `quantile_test`), as if they did not influence each other; where
they wait for each other in a queue it is too narrow. A quantile of fewer requests than it takes to have one beyond it is not
measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.eval.stats import LEVEL, paired, summarise
from tunesmith.ops.bench.asking import Window
from tunesmith.ops.bench.measuring import Measured

__all__ = ["BenchCell", "BenchFigure", "Ratio", "cell_of", "ratio_of"]

_POSITIVE = (0.0, math.inf)
_QUANTILES = (0.5, 0.95, 0.99)
_MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFigure:
    """A number with its interval at 95 %. None is not measured; an end of the interval that cannot be told is None too."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCell:
    """An option with so many clients at once.

    `first_ms`: p50, p95 and p99 of the time to the first piece of an answer, in milliseconds. `tokens_per_s`: of all clients
    together, `each_round` by round; `client_tokens_per_s`: the median of what one client sees after its first token.
    `tokens_per_answer`: mean. `machine_s`: seconds of the machine for a million tokens; `cost`: of these, in the currency of
    the price. `reasons`: why requests failed, the most frequent first.
    """

    clients: int
    requests: int
    failed: int
    rounds: int
    tokens_per_answer: float | None
    first_ms: tuple[BenchFigure, BenchFigure, BenchFigure]
    tokens_per_s: BenchFigure
    each_round: tuple[float | None, ...]
    client_tokens_per_s: float | None
    machine_s: BenchFigure
    cost: BenchFigure
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the tokens per second of `b` option `a` gave, over their common rounds. Without an interval (one round)
    nothing can be told."""

    a: str
    b: str
    value: float
    low: float | None
    high: float | None

    @property
    def is_known(self) -> bool:
        """Whether one of the two is faster: the interval does not hold 1."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


def cell_of(measured: Measured, clients: int, *, price_hour: float | None) -> BenchCell:
    """The figures of an option with so many clients."""
    import numpy as np

    windows = measured.at(clients)
    asked = [one for window in windows for one in window.requests]
    whole = [one for one in asked if not one.failed]
    counts = [one.tokens for one in whole if one.tokens is not None]
    seen = [speed for one in whole if (speed := one.tokens_per_s) is not None]
    firsts = [1000 * one.first_s for one in whole if one.first_s is not None]
    rate = _mean(windows)
    machine = _inverse(rate, _MILLION)
    reasons = [one.failed for one in asked if one.failed]
    p50, p95, p99 = (_quantile(firsts, share) for share in _QUANTILES)
    return BenchCell(
        clients=clients,
        requests=len(asked),
        failed=len(reasons),
        rounds=len(windows),
        tokens_per_answer=sum(counts) / len(counts) if counts else None,
        first_ms=(p50, p95, p99),
        tokens_per_s=rate,
        each_round=tuple(one.tokens_per_s for one in windows),
        client_tokens_per_s=float(np.median(seen)) if seen else None,
        machine_s=machine,
        cost=BenchFigure(value=None) if price_hour is None else _times(machine, price_hour / 3600),
        reasons=tuple(sorted(set(reasons), key=reasons.count, reverse=True)),
    )


def ratio_of(a: Measured, b: Measured, clients: int, *, level: float = LEVEL) -> Ratio | None:
    """The tokens per second of two options with so many clients, compared round by round; None without a common round."""
    rates = [{w.round: s for w in one.at(clients) if (s := w.tokens_per_s) is not None} for one in (a, b)]
    rounds = sorted(rates[0].keys() & rates[1].keys())
    if not rounds:
        return None
    logs = [[math.log(of[number]) for number in rounds] for of in rates]
    found = paired(logs[1], logs[0], [str(number) for number in rounds], level=level)
    return Ratio(
        a=a.option.name,
        b=b.option.name,
        value=math.exp(found.mean or 0.0),
        low=None if found.ci is None else math.exp(found.ci.low),
        high=None if found.ci is None else math.exp(found.ci.high),
    )


def _mean(windows: Sequence[Window]) -> BenchFigure:
    """Tokens per second, a round counting as one."""
    scored = [(rate, str(one.round)) for one in windows if (rate := one.tokens_per_s) is not None]
    if not scored:
        return BenchFigure(value=None)
    found = summarise([rate for rate, _ in scored], [number for _, number in scored], bounds=_POSITIVE)
    ci = found.ci
    return BenchFigure(value=found.mean, low=None if ci is None else ci.low, high=None if ci is None else ci.high)


def _quantile(values: Sequence[float], share: float) -> BenchFigure:
    """A quantile and its interval; not measured where not even one of so many values would lie beyond it."""
    import numpy as np
    from scipy.stats import quantile_test

    if len(values) * (1 - share) < 1 - 1e-9:
        return BenchFigure(value=None)
    ci = quantile_test(values, q=0.0, p=share).confidence_interval(LEVEL)
    low, high = (None if math.isnan(end) else float(end) for end in (ci.low, ci.high))
    return BenchFigure(value=float(np.quantile(values, share)), low=low, high=high)


def _inverse(figure: BenchFigure, over: float) -> BenchFigure:
    low, value, high = (over / one if one else None for one in (figure.high, figure.value, figure.low))
    return BenchFigure(value=value, low=low, high=high)


def _times(figure: BenchFigure, factor: float) -> BenchFigure:
    low, value, high = (None if one is None else one * factor for one in (figure.low, figure.value, figure.high))
    return BenchFigure(value=value, low=low, high=high)
