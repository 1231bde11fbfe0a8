"""The Python face: `Project` is a recipe at work in a folder."""

from tunesmith.api.project import EXAMPLES, Outcome, Project

__all__ = ["EXAMPLES", "Outcome", "Project"]
