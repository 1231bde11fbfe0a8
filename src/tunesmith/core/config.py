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
            raise ValueError("a number or a word, not yes or no")
        return value


class FetchConfig(Section):
    """How web addresses are read. What was fetched is kept in the project; only what is new or changed is fetched again."""

    delay_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    """Seconds between two requests to the same host. A longer delay that its robots.txt asks for counts instead."""
    max_pages: Annotated[int, Field(ge=0, le=50_000)] = 500
    """Pages of one source at most: those of a sitemap that changed last, and those of which a feed gives only the beginning."""


class BuildConfig(Section):
    """How documents become examples."""

    style: Literal["auto", "passages", "examples", "qa", "rewrite"] = "auto"
    """`passages`: the author's own passages are the answers. `examples`: the rows are pairs already. `qa`: a language model
    writes questions and answers (needs `generator`). `rewrite`: it writes a plain version of each passage as the prompt.
    `auto`: pairs where the source holds pairs, else passages."""
    passage_words: Literal["auto"] | Annotated[int, Field(ge=20, le=600)] = "auto"
    """Words that a passage aims at; it ends at a paragraph or sentence border. `auto`: 90, or 40 on a base under 100 M
    parameters, which loses the thread in longer ones."""
    min_words: Annotated[int, Field(ge=1, le=200)] = 15
    """Passages with fewer words than this are dropped, and counted."""
    system_prompt: str = ""
    """The system message put before every example. Empty: none (examples that bring their own keep it)."""
    dedup: Literal[0] | Annotated[float, Field(ge=0.2, le=1)] = 0.8
    """Share of common five-word runs from which two documents, or two pairs, are copies; the better one stays. 0 keeps all."""
    redact: bool = False
    """Replace secrets and personal data in documents and rows by words such as `[EMAIL]` and `[AWS_KEY]`."""
    semantic: str = ""
    """Also look for training rows that say in other words what a validation, test or golden row says: `words` needs no model,
    `embeddings` takes the extra of that name, and the folder of a sentence-transformers model works too. Empty: golden rows
    alone, by words."""
    words_per_pair: Annotated[int, Field(ge=20, le=5000)] = 120
    """With `qa`: one question for so many words of a document, at least one a document."""
    real_share: Annotated[float, Field(ge=0.0, le=0.9)] = 0.3
    """With `qa`: share of examples that are the author's own passages, put beside the generated ones. 0.2 to 0.5 is usual."""


class GeneratorConfig(Section):
    """The language model that writes data, for `build.style` qa and rewrite and for `tunesmith synth`."""

    url: str = ""
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1. No name, key or query in it."""
    model: str = ""
    """The model's name as the server knows it."""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """Name of the environment variable that holds the key. Empty: no key is sent. The key itself is never written anywhere."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests under way at once."""
    max_tokens_total: Annotated[int, Field(ge=0)] = 2_000_000
    """Tokens, prompts and replies together, that one dataset or file may take. Replies kept from before count. 0: no limit."""
    max_cost: Annotated[float, Field(ge=0)] = 0.0
    """Money that one dataset or file may take, in the currency of the prices. 0: no limit."""
    price_per_million_in: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million tokens of prompts."""
    price_per_million_out: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million tokens of replies."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Sampling temperature of what is written. Judges are asked at 0."""
    seed: int = 7
    """Sent with each request; servers that honour it give the same reply again."""
    max_reply_tokens: Annotated[int, Field(ge=64, le=32_768)] = 1024
    """Tokens of one reply at most. Replies that are cut here are sent back."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds after which a request without an answer is tried again."""

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[^\s@?#/]+(?:/[^\s@?#]*)?", url):
            raise ValueError("an http:// or https:// address without a name, key, query or blank in it")
        return url


class SplitConfig(Section):
    """How the dataset is split. A document is never torn apart, and new documents never move old ones."""

    by: Literal["document", "thread", "author", "time", "group", "row"] = "document"
    """What stays on one side: everything made from one post (`document`), one `thread`, one `author`, or one value of `group`.
    `time`: train before val before test, by whole days. `row` is for data without documents; else it leaks."""
    group: str = ""
    """With `by: group`, the column of the rows whose values are kept on one side, such as customer."""
    stratify: str = ""
    """A column of labels that every split must have; the draw is made within each label. Empty: no labels are looked at."""
    val: Part = 0.1
    """Share of documents for early stopping."""
    test: Part = 0.2
    """Share of documents for the verdict."""
    seed: int = 7
    """Another seed draws another split."""

    @model_validator(mode="after")
    def _leave_something_to_learn(self) -> SplitConfig:
        if self.val + self.test >= 0.9:
            raise ValueError("val + test of at most 0.9, so that a tenth is left to train on")
        if (self.by == "group") != bool(self.group):
            raise ValueError("split.by: group and split.group: COLUMN together; one has no effect without the other")
        return self


class MixConfig(Section):
    """How often each training row is seen, and what is learned beside the author's own rows."""

    general: list[str] = []
    """Files or folders of general examples, mixed into the training split alone against forgetting. Empty: none."""
    share: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of general rows among the training rows, if `general` is set. 0.1 to 0.3 is usual; outside it a finding says so."""
    weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    """Source, or a pattern such as `notes-*`, to the times an epoch shows each of its rows: 2 twice, 0.5 half of them."""
    max_source: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the author's training rows that one source may have at most. 1: no cap."""


class TemplateConfig(Section):
    """Options of the base's chat template, with one meaning in training, evaluation and use."""

    model_config = ConfigDict(extra="allow")

    enable_thinking: bool = False
    """Whether the model is asked to think before it answers, for templates with such a switch, whatever its name there. Off, an
    empty thinking block belongs to the prompt. Other keys of this section are passed to the template under their own names
    (`reasoning_effort: low`); one that the template does not read is an error."""
    date: datetime.date = datetime.date(2026, 1, 1)
    """The day that a template takes for today, if it writes a date. It does not follow the calendar, so a run that is continued
    tomorrow, or on another machine, is the same run."""

    @model_validator(mode="after")
    def _only_plain_values(self) -> TemplateConfig:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, bool | int | float | str):
                raise ValueError(f"text, a number, true or false for template.{name}")
        return self


class MethodConfig(Section):
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


class ObjectiveConfig(Section):
    """What is minimised. Each file in `train/methods/` is a kind; further keys of this section are settings of the kind."""

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
    """Optimiser steps at most; 0 takes the number that `epochs` gives."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 8
    """Examples in one batch."""
    batch_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens in one batch, about, in place of `batch_examples`; 0 counts examples."""
    curriculum: Literal["none", "short_first"] = "none"
    """`short_first`: the first epoch goes from the shortest examples to the longest; later ones are shuffled as ever."""
    tokens_at_once: Literal["auto"] | Annotated[int, Field(ge=16)] = "auto"
    """Tokens that go through the model at once, at most. `auto`: what fits into half of the free memory, measured, and on a CPU
    about 384, which fill its matrix products. A larger batch is learned in parts, which gives the same step; where memory runs
    out all the same, they are halved."""
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
    best_by: Annotated[str, Field(min_length=1)] = "loss"
    """The validation figure that decides which step's weights are the result, and early stopping. `sft` has `loss` and
    `accuracy` (target tokens that are the likeliest); `dpo` has `loss`, `preference_accuracy`, `margin` and `chosen_reward`.
    The best step by the first other figure is saved as well."""
    min_delta: Annotated[float, Field(ge=0)] = 0.001
    """What counts as an improvement, in the unit of that figure: nats per token for the loss of `sft`, a share for accuracy."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    """Steps between two checkpoints to resume from."""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Minutes after which a checkpoint is due even if `checkpoint_every` is not reached; 0 goes by steps alone. What is learned
    does not depend on it."""
    keep_checkpoints: Annotated[int, Field(ge=2, le=1000)] = 2
    """Checkpoints to keep, counted from the newest. Each holds the best steps by validation loss and by accuracy as well."""
    compile: bool | Literal["auto"] = False
    """Let torch compile the layers: about a minute before the first step, then up to a fifth faster on some CPUs, and nothing
    gained on others. `auto` times both ways where training takes over twenty minutes. Needs a C++ compiler, and a resumed
    run is then no longer promised to end with the same bytes."""
    gradient_checkpointing: bool = False
    """Compute activations twice to save memory."""
    precision: Literal["auto", "float32", "bfloat16", "exact"] = "auto"
    """Type of the frozen weights in training. `auto` measures what this machine multiplies faster. The adapter is float32.
    `exact`: float32, deterministic algorithms, and no sharing of what rows have in common."""
    seed: int = 7
    """Seed of data order, adapter initialisation and dropout."""


class UseConfig(Section):
    """The settings of use: how answers are drawn in the evaluation, in `chat` and by the merged model's own defaults."""

    temperature: Literal["auto"] | Annotated[float, Field(ge=0, le=2)] = "auto"
    """0 takes the likeliest token each time. `auto`, here and in the next two: what serves both base and tuned model best on
    validation questions, of seven candidates."""
    top_p: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Tokens are drawn from the likeliest that hold this much of the probability. Has no effect at temperature 0."""
    repetition_penalty: Literal["auto"] | Annotated[float, Field(ge=1, le=2)] = "auto"
    """Divides the scores of tokens that prompt and answer hold already; 1 changes nothing."""
    draws: Annotated[int, Field(ge=3, le=20)] = 3
    """Answers to each test question that the evaluation draws from base, prompted base and tuned model. Has no effect at
    temperature 0, where all would be the same."""
    seed: int = 7
    """Seed of the draws, in the choice of the settings and in the evaluation."""


class MergeConfig(Section):
    """The merged model: base and adapter as one folder."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type in which the merged weights are stored. `auto`: the base's own. The sum is made in float32 and rounded once, and the
    parity gate measures the file as it is stored."""


class EvalConfig(Section):
    """What is measured on the test split."""

    baselines: list[str] = ["prompted"]
    """Cheaper alternatives measured beside the base. `prompted`: the base, shown training passages in its prompt."""
    max_items: Annotated[int, Field(ge=0)] = 200
    """Test items at most, spread over as many documents as can be. 0 takes all."""
    max_new_tokens: Literal["auto"] | Annotated[int, Field(ge=1, le=8192)] = "auto"
    """Tokens of an answer at most; answers cut here are counted. `auto`: a quarter more than 99 of 100 references have."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 256
    """Answers generated at once at most, base and tuned together. A quarter of the free memory, and on a CPU 768 MiB of keys
    and values, may allow fewer."""
    primary: Literal["bits_per_byte", "word_overlap", "rouge_l", "exact_match"] = "bits_per_byte"
    """The metric that the verdict hangs on. Bits per byte: how surprised the model is by the author's own held-out words."""
    draws: Annotated[int, Field(ge=200, le=1_000_000)] = 10_000
    """Draws of the bootstrap and the permutation test."""


class GateConfig(Section):
    """The written rules of the verdict. Required: primary, parity, stop, answers. Advisory: general, served."""

    primary_margin: Annotated[float, Field(ge=0)] = 0.0
    """The interval of the improvement must lie clear of this margin (in the primary metric's own unit)."""
    min_documents: Annotated[int, Field(ge=2)] = 6
    """Test documents below which no interval is claimed: the primary gate is then not measured. Under six can never pass."""
    stop_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of answers at the settings of use that must end by themselves and have a word."""
    loop_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of answers by which the tuned model may loop, or answer different questions with the same words, more than the
    base."""
    parity_logit: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Largest difference of any logit between tuned and merged model, both computed in float32. `auto`: 0.001 for float32
    weights, reported without a limit for 16-bit ones."""
    parity_top1: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Share of positions at which tuned and merged model must choose the same token. `auto`: by the type of the stored
    weights; docs/concepts/merged-model.md has the table."""
    general_margin: Annotated[float, Field(ge=0)] = 0.1
    """Bits per byte by which the tuned model may get worse on general text before the advisory gate fails."""


class Recipe(Section):
    """What is to be done, from source to verdict."""

    base: Annotated[str, Field(min_length=1)] = "auto"
    """The model to start from: a name that `tunesmith bases` lists, a folder, a GGUF file, or a Hugging Face id. `auto`:
    smollm2, fetched once and kept for all projects, or the embedded `apprentice` where it cannot be had."""
    sources: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Where the writing is: folders, files, addresses of feeds, sites or pages, hf:OWNER/NAME."""
    me: str = ""
    """Your name in chat exports: your turns become the answers. Empty: chats are documents, all names replaced."""
    quality: Quality = "good"
    """A preset for what is not set otherwise: `draft` is quick, `best` takes its time."""
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
    """Blocking checks to override by name: `leak`, `cut`, `secrets` and other findings of severity error. Kept in manifests."""
    _written: frozenset[str] | None = PrivateAttr(default=None)
    _by_base: frozenset[str] = PrivateAttr(default=frozenset())

    def has_written(self, name: str) -> bool:
        """Whether somebody wrote the setting `name` (`train.epochs`) down, as against a preset or a default."""
        if self._written is not None:
            return name in self._written
        section, _, key = name.partition(".")
        return key in getattr(self, section).model_fields_set

    @property
    def by_base(self) -> Set[str]:
        """Settings that were chosen to suit the base."""
        return self._by_base

    def marked(self, *, written: Set[str] | None = None, by_base: Set[str] | None = None) -> Self:
        """The same recipe, knowing which settings were written down and which were chosen to suit the base."""
        copy = self.model_copy()
        copy._written = self._written if written is None else frozenset(written)
        copy._by_base = self._by_base if by_base is None else frozenset(by_base)
        return copy


PRESETS: dict[Quality, dict[str, dict[str, Any]]] = {
    "draft": {"train": {"epochs": 2.0}, "method": {"rank": 8, "alpha": 16.0}},
    "good": {},
    "best": {"train": {"epochs": 12.0, "patience": 8, "learning_rate": 7e-4}, "method": {"rank": 32, "alpha": 64.0}},
}
