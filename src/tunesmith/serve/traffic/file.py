"""The file of `tunesmith serve --traffic FILE`: who gets which model. An unknown key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunesmith.core.errors import Problem, RecipeError

__all__ = ["CanarySection", "LinkSection", "RouteSection", "TrafficFile", "read_traffic_file"]

_EXAMPLE = "ab: {mine: {tuned: 50, base: 50}}"


class LinkSection(BaseModel):
    """A model of a chain, the seconds that its first piece may take, and those of silence after that; 0 sets no limit. Without
    `stall` that of the model holds: `serve.stall` for addresses, else none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    seconds: float = Field(default=0.0, ge=0)
    stall: float | None = Field(default=None, ge=0)


class CanarySection(BaseModel):
    """A canary: percent of the users at each step, answers before the next one, and the share that may fail."""

    model_config = ConfigDict(extra="forbid", strict=True)

    stable: str
    canary: str
    steps: list[float] = Field(default=[1.0, 5.0, 25.0, 50.0, 100.0], min_length=1)
    answers: int = Field(default=200, ge=1)
    most_failed: float = Field(default=0.05, ge=0, lt=1)

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: list[float]) -> list[float]:
        if sorted(set(steps)) != steps or not 0 < steps[0] <= steps[-1] <= 100:
            raise ValueError("steps must rise from above 0 to at most 100")
        return steps


class RouteSection(BaseModel):
    """A file of `tunesmith route train`, and the models for texts inside its domain, and for all others."""

    model_config = ConfigDict(extra="forbid", strict=True)

    router: str
    inside: str
    outside: str


class TrafficFile(BaseModel):
    """What the file may say, by name that a request asks for.

    `ab`: arm → weight, the control first. `canary`: a split that grows by rule. `shadow`: the model that answers as well.
    `fallback`: models asked one after the other. `route`: by domain.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    ab: dict[str, dict[str, float]] = Field(default_factory=dict)
    canary: dict[str, CanarySection] = Field(default_factory=dict)
    shadow: dict[str, str] = Field(default_factory=dict)
    fallback: dict[str, Annotated[list[LinkSection], Field(min_length=1)]] = Field(default_factory=dict)

    route: dict[str, RouteSection] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_meaning(self) -> TrafficFile:
        if twice := sorted(self.ab.keys() & self.canary.keys()):
            raise ValueError(f"{twice[0]} is both a split and a canary")
        return self


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
