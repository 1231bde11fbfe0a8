"""What came of a piece of synthesis: how much was wanted and kept, what was dropped and why, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.ledger import Budget, Usage

__all__ = ["Outcome", "Tally"]

_NUM_SAMPLES = 3


@dataclass(slots=True)
class Tally:
    """Counts of one piece of work. `refused`: replies that a gate sent back, mended later or not; `dropped`: given up."""

    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, sample: str, count: int = 1) -> None:
        """Give up `count` pieces for a reason, with one of them as a sample."""
        if count <= 0:
            return
        self.dropped[reason] += count
        kept = self.samples.setdefault(reason, [])
        if len(kept) < _NUM_SAMPLES:
            line = " ".join(sample.split())
            kept.append(line if len(line) <= 160 else line[:157] + "…")

    def add(self, other: Tally) -> None:
        """Take in the counts of a part of the work."""
        self.refused += other.refused
        self.dropped += other.dropped
        for reason, samples in other.samples.items():
            self.samples[reason] = (self.samples.get(reason, []) + samples)[:_NUM_SAMPLES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One kind of synthesis, finished. `withheld`: blocks of documents that speak to a model and were not sent."""

    kind: str
    model: str
    host: str
    wanted: int
    kept: int
    dropped: Mapping[str, int]
    dropped_samples: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, int]
    withheld: int
    withheld_samples: tuple[str, ...]
    usage: Usage
    budget: Budget

    @classmethod
    def of(
        cls, kind: str, generator: Generator, tally: Tally, *, wanted: int, kept: int, withheld: Sequence[str] = ()
    ) -> Outcome:
        """The outcome of a piece of work, from its tally and what the generator counted."""
        return cls(
            kind=kind,
            model=generator.model,
            host=generator.host,
            wanted=wanted,
            kept=kept,
            dropped=tally.dropped,
            dropped_samples={reason: tuple(samples) for reason, samples in tally.samples.items()},
            refused=tally.refused,
            withheld=len(withheld),
            withheld_samples=tuple(" ".join(block.split())[:160] for block in withheld[:_NUM_SAMPLES]),
            usage=generator.ledger.usage,
            budget=generator.ledger.budget,
        )

    def report(self) -> dict[str, Any]:
        """The outcome as plain values. Nothing in it depends on what was paid now and what was kept from before."""
        u = self.usage
        priced = bool(self.budget.price_in or self.budget.price_out)
        return {
            "kind": self.kind,
            "model": self.model,
            "host": self.host,
            "wanted": self.wanted,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "sent_back": dict(sorted(self.refused.items())),
            "withheld": {"blocks": self.withheld, "samples": list(self.withheld_samples)},
            "usage": {
                "replies": u.requests,
                "prompt_tokens": u.prompt_tokens,
                "completion_tokens": u.completion_tokens,
                "uncounted_replies": u.uncounted,
                "cost": round(self.budget.cost(u.prompt_tokens, u.completion_tokens), 6) if priced else None,
            },
        }
