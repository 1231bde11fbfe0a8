"""Settings that depend on the base: what suits a toy of six million parameters spoils a real model.

Rates and epochs for bases of `REAL_BASE` parameters and more come from a study on validation posts, which also says what was
not compared (recipes/voice). A setting that the recipe writes down is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.pipeline.recipe import Quality, Recipe
from tunesmith.train.proportional import proportional

__all__ = ["REAL_BASE", "REAL_PRESETS", "REWARDED", "for_base"]

REAL_BASE = 100_000_000  # parameters
GAIN_KEPT = 0.85  # of the fall of validation loss; the rest costs most of the general skills that a run loses (docs/log.md)
REWARDED = ("grpo", "ppo", "rloo")  # objectives that draw answers and score them: to them a row is its question alone
REAL_PRESETS: Mapping[Quality, Mapping[str, Mapping[str, Any]]] = {
    "draft": {
        "build": {"passage_words": 40},
        "mix": {"own_answers": True},  # without them a third of the general questions is lost (docs/log.md)
        "train": {"epochs": 1.0, "learning_rate": 1e-3, "val_examples": 16, "gain_kept": GAIN_KEPT},
        "method": {"rank": 16, "alpha": 32.0},
        "use": {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1},
        "eval": {"max_items": 20, "suites": ["general"]},  # fewer items are too few for the gates about answers
    },
    "good": {"mix": {"own_answers": True}, "train": {"epochs": 2.0, "learning_rate": 1e-3, "gain_kept": GAIN_KEPT}},
    "best": {
        "mix": {"own_answers": True},
        "train": {"epochs": 4.0, "learning_rate": 1e-3, "patience": 8, "gain_kept": GAIN_KEPT},
        "method": {"rank": 32, "alpha": 64.0},
    },
}


def for_base(recipe: Recipe, *, num_parameters: int) -> Recipe:
    """The recipe with the settings of its quality that suit a base of this size; what it writes down itself stays."""
    if num_parameters < REAL_BASE:
        return recipe
    changed: set[str] = set()
    sections: dict[str, Any] = {}
    for section, values in REAL_PRESETS[recipe.quality].items():
        fitting = {key: value for key, value in values.items() if not recipe.has_written(f"{section}.{key}")}
        if section == "train" and recipe.train.max_steps:
            fitting.pop("epochs", None)
        if section == "train" and not _about_likelihood(recipe):
            fitting.pop("gain_kept", None)
        if section == "mix" and recipe.objective.kind in REWARDED:
            fitting.pop("own_answers", None)  # no reward of the recipe says anything about answers to general questions
        changed |= {f"{section}.{key}" for key in fitting}
        sections[section] = getattr(recipe, section).model_copy(update=fitting)
    return recipe.model_copy(update=sections).marked(by_base=changed)


def _about_likelihood(recipe: Recipe) -> bool:
    """Whether a fall in validation loss is what the verdict asks for, and the run's update can be scaled."""
    plain = recipe.objective.kind == "sft" and recipe.train.backend == "torch" and proportional(recipe.method)
    return plain and recipe.eval.primary == "bits_per_byte"
