"""What the stage `run` does: a dataset and a base in, an adapter and the evidence of how it was trained out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tunesmith.core.artifacts import Draft
from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, PrecisionName
from tunesmith.pipeline.recipe import Recipe
from tunesmith.plan.facts import DrawingFacts
from tunesmith.train.method import Method, Sampled, identity, open_method
from tunesmith.train.optimizer import optimizer_settings
from tunesmith.train.run import Place, train_adapter
from tunesmith.train.settings import AdapterSettings, TrainSettings, identifying

__all__ = ["check_optimizer", "drawing_of", "fill_run", "objective_of", "record_setting", "run_settings"]


def objective_of(recipe: Recipe) -> Method:
    """The training method that the recipe names. RecipeError for one that does not exist or is set wrongly."""
    return open_method(recipe.objective.kind, recipe.objective.options, best_by=recipe.train.best_by)


def check_optimizer(recipe: Recipe) -> None:
    """RecipeError if the recipe names an optimiser that does not exist, or settings that it does not have."""
    optimizer_settings(recipe.train.optimizer, recipe.train.optimizer_settings)


def drawing_of(objective: Method) -> DrawingFacts | None:
    """What the plan has to know of a method that draws answers; None for one that does not."""
    return DrawingFacts(**asdict(objective.draws)) if isinstance(objective, Sampled) else None


def run_settings(recipe: Recipe, objective: Method, *, base: str, precision: PrecisionName) -> dict[str, Any]:
    """What a run depends on apart from its inputs. The default objective is not named, nor is a later setting at its default:
    runs made before there were others keep their ids."""
    return {
        "base": base,
        "method": identifying(recipe.method, AdapterSettings),
        "train": identifying(recipe.train, TrainSettings),
        **({"objective": kind} if (kind := identity(objective)) else {}),
        "allow": sorted(recipe.allow),
        "precision": precision,
    }


def record_setting(objective: Method) -> dict[str, Any]:
    """The kind of rows as a setting of the dataset; nothing for examples, whose datasets keep their ids."""
    return {} if objective.record is Example else {"record": objective.record.__name__}


def fill_run(  # noqa: PLR0913 (what the project knows, and nothing of the project)
    draft: Draft,
    *,
    base: BaseFolder,
    chat: Chat,
    examples: Mapping[str, Sequence[Any]],
    recipe: Recipe,
    objective: Method,
    precision: PrecisionName,
    place: Place,
    reporter: Reporter,
) -> None:
    """Train the adapter into the draft, and note the numbers of the run."""
    trained = train_adapter(
        base,
        chat,
        examples,
        objective=objective,
        method=recipe.method,
        train=recipe.train,
        precision=precision,
        place=place,
        reporter=reporter,
    )
    draft.numbers |= {
        **trained.fitted.numbers(),
        "validation": trained.figures,
        "reading": asdict(trained.reading),
        "trainable": trained.coverage.num_trainable,
        "modules": len(trained.coverage.modules),
        "linear_modules": trained.coverage.num_linear,
    }
