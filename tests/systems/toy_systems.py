"""Systems that no file of the package declares: the source of one file each, and how it becomes part of the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith import systems
from tunesmith.systems.registry import system_kinds

__all__ = ["added", "toy"]

_TOY = '''"""Says the question again."""

from tunesmith.models.generate import Completion
from tunesmith.systems.system import FormLimits, SystemKind


class Toy:
    name, label, fingerprint = "NAME", "a toy that repeats the question", "NAME-1"

    def answer(self, requests, *, on_done):
        on_done(len(requests))
        return [Completion(request.messages[-1].content, "stop", 5) for request in requests]

    def logprobs(self, rows, *, on_done):
        return None


SYSTEM = SystemKind(name="NAME", title="NAME toy", order=60, open=lambda inputs, model: Toy(), OTHER)
'''


def toy(name: str, other: str) -> str:
    """The file of a toy called `name`, with the further fields of its declaration."""
    return _TOY.replace("NAME", name).replace("OTHER", other)


@contextmanager
def added(folder: Path, **files: str) -> Iterator[None]:
    """Inside, the files (name → source) lie in the package of systems."""
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    before = list(systems.__path__)
    systems.__path__ = [*before, str(folder)]
    system_kinds.cache_clear()
    try:
        yield
    finally:
        systems.__path__ = before
        for name in files:
            sys.modules.pop(f"{systems.__name__}.{name}", None)
        system_kinds.cache_clear()
