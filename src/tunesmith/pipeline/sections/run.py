"""Settings of the run stage: the adapter, the training method, the training run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from tunesmith.core.settings import Section

__all__ = ["MethodConfig", "ObjectiveConfig", "TrainConfig"]

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class MethodConfig(Section):
    """Which weights move, and how."""

    kind: Literal["lora", "rslora", "dora", "adalora", "full"] = "lora"
    """The adapter: LoRA, rank-stabilised LoRA, weight-decomposed LoRA, or AdaLoRA, which moves ranks to where they matter.
    `full`: no adapter; the model's own weights move."""
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of the update to each adapted matrix."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update, which is multiplied by alpha / rank (alpha / sqrt(rank) with rslora)."""
    dropout: Share = 0.05
    """Dropout on the adapter's input during training."""
    targets: Literal["attention", "mlp", "all"] | list[str] = "all"
    """Which linear layers are adapted: `attention`, `mlp`, `all`, or a list such as [q_proj, v_proj], which must exist."""
    layers: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """How many layers, counted from the top, are adapted, or move with `full`."""
    quantise: Literal["none", "nf4"] = "none"
    """`nf4`: the linear layers of the base are kept in 4 bits during training (QLoRA), which takes less memory. Evaluation and
    merging use the base in full precision. It needs bitsandbytes: pip install 'tunesmith[quantised]'."""
    lora_plus: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """LoRA+: the learning rate of the second matrix of each pair is this many times `train.learning_rate`. The authors use 16.
    1: both matrices learn at the same rate."""
    modules: list[Annotated[str, Field(min_length=1)]] = []
    """`[embed_tokens, lm_head]`: the embeddings and the output matrix are trained along, whole, and kept with the adapter. In a
    base that ties them they are one matrix, by either name."""
    continued: str = Field(default="", alias="from")
    """Begin with this adapter instead of a fresh one: the id of a run, or a folder with an adapter of any tool
    that writes peft's or mlx-lm's files. It must be of this base, and of the kind, rank, alpha and layers that are set here."""
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=512)]] = {}
    """Other ranks for some layers, such as `{q_proj: 8, "layers\\.0\\..*": 4}`: the end of a module's name or a regular
    expression for it, as in peft, and the rank. Each pattern must match an adapted layer."""
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Other values of `alpha` for some layers, in the same way."""
    init: Literal["default", "pissa", "olora", "eva"] = "default"
    """Where the adapter begins. `default`: at zero. `pissa`: at the largest singular vectors of each matrix; `olora`: at its QR
    decomposition; both are saved as a plain adapter of twice the rank. `eva`: at zero, reading the principal components of what
    each layer reads in the first training rows."""


class ObjectiveConfig(Section):
    """The training objective. Each file in `train/methods/` is a kind; other keys of this section are settings of that kind."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Field(min_length=1)] = "sft"
    """The training method. `sft` learns the answers of examples. `cpt` continues pre-training on plain text. `dpo`, `simpo` and
    `orpo` learn from preference rows to prefer the chosen one, `reward` to score answers; `kto` learns from labelled rows.
    `grpo`, `rloo` and `ppo` learn from rewards for the model's own answers. `self_distillation`, `gkd` and `teacher_logprobs`
    learn from a teacher."""

    @property
    def options(self) -> dict[str, Any]:
        """The settings of the kind, as they were written."""
        return dict(self.model_extra or {})


class TrainConfig(Section):
    """The training run."""

    backend: Literal["torch", "mlx"] = "torch"
    """Who makes the steps. `mlx`: the trainer of mlx-lm, for Apple silicon (`pip install 'tunesmith[mlx]'`, or a Python that
    TUNESMITH_MLX names). It does `objective.kind: sft` with `lora`, `rslora`, `dora` and `full`, and `adamw`; settings that it
    cannot follow are refused. Evaluation and export are the same for both."""
    epochs: Annotated[float, Field(gt=0, le=1000)] = 6.0
    """Passes over the training split. Early stopping may end sooner."""
    max_steps: Annotated[int, Field(ge=0)] = 0
    """Maximum number of optimiser steps. 0: as many as `epochs` needs."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 8
    """Number of examples in one batch."""
    batch_tokens: Annotated[int, Field(ge=0)] = 0
    """Approximate number of tokens in one batch, used instead of `batch_examples`. 0: batches are counted in examples."""
    curriculum: Literal["none", "short_first"] = "none"
    """`short_first`: the first epoch goes from the shortest example to the longest. Later epochs are shuffled as usual."""
    tokens_at_once: Literal["auto"] | Annotated[int, Field(ge=16)] = "auto"
    """Maximum tokens per forward pass. `auto`: what fits into half of the free memory, as measured; on a CPU about 384, enough
    to keep its matrix products busy. Larger batches are computed in parts, which gives the same step. If memory still runs
    out, the parts are halved."""
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 1
    """Batches accumulated for one optimiser step, weighted by their target tokens."""
    optimizer: Annotated[str, Field(min_length=1)] = "adamw"
    """The optimiser. Each file in `train/optimizers/` is one: `adamw`, `adamw_8bit` and `paged_adamw_8bit` (moments of 8 bits),
    `lion` (one moment), `muon` (matrices inside the model; AdamW for the rest), `schedule_free` (averages the weights)."""
    optimizer_settings: dict[str, Any] = {}
    """Settings of the optimiser, such as `{beta2: 0.95}`. Each optimiser has its own, listed below."""
    optimizer_states: Literal["memory", "disk"] = "memory"
    """Where the states of `adamw` are between two steps. `disk`: in a file of the work folder, of which a part at a time is in
    memory. The weights come out the same to the bit. A full fine-tune needs less memory, and each step reads and writes twice
    the size of the weights. For one process on a CPU."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant", "wsd", "one_cycle"] = "cosine"
    """Learning rate after the warm-up: along a cosine or a line down to `floor`, constant, constant until a last fall (`wsd`:
    warm-up, stable, decay), or `one_cycle`, whose warm-up begins at a 25th of the peak and follows a cosine."""
    warmup: Share = 0.05
    """Share of the steps during which the learning rate rises to its peak."""
    floor: Share = 0.1
    """Learning rate at the end of the schedule, as a share of its peak. `constant` does not use it."""
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of the steps over which `wsd` lets the learning rate fall. Other schedules do not use it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of what is trained."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Larger gradients are scaled down to this norm. 0 turns clipping off."""
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    """Maximum tokens per example, limited by the base's context. Longer examples are cut and counted; if more than 1 % of the
    target tokens are cut, the build stops."""
    evaluate_every: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Steps between two validations. `auto`: a twelfth of the run, at least 10. 0: validate only at the end."""
    val_examples: Annotated[int, Field(ge=1)] = 200
    """Number of examples used per validation, spread over the documents."""
    patience: Annotated[int, Field(ge=0)] = 5
    """Stop after this many validations without improvement. 0 disables early stopping."""
    best_by: Annotated[str, Field(min_length=1)] = "loss"
    """The validation figure that decides which weights to keep and when to stop early. `sft` has `loss` and `accuracy` (target
    tokens predicted correctly); `dpo` has `loss`, `preference_accuracy`, `margin` and `chosen_reward`; another value names the
    figures of the kind. The best weights by the first of the other figures are saved as well."""
    min_delta: Annotated[float, Field(ge=0)] = 0.001
    """Smallest change that counts as an improvement, in the unit of that figure (nats per token, a share for accuracy)."""
    gain_kept: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight interpolation after training (WiSE-FT): the update is multiplied by the smallest of 0.5, 0.6, 0.7, 0.8 and 0.9
    with which validation loss keeps this share of its fall. A smaller update forgets less. 1: the update stays as it is. Bases
    of 100 million parameters and more: 0.85 where `eval.primary` is bits_per_byte. For `sft` with `lora` or `rslora`."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    """Steps between two checkpoints that a run can resume from."""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Minutes after which a checkpoint is saved even if `checkpoint_every` is not reached. 0: only steps count. This setting
    does not change the trained weights."""
    keep_checkpoints: Annotated[int, Field(ge=2, le=1000)] = 2
    """Number of newest checkpoints to keep. Each one also holds the best weights by validation loss and by accuracy."""
    compile: bool | Literal["auto"] = False
    """Compile the layers with torch.compile. This takes about a minute before the first step; training is then up to a fifth
    faster on some CPUs and no faster on others. `auto` times both if training takes more than twenty minutes. It needs a C++
    compiler, and a resumed run may then end with different bytes."""
    gradient_checkpointing: bool = False
    """Compute activations a second time in the backward pass, to save memory."""
    precision: Literal["auto", "float32", "bfloat16", "exact"] = "auto"
    """Number type of the frozen weights; the adapter is always float32. `auto` measures which type is faster on this machine.
    `exact`: float32, deterministic algorithms, and no shared computation between rows."""
    ewc: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Elastic weight consolidation against forgetting: weight of a penalty on changes of the weights that general answers need.
    With 1, an expected divergence from the base of a nat per token costs as much as a nat of training loss. 0: none."""
    seed: int = 7
    """Seed of data order, adapter initialisation and dropout."""
