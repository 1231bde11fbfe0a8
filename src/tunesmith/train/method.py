"""What a training method is, and how one is found by its name: each file in `train/methods/` is a method.

A method turns examples into units, a batch of units into a loss, and held-out units into named figures. Everything else
(order, parts, steps, checkpoints, early stopping) is the loop's and the same for all. `docs/concepts/methods.md` shows how to
add one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.records import Example
from tunesmith.core.settings import Section, nearest, section_from
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder
from tunesmith.models.packed.divergence import Predictions
from tunesmith.models.packed.head import NO_PENALTY, Formula, Penalty
from tunesmith.train import methods
from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig
from tunesmith.train.samples import Group
from tunesmith.train.units import Batch, Unit
from tunesmith.train.watch import Event

__all__ = [
    "DEFAULT",
    "Choosing",
    "Direction",
    "Draws",
    "Forward",
    "Headed",
    "Method",
    "Naming",
    "Rate",
    "Referenced",
    "Sampled",
    "Shown",
    "Signalled",
    "Taught",
    "alters_inputs",
    "generates",
    "identity",
    "method_name",
    "method_names",
    "open_method",
    "rate_of",
    "settings_of",
]

DEFAULT = "sft"

_NAMED = frozenset({("dpo", "beta")})  # named with its default value too, as in the ids of runs that have been made

Direction = Literal["lower", "higher"]


class Forward(Protocol):
    """How a method's batches go through the model. Every number is of the target tokens of a batch, N in all."""

    def nll(self, batch: Batch, weight_N: torch.Tensor | None = None, penalty: Penalty = NO_PENALTY) -> torch.Tensor:
        """Σ weight · (−log p + penalty) in nats, a float32 scalar with gradient: the cheapest of the three. Without weights
        each token counts 1; weights get no gradient."""
        ...

    def noise(self, batch: Batch, alpha: float) -> AbstractContextManager[None]:
        """Inside, uniform noise is added to the input embeddings of `batch` (NEFTune); with alpha 0 none."""
        ...

    def log_probs(self, batch: Batch) -> torch.Tensor:
        """log p_N in float32, with gradient."""
        ...

    def hidden(self, batch: Batch) -> torch.Tensor:
        """hidden_ND after the last norm, at the positions that predict a target token, in the model's type, with gradient."""
        ...

    def predictions(self, batch: Batch) -> Predictions:
        """What is predicted at each target token, without gradient: a teacher's distributions."""
        ...

    def summed(self, batch: Batch, formula: Formula) -> torch.Tensor:
        """Σ of a formula of whole distributions, a float32 scalar with gradient; their logits never exist all at once."""
        ...

    def log_probs_with_hidden(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """`log_probs` and `hidden`, from one pass through the layers where the path allows that."""
        ...

    @property
    def head(self) -> torch.nn.Module:
        """The method's own head (see `Headed`)."""
        ...

    @property
    def teacher(self) -> Forward:
        """Another model that reads the same tokens, without gradient (see `Taught`)."""
        ...

    def batch(self, units: Sequence[Unit]) -> Batch:
        """These units laid out for the model, in this order."""
        ...

    def batches(self, units: Sequence[Unit], on_done: Callable[[int], None]) -> Iterator[Batch]:
        """All units in batches of like lengths, dropout off. `on_done` hears how many more units are done."""
        ...

    def base(self) -> AbstractContextManager[None]:
        """Inside, everything is computed by the base: the adapter is off."""
        ...

    def scored(
        self, units: Sequence[Unit], on_done: Callable[[int], None]
    ) -> Iterator[tuple[Batch, torch.Tensor, torch.Tensor]]:
        """The same, each with (log p_N, whether each target is the likeliest token), without gradient."""
        ...


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate that a method wants where the recipe names none: a share of supervised fine-tuning's, and whose finding
    that is.
    """

    share: float
    why: str


class Method(Protocol):
    """A training method. Its file also holds `Settings`, a section of knobs; the class takes them, validated.

    `record`: the kind of record that it learns from. `figures`: the names of the validation figures and which direction is
    better, `loss` among them; `train.best_by` names one, and the best step by the first other one is kept as well.
    `loss_unit`: what the loss is counted in, for people.
    """

    settings: Any
    record: type
    figures: Mapping[str, Direction]
    loss_unit: str

    def prepare(self, examples: Sequence[Any], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """The units of these records, in order. TrainingError for records that it cannot learn from."""
        ...

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the losses of the units, with gradient; a step divides it by the sum of their weights."""
        ...

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """The `figures` by name. `on_done` hears how many more units are done."""
        ...


@runtime_checkable
class Choosing(Protocol):
    """A method that looks at all records of a run before anything is made of them."""

    def check(self, examples: Mapping[str, Sequence[Any]]) -> None:
        """TrainingError for records, by split, that it cannot learn from as it is set."""
        ...


@runtime_checkable
class Referenced(Protocol):
    """A method that needs numbers of the base for each unit: computed once, with the adapter off, and kept with the run."""

    def reference(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> list[tuple[float, ...]]:
        """Of each unit, in order, as many numbers as the method needs: they are put into `Unit.reference`."""
        ...


@runtime_checkable
class Signalled(Protocol):
    """A method that needs numbers of the current weights over a whole batch before its loss, however the batch is cut."""

    def signal(self, forward: Forward, units: Sequence[Unit]) -> list[tuple[float, ...]]:
        """Of each unit of a batch, in order, the new `Unit.signal`; computed before the step, without gradient."""
        ...


@runtime_checkable
class Headed(Protocol):
    """A method with a head of its own on the hidden states: trained, checkpointed and saved with the weights that move."""

    def head(self, width: int) -> torch.nn.Module:
        """A fresh head for hidden states of this width; `Forward.head` is the one in training."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How a method samples: answers per prompt, tokens of each at most, and steps that are made on the same answers.
    `share` of the prompts are answered by the model; the others keep the one answer of their example. `readings`: how often
    every answer is read before its loss, by a teacher, the base or the weights that gave it. `needs_base`: whether the base
    must be there beside the model.
    """

    samples: int
    max_new_tokens: int
    updates: int = 1
    share: float = 1.0
    readings: int = 0
    needs_base: bool = False


@runtime_checkable
class Sampled(Protocol):
    """A method that learns from answers which the model gives while it is trained (see `train.sampled`).

    Its `prepare` makes one unit of each example, which stands for the prompt; `loss` and `validate` get units made by `units`.
    """

    @property
    def draws(self) -> Draws: ...

    @property
    def rewards(self) -> Sequence[RewardConfig]: ...

    def units(self, forward: Forward, groups: Sequence[Group]) -> list[Unit]:
        """A unit for each group of answers, in order, with all that the loss needs of the weights that gave the answers."""
        ...

    def is_idle(self, unit: Unit) -> bool:
        """Whether the unit's loss has no gradient, so that it need not be computed."""
        ...

    def alarm(self, rows: Sequence[Mapping[str, Any]]) -> Event | None:
        """Of the rows of all validations so far, the first that of the untrained model: why the run must end here, if so."""
        ...

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Reading:
        """What the rows of the metric log say, in words."""
        ...


@runtime_checkable
class Shown(Protocol):
    """A method that samples, whose teacher is shown more than the model that learns."""

    def show(self, train: Sequence[Example]) -> None:
        """Called once, before any prompt is asked for, with the training examples."""
        ...

    def teacher_prompt(self, chat: Chat, example: Example) -> tuple[int, ...]:
        """Token ids after which the teacher judges the answers to the example's prompt (see `Group.teacher_prompt`)."""
        ...


@runtime_checkable
class Naming(Protocol):
    """A method some of whose settings name files or models."""

    def contents(self) -> Mapping[str, str]:
        """Setting → the hash of what it names, which belongs to the identity of a run instead of the name."""
        ...


@runtime_checkable
class Taught(Protocol):
    """A method that learns from another model with the same tokenizer; `Forward.teacher` computes with it."""

    def find_teacher(self) -> BaseFolder:
        """Where it is. TrainingError if none is named, or if it cannot be had."""
        ...


def method_names() -> list[str]:
    """The names of all methods: those of the files in `train/methods/`. None of them is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(methods.__path__))


def open_method(kind: str, options: Mapping[str, Any] | None = None, *, best_by: str = "loss") -> Method:
    """The method of this name with its settings.

    Raises:
        RecipeError: no such method, settings that it does not have, or a `best_by` that it does not measure.
    """
    if kind not in method_names():
        known = method_names()
        raise RecipeError(
            [
                Problem(
                    what="wrong value for objective.kind",
                    value=kind,
                    expected=f"one of {', '.join(known)}",
                    hint=nearest(kind, known) or f"--set objective.kind={DEFAULT} is the default",
                )
            ]
        )
    module = importlib.import_module(f"{methods.__name__}.{kind}")
    settings = section_from(module.Settings, options or {}, name="objective", why=f"a setting of objective.kind {kind}")
    method: Method = module.Method(settings)
    if best_by not in method.figures:
        raise RecipeError(
            [
                Problem(
                    what="wrong value for train.best_by",
                    value=best_by,
                    expected=f"one of {', '.join(method.figures)}, which objective.kind {kind} measures",
                    hint=nearest(best_by, list(method.figures)) or "--set train.best_by=loss",
                )
            ]
        )
    return method


def settings_of(kind: str) -> type[Section]:
    """The declaration of a method's settings."""
    found: type[Section] = importlib.import_module(f"{methods.__name__}.{kind}").Settings
    return found


def rate_of(kind: str) -> Rate | None:
    """What a method's class says of its learning rate, as `rate`; None if it takes that of supervised fine-tuning."""
    module = importlib.import_module(f"{methods.__name__}.{kind}")
    found: Rate | None = getattr(module.Method, "rate", None)
    return found


def method_name(method: Method) -> str:
    """Its `kind` in a recipe."""
    return type(method).__module__.rpartition(".")[2]


def generates(method: Method) -> bool:
    """Whether the trained model writes answers: not so for a method whose class says `generates = False`."""
    return bool(getattr(method, "generates", True))


def alters_inputs(method: Method) -> bool:
    """Whether training adds to the input embeddings, so that nothing computed from them can be kept: as its class says."""
    return bool(getattr(method, "alters_inputs", False))


def identity(method: Method) -> dict[str, Any]:
    """Kind and settings of a method, as results made with it depend on them; empty for the default in its default settings.

    A result of the default method thus keeps the id that it had before there were others. Settings that have their default
    value are left out, so that a new setting changes no id.
    """
    kind = method_name(method)
    given = method.settings.model_dump(exclude_defaults=True)
    settings = {name: value for name, value in method.settings.model_dump().items() if name in given or (kind, name) in _NAMED}
    if isinstance(method, Sampled) and (files := [found for reward in method.rewards if (found := reward.depends())]):
        settings["reward_files"] = files
    if isinstance(method, Naming):
        settings |= method.contents()
    return {"kind": kind, **settings} if kind != DEFAULT or settings else {}
