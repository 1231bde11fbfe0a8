"""`plan --params`: parameters, memory, GPUs, time and money of a model, from its config alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.config_file import config_file
from tunesmith.plan.adapter_size import adapter_targets
from tunesmith.plan.architectures import anatomy_of
from tunesmith.plan.duration import Speed, step_seconds
from tunesmith.plan.gpus import Gpu, fits, read_gpus
from tunesmith.plan.model_config import read_config
from tunesmith.plan.serving_memory import ServingMemory, serving_memory
from tunesmith.plan.training_memory import METHODS, OPTIMIZERS, PRECISIONS, Method, TrainingMemory, training_memory
from tunesmith.plan.weights import Anatomy

__all__ = ["GpuFit", "ModelSize", "SizeSettings", "TrainingTime", "model_size"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "precision": tuple(PRECISIONS),
    "optimizer": tuple(OPTIMIZERS),
    "method": METHODS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSettings:
    """What is to be done with the model.

    Training: `batch` rows of `length` tokens at once, adapters of `rank` on `targets`, `precision` float32, bfloat16 or mixed
    (autocast), `optimizer` adamw, adamw_8bit, adafactor, lion or sgd. Serving: `requests` at once, each with `context` tokens.
    Time: `tokens` to train on by `method` (full, lora, dora, qlora) on this machine, which costs `usd_per_hour`.
    """

    batch: int = 1
    length: int = 2048
    rank: int = 16
    targets: tuple[str, ...] = ("all",)
    precision: str = "bfloat16"
    optimizer: str = "adamw"
    checkpointing: bool = False
    context: int = 4096
    requests: int = 1
    tokens: int | None = None
    method: str = "lora"
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFit:
    """What fits one GPU, with a reserve of 8 per cent: methods of training, and formats to serve in."""

    name: str
    memory_gib: float
    usd_per_hour: float | None
    source: str
    read_on: str
    trains: tuple[str, ...]
    serves: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTime:
    """`seconds` for `tokens`, from the tokens/s of one layer of the model, as timed here. `usd` is None without a price."""

    method: str
    tokens: int
    seconds: float
    layer_tokens_per_s: float
    machine: str
    busy: bool
    usd_per_hour: float | None
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """`parameters` are exact, by kind in `by_kind`; `active_parameters` are those that one token passes through.

    `training`: bytes by item for each method. `serving`: bytes of each format, largest first. `recognised` says how the
    architecture was found where the config does not name it.
    """

    model_type: str
    parameters: int
    active_parameters: int
    by_kind: Mapping[str, int]
    dimensions: Mapping[str, int]
    settings: SizeSettings
    adapter_parameters: int
    training: Mapping[str, TrainingMemory]
    serving: tuple[ServingMemory, ...]
    gpus: tuple[GpuFit, ...]
    time: TrainingTime | None = None
    recognised: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith plan --params … --json` prints; each set of bytes with its `total`."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {
            "by_kind": dict(self.by_kind),
            "dimensions": dict(self.dimensions),
            "settings": asdict(self.settings),
            "training": {name: {**asdict(one), "total": one.total} for name, one in self.training.items()},
            "serving": [{**asdict(one), "total": one.total} for one in self.serving],
            "gpus": [asdict(one) for one in self.gpus],
            "time": None if self.time is None else asdict(self.time),
        }


def model_size(
    model: str | Path | Mapping[str, Any], settings: SizeSettings | None = None, *, prices: str | Path | None = None
) -> ModelSize:
    """Parameters of a model, memory of training and serving it, the GPUs that it fits, and with `settings.tokens` the time.

    `model`: config.json, its folder, a name of `tunesmith bases` or a hub id that is on this machine, or a config as a mapping.
    `prices`: an edited copy of the table of GPUs. Loads torch only to time this machine. The formulas are in
    docs/concepts/sizes.md.

    Raises:
        ModelError: the architecture is not known, the config or the table lacks something, or a setting is out of range.
    """
    settings = settings or SizeSettings()
    _check(settings)
    config = model if isinstance(model, Mapping) else read_config(config_file(str(model)))
    anatomy = anatomy_of(config)
    table = read_gpus(Path(prices) if prices is not None else None)
    training = {method: _training(anatomy, method, settings) for method in METHODS}
    serving = serving_memory(anatomy, context=settings.context, requests=settings.requests)
    gpus = tuple(_fit(gpu, training, serving) for gpu in table)
    return ModelSize(
        model_type=anatomy.model_type,
        parameters=anatomy.num_parameters,
        active_parameters=anatomy.active_parameters,
        by_kind={str(kind): count for kind, count in anatomy.by_kind.items()},
        dimensions={
            name: getattr(anatomy, name)
            for name in ("layers", "width", "inner", "heads", "kv_heads", "head_dim", "vocabulary", "context")
        },
        settings=settings,
        adapter_parameters=training["lora"].adapter // 4,
        training={str(method): memory for method, memory in training.items()},
        serving=serving,
        gpus=gpus,
        time=None if settings.tokens is None else _time(anatomy, settings, table),
        recognised="" if config.get("model_type") else f"as {anatomy.model_type}, by its settings: model_type is missing",
    )


def _training(anatomy: Anatomy, method: Method, settings: SizeSettings) -> TrainingMemory:
    return training_memory(
        anatomy,
        method,
        adapter_targets(anatomy, settings.targets),
        rank=settings.rank,
        tokens=settings.batch * settings.length,
        precision=settings.precision,
        optimizer=settings.optimizer,
        checkpointing=settings.checkpointing,
    )


def _fit(gpu: Gpu, training: Mapping[Method, TrainingMemory], serving: tuple[ServingMemory, ...]) -> GpuFit:
    return GpuFit(
        name=gpu.name,
        memory_gib=gpu.memory_gib,
        usd_per_hour=gpu.usd_per_hour,
        source=gpu.source,
        read_on=gpu.read_on,
        trains=tuple(method for method, memory in training.items() if fits(gpu, memory.total)),
        serves=tuple(row.format for row in serving if fits(gpu, row.total)),
    )


def _time(anatomy: Anatomy, settings: SizeSettings, table: tuple[Gpu, ...]) -> TrainingTime:
    """A layer of the model's proportions is timed, adapted and in the asked number type, and scaled by its parameters."""
    import torch

    from tunesmith.models.precision import layer_speed
    from tunesmith.plan.hardware import measure_hardware

    machine = measure_hardware()
    shape = replace(
        anatomy.shape, linear_params=sum(round(w.num_parameters * w.used) for w in anatomy.weights if w.layer is not None)
    )
    found = layer_speed(
        "float32" if settings.precision == "float32" else "bfloat16",
        width=anatomy.width,
        inner=anatomy.inner,
        rank=settings.rank,
    )
    per_layer = found.tokens_per_s * found.num_parameters / max(1, shape.linear_params // max(1, shape.layers))
    # Weights that are trained take a third product besides the forward and the backward one; checkpointing repeats the forward.
    work = 1.0 + (0.5 if settings.method == "full" else 0.0) + (0.5 if settings.checkpointing else 0.0)
    tokens = settings.tokens or 0
    seconds = tokens * work * step_seconds(shape, Speed(per_layer, per_layer))
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{machine.cores} CPU cores"
    price = settings.usd_per_hour if settings.usd_per_hour is not None else _price_of(name, table)
    return TrainingTime(
        method=settings.method,
        tokens=tokens,
        seconds=seconds,
        layer_tokens_per_s=per_layer,
        machine=name,
        busy=machine.busy,
        usd_per_hour=price,
        usd=None if price is None else seconds / 3600 * price,
    )


def _price_of(machine: str, table: tuple[Gpu, ...]) -> float | None:
    """The price of the GPU whose name is in that of the machine; None if no line of the table has it."""
    words = set(machine.replace("-", " ").split())
    named = [gpu for gpu in table if gpu.usd_per_hour is not None and set(gpu.name.split()) <= words]
    return max(named, key=lambda gpu: len(gpu.name)).usd_per_hour if named else None


def _check(settings: SizeSettings) -> None:
    """Counts are above zero, and words are known ones."""
    for name in ("batch", "length", "rank", "context", "requests", "tokens"):
        value = getattr(settings, name)
        if not (value is None and name == "tokens") and (
            isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**53
        ):
            raise _wrong(name, value, "a whole number above zero")
    for name, known in _CHOICES.items():
        if getattr(settings, name) not in known:
            raise _wrong(name, getattr(settings, name), f"one of {', '.join(known)}")
    price = settings.usd_per_hour
    if price is not None and not 0 <= price < float("inf"):
        raise _wrong("price per hour", price, "dollars, zero or more")


def _wrong(name: str, value: object, expected: str) -> ModelError:
    return ModelError(f"wrong {name}", value=value, expected=expected, hint="tunesmith plan --help")
