"""The plan: the recipe resolved for this data and machine, every number with its reason, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from tunesmith.core.errors import TrainingError
from tunesmith.pipeline.plan_lines import Facts, Line, less_memory, lines_of
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.weight_lines import reach_numbers
from tunesmith.plan.duration import Durations, Speed, Work, durations, probed_rows
from tunesmith.plan.facts import AdapterFacts, BaseFacts, DataFacts, DrawingFacts, PrecisionFacts
from tunesmith.plan.hardware import Hardware
from tunesmith.plan.memory import (
    SCORED,
    SUITE_BATCH,
    SUITE_PROMPT,
    Memory,
    always_there,
    answering,
    computing,
    kept_a_token,
    left_by_training,
    memory_of,
    opening,
    stages,
)
from tunesmith.plan.memory import drawing as answers_drawn
from tunesmith.plan.shape import Shape
from tunesmith.plan.steps import num_steps, validation_every

__all__ = ["Plan", "make_plan"]

_GENERAL_TOKENS = 5_000  # of the general texts that evaluation scores
_INTERPOLATION = 4  # validations with updates of other sizes, after the last step
_SHOWN, _MOST_SHOWN, _FRAME = 3, 5, 48  # rows in prompts: of `prompted`, and of others at most; tokens of what frames them


@dataclass(frozen=True, slots=True)
class Plan:
    """The lines in the order of reading, and the raw numbers."""

    lines: tuple[Line, ...]
    numbers: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith plan --json` prints."""
        return {"lines": [asdict(line) for line in self.lines], "numbers": dict(self.numbers)}


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
    limit = min(data.limit, (data.prompt or data.longest) if drawing else data.longest)
    limit += drawing.max_new_tokens if drawing else 0
    memory = _memory(
        recipe,
        _learned(recipe, data, drawing, longest=limit),
        shape,
        hardware,
        precision,
        trainable=adapter.trainable,
        longest=limit,
        drawing=drawing,
        file_bytes=base.file_bytes,
    )
    if memory.least > hardware.free_bytes:
        raise TrainingError(
            "the run does not fit into memory",
            value=f"≈ {memory.least / 2**30:.1f} GiB for a single example of {limit} tokens",
            expected=f"at most {hardware.free_bytes / 2**30:.1f} GiB, which is free now",
            hint=less_memory(recipe)
            + "--set train.gradient_checkpointing=true, or --set train.max_tokens=512, or a smaller base",
        )
    cache = _cache(recipe, data, shape, hardware)
    items = min(recipe.eval.max_items or data.num_test, data.num_test)
    held = stages(
        shape,
        training=memory.likely,
        test_tokens=round(items * data.mean),
        trainable=adapter.trainable,
        cache=cache,
        file_bytes=base.file_bytes,
        kept=left_by_training(shape, bytes_a_weight=2 if precision.name == "bfloat16" else 4),
    )
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
        **reach_numbers(adapter),
        "few_documents": _too_few(recipe, data.test_documents),
        "detectable": detectable if detectable is not None and math.isfinite(detectable) else None,
        "precision": precision.name,
    }
    facts = Facts(base, data, shape, hardware, precision, drawing)
    return Plan(lines_of(recipe, facts, numbers), numbers)


def _cache(recipe: Recipe, data: DataFacts, shape: Shape, hardware: Hardware) -> int:
    """Bytes of keys and values: base and tuned answer together, at most `batch_examples` at once; suites and longer prompts
    later. 0 where nobody is asked."""
    e, use = recipe.eval, recipe.use
    if not data.room:
        return 0
    items = min(e.max_items or data.num_test, data.num_test)
    asked = items if use.temperature == 0 else items * (use.draws + 1)  # at the sampling settings, and greedily
    prompt, batch = max(1, data.longest - data.room), e.batch_examples
    taking = partial(answering, shape, free=hardware.free_bytes)
    plain = taking(answers=min(2 * asked, batch), prompt=prompt, room=data.room)
    if data.suite_items:
        room = round(data.suite_tokens / data.suite_items)
        both = min(2 * min(data.suite_items, SUITE_BATCH), batch)
        plain = max(plain, taking(answers=both, prompt=SUITE_PROMPT, room=room))
    if not e.baselines and not e.additions:
        return plain
    only_answers = {*e.baselines, *e.additions} <= {"prompted"}  # others may show questions as well
    rows, each = (_SHOWN, data.learned_tokens) if only_answers else (_MOST_SHOWN, data.train_tokens)
    shown = round(rows * each / max(1, data.num_train)) + _FRAME
    return max(plain, taking(answers=min(items * use.draws, batch), prompt=max(prompt, shown), room=data.room))


def _too_few(recipe: Recipe, documents: int) -> int:
    """How many documents the test split has, if that is too few for a verdict; a fold of a cross-fit gets none of its own."""
    return documents if documents < recipe.gates.min_documents and not recipe.split.folds else 0


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
    baselines = len(e.baselines) + len(e.additions)
    drawn = recipe.use.draws
    work = Work(
        step_tokens=tokens,
        validations=2 + (steps - 1) // every if every else 1,
        scored_again=_INTERPOLATION if t.gain_kept < 1 else 0,
        val_tokens=round(min(t.val_examples, data.num_val) * data.mean),
        systems=3 + baselines,
        items=items,
        item_tokens=round(items * data.mean),
        answers=items * (2 * (drawn + 1) + 1 + drawn * baselines),  # base and tuned greedily too, merged only so
        probe_tokens=round(probed_rows(items) * data.mean),
        room=data.room,
        at_once=e.batch_examples,
        general_tokens=_GENERAL_TOKENS,
        suite_items=data.suite_items,
        suite_tokens=data.suite_tokens,
    )
    if drawing is not None:
        rollouts = -(-steps // drawing.updates) * t.accumulate
        held_out = work.validations * min(t.val_examples, data.num_val) * drawing.max_new_tokens
        read = round((drawing.share + drawing.readings) * tokens) // drawing.updates + held_out
        passes = (rollouts + work.validations) * drawing.max_new_tokens if drawing.share else 0
        work = replace(work, drawn_tokens=read, drawing_passes=passes)
    return durations(work, shape, Speed(precision.layer_tokens_per_s, precision.float32_tokens_per_s))


def _learned(recipe: Recipe, data: DataFacts, drawing: DrawingFacts | None, *, longest: int) -> DataFacts:
    """The data with the rows that are learned together: those of a prompt's drawn answers, where there are any.

    What rows of a unit begin with in common is computed once, unless `train.precision` is exact.
    """
    rows = drawing.samples if drawing else data.together
    if recipe.train.precision == "exact" or rows == 1:
        return replace(data, unit=rows * longest)
    if drawing is not None:
        return replace(data, unit=longest + (rows - 1) * drawing.max_new_tokens)
    return replace(data, unit=min(data.unit or rows * longest, rows * longest))


def _memory(  # noqa: PLR0913 (what memory depends on)
    recipe: Recipe,
    data: DataFacts,
    shape: Shape,
    hardware: Hardware,
    precision: PrecisionFacts,
    *,
    trainable: int,
    longest: int,
    drawing: DrawingFacts | None,
    file_bytes: int,
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
        dora=m.kind == "dora",
    )
    there = always_there(
        shape,
        trainable=trainable,
        bytes_a_weight=bytes_a_weight,
        four_bit=m.quantise == "nf4",
        optimizer=t.optimizer,
        states_on_disk=t.optimizer_states == "disk",
        whole=m.kind == "full",
    )
    there += drawing.beside * bytes_a_weight if drawing else 0
    there += left_by_training(shape, bytes_a_weight=bytes_a_weight)
    found = memory_of(
        there,
        lambda length: a_token(length=length),
        longest=longest,
        batch_tokens=t.batch_tokens or t.batch_examples * data.unit,
        unit=data.unit,
        wanted=0 if t.tokens_at_once == "auto" else t.tokens_at_once,
        free=hardware.free_bytes,
    )
    val_tokens = round(min(t.val_examples, data.num_val) * data.mean)
    validating = there + computing(shape, min(SCORED, val_tokens), bytes_a_number=bytes_a_weight)
    four_bit = m.quantise == "nf4"
    opened = opening(shape, bytes_a_weight=bytes_a_weight, file_bytes=file_bytes) if four_bit else 0
    drawn = 0
    if drawing is not None:
        room, most = drawing.max_new_tokens, max(t.batch_examples * drawing.samples, min(t.val_examples, data.num_val))
        drawn = there + answers_drawn(shape, answers=most, prompt=longest - room, room=room, free=hardware.free_bytes)
    return replace(found, likely=max(found.likely, validating, drawn, opened))
