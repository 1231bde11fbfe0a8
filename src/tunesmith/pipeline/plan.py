"""The plan: the recipe resolved for this data and machine, every number with its reason, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from tunesmith.core.errors import TrainingError
from tunesmith.pipeline.recipe import PRESETS, Recipe
from tunesmith.plan.duration import Durations, Speed, Work, duration_text, durations
from tunesmith.plan.facts import AdapterFacts, BaseFacts, DataFacts, DrawingFacts, PrecisionFacts
from tunesmith.plan.hardware import Hardware
from tunesmith.plan.memory import SCORED, Memory, always_there, answering, computing, kept_a_token, memory_of, stages
from tunesmith.plan.reach import not_reached
from tunesmith.plan.shape import Shape
from tunesmith.plan.steps import LONG_S, num_steps, validation_every

__all__ = ["Line", "Plan", "make_plan"]

_GENERAL_TOKENS = 5_000  # of the general texts that evaluation scores
_SHOWN, _MOST_SHOWN, _FRAME = 3, 5, 48  # rows in prompts: of `prompted`, and of others at most; tokens of what frames them


@dataclass(frozen=True, slots=True)
class Line:
    """One number of the plan: what, how much, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The lines in the order of reading, and the raw numbers."""

    lines: tuple[Line, ...]
    numbers: Mapping[str, Any]


def make_plan(  # noqa: PLR0913 (all that the plan is made of)
    recipe: Recipe,
    data: DataFacts,
    shape: Shape,
    hardware: Hardware,
    precision: PrecisionFacts,
    *,
    base: BaseFacts,
    adapter: AdapterFacts,
    detectable: float | None,
    drawing: DrawingFacts | None = None,
) -> Plan:
    """Resolve `recipe`. `detectable`: smallest effect the test split can show, in standard deviations of the per-document
    difference.

    Raises TrainingError when the run cannot fit into memory.
    """
    t = recipe.train
    steps = num_steps(t, data.rows, data.train_tokens)
    batch_tokens = t.batch_tokens or int(data.train_tokens / max(1, data.rows) * t.batch_examples)
    if drawing is not None:  # of a row only the prompt is there before; answers are counted at their full length
        steps *= 1 if t.max_steps else drawing.updates
        answers = drawing.samples * drawing.max_new_tokens
        batch_tokens += t.batch_examples * answers
    tokens = batch_tokens * t.accumulate * steps
    limit = min(data.limit, data.longest) + (drawing.max_new_tokens if drawing else 0)
    learned = replace(data, together=drawing.samples) if drawing else data
    memory = _memory(recipe, learned, shape, hardware, precision, trainable=adapter.trainable, longest=limit)
    if memory.least > hardware.free_bytes:
        raise TrainingError(
            "the run does not fit into memory",
            value=f"≈ {memory.least / 2**30:.1f} GiB for a single example of {limit} tokens",
            expected=f"at most {hardware.free_bytes / 2**30:.1f} GiB, which is free now",
            hint="--set train.gradient_checkpointing=true, or --set train.max_tokens=512, or a smaller base",
        )
    cache = _cache(recipe, data, shape, hardware)
    items = min(recipe.eval.max_items or data.num_test, data.num_test)
    held = stages(shape, training=memory.likely, test_tokens=round(items * data.mean), trainable=adapter.trainable, cache=cache)
    seconds = _durations(recipe, data, shape, precision, steps=steps, tokens=tokens, drawing=drawing)
    numbers = {
        **asdict(data),
        "steps": steps,
        "every": validation_every(t.evaluate_every, steps),
        "tokens": tokens,
        "memory_bytes": held.peak,
        "stage_bytes": asdict(held),
        "largest_stage": held.largest,
        "least_memory_bytes": memory.least,
        "tokens_at_once": memory.tokens,
        "seconds": round(seconds.training, 1),
        "validation_seconds": round(seconds.validation, 1),
        "evaluation_seconds": round(seconds.evaluation, 1),
        "total_seconds": round(seconds.total, 1),
        "busy": hardware.busy,
        "trainable": adapter.trainable,
        "adapted_modules": adapter.modules,
        "linear_modules": adapter.linear,
        "out_of_reach": dict(adapter.out_of_reach),
        "dropouts_off": dict(adapter.dropouts),
        "detectable": detectable if detectable is not None and math.isfinite(detectable) else None,
        "precision": precision.name,
    }
    lines = _lines(recipe, base, data, shape, hardware, precision, numbers)
    place = next((n for n, line in enumerate(lines, 1) if line.name == "objective"), len(lines))
    return Plan((*lines[:place], *_drawing(drawing, t.batch_examples), *lines[place:]), numbers)


def _cache(recipe: Recipe, data: DataFacts, shape: Shape, hardware: Hardware) -> int:
    """Bytes of keys and values: base and tuned answer together, at most `batch_examples` at once; longer prompts later."""
    e = recipe.eval
    items = min(e.max_items or data.num_test, data.num_test)
    prompt = max(1, data.longest - data.room)
    plain = answering(shape, answers=min(2 * items, e.batch_examples), prompt=prompt, room=data.room, free=hardware.free_bytes)
    if not e.baselines and not e.additions:
        return plain
    only_answers = {*e.baselines, *e.additions} <= {"prompted"}  # others may show questions as well
    rows, each = (_SHOWN, data.learned_tokens) if only_answers else (_MOST_SHOWN, data.train_tokens)
    shown = round(rows * each / max(1, data.num_train)) + _FRAME
    return max(
        plain,
        answering(
            shape, answers=min(items, e.batch_examples), prompt=max(prompt, shown), room=data.room, free=hardware.free_bytes
        ),
    )


def _durations(
    recipe: Recipe,
    data: DataFacts,
    shape: Shape,
    precision: PrecisionFacts,
    *,
    steps: int,
    tokens: int,
    drawing: DrawingFacts | None,
) -> Durations:
    t, e = recipe.train, recipe.eval
    every = validation_every(t.evaluate_every, steps)
    items = min(e.max_items or data.num_test, data.num_test)
    work = Work(
        step_tokens=tokens,
        validations=2 + (steps - 1) // every if every else 1,
        val_tokens=round(min(t.val_examples, data.num_val) * data.mean),
        systems=3 + len(e.baselines) + len(e.additions),
        items=items,
        item_tokens=round(items * data.mean),
        room=data.room,
        at_once=e.batch_examples,
        general_tokens=_GENERAL_TOKENS,
        suite_items=data.suite_items,
        suite_tokens=data.suite_tokens,
    )
    if drawing is not None:
        rollouts = -(-steps // drawing.updates) * t.accumulate
        held_out = work.validations * min(t.val_examples, data.num_val) * drawing.max_new_tokens
        passes = (rollouts + work.validations) * drawing.max_new_tokens
        work = replace(work, drawn_tokens=(1 + drawing.teachers) * tokens // drawing.updates + held_out)
        work = replace(work, drawing_passes=passes)
    return durations(work, shape, Speed(precision.layer_tokens_per_s, precision.float32_tokens_per_s))


def _memory(
    recipe: Recipe,
    data: DataFacts,
    shape: Shape,
    hardware: Hardware,
    precision: PrecisionFacts,
    *,
    trainable: int,
    longest: int,
) -> Memory:
    t, m = recipe.train, recipe.method
    bytes_a_weight = 2 if precision.name == "bfloat16" else 4
    a_token = partial(
        kept_a_token,
        shape,
        adapted_layers=shape.layers if m.layers == "all" else min(m.layers, shape.layers),
        adapted_mlp=m.targets != "attention",
        bytes_a_weight=bytes_a_weight,
        checkpointing=t.gradient_checkpointing,
    )
    four_bit = m.quantise == "nf4"
    there = always_there(shape, trainable=trainable, bytes_a_weight=bytes_a_weight, four_bit=four_bit)
    if m.kind == "full":
        there -= trainable * bytes_a_weight  # the weights that move are the base's own
    found = memory_of(
        there,
        lambda length: a_token(length=length),
        longest=longest,
        batch_tokens=t.batch_tokens or t.batch_examples * longest * data.together,
        together=data.together,
        wanted=0 if t.tokens_at_once == "auto" else t.tokens_at_once,
        free=hardware.free_bytes,
    )
    val_tokens = round(min(t.val_examples, data.num_val) * data.mean)
    validating = there + computing(shape, min(SCORED, val_tokens), bytes_a_number=bytes_a_weight)
    return replace(found, likely=max(found.likely, validating))


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


def _lines(
    recipe: Recipe,
    base: BaseFacts,
    data: DataFacts,
    shape: Shape,
    hardware: Hardware,
    precision: PrecisionFacts,
    n: Mapping[str, Any],
) -> tuple[Line, ...]:
    t = recipe.train
    busy = "the machine is busy, so times are rough; " if hardware.busy else ""
    return (
        *_data_lines(base, data, shape),
        *_objective(recipe),
        *(_whole(recipe, shape, precision, n) if recipe.method.kind == "full" else _adapter(recipe, shape, precision, n)),
        Line("batches", *_packing(recipe)),
        *_compiling(recipe, n["steps"], n["seconds"]),
        Line("steps", f"{n['steps']}", _steps_reason(recipe, data)),
        Line(
            "rate",
            f"{t.learning_rate:g}, {t.schedule}, {round(t.warmup * n['steps'])} steps of warm-up",
            _why(recipe, "train", "learning_rate", "default"),
        ),
        Line(
            "evaluation",
            f"every {n['every']} steps, patience {t.patience}, min. gain {t.min_delta:g}" if n["every"] else "at the end only",
            _why(recipe, "train", "evaluate_every", "default: a twelfth of the run"),
        ),
        Line("memory", f"≈ {n['memory_bytes'] / 2**30:.1f} GiB", _memory_reason(hardware, n)),
        Line(
            "time",
            f"≈ {duration_text(n['total_seconds'])}: training {duration_text(n['seconds'])} · validation "
            f"{duration_text(n['validation_seconds'])} · evaluation {duration_text(n['evaluation_seconds'])}",
            f"{busy}{n['tokens']:,} tokens through {shape.layers} layers and the head; one layer was timed on "
            f"{hardware.cores} cores",
        ),
        Line(
            "power",
            "unknown: too few test documents"
            if n["detectable"] is None
            else f"smallest detectable effect ≈ {n['detectable']:.2f} standard deviations of the per-document difference",
            f"what the verdict would detect with 80 % power on {data.test_documents} test documents",
        ),
    )


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
    if drawing is None:
        return ()
    shown = f"{drawing.samples} answers of at most {drawing.max_new_tokens} tokens to each of {prompts} prompts"
    again = f"; {drawing.updates} steps are made on the same answers" if drawing.updates > 1 else ""
    others = "the teacher reads each of them" if drawing.teachers else "rewards take their own time"
    return (Line("answers", shown, f"time and memory count answers of full length; {others}{again}"),)


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


def _memory_reason(hardware: Hardware, n: Mapping[str, Any]) -> str:
    free = f"{hardware.free_bytes / 2**30:.1f} GiB free"
    if n["memory_bytes"] > hardware.free_bytes:
        less = {
            "training": "--set train.tokens_at_once=auto, or --set train.gradient_checkpointing=true",
            "evaluation": "--set eval.batch_examples=16",
            "merging": "a smaller base",
        }
        return f"more than the {free}, needed for {n['largest_stage']}: {less[n['largest_stage']]}"
    parts = " · ".join(f"{name} {size / 2**30:.1f}" for name, size in n["stage_bytes"].items())
    return f"{free}; {parts} GiB; up to {n['tokens_at_once']:,} tokens per forward pass in training"


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
