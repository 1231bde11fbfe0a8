"""The reference page of the recipe, made from the declarations of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tunesmith.core.settings import Knob, Section, declared, shown
from tunesmith.pipeline.recipe import PRESETS
from tunesmith.pipeline.recipe_file import knobs
from tunesmith.pipeline.recipe_stages import stage_knobs

__all__ = ["reference_page"]


def reference_page(objectives: Mapping[str, type[Section]], optimizers: Mapping[str, type[Section]]) -> str:
    """The page in Markdown; `objectives` and `optimizers`: the settings that each `objective.kind` and each `train.optimizer`
    has of its own."""
    lines = [
        "# The recipe",
        "",
        "Every setting, made from the declarations in `pipeline/sections/`, `train/methods/` and `train/optimizers/`.",
        "For a single run: `--set train.epochs=3`.",
        "`quality` presets change defaults: "
        + "; ".join(
            f"`{name}` sets "
            + (
                ", ".join(f"{section}.{key} = {value}" for section, values in preset.items() for key, value in values.items())
                or "nothing"
            )
            for name, preset in PRESETS.items()
        )
        + ".",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    own = {
        "objective.kind": {kind: declared(section, "objective.") for kind, section in objectives.items()},
        "train.optimizer_settings": {
            kind: declared(section, "train.optimizer_settings.") for kind, section in optimizers.items()
        },
    }
    for knob in knobs():
        lines.append(_row(knob))
        for kind, every in own.get(knob.name, {}).items():
            lines += [_row(replace(k, text=f"With `{kind}`: {k.text}")) for k in every]
        if knob.name == "stages":
            lines += [_row(k) for k in stage_knobs(["NAME"])]
    return "\n".join(lines) + "\n"


def _row(knob: Knob) -> str:
    default = "required" if knob.default is None else f"`{shown(knob.default)}`" if knob.default != "" else "empty"
    return f"| `{knob.name}` | {knob.type.replace('|', '/')} | {default} | {' '.join(knob.text.split())} |"
