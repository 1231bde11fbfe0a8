"""Why two forms of a model differ: likely causes, named by evidence.

Evidence is what both sides declare, what their weights are where both have files here, and what the numbers look like (equal
to the base's, proportional to the adapter's effect, different late in long texts only). A rule is asked only about the kind of
failure that it could explain, so a difference that has no known sign is called unknown, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.eval import parity_causes_of_answers as answers
from tunesmith.eval import parity_causes_of_files as files
from tunesmith.eval import parity_causes_of_numbers as numbers
from tunesmith.eval import parity_causes_of_weights as weights
from tunesmith.eval.parity_case import Case, Failure
from tunesmith.eval.parity_result import Cause

__all__ = ["find_causes"]

_MODEL: frozenset[Failure] = frozenset(("model", "answers"))
_RULES: tuple[tuple[frozenset[Failure], Callable[[Case], Cause | None]], ...] = (
    (_MODEL, files.another_shape),
    (_MODEL, files.layers),
    (_MODEL, files.vocabulary),
    (_MODEL, files.tied),
    (frozenset(("prompts",)), files.bos),
    (frozenset(("prompts",)), files.template),
    (frozenset(("prompts",)), files.tokenizer),
    (frozenset(("context",)), files.context),
    (_MODEL, files.rope),
    (_MODEL, files.norm),
    (_MODEL, weights.permuted),
    (_MODEL, weights.update),
    (_MODEL, files.another_base),
    (_MODEL, weights.dtype),
    (_MODEL, weights.quantised),
    (_MODEL, weights.other_weights),
    (_MODEL, numbers.effect),
    (_MODEL, numbers.late),
    (_MODEL, numbers.strangers),
    (frozenset(("ends", "answers")), files.stops),
    (frozenset(("cut", "answers")), answers.cut),
    (_MODEL, answers.explained),
)


def find_causes(case: Case) -> tuple[Cause, ...]:
    """The likely causes, the likeliest first; one that says it is unknown where no rule found its sign."""
    found: list[Cause] = []
    for parts, rule in _RULES:
        cause = rule(case) if case.failed & parts else None
        if cause is not None and cause.name not in {one.name for one in found}:
            found.append(cause)
    return tuple(found) or (
        Cause(
            name="unknown",
            evidence="none of the known signs is there: settings, control tokens and what can be seen of the weights agree",
            hint="convert again from the merged folder and compare step by step: tunesmith parity run:latest model:latest",
        ),
    )
