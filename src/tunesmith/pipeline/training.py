"""What the stage `run` does: a dataset and a base in, an adapter and the evidence of how it was trained out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import psutil

from tunesmith.core.artifacts import Draft, Store
from tunesmith.core.errors import ModelError
from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter
from tunesmith.engines.process import peak_memory
from tunesmith.models.adapters import CONFIG, Patterns
from tunesmith.models.chat import Chat
from tunesmith.models.continuing import check_start, origin_of_start
from tunesmith.models.kept_modules import kept_parameters
from tunesmith.models.load import BaseFolder, PrecisionName, safetensors_shapes
from tunesmith.models.patterns import by_pattern
from tunesmith.models.reach import reach_of
from tunesmith.models.tuned import tuned_fingerprint, tuned_folder
from tunesmith.pipeline.plan_lines import Line
from tunesmith.pipeline.recipe import Recipe
from tunesmith.plan.facts import AdapterFacts, DrawingFacts
from tunesmith.train.combinations import refuse_combination
from tunesmith.train.method import Choosing, Method, Sampled, Taught, identity, open_method
from tunesmith.train.mlx.run import train_with_mlx
from tunesmith.train.mlx.support import refuse_unsupported
from tunesmith.train.optimizer import optimizer_settings
from tunesmith.train.order import Place
from tunesmith.train.rewards.opening import check_rewards
from tunesmith.train.run import train_adapter
from tunesmith.train.sampled_settings import SampledSettings
from tunesmith.train.settings import AdapterSettings, TrainSettings, identifying

__all__ = [
    "adapter_facts",
    "backend_lines",
    "check_backend",
    "check_optimizer",
    "check_run",
    "drawing_of",
    "fill_run",
    "located",
    "objective_of",
    "record_setting",
    "run_settings",
]

_RUN = re.compile(r"run:[a-z][a-z0-9_-]*|[0-9a-f]{4,64}")


def objective_of(recipe: Recipe) -> Method:
    """The training method that the recipe names. RecipeError for one that does not exist or is set wrongly."""
    return open_method(recipe.objective.kind, recipe.objective.options, best_by=recipe.train.best_by)


def check_optimizer(recipe: Recipe) -> None:
    """RecipeError if the recipe names an optimiser that does not exist, or settings that it does not have."""
    optimizer_settings(recipe.train.optimizer, recipe.train.optimizer_settings)


def check_run(objective: Method, recipe: Recipe, records: Callable[[str], Sequence[Any]], *, num_steps: int) -> None:
    """TrainingError for what the run would refuse before its first step: rewards, a teacher or a file of its numbers that
    cannot be used, rows that lack what the objective needs, settings that cannot go together. `records(split)`: its rows."""
    identity(objective)
    if isinstance(objective.settings, SampledSettings):
        check_rewards(objective.settings.rewards)
    if isinstance(objective, Choosing):
        objective.check({name: records(name) for name in ("train", "val")})
    refuse_combination(objective, recipe.method, recipe.train, num_steps=num_steps)


def check_backend(recipe: Recipe, objective: Method) -> None:
    """RecipeError if the recipe names a backend that cannot follow its other settings."""
    if recipe.train.backend == "mlx":
        refuse_unsupported(objective, recipe.method, recipe.train)


def backend_lines(recipe: Recipe) -> tuple[Line, ...]:
    """What the plan says of another backend than torch."""
    if recipe.train.backend == "torch":
        return ()
    return (Line("backend", "mlx", "mlx-lm makes the steps; time and memory above are those of torch, MLX was not measured"),)


def drawing_of(objective: Method) -> DrawingFacts | None:
    """What the plan has to know of a method that draws answers; None for one that does not."""
    if not isinstance(objective, Sampled):
        return None
    own = {field.name: getattr(objective.draws, field.name) for field in fields(DrawingFacts) if field.name != "beside"}
    return DrawingFacts(**own, beside=_parameters(objective.find_teacher()) if isinstance(objective, Taught) else 0)


def _parameters(base: BaseFolder) -> int:
    """How many numbers the weights of a model hold."""
    shapes = [shape for file in base.weights for _, shape in safetensors_shapes(file).values()]
    return sum(math.prod(shape) for shape in shapes)


def adapter_facts(base: BaseFolder, recipe: Recipe) -> AdapterFacts:
    """What the weights that move will cover on this base, for the plan. ModelError for settings that the base does not have."""
    m = recipe.method
    reach = reach_of(
        base,
        kind=m.kind,
        rank=m.rank,
        targets=m.targets,
        layers=m.layers,
        rank_pattern=m.rank_pattern,
        kept=lambda model: kept_parameters(model, m.modules),
    )
    by_pattern(reach.modules, m.alpha, m.alpha_pattern, setting="method.alpha_pattern")
    if m.continued and m.kind != "full" and m.kind != "adalora":
        check_start(
            Path(m.continued),
            base,
            kind=m.kind,
            rank=m.rank,
            alpha=m.alpha,
            modules=reach.modules,
            patterns=Patterns(m.rank_pattern, m.alpha_pattern),
        )
    folder = Path(m.continued)
    start = f"{origin_of_start(folder)}, content {tuned_fingerprint(folder)[:12]}" if m.continued else ""
    return AdapterFacts(len(reach.modules), reach.num_linear, reach.num_trainable, reach.out_of_reach, reach.dropouts, start)


_LATEST = "run:latest"


def located(recipe: Recipe, store: Store) -> Recipe:
    """The recipe with the folder of the adapter that its run continues from, in place of a run's id or a run's folder.

    ArtifactError for an id that no run has, ModelError for `run:latest`, and for a folder that is not there or holds a whole
    model.
    """
    named = recipe.method.continued
    if not named:
        return recipe
    path = Path(named).expanduser()
    if not path.is_dir() and _RUN.fullmatch(named):
        run = store.resolve(named)
        if named == _LATEST:  # the run that this recipe makes would be the next start
            raise ModelError(
                f"method.from {_LATEST} would be another adapter after every run",
                value=f"{_LATEST} is {run.id[:12]} now",
                expected="the id of a run, so that the same command gives the same result",
                hint=f"--set method.from={run.id[:12]}",
            )
        path = run.path
    folder = path if (path / CONFIG).is_file() else tuned_folder(path)
    if not (folder / CONFIG).is_file():
        raise ModelError(
            "there is no adapter to continue from",
            value=named,
            expected=f"a run with an adapter, or a folder with {CONFIG}",
            hint="tunesmith show   lists the runs of the project",
        )
    return recipe.model_copy(update={"method": recipe.method.model_copy(update={"continued": str(folder.resolve())})})


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
    begin = train_with_mlx if recipe.train.backend == "mlx" else train_adapter
    trained = begin(
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
        **({"interpolation": asdict(trained.interpolation)} if trained.interpolation else {}),
        "reading": asdict(trained.reading),
        "trainable": trained.coverage.num_trainable,
        "modules": len(trained.coverage.modules),
        "linear_modules": trained.coverage.num_linear,
        "parameters": trained.coverage.num_parameters,
        "memory_bytes": peak_memory(psutil.Process()),
    }
