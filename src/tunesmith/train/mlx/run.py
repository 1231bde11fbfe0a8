"""A training run whose steps mlx-lm makes: our rows and order in, our log, checkpoints, adapter and evidence out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tunesmith.core.records import Example, spread_over_documents
from tunesmith.core.reporter import Reporter
from tunesmith.models.adapters import CONFIG, WEIGHTS
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, jobs_for
from tunesmith.models.generation.text import Ending
from tunesmith.models.load import BaseFolder, PrecisionName
from tunesmith.models.memory import release_memory
from tunesmith.models.mlx_adapter import MLX_WEIGHTS, read_mlx_adapter, write_mlx_adapter
from tunesmith.train.batches import Batches, Sizes
from tunesmith.train.best import other_figure
from tunesmith.train.checkpoint import Checkpoints, Tensors, lock
from tunesmith.train.divisible import refuse_undivided
from tunesmith.train.loop import FitSettings
from tunesmith.train.method import Method
from tunesmith.train.mlx.fit import Result, Step, fit_with_mlx, rates
from tunesmith.train.mlx.support import refuse_other_units, refuse_unsupported
from tunesmith.train.mlx.trainer import MlxTrainer, open_trainer
from tunesmith.train.order import Place
from tunesmith.train.padded import collate
from tunesmith.train.results import Trained, covered, save_weights, write_report
from tunesmith.train.run import DRAWN, SAMPLE_TOKENS, SAMPLES, begun_weights, fit_settings, made_for, refuse_unusable
from tunesmith.train.settings import AdapterSettings, TrainSettings
from tunesmith.train.together import processes_here
from tunesmith.train.units import Batch, Unit, rows_of
from tunesmith.train.validation import OnDone, Said, Validation, bits_of_a_nat
from tunesmith.train.weights.weights import Weights

__all__ = ["train_with_mlx"]


def train_with_mlx(  # noqa: PLR0913 (what is trained, how, and where)
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
    """As `train.run.train_adapter`, with the steps, validations and sample answers made by mlx-lm.

    The weights begin as those of torch do, and the same rows are learned in the same order at the same rates. torch holds the
    base before and after the training, but not during it.

    Raises:
        RecipeError: a setting that mlx-lm's trainer cannot follow.
        TrainingError: several processes were started.
        EngineError: mlx-lm is not installed here, and TUNESMITH_MLX names no Python that has it.
    """
    refuse_unsupported(objective, method, train)
    refuse_undivided(objective, method, train, processes_here())
    refuse_unusable(objective, examples)
    limit = min(train.max_tokens, base.context)
    watched = spread_over_documents(examples["val"], train.val_examples)
    units, val = (objective.prepare(part, chat, max_tokens=limit) for part in (examples["train"], watched))
    refuse_other_units([*units, *val])
    settings = fit_settings(train, units, objective)

    def begun() -> Weights:
        return begun_weights(base, units, objective, method, train, precision)

    with lock(place.workspace), TemporaryDirectory() as temporary:
        start, told = _start(begun(), base, Path(temporary), dropout=method.dropout)
        told |= _told(base, train, settings, precision)
        release_memory()
        with open_trainer(told) as trainer:
            result = fit_with_mlx(
                trainer,
                _batches(units, train, chat),
                start=start,
                settings=settings,
                figures=objective.figures,
                validation=_validation(trainer, base, chat, val, watched, train, objective.loss_unit),
                checkpoints=_checkpoints(
                    place, made_for(base, units, objective, method, train), trainer.version, train, reporter
                ),
                reporter=reporter,
            )
            version = trainer.version
        weights = begun()
        fitted = _put(weights, result, method.kind, Path(temporary))
        other = save_weights(weights, fitted, objective, other_figure(objective.figures, train.best_by), place)
    facts = other | {
        **covered(weights, method.dropout),
        "base": f"{base.name}, {precision} in training, fingerprint {base.fingerprint[:12]}",
        "batches": f"whole, through the trainer of mlx-lm {version}",
    }
    reading, figures = write_report(place, fitted, facts, objective, train)
    return Trained(fitted, weights.coverage, reading, figures)


def _start(weights: Weights, base: BaseFolder, place: Path, *, dropout: float) -> tuple[Tensors, dict[str, Any]]:
    """The weights at their start with the names of mlx-lm, and what its trainer has to know to put them on the base."""
    if weights.folder == "model":
        names = [name for name, parameter in weights.model.named_parameters() if parameter.requires_grad]
        start = {name: weights.model.get_parameter(name).detach().float().clone() for name in names}
        return start, {"kind": "full", "names": names}
    weights.save(place / "begun")
    config = base.config.get("text_config") or base.config
    write_mlx_adapter(place / "begun", place / "start", num_layers=int(config["num_hidden_layers"]), base=base.address)
    made = json.loads((place / "start" / CONFIG).read_bytes())
    start = load_file(place / "start" / MLX_WEIGHTS)
    told = {
        "kind": made["fine_tune_type"],
        "num_layers": made["num_layers"],
        "lora": {**made["lora_parameters"], "dropout": dropout},
    }
    return start, {**told, "start": str(place / "start" / MLX_WEIGHTS), "names": list(start)}


def _told(base: BaseFolder, train: TrainSettings, settings: FitSettings, precision: PrecisionName) -> dict[str, Any]:
    """The further settings of the trainer."""
    o = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8} | train.optimizer_settings
    return {
        "base": str(base.path),
        "precision": precision,
        "accumulate": settings.accumulate,
        "grad_checkpoint": train.gradient_checkpointing,
        "rates": rates(settings),
        "max_grad_norm": settings.max_grad_norm,
        "adamw": {"betas": [o["beta1"], o["beta2"]], "eps": o["epsilon"], "weight_decay": train.weight_decay},
    }


def _batches(units: Sequence[Unit], train: TrainSettings, chat: Chat) -> Any:
    """The batches of a step, in the order in which torch learns them; each goes through the model whole."""
    batches = Batches(
        units,
        sizes=Sizes(examples=train.batch_examples, tokens=train.batch_tokens),
        seed=train.seed,
        most_tokens=sum(unit.num_tokens for unit in units),
        lay_out=lambda some: Batch(tuple(some), collate(rows_of(some), pad_id=chat.pad_id, device="cpu")),
        short_first=train.curriculum == "short_first",
    )

    def at(step: int) -> Step:
        return [rows_of(part.units) for i in range(train.accumulate) for part in batches.at(step * train.accumulate + i)]

    return at


def _validation(
    trainer: MlxTrainer,
    base: BaseFolder,
    chat: Chat,
    units: Sequence[Unit],
    watched: Sequence[Example],
    train: TrainSettings,
    loss_unit: str,
) -> Validation:
    """mlx-lm's own evaluation of the validation rows, and its own answers to a few of their questions."""
    rows = sorted(rows_of(units), key=lambda row: len(row.ids))
    batches = [rows[i : i + train.batch_examples] for i in range(0, len(rows), train.batch_examples)]

    def measure(count: int, on_done: OnDone) -> Mapping[str, float]:
        return trainer.evaluate(batches, on_done)

    def sample(on_done: OnDone) -> list[Said]:
        asked = [Request(messages=one.prompt, max_new_tokens=SAMPLE_TOKENS, sampling=DRAWN) for one in watched[:SAMPLES]]
        said = []
        for job in jobs_for(chat, asked, base.context):
            made = Ending(chat, ()).completion(trainer.answer(job, chat.end_ids))
            said.append(Said(made.text, made.finish_reason == "stop"))
            on_done(1)
        return said

    return Validation(len(rows), measure, sample, bits_per_byte=bits_of_a_nat(units, chat, loss_unit=loss_unit))


def _checkpoints(
    place: Place, belongs_to: dict[str, str], version: str, train: TrainSettings, reporter: Reporter
) -> Checkpoints:
    return Checkpoints(
        place.workspace,
        place.run_id,
        made_for=belongs_to,
        conditions={"mlx-lm": version},
        keep=train.keep_checkpoints,
        reporter=reporter,
    )


def _put(weights: Weights, result: Result, kind: str, place: Path) -> Any:
    """Put the best weights into torch's model; how the run ended, with torch's names for the other best ones."""
    named = {name: p for name, p in weights.model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, tensor in _in_torch(result.chosen, named, kind, place).items():
            named[name].copy_(tensor)
    other = _in_torch(result.fitted.other, named, kind, place) if result.fitted.other else {}
    return replace(result.fitted, other=other)


def _in_torch(tensors: Mapping[str, torch.Tensor], named: Mapping[str, torch.Tensor], kind: str, place: Path) -> Tensors:
    """Tensors of mlx-lm under the names of torch's parameters, by way of the two adapter formats."""
    if kind == "full":
        return dict(tensors)
    save_file(dict(tensors), place / "start" / MLX_WEIGHTS)
    read_mlx_adapter(place / "start", json.loads((place / "start" / CONFIG).read_bytes()), place / "ended")
    found = load_file(place / "ended" / WEIGHTS)
    return {name: found[_saved(name)] for name in named}


def _saved(name: str) -> str:
    """What peft calls a parameter in its files."""
    return name.replace(".default", "").removesuffix(".weight" if "magnitude" in name else "")
