"""A training run from a split dataset to an adapter on disk: audit the labels, attach, fit, save."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch

from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Example, canonical_json, digest, spread_over_documents
from tunesmith.core.reporter import Reporter
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, Sampling, answer
from tunesmith.models.load import BaseFolder, PrecisionName, load_model
from tunesmith.models.memory import release_memory
from tunesmith.models.precision import without_denormals
from tunesmith.models.quantised import load_quantised
from tunesmith.plan.steps import num_steps, validation_every
from tunesmith.train.best import other_figure
from tunesmith.train.checkpoint import Checkpoints, lock
from tunesmith.train.combinations import refuse_combination
from tunesmith.train.compiling import Trial
from tunesmith.train.consolidation import moving_penalty
from tunesmith.train.divisible import refuse_undivided
from tunesmith.train.execution import ExecutionPath, TrunkCache, execution_path
from tunesmith.train.heads import put_head
from tunesmith.train.interpolation import interpolate
from tunesmith.train.loop import FitSettings, fit
from tunesmith.train.memory import Budget, budget
from tunesmith.train.method import DEFAULT, Choosing, Method, Sampled, alters_inputs, generates, identity
from tunesmith.train.optimizer import Optimizer, Rates, open_optimizer
from tunesmith.train.optimizer_states import states_on_disk
from tunesmith.train.order import Order, Place
from tunesmith.train.processes import Processes
from tunesmith.train.reference import with_reference
from tunesmith.train.results import Trained, covered, save_weights, write_report
from tunesmith.train.settings import AdapterSettings, TrainSettings, identifying
from tunesmith.train.supply import open_supply
from tunesmith.train.teacher import with_teacher
from tunesmith.train.together import processes_here
from tunesmith.train.units import Unit, rows_of
from tunesmith.train.validation import OnDone, Said, Validation, agreed, bits_of_a_nat
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning, Weights

__all__ = [
    "DRAWN",
    "SAMPLES",
    "SAMPLE_TOKENS",
    "begun_weights",
    "deterministic",
    "fit_settings",
    "made_for",
    "refuse_unusable",
    "train_adapter",
    "train_together",
]

DRAWN = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.1, seed=7)
SAMPLES = 3  # validation questions that are answered at each validation
SAMPLE_TOKENS = 48


def train_adapter(  # noqa: PLR0913 (what is trained, how, and where)
    base: BaseFolder,
    chat: Chat,
    examples: Mapping[str, Sequence[Any]],
    *,
    objective: Method,
    method: AdapterSettings,
    train: TrainSettings,
    precision: PrecisionName,
    place: Place,
    reporter: Reporter,
) -> Trained:
    """Train on `examples["train"]` with validation on `examples["val"]`, records of the kind that `objective` learns from.
    `examples["general"]`: answers of the base to general questions, which `train.ewc` asks for.

    Writes adapter, metric log and reading to `place.out`. The same call resumes from the checkpoints in `place.workspace`.
    In process 0 of several (see `together`), the others train along.
    """
    order = Order(base, chat, examples, objective, method, train, precision, place)
    processes = processes_here()
    refuse_undivided(objective, method, train, processes)
    processes.hand_out(order)
    trained = train_together(order, processes, reporter)
    if trained is None:
        raise AssertionError("only process 0 begins a run")
    return trained


def train_together(order: Order, processes: Processes, reporter: Reporter) -> Trained | None:
    """The run, as each of its processes makes it; None in those that write nothing."""
    base, chat, examples, objective = order.base, order.chat, order.examples, order.objective
    method, train, precision, place = order.method, order.train, order.precision, order.place
    writes = processes.rank == 0
    refuse_unusable(objective, examples)
    limit = min(train.max_tokens, base.context)
    watched = spread_over_documents(examples["val"], train.val_examples)
    units, val = (objective.prepare(part, chat, max_tokens=limit) for part in (examples["train"], watched))
    refuse_combination(objective, method, train, num_steps=fit_settings(train, units, objective).num_steps)
    weights = begun_weights(base, units, objective, method, train, precision)
    optimizer = _optimizer(weights, train, place)
    general = examples.get("general", ())
    if penalty := moving_penalty(weights, chat, general, weight=train.ewc, max_tokens=limit):
        weights = replace(weights, penalty=penalty)
    exact = train.precision == "exact"
    trunk = _trunk(objective, weights, base, train, method, place) if processes.count == 1 else None
    answered = [row for row in watched if row.prompt][:SAMPLES] if generates(objective) else []  # nobody asks for a text
    in_bytes = bits_of_a_nat(val, chat, loss_unit=objective.loss_unit)
    sample = partial(_samples, weights.model, chat, answered, base.context, processes)
    release_memory()
    with (
        lock(place.workspace) if writes else nullcontext(),
        without_denormals(),
        deterministic(exact),
        execution_path(
            weights.model,
            units,
            val,
            pad_id=chat.pad_id,
            share=not exact,
            trunk=trunk,
            compile=_compile(train, units, place) if processes.count == 1 else False,
            reporter=reporter,
            processes=processes,
        ) as own,
        with_teacher(own, objective, units, chat=chat, precision=precision, reporter=reporter) as path,
    ):
        refer = partial(
            with_reference, objective, path, base=base.fingerprint, folder=place.workspace / "reference", reporter=reporter
        )
        units, val = refer(units), refer(val)
        with open_supply(
            objective,
            path,
            chat,
            {**examples, "val": watched},
            (units, val),
            train=train,
            budget=lambda largest: processes.told(lambda: _budget(largest, path, objective, train, limit, place)),
            context=base.context,
            workspace=place.workspace,
        ) as supply:
            processes.divide(weights.model)
            optimizer = optimizer if processes.count == 1 else _optimizer(weights, train, place)  # over what is left here
            validation = Validation(len(val), agreed(supply.measure, processes), sample, bits_per_byte=in_bytes)
            fitted = fit(
                weights,
                supply.batches,
                partial(objective.loss, path),
                optimizer=optimizer,
                settings=fit_settings(train, units, objective),
                figures=objective.figures,
                validation=validation,
                checkpoints=_checkpoints(place, made_for(base, units, objective, method, train), path, train, reporter),
                reporter=reporter,
                signs=supply.signs,
                processes=processes,
            )
            supply.finish(fitted.num_steps)
            interpolation = interpolate(weights, fitted, validation, gain_kept=train.gain_kept, reporter=reporter)
        other = save_weights(weights, fitted, objective, other_figure(objective.figures, train.best_by), place, processes)
    if not writes:
        return None
    facts = other | _facts(weights, base, path, supply.budget, method=method, precision=precision)
    facts |= {"update": interpolation.words} if interpolation else {}
    reading, figures = write_report(place, fitted, facts, objective, train)
    return Trained(fitted, weights.coverage, reading, figures, interpolation)


def _trunk(
    objective: Method, weights: Weights, base: BaseFolder, train: TrainSettings, method: AdapterSettings, place: Place
) -> TrunkCache | None:
    """Where the frozen layers' work is kept, if there are any; of answers that do not exist yet, or of inputs that change,
    nothing can be kept.
    """
    if (
        train.precision == "exact"
        or method.layers == "all"
        or method.modules
        or isinstance(objective, Sampled)
        or alters_inputs(objective)
    ):
        return None
    return TrunkCache(place.workspace / "trunk", weights.modules, base.fingerprint)


def _facts(
    weights: Weights,
    base: BaseFolder,
    path: ExecutionPath,
    most: Budget,
    *,
    method: AdapterSettings,
    precision: PrecisionName,
) -> dict[str, str]:
    """What the report says of the run, by name."""
    return {
        **covered(weights, method.dropout),
        "base": f"{base.name}, {_in_training(method, precision)}, fingerprint {base.fingerprint[:12]}",
        "batches": f"{path.note}; {most.note}",
    }


def refuse_unusable(objective: Method, examples: Mapping[str, Sequence[Any]]) -> None:
    """TrainingError without validation rows, or for rows of another kind than the method learns from."""
    if not examples["val"]:
        raise TrainingError(
            "there are no validation examples",
            value="an empty validation split",
            expected="one example at least: it decides which step is the best",
            hint="--set split.val=0.1",
        )
    rows = (*examples["train"], *examples["val"])
    kind = identity(objective).get("kind", DEFAULT)
    if wrong := [row for row in rows if not isinstance(row, objective.record)]:
        raise TrainingError(
            f"objective.kind {kind} cannot learn from these rows",
            value=f"{len(wrong)} of {len(rows)} are of the kind {type(wrong[0]).__name__}, first {wrong[0].id}",
            expected=f"rows of the kind {objective.record.__name__}",
            hint="--set objective.kind=… for the method that learns from these rows, or build the dataset again",
        )
    if isinstance(objective, Choosing):
        objective.check({name: examples[name] for name in ("train", "val")})


def fit_settings(train: TrainSettings, units: Sequence[Unit], objective: Method) -> FitSettings:
    """The numbers of the loop, for so many units."""
    steps = num_steps(train, len(units), sum(unit.num_tokens for unit in units))
    if isinstance(objective, Sampled) and not train.max_steps:
        steps *= objective.draws.updates
    as_set = {f.name: getattr(train, f.name) for f in fields(FitSettings) if f.name not in {"num_steps", "evaluate_every"}}
    return FitSettings(num_steps=steps, evaluate_every=validation_every(train.evaluate_every, steps), **as_set)


def _optimizer(weights: Weights, train: TrainSettings, place: Place) -> Optimizer:
    """The optimiser over all that is trained; made early, so that a missing library stops the run before it begins."""
    groups = weights.groups({name: p for name, p in weights.model.named_parameters() if p.requires_grad})
    rates = Rates(train.learning_rate, train.weight_decay)
    made = open_optimizer(train.optimizer, train.optimizer_settings, model=weights.model, groups=groups, rates=rates)
    if train.optimizer_states == "memory":
        return made
    return replace(made, states=states_on_disk(place.workspace / "states", weights.model.device))


def _compile(train: TrainSettings, units: Sequence[Unit], place: Place) -> bool | Trial:
    """Whether to compile, as set; or the trial that tells, for the number of tokens that the run will see."""
    if train.compile != "auto":
        return train.compile
    num_tokens = sum(unit.num_tokens for unit in units)
    batch_tokens = train.batch_tokens or train.batch_examples * num_tokens // len(units)
    steps = num_steps(train, len(units), num_tokens)
    return Trial(steps * train.accumulate * batch_tokens, place.workspace / "compile.json")


def begun_weights(
    base: BaseFolder,
    units: Sequence[Unit],
    objective: Method,
    method: AdapterSettings,
    train: TrainSettings,
    precision: PrecisionName,
) -> Weights:
    """The base with the weights that will move and the method's head, at their start."""
    steps = fit_settings(train, units, objective).num_steps
    how = Beginning(base=base, settings=method, rows=rows_of(units), num_steps=steps, seed=train.seed)
    whole = method.quantise == "none"
    weights = begin(load_model(base, precision) if whole else load_quantised(base, precision), how)
    if train.gradient_checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft still calls the old name
            weights.model.enable_input_require_grads()
            weights.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    put_head(weights.model, objective, seed=train.seed)
    return weights


def _in_training(method: AdapterSettings, precision: PrecisionName) -> str:
    """How the base is stored while it is trained on."""
    if method.quantise == "none":
        return f"{precision} in training"
    return f"4 bits (NF4, double quantisation) and {precision} in training, full precision in evaluation and merging"


def _checkpoints(
    place: Place, made_for: dict[str, str], path: ExecutionPath, train: TrainSettings, reporter: Reporter
) -> Checkpoints:
    """The run's checkpoints, which know what they belong to and how its batches go through the model."""
    return Checkpoints(
        place.workspace,
        place.run_id,
        made_for=made_for,
        conditions={"batches": path.note, **({"processes": str(path.processes.count)} if path.processes.count > 1 else {})},
        keep=train.keep_checkpoints,
        reporter=reporter,
    )


def _budget(
    units: Sequence[Unit], path: ExecutionPath, objective: Method, train: TrainSettings, limit: int, place: Place
) -> Budget:
    """What the recipe says goes through at once, or what fits; a batch of the longest units at most."""
    longest = limit * max(len(unit.rows) for unit in units)
    return budget(
        units,
        path,
        objective,
        wanted=None if train.tokens_at_once == "auto" else train.tokens_at_once,
        largest=train.batch_tokens + longest if train.batch_tokens else train.batch_examples * longest,
        file=place.workspace / "memory.json",
    )


def made_for(
    base: BaseFolder, units: Sequence[Unit], objective: Method, method: AdapterSettings, train: TrainSettings
) -> dict[str, str]:
    """What a checkpoint belongs to, by name: resuming with another base, data, method or schedule is refused."""
    own = {"objective": digest(canonical_json(kind))} if (kind := identity(objective)) else {}
    signals = [str((unit.signal, [row.ids for row in unit.only_scored])) for unit in units if unit.signal or unit.only_scored]
    return {
        "base": base.fingerprint,
        "training data": digest(*(str((row.ids, row.learned)) for row in rows_of(units)), *signals),
        "method": digest(canonical_json(identifying(method, AdapterSettings))),
        "training settings": digest(canonical_json(identifying(train, TrainSettings))),
        **own,
    }


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, torch uses deterministic algorithms alone, and says so where it has none."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _samples(
    model: Any, chat: Chat, examples: Sequence[Example], context: int, processes: Processes, on_done: OnDone
) -> list[Said]:
    """Answers to a few validation questions, drawn with a fixed seed: what the run sounds like by now.

    Drawn at usual sampling settings, since greedy answers of a small model loop where those that people see do not.
    """
    if not examples:
        return []
    model.eval()
    requests = [Request(messages=example.prompt, max_new_tokens=SAMPLE_TOKENS, sampling=DRAWN) for example in examples]
    hear = on_done if processes.count == 1 else lambda _: None  # a stop is for all processes, and one draws
    return processes.drawn(
        model,
        lambda: [
            Said(said.text, said.finish_reason == "stop")
            for said in answer(model, chat, requests, batch_examples=len(requests), context=context, on_done=hear)
        ],
    )
