"""One rule of the verdict and its outcome, and the limits that rules use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Gate", "Limits", "Outcome", "missing"]

Outcome = Literal["pass", "fail", "not measured"]


class Limits(Protocol):
    """The numbers in the rules of the verdict that can be set. What each means stands where it is declared."""

    primary_margin: float
    min_documents: int
    stop_share: float
    loop_margin: float
    parity_logit: Literal["auto"] | float
    parity_top1: Literal["auto"] | float
    general_margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One rule and its outcome. `rule` and `evidence` are plain words with numbers; `value` is the number that the rule tests.

    `margin` is the limit that an improvement must exceed; None for rules about something else.
    """

    name: str
    required: bool
    rule: str
    outcome: Outcome
    evidence: str
    value: float | None = None
    margin: float | None = None


def missing(reason: str) -> tuple[Outcome, str, None]:
    """Outcome, evidence and value of a rule that could not be measured."""
    return "not measured", reason, None
