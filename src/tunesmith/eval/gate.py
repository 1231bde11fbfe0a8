"""One rule of the verdict and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Gate", "Outcome", "missing"]

Outcome = Literal["pass", "fail", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One rule and what came of it. `rule` and `evidence` are plain words with numbers; `value` is what the rule looks at.

    `margin` is what an improvement must lie above; None for rules about something else.
    """

    name: str
    required: bool
    rule: str
    outcome: Outcome
    evidence: str
    value: float | None = None
    margin: float | None = None


def missing(reason: str) -> tuple[Outcome, str, None]:
    """Outcome, evidence and value of a rule that could not be looked at."""
    return "not measured", reason, None
