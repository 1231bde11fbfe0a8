"""What a comparison of two systems found, part by part. Every part has three values: equal, different, not measured (None)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.eval.tolerances import Tolerance

__all__ = ["ENDS", "Answers", "Apart", "Cause", "Divergence", "ParityReport", "Prompts"]

ENDS = "(the answer ends)"
"""What a divergence shows in the place of the next token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """How both read the prompts. `tokens_equal`, `template_equal`: None where one of them does not show it.

    `first`: the first prompt that they read in two ways, with both readings; empty if none. `left_out`: ids of prompts that
    neither template writes or that do not fit.
    """

    num_prompts: int
    tokens_equal: bool | None
    template_equal: bool | None
    num_tokens_equal: int = 0
    first: Mapping[str, str] | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """How far the next-token distributions are apart. `what`: on what it was computed: `logits`, `top tokens`, `references` or
    `answers` (the tokens of b's greedy answers under a: `top1` is the share that are a's first choice, `max_abs` and `mean_abs`
    are by how many nats they are less likely than it).

    `mean_kl` in nats per position, KL(a ‖ b). `perplexity_ratio`: b over a on the references, None without any. For
    `references` alone, `kl` and `top1` are not measured; for `answers`, `kl` is not. `early`, `late`: mean KL of the first 32
    positions and of those beyond the middle of the longest row.
    """

    what: str
    max_abs: float
    mean_abs: float
    mean_kl: float | None
    top1: float | None
    num_positions: int
    perplexity_ratio: float | None = None
    early: float | None = None
    late: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where two greedy answers to one prompt part: after `at` equal tokens. Texts are those of both answers.

    `margin`: nats between the two tokens under the model that finds them further apart; None if neither could be asked.
    `explained`: the margin is within the noise of the form. `ends`: one answer ended there by its stop tokens and the other
    one did not, though it wrote the same tokens. `cut`: that of b stops there without an end, and a goes on.
    """

    prompt: str
    kind: str
    at: int | None
    a: str
    b: str
    a_next: str
    b_next: str
    margin: float | None
    explained: bool
    ends: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Greedy answers of both. `num_equal` of `num_answers` are the same; the others part at `divergences`."""

    num_answers: int
    num_equal: int
    divergences: tuple[Divergence, ...] = ()

    @property
    def match(self) -> float | None:
        """Share of equal answers; None without answers."""
        return self.num_equal / self.num_answers if self.num_answers else None

    @property
    def unexplained(self) -> tuple[Divergence, ...]:
        """Those that rounding does not explain, stop tokens and cut answers aside."""
        return tuple(one for one in self.divergences if not (one.explained or one.ends or one.cut))

    @property
    def other_ends(self) -> tuple[Divergence, ...]:
        """Answers that end in one system and not in the other."""
        return tuple(one for one in self.divergences if one.ends)

    @property
    def cut(self) -> tuple[Divergence, ...]:
        """Answers that b was not allowed to write as far as a."""
        return tuple(one for one in self.divergences if one.cut)

    @property
    def ended_early(self) -> tuple[Divergence, ...]:
        """Answers that b ends or stops, and a goes on with other tokens than those that end one."""
        return tuple(one for one in self.divergences if one.cut or (one.b_next == ENDS and not one.ends and not one.explained))

    @property
    def run_on(self) -> tuple[Divergence, ...]:
        """Answers that end in a, while b writes the same end token and goes on: it does not know it as one."""
        return tuple(one for one in self.other_ends if one.a_next == ENDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why two forms differ: a short `name`, the `evidence` for it, and what to type."""

    name: str
    evidence: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Two systems compared. `form` and `limits`: the row of the table of tolerances; None is a form that was not measured.

    `failed`: what is beyond its limit, a sentence each. `missing`: what could not be measured. `causes`: likely ones, the
    likeliest first; empty unless something failed. `notes`: what a reader should know.
    """

    a: str
    b: str
    form: str
    limits: Tolerance | None
    prompts: Prompts
    apart: Apart | None
    answers: Answers | None
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool | None:
        """True: the same model within the limits. False: something is beyond one. None: something was not measured."""
        if self.failed:
            return False
        return None if self.missing else True

    @property
    def exit_code(self) -> int:
        """0 passed, 2 failed, 3 not measured."""
        return {True: 0, False: 2, None: 3}[self.passed]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith parity --json` prints. null is not measured; `cause` is null unless something failed."""
        apart, answers, first = self.apart, self.answers, next(iter(self.causes), None)
        return {
            "pass": self.passed,
            "tokens_equal": self.prompts.tokens_equal,
            "template_equal": self.prompts.template_equal,
            "max_abs": None if apart is None else apart.max_abs,
            "kl": None if apart is None else apart.mean_kl,
            "top1": None if apart is None else apart.top1,
            "greedy_match": None if answers is None else answers.match,
            "cause": None if first is None else first.name,
            "evidence": None if first is None else first.evidence,
            "hint": None if first is None else first.hint,
            "other_causes": [one.name for one in self.causes[1:]],
            "failed": list(self.failed),
            "not_measured": list(self.missing),
            "a": self.a,
            "b": self.b,
            "form": self.form,
            "limits": None if self.limits is None else {**asdict(self.limits), "noise": self.limits.noise},
            "prompts": asdict(self.prompts),
            "apart": None if apart is None else asdict(apart),
            "answers": None
            if answers is None
            else {
                "num_answers": answers.num_answers,
                "num_equal": answers.num_equal,
                "unexplained": len(answers.unexplained),
                "other_ends": len(answers.other_ends),
                "cut": len(answers.cut),
                "divergences": [asdict(one) for one in answers.divergences],
            },
            "notes": list(self.notes),
        }
