"""How much of a dataset people wrote and how much a model did, and the rule about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.records import Example, Finding

__all__ = ["REAL_RANGE", "find_shares", "origins"]

REAL_RANGE = (0.2, 0.5)  # share of people's own answers that a mixture with generated ones is advised to have
_MAX_ROWS = 20


def origins(splits: Mapping[str, Sequence[Example]]) -> list[dict[str, Any]]:
    """Who wrote the examples: a row each for people and for every (kind, model, day, side), with counts by split."""
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    for name, examples in splits.items():
        for example in examples:
            o = example.origin
            key = (o.kind, o.model, o.date, o.generated) if o else ("", "", "", "")
            counts.setdefault(key, Counter())[name] += 1
    return [
        {
            "kind": kind or "people",
            "model": model or None,
            "date": date or None,
            "generated": side or None,
            **{name: by_split[name] for name in splits},
        }
        for (kind, model, date, side), by_split in sorted(counts.items())
    ]


def find_shares(splits: Mapping[str, Sequence[Example]]) -> tuple[Finding, ...]:
    """`real_share`: where models wrote answers, how many answers people wrote; a warning outside 20 to 50 %."""
    examples = [example for rows in splits.values() for example in rows]
    generated = [e for e in examples if e.origin is not None and e.origin.generated != "prompt"]
    if not generated:
        return ()
    share = (len(examples) - len(generated)) / len(examples)
    low, high = REAL_RANGE
    message = f"{share:.0%} of the answers are people's own ({len(examples) - len(generated):,} of {len(examples):,})"
    if low <= share <= high:
        return (Finding(name="real_share", severity="info", message=f"{message}: within the advised 20 to 50 %", count=0),)
    why = (
        "a model that learns mostly from another model's answers drifts from real ones; raise build.real_share, or add pairs"
        if share < low
        else "so few generated answers change little; lower build.real_share, or leave them out"
    )
    return (
        Finding(
            name="real_share",
            severity="warning",
            message=f"{message}; advised are 20 to 50 %: {why}",
            count=len(generated),
            rows=tuple(example.id for example in generated[:_MAX_ROWS]),
        ),
    )
