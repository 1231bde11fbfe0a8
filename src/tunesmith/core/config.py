"""The recipe: one declaration per setting, from which the YAML key, the `--set` path and the reference page all come."""

from __future__ import annotations

import datetime
import re
from collections.abc import Set
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

__all__ = [
    "PRESETS",
    "BuildConfig",
    "EvalConfig",
    "FetchConfig",
    "GateConfig",
    "GeneratorConfig",
    "MergeConfig",
    "MethodConfig",
    "MixConfig",
    "ObjectiveConfig",
    "Quality",
    "Recipe",
    "Section",
    "SplitConfig",
    "TemplateConfig",
    "TrainConfig",
    "UseConfig",
]

Quality = Literal["draft", "good", "best"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Part = Annotated[float, Field(gt=0.0, lt=1.0)]  # of what must not be empty


class Section(BaseModel):
    """A part of the recipe: frozen, strict about keys, its settings documented in place."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1; who writes `patience: true` did not mean 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and kind is not bool and bool not in get_args(kind):
            raise ValueError("a value of another type than yes or no")
        return value


class FetchConfig(Section):
    """How web addresses are read. Fetched pages are cached in the project; only new or changed pages are fetched again."""

    delay_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    """Seconds between two requests to the same host. If its robots.txt asks for a longer delay, that one is used."""
    max_pages: Annotated[int, Field(ge=0, le=50_000)] = 500
    """Maximum pages to fetch per source: the latest pages of a sitemap, or the full text of truncated feed entries."""


class BuildConfig(Section):
    """How documents become examples."""

    style: Literal["auto", "passages", "examples", "qa", "rewrite"] = "auto"
    """`passages`: the author's own passages become the answers. `examples`: each source row is already a prompt and an answer.
    `qa`: a language model writes questions and answers (needs `generator`). `rewrite`: a language model writes a plain version
    of each passage as the prompt. `auto`: `examples` if the source holds such rows, else `passages`."""
    passage_words: Literal["auto"] | Annotated[int, Field(ge=20, le=600)] = "auto"
    """Target length of a passage in words; passages end at a paragraph or sentence boundary. `auto`: 90, or 40 on a base with
    fewer than 100 M parameters, because such models lose the thread in longer passages."""
    min_words: Annotated[int, Field(ge=1, le=200)] = 15
    """Passages with fewer words than this are dropped and counted."""
    system_prompt: str = ""
    """The system message added to every example. Empty: none is added. Examples that have their own keep it."""
    dedup: Literal[0] | Annotated[float, Field(ge=0.2, le=1)] = 0.8
    """Share of common five-word sequences from which two documents or examples are copies. The better is kept; 0 keeps all."""
    redact: bool = False
    """Replace secrets and personal data in documents and rows with placeholders such as `[EMAIL]` and `[AWS_KEY]`."""
    semantic: str = ""
    """Also find training rows that paraphrase a validation, test or golden row. `words` needs no model, `embeddings` needs the
    extra of that name, and the folder of a sentence-transformers model works too. Empty: only golden rows are compared, by
    their words."""
    words_per_pair: Annotated[int, Field(ge=20, le=5000)] = 120
    """With `qa`: one question per this many words of a document, and at least one per document."""
    real_share: Annotated[float, Field(ge=0.0, le=0.9)] = 0.3
    """With `qa`: share of examples that are the author's own passages, mixed with the generated ones. 0.2 to 0.5 is usual."""


class GeneratorConfig(Section):
    """The language model that writes data, for `build.style` qa and rewrite and for `tunesmith synth`."""

    url: str = ""
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1, without user name, key or query string."""
    model: str = ""
    """The model's name as the server knows it."""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """Name of the environment variable that holds the API key. Empty: no key is sent. The key itself is never stored."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Maximum number of requests sent at the same time."""
    max_tokens_total: Annotated[int, Field(ge=0)] = 2_000_000
    """Maximum tokens, prompts and replies together, for one dataset or file. Cached replies count. 0: no limit."""
    max_cost: Annotated[float, Field(ge=0)] = 0.0
    """Maximum cost of one dataset or file, in the currency of the prices. 0: no limit."""
    price_per_million_in: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million tokens of prompts."""
    price_per_million_out: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million tokens of replies."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Sampling temperature for written data. Judges always run at temperature 0."""
    seed: int = 7
    """Seed sent with each request; servers that support it return the same reply again."""
    max_reply_tokens: Annotated[int, Field(ge=64, le=32_768)] = 1024
    """Maximum tokens per reply. Replies that reach this limit are rejected."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds to wait for an answer before a request is retried."""

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[^\s@?#/]+(?:/[^\s@?#]*)?", url):
            raise ValueError("an http:// or https:// address without user name, key, query string or spaces")
        return url


class SplitConfig(Section):
    """How the dataset is split. A document always stays in one split, and new documents never move old ones."""

    by: Literal["document", "thread", "author", "time", "group", "row"] = "document"
    """What stays in one split: everything made from one post (`document`), a `thread`, an `author`, or one value of `group`.
    `time`: train before val before test, by whole days. `row` is only for data without documents; with documents it leaks."""
    group: str = ""
    """With `by: group`: the column whose equal values stay in one split, such as customer."""
    stratify: str = ""
    """A column of labels that every split must contain; rows are split within each label. Empty: labels are ignored."""
    val: Part = 0.1
    """Share of documents for early stopping."""
    test: Part = 0.2
    """Share of documents for the verdict."""
    seed: int = 7
    """Seed of the split; another seed gives another split."""

    @model_validator(mode="after")
    def _leave_something_to_learn(self) -> SplitConfig:
        if self.val + self.test >= 0.9:
            raise ValueError("val + test below 0.9, so that at least a tenth is left for training")
        if (self.by == "group") != bool(self.group):
            raise ValueError("both split.by: group and split.group: COLUMN; one has no effect without the other")
        return self


class MixConfig(Section):
    """How often each training row is seen, and which other rows are mixed in."""

    general: list[str] = []
    """Files or folders of general examples, mixed into the training split only, to reduce forgetting. Empty: none."""
    share: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of general rows among the training rows, if `general` is set. 0.1 to 0.3 is usual; other values give a warning."""
    weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    """How often an epoch shows the rows of a source, by name or pattern such as `notes-*`: 2 twice, 0.5 half of them."""
    max_source: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Maximum share of the author's training rows that may come from one source. 1: no limit."""


class TemplateConfig(Section):
    """Options of the base's chat template, with one meaning in training, evaluation and use."""

    model_config = ConfigDict(extra="allow")

    enable_thinking: bool = False
    """Whether the model is asked to think before it answers, for templates with such a switch under any name. If off, an empty
    thinking block is part of the prompt. Other keys of this section are passed to the template under their own names
    (`reasoning_effort: low`); a key that the template does not read is an error."""
    date: datetime.date = datetime.date(2026, 1, 1)
    """The date that a template uses as today, if it writes one. It is fixed, so that a run resumed tomorrow or on another
    machine is the same run."""

    @model_validator(mode="after")
    def _only_plain_values(self) -> TemplateConfig:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, bool | int | float | str):
                raise ValueError(f"text, a number, true or false for template.{name}")
        return self


class MethodConfig(Section):
    """Which layers are adapted, and how."""

    kind: Literal["lora", "rslora", "dora"] = "lora"
    """The adapter: LoRA, rank-stabilised LoRA, or weight-decomposed LoRA."""
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of the update to each adapted matrix."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update, which is multiplied by alpha / rank (alpha / sqrt(rank) with rslora)."""
    dropout: Share = 0.05
    """Dropout on the adapter's input during training."""
    targets: Literal["attention", "mlp", "all"] | list[str] = "all"
    """Which linear layers are adapted: `attention`, `mlp`, `all`, or a list such as [q_proj, v_proj], which must exist."""
    layers: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """How many layers, counted from the top, are adapted."""


class ObjectiveConfig(Section):
    """The training objective. Each file in `train/methods/` is a kind; other keys of this section are settings of that kind."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Field(min_length=1)] = "sft"
    """The training method. `sft` learns the answers of examples. `dpo` learns from preference rows to prefer the chosen one."""

    @property
    def options(self) -> dict[str, Any]:
        """The settings of the kind, as they were written."""
        return dict(self.model_extra or {})


class TrainConfig(Section):
    """The training run."""

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
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: a cosine down to a tenth of the peak, or constant."""
    warmup: Share = 0.05
    """Share of the steps during which the learning rate rises to its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of the adapter (AdamW)."""
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
    tokens predicted correctly); `dpo` has `loss`, `preference_accuracy`, `margin` and `chosen_reward`. The best weights by the
    first of the other figures are saved as well."""
    min_delta: Annotated[float, Field(ge=0)] = 0.001
    """Smallest change that counts as an improvement, in the unit of that figure (nats per token, a share for accuracy)."""
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
    seed: int = 7
    """Seed of data order, adapter initialisation and dropout."""


class UseConfig(Section):
    """How answers are sampled: in the evaluation, in `chat` and in the merged model's own defaults."""

    temperature: Literal["auto"] | Annotated[float, Field(ge=0, le=2)] = "auto"
    """Sampling temperature; 0 always takes the most likely token. `auto`, here and in the next two settings: the best of seven
    candidates on validation questions, judged on base and tuned model together."""
    top_p: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Sample only from the likeliest tokens that together have this probability. Has no effect at temperature 0."""
    repetition_penalty: Literal["auto"] | Annotated[float, Field(ge=1, le=2)] = "auto"
    """Penalty on tokens that already occur in prompt or answer. 1: no penalty."""
    draws: Annotated[int, Field(ge=3, le=20)] = 3
    """Answers per test question that the evaluation samples from base, prompted base and tuned model. Has no effect at
    temperature 0, where all of them would be equal."""
    seed: int = 7
    """Seed of the sampling, both when the settings are chosen and in the evaluation."""


class MergeConfig(Section):
    """The merged model: base and adapter in one folder."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the stored merged weights. `auto`: that of the base. The merge is computed in float32 and rounded once,
    and the parity gate measures the stored file."""


class EvalConfig(Section):
    """What is measured on the test split."""

    baselines: list[str] = ["prompted"]
    """Cheaper alternatives measured alongside the base. `prompted`: the base with training passages in its prompt."""
    max_items: Annotated[int, Field(ge=0)] = 200
    """Maximum number of test items, spread over as many documents as possible. 0: all."""
    max_new_tokens: Literal["auto"] | Annotated[int, Field(ge=1, le=8192)] = "auto"
    """Maximum tokens per answer; answers cut here are counted. `auto`: a quarter more than 99 % of the references need."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 256
    """Maximum number of answers generated at once, base and tuned model together. Fewer are generated if their keys and values
    need more than a quarter of the free memory (on a CPU: 768 MiB)."""
    primary: Literal["bits_per_byte", "word_overlap", "rouge_l", "exact_match"] = "bits_per_byte"
    """The metric that decides the verdict. Bits per byte: how surprised the model is by the author's held-out words."""
    draws: Annotated[int, Field(ge=200, le=1_000_000)] = 10_000
    """Number of resamples of the bootstrap and of the permutation test."""


class GateConfig(Section):
    """The rules of the verdict. Required gates: primary, parity, stop, answers. Advisory gates: general, served."""

    primary_margin: Annotated[float, Field(ge=0)] = 0.0
    """The whole confidence interval of the improvement must be above this margin, in the unit of the primary metric."""
    min_documents: Annotated[int, Field(ge=2)] = 6
    """Minimum number of test documents; with fewer, the primary gate is not measured. Fewer than six can never pass."""
    stop_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of sampled answers that must end by themselves and contain at least one word."""
    loop_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of answers by which the tuned model may loop, or repeat one answer to different questions, more than the base."""
    parity_logit: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Largest allowed difference of any logit between tuned and merged model, both computed in float32. `auto`: 0.001 for
    float32 weights; for 16-bit weights the difference is reported without a limit."""
    parity_top1: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Share of positions at which tuned and merged model must choose the same token. `auto`: depends on the number type of the
    stored weights; see the table in docs/concepts/merged-model.md."""
    general_margin: Annotated[float, Field(ge=0)] = 0.1
    """Largest allowed increase in bits per byte on general text; beyond it the advisory gate fails."""


class Recipe(Section):
    """All settings of a project, from sources to verdict."""

    base: Annotated[str, Field(min_length=1)] = "auto"
    """The model to start from: a name in `tunesmith bases`, a folder, a GGUF file, or a Hugging Face id. `auto`: smollm2,
    fetched once and cached for all projects, or the embedded `apprentice` if smollm2 is not available."""
    sources: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Where your writing is: folders, files, addresses of feeds, sites or pages, or hf:OWNER/NAME for a hub data set."""
    me: str = ""
    """Your name in chat exports: your turns become the answers. Empty: chats are read as documents with all names replaced."""
    quality: Quality = "good"
    """Preset for all settings that you do not write: `draft` is quick, `best` takes longer and trains more."""
    fetch: FetchConfig = FetchConfig()
    build: BuildConfig = BuildConfig()
    generator: GeneratorConfig = GeneratorConfig()
    split: SplitConfig = SplitConfig()
    mix: MixConfig = MixConfig()
    template: TemplateConfig = TemplateConfig()
    method: MethodConfig = MethodConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    merge: MergeConfig = MergeConfig()
    use: UseConfig = UseConfig()
    eval: EvalConfig = EvalConfig()
    gates: GateConfig = GateConfig()
    allow: list[str] = []
    """Names of blocking findings to ignore, such as `leak`, `cut` or `secrets`. The list is stored in manifests."""
    _written: frozenset[str] | None = PrivateAttr(default=None)
    _by_base: frozenset[str] = PrivateAttr(default=frozenset())

    def has_written(self, name: str) -> bool:
        """Whether the setting `name` (`train.epochs`) was written by the user rather than set by a preset or default."""
        if self._written is not None:
            return name in self._written
        section, _, key = name.partition(".")
        return key in getattr(self, section).model_fields_set

    @property
    def by_base(self) -> Set[str]:
        """Names of settings whose values were chosen for this base."""
        return self._by_base

    def marked(self, *, written: Set[str] | None = None, by_base: Set[str] | None = None) -> Self:
        """A copy that records which settings the user wrote and which were chosen for this base."""
        copy = self.model_copy()
        copy._written = self._written if written is None else frozenset(written)
        copy._by_base = self._by_base if by_base is None else frozenset(by_base)
        return copy


PRESETS: dict[Quality, dict[str, dict[str, Any]]] = {
    "draft": {"train": {"epochs": 2.0}, "method": {"rank": 8, "alpha": 16.0}},
    "good": {},
    "best": {"train": {"epochs": 12.0, "patience": 8, "learning_rate": 7e-4}, "method": {"rank": 32, "alpha": 64.0}},
}
