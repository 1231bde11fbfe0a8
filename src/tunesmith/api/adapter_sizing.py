"""`lora`: what an adapter takes at each rank, and the largest rank within a size, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.config_file import config_file
from tunesmith.plan.adapter_size import MB, adapter_size, adapter_targets, largest_rank
from tunesmith.plan.architectures import anatomy_of
from tunesmith.plan.model_config import read_config
from tunesmith.plan.training_memory import training_memory
from tunesmith.plan.weights import Anatomy, Weight

__all__ = ["BUDGETS_MB", "RANKS", "LoraBudget", "LoraRank", "LoraSizes", "ModelDimensions", "lora_sizes"]

RANKS = (4, 8, 16, 32, 64)
BUDGETS_MB = (10.0, 50.0, 100.0, 500.0)
_BLOCK = 12  # a block's parameters over its squared width where nothing else is known: 4 for attention, 8 for the MLP
_USUAL_HEAD = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDimensions:
    """A model of the Llama pattern by its numbers. Without `kv_heads`, keys are as wide as queries; without `head_dim` and
    `heads`, a head has 128 numbers; without `intermediate`, the model has the usual estimate of 12 × layers × hidden²."""

    hidden: int
    layers: int
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    intermediate: int | None = None
    vocab: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRank:
    """An adapter of one rank. `share`: over the model's parameters. `adapter_mb`: its file as peft saves it, in float32 and in
    bfloat16, in 10⁶ bytes. `memory_saved_bytes`: of weights, gradients and AdamW's moments, against training all weights."""

    rank: int
    parameters: int
    share: float
    adapter_mb: float
    adapter_mb_bf16: float
    memory_bytes: int
    memory_saved_bytes: int
    memory_saved_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraBudget:
    """The largest rank whose file has at most `budget_mb`, in float32 and in bfloat16; 0 where rank 1 is too large."""

    budget_mb: float
    rank: int
    rank_bf16: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSizes:
    """`model_parameters` is exact or, without a config, an estimate (`exact` is False). `assumed` lists what was not given.

    `full_memory_bytes`: weights, gradients and AdamW's moments where all weights are trained. `modules`: adapted layers.
    """

    model_parameters: int
    exact: bool
    targets: tuple[str, ...]
    modules: int
    precision: str
    full_memory_bytes: int
    ranks: tuple[LoraRank, ...]
    budgets: tuple[LoraBudget, ...]
    assumed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith lora --json` prints."""
        return asdict(self)


def lora_sizes(
    model: str | Path | ModelDimensions | Mapping[str, Any],
    *,
    ranks: Sequence[int] = RANKS,
    targets: Sequence[str] = ("all",),
    budgets_mb: Sequence[float] = BUDGETS_MB,
    dora: bool = False,
    precision: str = "bfloat16",
) -> LoraSizes:
    """Sizes of LoRA adapters (DoRA with `dora`) on a model, from its config or its dimensions. Loads no weights and no torch.

    `model`: config.json, its folder, a name of `tunesmith bases` or a hub id that is on this machine, a config as a mapping, or
    `ModelDimensions`. `targets`: all, attention, mlp, or ends of module names. `precision` of the frozen weights: float32 or
    bfloat16. The formulas are in docs/concepts/sizes.md.

    Raises:
        ModelError: the model is not known, a target matches nothing in it, or a number is out of range.
    """
    for rank in ranks:
        _checked("rank", rank)
    for budget in budgets_mb:
        if isinstance(budget, bool) or not 0 < budget < float("inf"):
            raise _wrong("size budget", budget, "megabytes above zero")
    if not ranks:
        raise _wrong("list of ranks", list(ranks), "at least one rank")
    if precision not in ("float32", "bfloat16"):
        raise _wrong("precision", precision, "float32 or bfloat16")
    anatomy, exact, assumed = _opened(model, targets)
    chosen = adapter_targets(anatomy, targets)
    parameters = anatomy.num_parameters if exact else _estimated(anatomy)
    size = 4 if precision == "float32" else 2
    full = 4 * size * parameters  # weights, gradients, two moments
    return LoraSizes(
        model_parameters=parameters,
        exact=exact,
        targets=tuple(targets),
        modules=len(chosen),
        precision=precision,
        full_memory_bytes=full,
        ranks=tuple(_rank(anatomy, chosen, rank, dora, precision, parameters) for rank in ranks),
        budgets=tuple(
            LoraBudget(
                budget_mb=budget,
                rank=largest_rank(chosen, int(budget * MB), dora=dora),
                rank_bf16=largest_rank(chosen, int(budget * MB), bytes_a_number=2, dora=dora),
            )
            for budget in budgets_mb
        ),
        assumed=assumed,
    )


def _rank(anatomy: Anatomy, chosen: tuple[Weight, ...], rank: int, dora: bool, precision: str, parameters: int) -> LoraRank:
    found = adapter_size(chosen, rank, dora=dora)
    size = 4 if precision == "float32" else 2
    memory = training_memory(
        anatomy,
        "dora" if dora else "lora",
        chosen,
        rank=rank,
        tokens=1,
        precision=precision,
        optimizer="adamw",
        checkpointing=False,
    )
    used = size * parameters + memory.adapter + memory.gradients + memory.optimizer
    full = 4 * size * parameters
    return LoraRank(
        rank=rank,
        parameters=found.num_parameters,
        share=found.num_parameters / parameters,
        adapter_mb=found.file_float32 / MB,
        adapter_mb_bf16=found.file_bfloat16 / MB,
        memory_bytes=used,
        memory_saved_bytes=full - used,
        memory_saved_share=(full - used) / full,
    )


def _opened(
    model: str | Path | ModelDimensions | Mapping[str, Any], targets: Sequence[str]
) -> tuple[Anatomy, bool, tuple[str, ...]]:
    if not isinstance(model, ModelDimensions):
        config = model if isinstance(model, Mapping) else read_config(config_file(str(model)))
        return anatomy_of(config), True, ()
    for name, value in asdict(model).items():
        if value is not None:
            _checked(name, value)
    if model.intermediate is None and (
        wanted := [t for t in targets if t in ("all", "mlp", "gate_proj", "up_proj", "down_proj")]
    ):
        raise ModelError(
            "the width of the MLP is not known",
            value=wanted[0],
            expected="the layers of the attention as targets, or the width of the MLP",
            hint="add --intermediate N, or use --config CONFIG.json",
        )
    config, assumed = _llama_config(model)
    return anatomy_of(config), model.intermediate is not None and model.vocab is not None, assumed


def _llama_config(model: ModelDimensions) -> tuple[dict[str, Any], tuple[str, ...]]:
    assumed = []
    head_dim = model.head_dim or (model.hidden // model.heads if model.heads else None)
    if head_dim is None:
        head_dim = min(_USUAL_HEAD, model.hidden)
        if model.kv_heads:
            assumed.append(f"heads of {head_dim} numbers (--heads or --head-dim sets it)")
    heads = model.heads or max(1, model.hidden // head_dim)
    if model.heads is None and model.hidden % head_dim:
        heads, head_dim = 1, model.hidden
    if model.kv_heads is None:
        assumed.append("keys and values as wide as queries (--kv-heads sets it)")
    if model.intermediate is None:
        assumed.append("a model of 12 × layers × hidden² parameters (--intermediate and --vocab, or --config, make it exact)")
    elif model.vocab is None:
        assumed.append("no embedding and head in the size of the model (--vocab counts them)")
    config = {
        "model_type": "llama",
        "hidden_size": model.hidden,
        "num_hidden_layers": model.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": model.kv_heads or heads,
        "head_dim": head_dim,
        "intermediate_size": model.intermediate or 1,
        "vocab_size": model.vocab or 1,
    }
    return config, tuple(assumed)


def _estimated(anatomy: Anatomy) -> int:
    """Where the width of the MLP is known, its blocks without embeddings; else the usual estimate."""
    if anatomy.inner == 1:
        return _BLOCK * anatomy.layers * anatomy.width**2
    return sum(w.num_parameters for w in anatomy.weights if w.layer is not None)


def _checked(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise _wrong(name, value, "a whole number above zero")


def _wrong(name: str, value: object, expected: str) -> ModelError:
    return ModelError(f"wrong {name}", value=value, expected=expected, hint="tunesmith lora --help")
