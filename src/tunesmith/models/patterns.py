"""Numbers by pattern, such as ranks: which of them each adapted module gets. A pattern is read as peft reads it: a regular
expression that the end of a module's name matches, from a dot on.

Two patterns that give one module different numbers are refused, so that their order in a recipe means nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tunesmith.core.errors import ModelError

__all__ = ["by_pattern"]

Number = TypeVar("Number", int, float)


def by_pattern(modules: Sequence[str], usual: Number, patterns: Mapping[str, Number], *, setting: str) -> dict[str, Number]:
    """Module → its number: that of the pattern that its name matches, else `usual`. `setting`: what a message names.

    ModelError for a pattern that is no regular expression, that no module matches, or that contradicts another one.
    """
    found: dict[str, tuple[str, Number]] = {}
    for pattern, number in patterns.items():
        matching = [name for name in modules if _matches(pattern, name, setting)]
        if not matching:
            leaves = sorted({name.rsplit(".", 1)[-1] for name in modules})
            near = difflib.get_close_matches(pattern, leaves, n=1, cutoff=0.4)
            raise ModelError(
                f"a pattern of {setting} matches no adapted module",
                value=pattern,
                expected=f"the end of a name: {', '.join(leaves)}, or more of it, such as {modules[0]}",
                hint=f"did you mean {near[0]}?" if near else "tunesmith plan shows which layers are adapted",
            )
        for name in matching:
            other, before = found.setdefault(name, (pattern, number))
            if before != number:
                raise ModelError(
                    f"two patterns of {setting} give one module different numbers",
                    value=f"{other}: {before} and {pattern}: {number}, for {name}",
                    expected="one number for each module",
                    hint="write patterns that do not meet, such as layers\\.0\\.mlp.* and self_attn.*",
                )
    return {name: found[name][1] if name in found else usual for name in modules}


def _matches(pattern: str, name: str, setting: str) -> bool:
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error as error:
        raise ModelError(
            f"a pattern of {setting} cannot be read",
            value=pattern,
            expected=f"a regular expression ({error})",
            hint=r"the end of a module's name is one, such as q_proj or layers\.0\.self_attn.*",
        ) from error
