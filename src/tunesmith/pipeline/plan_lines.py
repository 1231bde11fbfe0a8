"""What a plan shows: each line with its value and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.pipeline.recipe import PRESETS, Recipe
from tunesmith.pipeline.weight_lines import weight_lines
from tunesmith.plan.duration import duration_text
from tunesmith.plan.facts import BaseFacts, DataFacts, DrawingFacts, PrecisionFacts
from tunesmith.plan.hardware import Hardware
from tunesmith.plan.reach import not_reached
from tunesmith.plan.shape import Shape
from tunesmith.plan.steps import LONG_S

__all__ = ["Facts", "Line", "less_memory", "lines_of"]


@dataclass(frozen=True, slots=True)
class Line:
    """One number of the plan: what, how much, and why."""

    name: str
    value: str
    reason: str


_LONG_S, _SHORT_S = 3600.0, 1200.0  # training that a shorter one is offered for, and how long that takes


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan is made for."""

    base: BaseFacts
    data: DataFacts
    shape: Shape
    hardware: Hardware
    precision: PrecisionFacts
    drawing: DrawingFacts | None


def lines_of(recipe: Recipe, facts: Facts, n: Mapping[str, Any]) -> tuple[Line, ...]:
    """The lines of a plan in the order of reading. `n`: its raw numbers."""
    t = recipe.train
    data, shape, hardware, precision = facts.data, facts.shape, facts.hardware, facts.precision
    busy = "the machine is busy, so times are rough; " if hardware.busy else ""
    return (
        *_data_lines(facts.base, data, shape),
        *_objective(recipe),
        *_drawing(facts.drawing, t.batch_examples),
        *_held(recipe),
        *(_whole(recipe, shape, precision, n) if recipe.method.kind == "full" else _adapter(recipe, shape, precision, n)),
        Line("batches", *_packing(recipe)),
        *_compiling(recipe, n["steps"], n["seconds"]),
        Line("steps", f"{n['steps']}", _steps_reason(recipe, data)),
        Line(
            "rate",
            f"{t.learning_rate:g}, {t.schedule}, {round(t.warmup * n['steps'])} steps of warm-up",
            _why(recipe, "train", "learning_rate", "default") + _after(recipe.by_method.get("train.schedule")),
        ),
        Line(
            "evaluation",
            f"every {n['every']} steps, patience {t.patience}, min. gain {t.min_delta:g}" if n["every"] else "at the end only",
            _why(recipe, "train", "evaluate_every", "default: a twelfth of the run"),
        ),
        *_states(recipe, n),
        *_interpolated(recipe),
        Line("memory", f"≈ {n['memory_bytes'] / 2**30:.1f} GiB", _memory_reason(recipe, hardware, n)),
        Line(
            "time",
            f"≈ {duration_text(n['total_seconds'])}: training {duration_text(n['seconds'])} · validation "
            f"{duration_text(n['validation_seconds'])} · evaluation {duration_text(n['evaluation_seconds'])}",
            f"{busy}{n['tokens']:,} tokens through {shape.layers} layers and the head; one layer was timed on "
            f"{hardware.cores} cores",
        ),
        *_shorter(recipe, n),
        Line(
            "power",
            "unknown: too few test documents"
            if n["detectable"] is None
            else f"smallest detectable effect ≈ {n['detectable']:.2f} standard deviations of the per-document difference",
            f"what the verdict would detect with 80 % power on {data.test_documents} test documents"
            + ("; too few for a verdict: tunesmith crossfit tests each document once" if n["few_documents"] else ""),
        ),
    )


def _states(recipe: Recipe, n: Mapping[str, Any]) -> tuple[Line, ...]:
    """Where the optimiser's states are, if not in memory."""
    if recipe.train.optimizer_states == "memory":
        return ()
    rounded = recipe.method.kind == "full" and n["precision"] == "bfloat16"
    size = (4 if rounded else 8) * n["trainable"] / 2**30
    reason = "set in the recipe; the same weights to the bit. The system writes them to disk as often as it cleans its cache"
    return (Line("states", f"of the optimiser on disk: every step reads and writes {size:.2g} GiB", reason),)


def _interpolated(recipe: Recipe) -> tuple[Line, ...]:
    """Whether the update is made smaller at the end."""
    kept = recipe.train.gain_kept
    if kept >= 1:
        return ()
    reason = "forgets less (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903); train.gain_kept=1 turns it off"
    return (Line("update", f"scaled after training, to keep {kept:.0%} of the gain on validation", reason),)


def _shorter(recipe: Recipe, n: Mapping[str, Any]) -> tuple[Line, ...]:
    """How to train for a short while first, where the whole takes long and the recipe sets no number of steps."""
    seconds = n["seconds"] + n["validation_seconds"]
    if recipe.train.max_steps or seconds < _LONG_S:
        return ()
    steps = max(10, int(n["steps"] * _SHORT_S / seconds) // 10 * 10)
    if steps >= n["steps"] // 2:
        return ()
    took = duration_text(seconds * steps / n["steps"])
    return (Line("shorter", f"--set train.max_steps={steps}", f"trains for {took}; the verdict says what that gives"),)


def _adapter(recipe: Recipe, shape: Shape, precision: PrecisionFacts, n: Mapping[str, Any]) -> tuple[Line, ...]:
    """What moves where an adapter does."""
    m = recipe.method
    return (
        Line(
            "adapter",
            f"{m.kind} rank {m.rank}, alpha {m.alpha:g}, dropout {m.dropout:g}",
            _why(recipe, "method", "rank", "default: enough to learn a style, small enough to stay general"),
        ),
        Line(
            "reach",
            f"{n['adapted_modules']} of {n['linear_modules']} linear layers, {n['trainable'] / 1e6:.2f} M parameters "
            f"({n['trainable'] / (shape.num_parameters + n['trainable']):.1%})",
            f"targets {m.targets if isinstance(m.targets, str) else ', '.join(m.targets)}, layers {m.layers}"
            f"{not_reached(n['out_of_reach'], shape.num_parameters)}",
        ),
        *(Line(*line) for line in weight_lines(m, start=n["start"])),
        *_dropouts(n["dropouts_off"]),
        Line("precision", f"{precision.name} frozen weights, float32 adapter and optimiser", precision.reason),
        *_quantised(recipe, shape),
    )


def _whole(recipe: Recipe, shape: Shape, precision: PrecisionFacts, n: Mapping[str, Any]) -> tuple[Line, ...]:
    """What moves in a full fine-tune."""
    share = n["trainable"] / shape.num_parameters
    reason = "no adapter: the result is a whole model, and nothing of the base can be switched off in it"
    return (
        Line("weights", f"full, layers {recipe.method.layers}: {n['trainable'] / 1e6:.2f} M parameters ({share:.0%})", reason),
        *_dropouts(n["dropouts_off"]),
        Line("precision", f"{precision.name} weights, gradients and optimiser", precision.reason),
    )


def _drawing(drawing: DrawingFacts | None, prompts: int) -> tuple[Line, ...]:
    """What a method that learns from its own answers draws for a step."""
    return () if drawing is None else (Line("answers", *drawing.words(prompts)),)


def _held(recipe: Recipe) -> tuple[Line, ...]:
    """What keeps the weights near the base's, if anything does."""
    if not (weight := recipe.train.ewc):
        return ()
    return (Line("held", f"weights that general answers of the base need, weight {weight:g}", "train.ewc is set"),)


def _objective(recipe: Recipe) -> tuple[Line, ...]:
    """The training method, where it is not the default."""
    o = recipe.objective
    if o == type(o)():
        return ()
    return (
        Line("objective", ", ".join([o.kind, *(f"{name} {value}" for name, value in o.options.items())]), "set in the recipe"),
    )


def _quantised(recipe: Recipe, shape: Shape) -> tuple[Line, ...]:
    """How much of the base is kept in 4 bits, if the recipe asks for it."""
    if recipe.method.quantise == "none":
        return ()
    share = shape.linear_params / shape.num_parameters
    reason = "set in the recipe; QLoRA (arXiv:2305.14314). Evaluation and merging use the base in full precision"
    return (Line("quantised", f"{share:.0%} of the base in 4 bits during training (NF4, double quantisation)", reason),)


def _dropouts(rates: Mapping[str, float]) -> tuple[Line, ...]:
    """A line that reports the base's own dropouts as switched off, if it has any."""
    if not rates:
        return ()
    named = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
    reason = f"the base is frozen, so noise inside it would only blur the gradient; it was pretrained with {named}"
    return (Line("dropout", "adapter only; the base's own dropout is off in training", reason),)


def _memory_reason(recipe: Recipe, hardware: Hardware, n: Mapping[str, Any]) -> str:
    free = f"{hardware.free_bytes / 2**30:.1f} GiB free"
    if n["memory_bytes"] > hardware.free_bytes:
        less = {
            "training": less_memory(recipe) + "--set train.tokens_at_once=auto, or --set train.gradient_checkpointing=true",
            "evaluation": "--set eval.batch_examples=16",
            "merging": "a smaller base",
        }
        return f"more than the {free}, needed for {n['largest_stage']}: {less[n['largest_stage']]}"
    parts = " · ".join(f"{name} {size / 2**30:.1f}" for name, size in n["stage_bytes"].items())
    return f"{free}; {parts} GiB; up to {n['tokens_at_once']:,} tokens per forward pass in training"


def less_memory(recipe: Recipe) -> str:
    """What to set first where training a whole model takes too much, with a comma; empty for anything else."""
    can = recipe.method.kind == "full" and recipe.train.optimizer == "adamw" and recipe.train.optimizer_states == "memory"
    return "--set train.optimizer_states=disk, or " if can else ""


def _compiling(recipe: Recipe, steps: int, seconds: float) -> tuple[Line, ...]:
    """Whether the layers will be compiled, if the recipe asks for it."""
    wanted, long = recipe.train.compile, seconds >= LONG_S
    if not wanted:
        return ()
    if wanted == "auto":
        said = "compiled if that is measured to be faster" if long else "probably not compiled"
        limit = f"{'over' if long else 'less than'} {LONG_S // 60} minutes"
        return (Line("compiling", f"layers {said}", f"train.compile auto: {steps} steps, ≈ {duration_text(seconds)}, {limit}"),)
    return (Line("compiling", "layers compiled, about a minute before the first step", "set in the recipe"),)


def _packing(recipe: Recipe) -> tuple[str, str]:
    t, m = recipe.train, recipe.method
    if t.precision == "exact":
        return "token trees, nothing shared", "train.precision exact: every row is computed separately"
    masks = "; a shared prefix gets one dropout mask instead of one per example" if m.dropout else ""
    trunk = "" if m.layers == "all" else f"; layers below the top {m.layers} are computed once and cached, if the disk has room"
    most = "as many tokens per pass as fit" if t.tokens_at_once == "auto" else f"at most {t.tokens_at_once:,} tokens per pass"
    return f"token trees, {most}", f"shared prefixes are computed once{masks}{trunk}"


def _data_lines(base: BaseFacts, data: DataFacts, shape: Shape) -> tuple[Line, ...]:
    origin = f"; from {base.origin}" if base.origin else ""
    return (
        Line(
            "base",
            f"{base.name}, {shape.num_parameters / 1e6:.1f} M parameters",
            f"{shape.layers} layers of width {shape.width}, vocabulary {shape.vocabulary:,}{origin}",
        ),
        Line(
            "data",
            f"{data.num_train} train · {data.num_val} val · {data.num_test} test",
            f"{data.train_tokens:,} training tokens, {data.learned_tokens:,} of them target tokens"
            + (f", in {data.rows:,} rows: the template rewrites earlier answers" if data.rows > data.num_train else ""),
        ),
        Line(
            "longest",
            f"{data.longest} tokens, limit {data.limit}",
            f"{data.cut_share:.2%} of target tokens would be cut",
        ),
        Line("template", data.template[0] or "no options", f"in training and use, answers start after {data.template[1]!r}"),
    )


def _steps_reason(recipe: Recipe, data: DataFacts) -> str:
    t = recipe.train
    if t.max_steps:
        return f"max_steps {_why(recipe, 'train', 'max_steps', 'default')}"
    batches = -(-data.train_tokens // t.batch_tokens) if t.batch_tokens else -(-data.rows // t.batch_examples)
    size = f"about {t.batch_tokens:,} tokens" if t.batch_tokens else f"{t.batch_examples}"
    return (
        f"{t.epochs:g} epochs ({_why(recipe, 'train', 'epochs', 'default')}) of {batches} batches of {size}, "
        f"{t.accumulate} per step; early stopping may end sooner"
    )


def _why(recipe: Recipe, section: str, key: str, otherwise: str) -> str:
    """Where a value comes from: the preset, the recipe, or the default and its reason."""
    preset, part = PRESETS[recipe.quality].get(section, {}), getattr(recipe, section)
    chosen = getattr(part, key)
    if reason := recipe.by_method.get(f"{section}.{key}"):
        return reason
    if f"{section}.{key}" in recipe.by_base:
        return f"quality {recipe.quality} for a base of this size, see recipes/voice"
    if preset.get(key) == chosen:
        return f"preset {recipe.quality}"
    return otherwise if chosen == getattr(type(part)(), key) else "set in the recipe"


def _after(reason: str | None) -> str:
    """A second reason behind the first, if there is one."""
    return f"; {reason}" if reason else ""
