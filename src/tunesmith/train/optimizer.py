"""The optimiser of a run, found by its name: each file in `train/optimizers/` is one.

Such a file holds `Settings`, a section of knobs, and `make`, which puts the trained tensors into optimisers of torch's kind.
The loop sets rates, steps, and asks for the state; it knows none of them by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from pydantic import Field

from tunesmith.core.errors import Problem, RecipeError, TrainingError
from tunesmith.core.settings import Section, nearest, section_from
from tunesmith.train import optimizers
from tunesmith.train.optimizer_states import StatesOnDisk

__all__ = [
    "Averaging",
    "Beta",
    "Group",
    "Optimizer",
    "Rates",
    "missing_library",
    "open_optimizer",
    "optimizer_names",
    "optimizer_settings",
    "settings_of_optimizer",
]

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
Group = dict[str, Any]  # as torch has them: `params`, and where they differ `weight_decay` and `rate_scale`


@runtime_checkable
class Averaging(Protocol):
    """An optimiser whose result is an average of the weights that it trains: `eval` puts it in place, `train` goes back."""

    def train(self) -> None: ...

    def eval(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Rates:
    """What all optimisers have: the peak rate and the decoupled weight decay."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class Optimizer:
    """`parts` are torch's optimisers over disjoint tensors.

    `begin(part)` makes the empty state of all tensors, where a state has other shapes than its tensor; `derived` names entries
    of the state that it makes whole, so that they are not saved. `states` keeps the states, if not in memory.
    """

    parts: tuple[torch.optim.Optimizer, ...]
    begin: Callable[[Any], None] | None = None
    derived: frozenset[str] = frozenset()
    states: StatesOnDisk | None = None

    @property
    def param_groups(self) -> list[Group]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def set_rate(self, rate: float) -> None:
        """The rate of the next step, in each group times its `rate_scale`."""
        for group in self.param_groups:
            group["lr"] = rate * group.get("rate_scale", 1.0)

    def step(self) -> None:
        """Move the weights along their gradients."""
        for part in self.parts:
            if self.states is None:
                part.step()
            else:
                self.states.step(part)

    def reading(self, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """`tensors` of the state, as they are best read one after the other."""
        return tensors if self.states is None else self.states.reading(tensors)

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Inside, the tensors are what the run would give now: their average, where the optimiser averages. Afterwards they
        are what they were, to the bit."""
        averaging = [part for part in self.parts if isinstance(part, Averaging)]
        tensors = [p for part in averaging for group in part.param_groups for p in group["params"]]
        before = [tensor.detach().clone() for tensor in tensors]
        for part in averaging:
            part.eval()
        try:
            yield
        finally:
            for part in averaging:
                part.train()
            with torch.no_grad():  # interpolating there and back changes the last bits
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)


def optimizer_names() -> list[str]:
    """The names of all optimisers: those of the files in `train/optimizers/`. None of them is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(optimizers.__path__))


def settings_of_optimizer(kind: str) -> type[Section]:
    """The declaration of an optimiser's settings."""
    found: type[Section] = importlib.import_module(f"{optimizers.__name__}.{kind}").Settings
    return found


def optimizer_settings(kind: str, options: Mapping[str, Any] | None = None) -> Section:
    """The settings of this optimiser. RecipeError if there is none of this name, or for settings that it does not have."""
    if kind not in (known := optimizer_names()):
        raise RecipeError(
            [
                Problem(
                    what="wrong value for train.optimizer",
                    value=kind,
                    expected=f"one of {', '.join(known)}",
                    hint=nearest(kind, known) or "--set train.optimizer=adamw is the default",
                )
            ]
        )
    why = f"a setting of train.optimizer {kind}"
    return section_from(settings_of_optimizer(kind), options or {}, name="train.optimizer_settings", why=why)


def open_optimizer(kind: str, options: Mapping[str, Any], *, model: Any, groups: Sequence[Group], rates: Rates) -> Optimizer:
    """The optimiser of this name over `groups` of the tensors of `model`.

    Raises:
        RecipeError: as `optimizer_settings`.
        TrainingError: a library is missing, or the device cannot do it.
    """
    settings = optimizer_settings(kind, options)
    made: Optimizer = importlib.import_module(f"{optimizers.__name__}.{kind}").make(groups, settings, model=model, rates=rates)
    return made


def missing_library(kind: str, library: str, error: ImportError) -> TrainingError:
    """The error for an optimiser whose library is not installed, or cannot be loaded."""
    return TrainingError(
        f"train.optimizer {kind} needs {library}",
        value=str(error),
        expected=f"the library {library}, which is not part of a plain install",
        hint="pip install 'tunesmith[optimizers]', or --set train.optimizer=adamw",
    )
