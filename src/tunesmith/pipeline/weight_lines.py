"""Lines of the plan about the weights that move, beyond rank and reach: those that a recipe asks for."""

from __future__ import annotations

from typing import Any

from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.plan.facts import AdapterFacts

__all__ = ["reach_numbers", "weight_lines"]

_STARTS = {
    "pissa": ("the largest singular vectors of each matrix", "arXiv:2404.02948; saved as a plain adapter of twice the rank"),
    "olora": ("the QR decomposition of each matrix", "arXiv:2406.01775; saved as a plain adapter of twice the rank"),
    "eva": ("what each layer reads in the first training rows", "arXiv:2410.07170; every layer keeps its rank"),
}


def reach_numbers(adapter: AdapterFacts) -> dict[str, Any]:
    """What the weights that move cover, by the names that the numbers of a plan have."""
    return {
        "trainable": adapter.trainable,
        "adapted_modules": adapter.modules,
        "linear_modules": adapter.linear,
        "out_of_reach": dict(adapter.out_of_reach),
        "dropouts_off": dict(adapter.dropouts),
        "start": adapter.start,
    }


def weight_lines(method: MethodConfig, *, start: str) -> list[tuple[str, str, str]]:
    """(name, value, reason) of each. `start`: the adapter that training continues from, in words, if it does."""
    found = []
    if method.init != "default":
        value, reason = _STARTS[method.init]
        found.append(("start", f"{method.init}: {value}", reason))
    if method.continued:
        found.append(("start", f"continues from {start}", f"method.from: {method.continued}"))
    if method.modules:
        found.append(("trained along", ", ".join(method.modules), "whole, and kept with the adapter; tied ones are one matrix"))
    for name, patterns in (("ranks", method.rank_pattern), ("alphas", method.alpha_pattern)):
        if patterns:
            value = ", ".join(f"{pattern} {number:g}" for pattern, number in patterns.items())
            found.append((name, value, f"set in the recipe; other layers have the {name[:-1]} above"))
    return found
