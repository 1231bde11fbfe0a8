"""The rules of the verdict, one file each: a file with `GATE = GateKind(…)` is a rule, and nothing else lists it."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache

from tunesmith.core.errors import Problem, RecipeError
from tunesmith.eval.gate import GateKind, Limits, Ruling
from tunesmith.eval.measure import Measurements

__all__ = ["ALWAYS", "check_advisory", "gate_kinds", "gate_names", "judge_all"]


ALWAYS = "better"
"""The gate that no recipe can make advisory: without it a run that changed nothing would ship."""


@cache
def gate_kinds() -> tuple[GateKind, ...]:
    """Every declared rule, in order."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    kinds = [kind for module in modules if isinstance(kind := getattr(module, "GATE", None), GateKind)]
    return tuple(sorted(kinds, key=lambda kind: kind.order))


def gate_names() -> tuple[str, ...]:
    """The names of all gates that there are, whether or not a recipe asks for them."""
    return tuple(name for kind in gate_kinds() for name in kind.names())


def check_advisory(names: Sequence[str]) -> None:
    """RecipeError for a name in `gates.advisory` that is no gate, or the one that always decides."""
    known = tuple(name for name in gate_names() if name != ALWAYS)
    problems = [
        Problem(
            what="gates.advisory names a gate that always decides"
            if name == ALWAYS
            else "gates.advisory names an unknown gate",
            value=name,
            expected=f"any of: {', '.join(known)}",
            hint=f"--set gates.advisory=[{(difflib.get_close_matches(name, known, n=1, cutoff=0.4) or known)[0]}]",
        )
        for name in sorted(set(names) - set(known))
    ]
    if problems:
        raise RecipeError(problems)


def judge_all(measurements: Measurements, limits: Limits, *, baselines: Sequence[str] = ()) -> list[Ruling]:
    """The rulings of every rule, in order; of plain texts, without the rules about answers."""
    kinds = [kind for kind in gate_kinds() if not (kind.of_answers and measurements.of_texts)]
    return [ruling for kind in kinds for ruling in kind.judge(measurements, limits, baselines)]
