"""The recipe: one YAML file that says what is to be done. One declaration a knob, from which the YAML key, the `--set`
path, the JSON schema and the reference page all come. Unknown keys are errors; `quality` presets fill in what is not set.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "PRESETS",
    "BuildConfig",
    "EvalConfig",
    "GateConfig",
    "MethodConfig",
    "Quality",
    "Recipe",
    "SplitConfig",
    "TrainConfig",
]

Quality = Literal["draft", "good", "best"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Part = Annotated[float, Field(gt=0.0, lt=1.0)]  # of what must not be empty


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


class BuildConfig(_Section):
    """How documents become examples."""

    style: Literal["auto", "passages", "examples"] = "auto"
    """`passages`: the author's own passages are the answers. `examples`: the rows are pairs already.
    `auto`: pairs where the source holds pairs, else passages."""
    passage_words: Literal["auto"] | Annotated[int, Field(ge=20, le=600)] = "auto"
    """Words that a passage aims at; it ends at a paragraph or sentence border. `auto`: 90, or 40 on a base under 100 M
    parameters, which loses the thread in longer ones."""
    min_words: Annotated[int, Field(ge=1, le=200)] = 15
    """Passages with fewer words than this are dropped, and counted."""
    system_prompt: str = ""
    """The system message put before every example. Empty: none (examples that bring their own keep it)."""


class SplitConfig(_Section):
    """How the dataset is split. A document is never torn apart, and new documents never move old ones."""

    by: Literal["document", "row"] = "document"
    """`document` keeps everything made from one post on one side. `row` is for data without documents; else it leaks."""
    val: Part = 0.1
    """Share of documents for early stopping."""
    test: Part = 0.2
    """Share of documents for the verdict."""
    seed: int = 7
    """Another seed draws another split."""

    @model_validator(mode="after")
    def _leave_something_to_learn(self) -> SplitConfig:
        if self.val + self.test >= 0.9:
            raise ValueError("val + test leaves less than a tenth to train on")
        return self


class MethodConfig(_Section):
    """What is adapted, and how."""

    kind: Literal["lora", "rslora", "dora"] = "lora"
    """The adapter: LoRA, rank-stabilised LoRA, or weight-decomposed LoRA."""
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of the update of each adapted matrix."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update: alpha / rank multiplies it (alpha / sqrt(rank) with rslora)."""
    dropout: Share = 0.05
    """Dropout on the adapter's input during training."""
    targets: Literal["attention", "mlp", "all"] | list[str] = "all"
    """Which linear layers are adapted: `attention`, `mlp`, `all`, or a list such as [q_proj, v_proj], which must exist."""
    layers: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """How many layers, counted from the top, are adapted."""


class TrainConfig(_Section):
    """The training run."""

    epochs: Annotated[float, Field(gt=0, le=1000)] = 6.0
    """Passes over the training split. Early stopping may end sooner."""
    max_steps: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps at most; 0 takes the number that `epochs` gives."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 8
    """Examples in one forward pass."""
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 1
    """Forward passes for one optimiser step, weighted by learned tokens."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What follows the warm-up: down to a tenth along a cosine, or constant."""
    warmup: Share = 0.05
    """Share of the steps over which the learning rate rises to its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of the adapter (AdamW)."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are scaled down to this norm; 0 turns clipping off."""
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    """Tokens of an example at most, never more than the base's context. Longer ones are cut and counted; over 1 % blocks."""
    evaluate_every: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Steps between two looks at the validation split. `auto`: a twelfth of the run, at least 10. 0: only at the end."""
    val_examples: Annotated[int, Field(ge=1)] = 200
    """Validation examples that a look takes in, spread over the documents."""
    patience: Annotated[int, Field(ge=0)] = 5
    """Looks without improvement after which training stops; 0 never stops early."""
    min_delta: Annotated[float, Field(ge=0)] = 0.001
    """What counts as an improvement of the validation loss, in nats a token."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    """Steps between two checkpoints to resume from."""
    gradient_checkpointing: bool = False
    """Compute activations twice to save memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the frozen weights in training. `auto` measures what this machine multiplies faster. The adapter is float32."""
    seed: int = 7
    """Seed of data order, adapter initialisation and dropout."""


class EvalConfig(_Section):
    """What is measured on the test split."""

    baselines: list[Literal["prompted"]] = ["prompted"]
    """Cheaper alternatives measured beside the base. `prompted`: the base, shown training passages in its prompt."""
    max_items: Annotated[int, Field(ge=0)] = 200
    """Test items at most, spread over as many documents as can be. 0 takes all."""
    max_new_tokens: Literal["auto"] | Annotated[int, Field(ge=1, le=8192)] = "auto"
    """Tokens of an answer at most; answers cut here are counted. `auto`: a quarter more than 99 of 100 references have."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 32
    """Answers generated at once."""
    primary: Literal["bits_per_byte", "word_overlap", "rouge_l", "exact_match"] = "bits_per_byte"
    """The metric that the verdict hangs on. Bits per byte: how surprised the model is by the author's own held-out words."""
    draws: Annotated[int, Field(ge=200, le=1_000_000)] = 10_000
    """Draws of the bootstrap and the permutation test."""


class GateConfig(_Section):
    """The written rules of the verdict. Required: primary, parity, stop. Advisory: general."""

    primary_margin: Annotated[float, Field(ge=0)] = 0.0
    """The interval of the improvement must lie clear of this margin (in the primary metric's own unit)."""
    min_documents: Annotated[int, Field(ge=2)] = 6
    """Test documents below which no interval is claimed: the primary gate is then not measured."""
    stop_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of answers that must end by themselves."""
    parity_logit: Annotated[float, Field(gt=0)] = 0.001
    """Largest difference of any logit between adapter and merged model (float32)."""
    parity_top1: Annotated[float, Field(gt=0, le=1)] = 0.999
    """Share of positions at which adapter and merged model must choose the same token."""
    general_margin: Annotated[float, Field(ge=0)] = 0.1
    """Bits per byte by which the tuned model may get worse on general text before the advisory gate fails."""


class Recipe(_Section):
    """What is to be done, from source to verdict."""

    base: Annotated[str, Field(min_length=1)] = "apprentice"
    """The model to start from: `apprentice` (embedded), a folder, or a Hugging Face id."""
    sources: Annotated[list[str], Field(min_length=1)]
    """Where the writing is: folders, files, http(s) addresses of feeds or pages."""
    me: str = ""
    """Your name in chat exports: your turns become the answers. Empty: chats are documents, all names replaced."""
    quality: Quality = "good"
    """A preset for what is not set otherwise: `draft` is quick, `best` takes its time."""
    build: BuildConfig = BuildConfig()
    split: SplitConfig = SplitConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    gates: GateConfig = GateConfig()
    allow: list[Literal["cut", "leak", "stop", "zero_labels"]] = []
    """Blocking checks to override by name. Each is written into the manifests."""


PRESETS: dict[Quality, dict[str, dict[str, Any]]] = {
    "draft": {"train": {"epochs": 2.0}, "method": {"rank": 8, "alpha": 16.0}},
    "good": {},
    "best": {"train": {"epochs": 12.0, "patience": 8, "learning_rate": 7e-4}, "method": {"rank": 32, "alpha": 64.0}},
}
