"""What a sweep varies: settings of `method` and `train`, each a range or a list of choices.

Only settings that leave the validation loss comparable: the data, the split, the objective and the validation stay as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.settings import nearest_knob
from tunesmith.pipeline.recipe_file import knobs

__all__ = ["Range", "Space", "read_space", "usual_space"]

_RANGE = re.compile(r"([-+0-9.e]+)\s*\.\.\s*([-+0-9.e]+)(:log)?", re.IGNORECASE)
_FIXED = {"train.best_by", "train.val_examples", "train.max_tokens", "train.evaluate_every", "train.gain_kept", "method.from"}
_HINT = "--vary train.learning_rate=1e-4..3e-3:log --vary method.rank=4,8,16"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, whole ones if both ends are; `log`: drawn evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = Mapping[str, Range | Sequence[Any]]


def read_space(vary: Mapping[str, str | Sequence[Any]]) -> Space:
    """The space that texts such as `1e-4..3e-3:log` and `4,8,16` describe. RecipeError carries everything that is wrong."""
    problems: list[Problem] = []
    space: dict[str, Range | Sequence[Any]] = {}
    for name, text in vary.items():
        if (problem := _wrong_name(name)) is not None:
            problems.append(problem)
            continue
        found = _read(text) if isinstance(text, str) else list(text)
        if found is None or (not isinstance(found, Range) and len(found) < 2):
            expected = "LOW..HIGH, LOW..HIGH:log with LOW above 0, or two values or more with commas"
            problems.append(Problem(what=f"cannot vary {name}", value=text, expected=expected, hint=_HINT))
        else:
            space[name] = found
    if problems:
        raise RecipeError(problems)
    return space


def usual_space(learning_rate: float, *, adapter: bool) -> Space:
    """Without a wish: the learning rate from a quarter to four times the recipe's, and, of an adapter, three ranks."""
    rate = Range(learning_rate / 4, learning_rate * 4, log=True)
    return {"train.learning_rate": rate, **({"method.rank": (8, 16, 32)} if adapter else {})}


def _wrong_name(name: str) -> Problem | None:
    known = [knob.name for knob in knobs()]
    if name not in known:
        return Problem(what="no such setting", value=name, expected="a setting of the recipe", hint=nearest_knob(name, knobs()))
    if not name.startswith(("method.", "train.")) or name in _FIXED:
        why = "a setting of method or train that leaves the validation loss comparable"
        return Problem(what="a sweep cannot vary this", value=name, expected=why, hint=_HINT)
    return None


def _read(text: str) -> Range | list[Any] | None:
    if ".." not in text:
        return [_value(part) for part in text.split(",") if part.strip()]
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        low, high = _number(match[1]), _number(match[2])
    except ValueError:
        return None
    usable = math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not match[3])
    return Range(low, high, bool(match[3])) if usable else None


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _value(text: str) -> Any:
    value = yaml.safe_load(text.strip())
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
