"""Judging made-up evidence, for the tests of the gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evidence_fakes import evidence, general, parity, served

from tunesmith.core.records import FinishReason
from tunesmith.eval.measure import measure
from tunesmith.eval.results import Evidence, GeneralResult, ParityResult, SystemRun
from tunesmith.eval.verdict import Gate, Verdict, decide
from tunesmith.pipeline.sections.eval import GateConfig

__all__ = ["GOOD", "LOOP", "RULES", "decided", "gate", "judged", "with_answers"]

RULES = GateConfig()
GOOD: dict[str, float] = {"base": 1.4, "prompted": 1.3, "tuned": 1.1, "merged": 1.1001}


def judged(
    bits: dict[str, float] | None = None,
    *,
    rules: GateConfig = RULES,
    with_parity: ParityResult | None = parity(),  # noqa: B008
    with_general: GeneralResult | None = None,
    with_served: ParityResult | None = served(),  # noqa: B008
    documents: int = 10,
    each: int = 3,
    ended: float = 1.0,
    primary: str = "bits_per_byte",
) -> Verdict:
    made = evidence(
        bits or GOOD,
        documents=documents,
        each=each,
        ended=ended,
        with_parity=with_parity,
        with_general=with_general or general(),
        with_served=with_served,
    )
    baselines = ["prompted"] if "prompted" in (bits or GOOD) else []
    return decide(measure(made, draws=1000, primary=primary), rules, baselines=baselines)


def gate(verdict: Verdict, name: str) -> Gate:
    return next(g for g in verdict.gates if g.name == name)


def with_answers(
    texts: Sequence[str],
    *,
    of: str = "tuned",
    reason: FinishReason = "stop",
    draws: int = 3,
    base: Sequence[str] | None = None,
) -> Evidence:
    """Good evidence in which the system named `of` gives `texts` in turn, `draws` times to each question; the base's answers
    are `base`, if given."""
    made = evidence(GOOD, with_parity=parity(), with_general=general(), draws=draws)

    def changed(run: SystemRun, texts: Sequence[str]) -> SystemRun:
        said = (replace(g, text=texts[n % len(texts)], finish_reason=reason) for n, g in enumerate(run.generations))
        return replace(run, generations=tuple(said))

    given = {of: texts} if base is None else {of: texts, "base": base}
    return replace(made, systems=tuple(changed(s, given[s.name]) if s.name in given else s for s in made.systems))


def decided(made: Evidence, rules: GateConfig = RULES) -> Verdict:
    return decide(measure(made, draws=500), rules, baselines=["prompted"])


LOOP = "There is no hurry about the kettle. " * 8
