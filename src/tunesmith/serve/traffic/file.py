"""The file of `tunesmith serve --traffic FILE`: who gets which model. An unknown key is an error."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunesmith.core.errors import Problem, RecipeError

__all__ = ["TrafficFile", "read_traffic_file"]

_EXAMPLE = "ab: {mine: {tuned: 50, base: 50}}"


class TrafficFile(BaseModel):
    """What the file may say. `ab`: name → arm → weight, the control first."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ab: dict[str, dict[str, float]] = Field(default_factory=dict)


def read_traffic_file(path: Path) -> TrafficFile:
    """Read it. RecipeError with every problem found."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError([_problem(path, "the traffic file cannot be read", str(error)[:300])]) from error
    try:
        return TrafficFile.model_validate({} if found is None else found)
    except ValidationError as error:
        problems = [
            _problem(path, ".".join(map(str, one["loc"])) or "the file", one["msg"])
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise RecipeError(problems) from error


def _problem(path: Path, what: str, why: str) -> Problem:
    return Problem(
        what=f"cannot be used: {what}",
        value=why,
        expected=f"such as `{_EXAMPLE}`",
        hint="docs/guides/traffic.md",
        where=str(path),
    )
