"""Which systems there are: every file of this package that declares one. They are looked for when first asked for."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache

from tunesmith import systems
from tunesmith.core.errors import EvaluationError, Problem, RecipeError
from tunesmith.systems.system import Role, SystemInputs, SystemKind

__all__ = ["addition_kinds", "baseline_kinds", "by_role", "chosen_kinds", "kind_of", "pairs", "system_kinds", "title_of"]


@cache
def system_kinds() -> tuple[SystemKind, ...]:
    """All declared systems, in the order in which tables show them. EvaluationError if two files declare one name."""
    modules = [importlib.import_module(f"{systems.__name__}.{found.name}") for found in pkgutil.iter_modules(systems.__path__)]
    kinds = [kind for module in modules if isinstance(kind := getattr(module, "SYSTEM", None), SystemKind)]
    names = [kind.name for kind in kinds]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise EvaluationError(
            "two files declare the same system",
            value=double,
            expected="one file for each name",
            hint=f"give one of the two another `name`: grep -rn 'name=\"{double}\"' {next(iter(systems.__path__))}",
        )
    return tuple(sorted(kinds, key=lambda kind: (kind.order, kind.name)))


def by_role(role: Role) -> list[SystemKind]:
    """The declared systems of one role, in order."""
    return [kind for kind in system_kinds() if kind.role == role]


def kind_of(name: str) -> SystemKind | None:
    """The declaration of that name; None for a system that only older evidence knows."""
    return next((kind for kind in system_kinds() if kind.name == name), None)


def title_of(name: str) -> str:
    """The title of a system in tables; the words of its name if no file declares it."""
    kind = kind_of(name)
    return name.replace("_", " ") if kind is None else kind.title


def pairs() -> list[tuple[str, str]]:
    """Which two systems are compared, as (a, b) of the differences b − a: what tuning gave over the reference and over each
    baseline, what each baseline gave over the reference, and each form and addition against the tuned model."""
    of = {role: [kind.name for kind in by_role(role)] for role in ("reference", "baseline", "subject", "form", "addition")}
    over = [(a, b) for role in ("reference", "baseline") for a in of[role] for b in of["subject"]]
    over += [(a, b) for a in of["reference"] for b in of["baseline"]]
    return over + [(a, b) for a in of["subject"] for b in (*of["form"], *of["addition"])]


def baseline_kinds(names: Iterable[str]) -> list[SystemKind]:
    """The baselines that `eval.baselines` names, in order. RecipeError for a name that is none."""
    return _named("baseline", names, setting="eval.baselines")


def addition_kinds(names: Iterable[str]) -> list[SystemKind]:
    """The additions that `eval.additions` names, in order. RecipeError for a name that is none."""
    return _named("addition", names, setting="eval.additions")


def _named(role: Role, names: Iterable[str], *, setting: str) -> list[SystemKind]:
    known, wanted = {kind.name: kind for kind in by_role(role)}, set(names)
    article = "an" if role[0] in "aeiou" else "a"
    problems = [
        Problem(
            what=f"{setting} names a system that is not {article} {role}",
            value=name,
            expected=f"any of: {', '.join(known)}",
            hint=f"--set {setting}=[{(difflib.get_close_matches(name, known, n=1, cutoff=0.4) or list(known))[0]}]",
        )
        for name in sorted(wanted - known.keys())
    ]
    if problems:
        raise RecipeError(problems)
    return [kind for name, kind in known.items() if name in wanted]


def chosen_kinds(inputs: SystemInputs, baselines: Iterable[str], additions: Iterable[str] = ()) -> list[SystemKind]:
    """The systems of one evaluation, in order: the baselines and additions that are asked for, and of the rest whatever has
    what it needs."""
    asked = [*baseline_kinds(baselines), *addition_kinds(additions)]
    return [
        kind
        for kind in system_kinds()
        if (kind.role not in ("baseline", "addition") or kind in asked)
        and all(getattr(inputs, need) is not None for need in kind.needs)
    ]
