"""The reference pages of the Python face, the recipe and the metrics, made from signatures, docstrings and declarations.

python -m tunesmith.api.reference > docs/reference/python.md
python -m tunesmith.api.reference recipe > docs/reference/recipe.md
python -m tunesmith.api.reference metrics > docs/concepts/metrics.md
python -m tunesmith.api.reference exports docs/guides/sources.md    (renews the table of that page)
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from tunesmith import api

__all__ = ["exports_page", "metrics_page", "python_page", "recipe_page", "undocumented"]

_WIDTH = 100
_HEAD = """# From Python

Made from the docstrings of `tunesmith.api`. Every name is in `tunesmith` too, except `plan` and `train`, which are packages
there: `from tunesmith.api import plan, train`.

Functions take plain values and return frozen records. `as_dict()` of a record is what the command of the same name prints with
`--json`. Errors are those of `tunesmith.core.errors`, all of them `TunesmithError`: each says what is wrong, the value, what
was expected, and a hint. A `Reporter` (`tunesmith.core.reporter`) receives progress and warnings; without one, functions print
nothing.
"""


def python_page() -> str:
    """The page, in Markdown: a section for each module of the face, its functions first. Constants are left out."""
    sections = [_HEAD]
    for module, names in groupby(_named(), key=lambda pair: pair[1]):
        listed = [name for name, _ in names]
        listed.sort(key=lambda name: not inspect.isfunction(getattr(api, name)))
        sections.append(f"## {' · '.join(f'`{name}`' for name in listed)}\n")
        if module.startswith("tunesmith.api."):
            sections.append(_markdown(inspect.getdoc(sys.modules[module]) or ""))
        sections += [_entry(name, getattr(api, name)) for name in listed]
    return "\n".join(sections)


def undocumented() -> list[str]:
    """Names of the face, and public methods of its classes, that have no docstring."""
    missing = []
    for name, _ in _named():
        value = getattr(api, name)
        missing += [] if value.__doc__ else [name]
        if inspect.isclass(value):
            missing += [f"{name}.{member}" for member, text, _ in _members(value) if not text]
    return missing


def _named() -> list[tuple[str, str]]:
    """Functions and classes of the face and their modules, in the order in which the face lists the modules."""
    return [(name, module) for name, module in api.MODULES.items() if callable(getattr(api, name))]


def _entry(name: str, value: Any) -> str:
    if inspect.isfunction(value):
        return f"### `{name}`\n\n```python\n{_signature(name, value)}\n```\n\n{_markdown(inspect.getdoc(value) or '')}"
    lines = [f"### `{name}`", "", _markdown(inspect.getdoc(value) or "")]
    if fields := _fields(value):
        lines += ["| field | type |", "|---|---|", *(f"| `{field}` | `{kind}` |" for field, kind in fields), ""]
    if members := list(_members(value)):
        lines += [f"- `{shown}`: {' '.join(text.split(chr(10) * 2)[0].split())}" for _, text, shown in members] + [""]
    return "\n".join(lines)


def _fields(value: type) -> list[tuple[str, str]]:
    if dataclasses.is_dataclass(value):
        return [(field.name, _cell(field.type)) for field in dataclasses.fields(value)]
    if hasattr(value, "__total__"):  # a TypedDict: every key may be left out
        return [(name, _cell(getattr(kind, "__forward_arg__", kind))) for name, kind in value.__annotations__.items()]
    return []


def _cell(kind: object) -> str:
    return str(kind).replace("|", "\\|")


def _members(value: type) -> Iterator[tuple[str, str, str]]:
    """Public methods and properties that a class defines itself: name, docstring, and how it is written."""
    for name, member in vars(value).items():
        is_value = isinstance(member, property | cached_property)
        if name.startswith("_") or not (is_value or isinstance(member, staticmethod) or inspect.isfunction(member)):
            continue
        function = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        yield name, inspect.getdoc(function) or "", name if is_value else _signature(name, function, method=True)


def _signature(name: str, function: Any, *, method: bool = False) -> str:
    """A function as it is declared, on one line if it fits (a method always is)."""
    signature = inspect.signature(function)
    parts, bare_star = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not bare_star:
            bare_star = True
            parts.append("*")
        bare_star |= parameter.kind is parameter.VAR_POSITIONAL
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f" = {_literal(parameter.default)}"
        parts.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    line = f"{name}({', '.join(parts)}) -> {signature.return_annotation}"
    if method or len(line) <= _WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f") -> {signature.return_annotation}"])


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _markdown(docstring: str) -> str:
    """A docstring as Markdown; the lines below `Raises:` become a list."""
    text, raises, errors = docstring.partition("\nRaises:\n")
    if not raises:
        return text + "\n"
    listed = re.sub(r"^ +(\w+): ", r"- `\1`: ", errors, flags=re.MULTILINE)
    return f"{text.rstrip()}\n\nRaises:\n\n{listed}\n"


def recipe_page() -> str:
    """The page of the recipe, with the settings of every training method and every optimiser."""
    from tunesmith.pipeline.recipe_page import reference_page
    from tunesmith.train.method import method_names, settings_of
    from tunesmith.train.optimizer import optimizer_names, settings_of_optimizer

    optimizers = {kind: settings_of_optimizer(kind) for kind in optimizer_names()}
    return reference_page({kind: settings_of(kind) for kind in method_names()}, optimizers)


def metrics_page() -> str:
    """The page of all metrics, with what each measures and misses."""
    from tunesmith.eval.metrics_page import metrics_page as made

    return made()


def exports_page(page: str) -> str:
    """The page about sources with the table of exports and site trees that the code makes."""
    from tunesmith.data.ingest.containers_page import with_table

    return with_table(page)


if __name__ == "__main__" and sys.argv[1:2] == ["exports"]:
    target = Path(sys.argv[2])
    target.write_text(exports_page(target.read_text(encoding="utf-8")), encoding="utf-8")
elif __name__ == "__main__":
    sys.stdout.write({"recipe": recipe_page, "metrics": metrics_page}.get(" ".join(sys.argv[1:]), python_page)())
