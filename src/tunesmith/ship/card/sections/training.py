"""How the model was trained: recipe, curves, time, machine, and the compute against that of the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.ship.card.base import base_of
from tunesmith.ship.card.facts import NOT_MEASURED, Facts, Shown
from tunesmith.ship.card.material import FACTS
from tunesmith.ship.card.text import count, decimals, percent, plain, seconds, table

__all__ = ["training"]

_SETTINGS = (
    ("method", "kind", "method"),
    ("method", "rank", "rank"),
    ("method", "alpha", "alpha"),
    ("method", "dropout", "dropout"),
    ("method", "targets", "adapted matrices"),
    ("method", "layers", "adapted layers"),
    ("train", "epochs", "epochs"),
    ("train", "batch_examples", "examples per batch"),
    ("train", "accumulate", "batches per step"),
    ("train", "learning_rate", "learning rate"),
    ("train", "schedule", "schedule"),
    ("train", "warmup", "warm-up (share of the steps)"),
    ("train", "weight_decay", "weight decay"),
    ("train", "max_tokens", "maximum tokens per example"),
    ("train", "seed", "seed"),
)
_MOST_ROWS = 12
_FLOPS_PER_TOKEN = 6  # per parameter: two forward, four backward (Kaplan et al. 2020); an upper bound for adapters
_THIRD = 1 / 3


def training(facts: Facts, *, picture: bool) -> str:
    """Recipe, curves and cost. `picture`: whether `curves.svg` is next to the card."""
    settings = [
        [words, facts.show(words, "run", FACTS, "settings", group, key, as_text=plain).text] for group, key, words in _SETTINGS
    ]
    parts = [
        "## How it was trained",
        f"Source: {facts.source('run', FACTS)}",
        table(["setting", ""], settings),
        "### Curves",
        *_reading(facts),
        "![training and validation loss by step](curves.svg)" if picture else "",
        _curves(facts),
        "### Time, energy and compute",
        table(["", "", "source"], [[name, shown.text, shown.source] for name, shown in _cost(facts)]),
    ]
    return "\n\n".join(part for part in parts if part)


def _reading(facts: Facts) -> Iterator[str]:
    shown = facts.show("how the curves read", "run", FACTS, "numbers", "reading", "text", as_text=plain, missing="")
    if shown.text:
        yield f"{shown.text[:1].upper()}{shown.text[1:]}."


def _curves(facts: Facts) -> str:
    """Validation by step: all of it, or evenly chosen rows with the first and the last."""
    rows = facts.at("run", "metrics.jsonl") or []
    places = [place for place, row in enumerate(rows) if "val_loss" in row]
    if not places:
        return f"Validation loss: {NOT_MEASURED}."
    if len(places) > _MOST_ROWS:
        places = [places[round(i * (len(places) - 1) / (_MOST_ROWS - 1))] for i in range(_MOST_ROWS)]
    listed = []
    for place in places:
        step = facts.show("step", "run", "metrics.jsonl", place, "step", as_text=count).text
        loss = facts.show(f"validation loss at step {step}", "run", "metrics.jsonl", place, "val_loss", as_text=decimals).text
        right = facts.show(
            f"token accuracy at step {step}", "run", "metrics.jsonl", place, "val_accuracy", as_text=percent, missing=""
        )
        listed.append([step, loss, right.text])
    best = facts.show("best step", "run", FACTS, "numbers", "best_step", as_text=count)
    head = table(["step", "validation loss", "likeliest token right"], listed)
    scaled = facts.show("scale", "run", FACTS, "numbers", "interpolation", "scale", as_text=decimals, missing="")
    after = f", their update multiplied by {scaled.text} to forget less" if scaled.text else ""
    return f"{head}\n\nThe weights are those of step {best.text}{after}. Source: {facts.source('run', 'metrics.jsonl')}"


def _cost(facts: Facts) -> list[tuple[str, Shown]]:
    machine = facts.show("machine", "run", FACTS, "machine", as_text=_machine)
    return [
        ("trained for", facts.show("seconds", "run", FACTS, "numbers", "seconds", as_text=seconds)),
        ("steps", facts.show("steps", "run", FACTS, "numbers", "num_steps", as_text=count)),
        ("tokens processed", facts.show("tokens", "run", FACTS, "numbers", "num_tokens", as_text=count)),
        ("trained weights", facts.show("trained weights", "run", FACTS, "numbers", "trainable", as_text=count)),
        ("machine", machine),
        ("number type in training", facts.show("precision", "run", FACTS, "settings", "precision", as_text=plain)),
        ("energy", Shown(f"{NOT_MEASURED}: the run did not record power", "")),
        *_compute(facts),
    ]


def _machine(machine: Mapping[str, Any]) -> str:
    first = f"{plain(machine.get('system'))}, {plain(machine.get('processor'))}, {plain(machine.get('cores'))} cores"
    more = [f"{plain(key)} {plain(value)}" for key, value in machine.items() if key not in {"system", "processor", "cores"}]
    return ", ".join([first, *more])


def _compute(facts: Facts) -> Iterator[tuple[str, Shown]]:
    """Floating-point operations of this training, and their ratio to what made the base, where both are known.

    A law may ask for the ratio: the European Commission's guidelines on general-purpose models (2025) count whoever spends more
    than a third of the base's compute as a provider.
    """
    parameters = facts.at("model", "facts.json", "parameters")
    if not parameters:
        yield "training compute", Shown(f"{NOT_MEASURED}: needs the merged model, which says how many weights there are", "")
        return
    weights = facts.show("weights of the model", "model", "facts.json", "parameters", as_text=count)
    yield "weights of the model", weights
    spent = facts.computed(
        "training compute",
        "run",
        FACTS,
        [("numbers", "num_tokens")],
        compute=lambda v: _FLOPS_PER_TOKEN * parameters * v[0],
        as_text=lambda v: f"about {v:.2e} floating-point operations ({_FLOPS_PER_TOKEN} × weights × tokens, an upper bound)",
    )
    yield "training compute", spent
    base = base_of(facts.material)
    if not base.trained_tokens:
        yield "compared with making the base", Shown(f"{NOT_MEASURED}: how long the base was trained is not known", "")
        return
    ratio = facts.computed(
        "training-compute ratio",
        "run",
        FACTS,
        [("numbers", "num_tokens")],
        compute=lambda v: v[0] / base.trained_tokens,
        as_text=lambda v: (
            f"{v:.1e} of it, {'below' if v < _THIRD else 'above'} a third (its maker reports {base.trained_tokens:.2e} tokens)"
        ),
    )
    yield "compared with making the base", ratio
