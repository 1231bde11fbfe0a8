"""Letting a judge compare pairs: each in both orders, some of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.judge import Judge, Winner
from tunesmith.data.synth.ledger import Estimate
from tunesmith.eval.judge.rows import JudgedPair, Label
from tunesmith.eval.metrics.text import num_words

__all__ = ["Judged", "judge_pairs"]

_OTHER: dict[Winner, Label] = {"A": "B", "B": "A", "tie": "tie"}
_PROMPT_TOKENS, _REPLY_TOKENS = 420, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The pairs with their verdicts, in order. `reasons`: what the judge said about each, or why there is no verdict.

    `models`: replies by the model that the server named; `withheld`: sentences that were not shown; `requests` and `tokens`: of
    the whole work, cached replies included; `paid`: requests that were made now.
    """

    pairs: tuple[JudgedPair, ...]
    reasons: tuple[str, ...]
    judge_id: str
    models: dict[str, int]
    withheld: int
    requests: int
    tokens: int
    paid: int

    @property
    def faults(self) -> tuple[str, ...]:
        """Why such verdicts may decide nothing, whatever they are."""
        if len(self.models) < 2:
            return ()
        named = ", ".join(f"{name or 'unnamed'} ({count} replies)" for name, count in sorted(self.models.items()))
        return (f"the model behind the address changed under way: {named}",)


def judge_pairs(
    pairs: Sequence[JudgedPair], judge: Judge, *, reporter: Reporter, reference: bool = False, again: float = 0.0
) -> Judged:
    """Every pair judged in both orders. `again`: share of them, evenly spread, whose first request is made a second time.

    GeneratorError as in `Judge.compare`: replies paid so far are kept, and the same call continues.
    """
    step = round(1 / again) if again else 0
    repeated = len(pairs[::step]) if step else 0
    words = sum(num_words(pair.prompt) + num_words(pair.a) + num_words(pair.b) for pair in pairs)
    requests = 2 * len(pairs) + repeated
    estimate = Estimate(
        work=f"{len(pairs):,} pairs judged in both orders",
        requests=requests,
        prompt_tokens=_PROMPT_TOKENS * requests + round(1.4 * words * (2 + (again or 0))),
        completion_tokens=_REPLY_TOKENS * requests,
    )
    judge.generator.announce(estimate, reporter)
    numbered = list(enumerate(pairs))
    with reporter.progress("judge", total=len(pairs), unit="pairs") as progress:
        done = judge.generator.each(
            lambda one: _judged(one[1], judge, reference, again=bool(step) and one[0] % step == 0), numbered, progress
        )
    usage = judge.generator.ledger.usage
    return Judged(
        pairs=tuple(pair for pair, _ in done),
        reasons=tuple(reason for _, reason in done),
        judge_id=judge.id,
        models=dict(judge.models),
        withheld=judge.withheld,
        requests=usage.requests,
        tokens=usage.tokens,
        paid=judge.generator.ledger.paid,
    )


def _judged(pair: JudgedPair, judge: Judge, reference: bool, *, again: bool) -> tuple[JudgedPair, str]:
    shown = pair.reference if reference else ""
    forth = judge.compare(pair.prompt, pair.a, pair.b, reference=shown)
    back = judge.compare(pair.prompt, pair.b, pair.a, reference=shown)
    names = list(dict.fromkeys([*forth.points, *back.points]))
    points = {name: (forth.points.get(name), _turned(back.points.get(name))) for name in names}
    retest = judge.compare(pair.prompt, pair.a, pair.b, reference=shown, again=True).winner if again else None
    judged = replace(
        pair,
        judge=forth.winner,
        judge_swapped=_turned(back.winner),
        judge_again=retest,
        has_judge=True,
        has_swapped=True,
        points=points,
    )
    return judged, forth.reason or forth.fault


def _turned(winner: Winner | None) -> Label | None:
    return None if winner is None else _OTHER[winner]
