"""The Python face: `Project` is a recipe at work in a folder.

What the names here stand for is imported when it is first used, so that `tunesmith.api.documents` alone stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.api.project import EXAMPLES, Outcome, Project

__all__ = ["EXAMPLES", "Outcome", "Project"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tunesmith.api import project

    return getattr(project, name)
