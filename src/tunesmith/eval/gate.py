"""One rule of the verdict and its outcome, and the limits that rules use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from tunesmith.systems.system import GateWords

if TYPE_CHECKING:
    from tunesmith.eval.measure import Measurements

__all__ = ["Finding", "Gate", "GateKind", "GateWords", "Limits", "Ruling", "State", "missing", "ruling", "unless_one_sided"]

State = Literal["pass", "fail", "not measured"]


class Limits(Protocol):
    """The numbers in the rules of the verdict that can be set. What each means stands where it is declared."""

    better_margin: Literal["auto"] | float
    min_documents: int
    loop_margin: float
    stop_margin: float
    parity_logit: Literal["auto"] | float
    parity_top1: Literal["auto"] | float
    general_margin: float
    general_text_margin: float
    question_share: float

    @property
    def advisory(self) -> Sequence[str]:
        """Gates that the recipe made advisory."""

    @property
    def loosened(self) -> Mapping[str, str]:
        """For each gate that the recipe made easier to pass than it is by default, whatever is judged: how, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One rule and its outcome. `rule` and `evidence` are plain words with numbers; `value` is the number that the rule tests.

    `threshold` is the limit for `value` in the same unit, `interval` the 95 % interval of `value` (another level after further
    evaluations on the same test set); None where there is none. `warning`: what a gate that passes warns of. `loosened`: how
    the recipe made the rule easier to pass than it is by default.
    """

    name: str
    required: bool
    rule: str
    state: State
    evidence: str
    value: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None
    warning: str = ""
    loosened: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A gate, and the sentences that the verdict uses if it does not pass."""

    gate: Gate
    words: GateWords


@dataclass(frozen=True, slots=True, kw_only=True)
class GateKind:
    """How a file of `eval.gates` declares its rule. `order`: its place in tables and in the verdict's sentence. `names` gives
    the names of all gates that it can rule on, whether or not they are asked for. `of_answers`: it is about answers, of which
    there are none where the items are plain texts.

    `judge` takes the measurements, the limits and the names of the baselines that were asked for; it gives one ruling, several
    (one for each baseline, say), or none where the rule is about something else.
    """

    order: int
    names: Callable[[], Sequence[str]]
    judge: Callable[[Measurements, Limits, Sequence[str]], Iterable[Ruling]]
    of_answers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a rule: its state, the evidence, and the numbers."""

    state: State
    evidence: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    warning: str = ""


def missing(reason: str) -> Finding:
    """The outcome of a rule that could not be measured."""
    return Finding(state="not measured", evidence=reason)


def unless_one_sided(found: Finding, number: int, systems: str = "base and tuned model") -> Finding:
    """No pass where `number`, what only one of the two systems has, is above 0: what is missing may be what it is bad at."""
    if found.state != "pass" or number == 0:
        return found
    reason = f"{number} answers or likelihoods exist for only one of {systems}, so they cannot be compared"
    return replace(found, state="not measured", evidence=f"{found.evidence}: {reason}", warning="")


def ruling(
    words: GateWords,
    found: Finding,
    *,
    rule: str = "",
    threshold: float | None = None,
    required: bool = True,
    loosened: str = "",
) -> Ruling:
    """A ruling on a gate with the texts `words`; `rule` replaces the one there. `loosened`: how the rule is easier to pass than
    its preset, where that depends on what is judged."""
    gate = Gate(
        name=words.name,
        required=required,
        rule=rule or words.rule,
        state=found.state,
        evidence=found.evidence,
        value=found.value,
        threshold=threshold,
        interval=found.interval,
        warning=found.warning,
        loosened=loosened,
    )
    return Ruling(gate, words)
