"""Perplexity of plain texts: exp(Σ nats / Σ tokens) over all of them, with intervals by document, base against tuned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.records import Interval
from tunesmith.eval.corpus import corpus_difference, corpus_interval
from tunesmith.eval.results import Evidence, Item, Likelihood

__all__ = ["PerplexityFigures", "of_texts", "perplexity_figures"]

_MOST = 700.0  # nats a token: e^709 is the largest that a float holds


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityFigures:
    """Perplexity of base and tuned model on the texts that both were measured on, and tuned less base, paired by document.

    The intervals are bootstraps over documents, at 95 %; None for a single document.
    """

    base: float
    tuned: float
    base_ci: Interval | None
    tuned_ci: Interval | None
    difference_ci: Interval | None
    num_texts: int
    num_documents: int

    @property
    def difference(self) -> float:
        """Tuned less base: below 0 where the tuned model expects the texts more."""
        return self.tuned - self.base

    @property
    def words(self) -> str:
        """In a sentence, without intervals."""
        return f"perplexity {self.base:.2f} → {self.tuned:.2f}"

    @property
    def described(self) -> str:
        """With intervals."""
        change = f"{self.difference:+.2f}{_shown(self.difference_ci)}"
        return f"{self.base:.2f}{_shown(self.base_ci)} → {self.tuned:.2f}{_shown(self.tuned_ci)}   change {change}"


def of_texts(items: Sequence[Item]) -> bool:
    """Whether test items are plain texts: of them likelihoods are measured, and no answers."""
    return bool(items) and not any(item.prompt for item in items)


def perplexity_figures(evidence: Evidence, *, seed: int = 7) -> PerplexityFigures | None:
    """The figures of base and tuned model; None unless both gave likelihoods for at least one text."""
    base, tuned = (evidence.system(name) for name in ("base", "tuned"))
    if base is None or tuned is None:
        return None
    before, after = ({row.item_id: row for row in run.likelihoods} for run in (base, tuned))
    items = [item for item in evidence.items if item.id in before and item.id in after]
    groups = [item.group for item in items]
    sides = [[found[item.id] for item in items] for found in (before, after)]
    values = [_perplexity(side) for side in sides]
    if values[0] is None or values[1] is None:
        return None
    cis = [corpus_interval(side, groups, _perplexity, seed=seed).ci for side in sides]
    return PerplexityFigures(
        base=values[0],
        tuned=values[1],
        base_ci=cis[0],
        tuned_ci=cis[1],
        difference_ci=corpus_difference(sides[0], sides[1], groups, _perplexity, seed=seed).ci,
        num_texts=len(items),
        num_documents=len(set(groups)),
    )


def _perplexity(rows: Sequence[Likelihood]) -> float | None:
    tokens = sum(row.num_tokens for row in rows)
    return math.exp(min(math.fsum(row.nats for row in rows) / tokens, _MOST)) if tokens else None


def _shown(ci: Interval | None) -> str:
    return "" if ci is None else f" [{ci.low:.2f}, {ci.high:.2f}]"
