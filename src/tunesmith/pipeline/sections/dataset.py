"""Settings of the dataset stage: examples, the model that writes some, splits, the mixture, the chat template."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from tunesmith.core.settings import Section, plain_address
from tunesmith.models.template_options import DATE, ENABLE_THINKING

__all__ = ["BuildConfig", "GeneratorConfig", "MixConfig", "SplitConfig", "TemplateConfig"]

Part = Annotated[float, Field(gt=0.0, lt=1.0)]  # of what must not be empty


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
    missing_parts: Literal["drop", "keep"] = "drop"
    """Passages that point at code, a table or a picture which is not in the text ("the code below"): left out, or kept."""
    fit_by_base: bool = False
    """Also measure, on 100 rows, how often the base finds the answer likelier after its own question than after four of other
    documents. Takes a minute or more on a CPU. By words, this is always measured."""
    fit_by_encoder: str = ""
    """Also measure, on 100 rows, how often an answer is nearer to its own question than to four of other documents, by the
    vectors of `embeddings`, which needs the extra of that name, or of the folder of a sentence-transformers model. Empty: not
    measured."""
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
    top_logprobs: Annotated[int, Field(ge=0, le=100)] = 0
    """With `tunesmith synth distil`: also keep the log-probabilities of so many likeliest tokens at each place of an answer,
    for `objective.kind: teacher_logprobs`. Many servers give at most 20. 0: answers alone."""

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        return plain_address(url)


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
    folds: Literal[0] | Annotated[int, Field(ge=2, le=50)] = 0
    """Number of equal folds of which one is the test split, in place of the share `test`. `tunesmith crossfit` sets it. 0: no
    folds."""
    fold: Annotated[int, Field(ge=0, le=50)] = 0
    """With `folds`: which fold is the test split, from 1."""

    @model_validator(mode="after")
    def _leave_something_to_learn(self) -> Self:
        if self.val + self.test >= 0.9:
            raise ValueError("val + test below 0.9, so that at least a tenth is left for training")
        if (self.by == "group") != bool(self.group):
            raise ValueError("both split.by: group and split.group: COLUMN; one has no effect without the other")
        if not min(self.folds, 1) <= self.fold <= self.folds:
            raise ValueError(f"split.fold from 1 to split.folds ({self.folds}), or neither of them")
        if self.folds and self.by == "time":
            raise ValueError("another split.by than time: only the latest days can be the test split")
        return self


class MixConfig(Section):
    """How often each training row is seen, and which other rows are mixed in."""

    own_answers: bool = False
    """Mix in the base's own answers to general questions, so that it keeps its general skills. Bases of 100 million parameters
    and more: on by default, but for objectives that score drawn answers (`grpo`, `rloo`, `ppo`)."""
    general: list[str] = []
    """Files or folders of general examples, mixed into the training split only, to reduce forgetting. Empty: none."""
    share: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of general rows among the training rows, if there are any. 0.1 to 0.3 is usual; other values give a warning."""
    weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    """How often an epoch shows the rows of a source, by name or pattern such as `notes-*`: 2 twice, 0.5 half of them."""
    max_source: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Maximum share of the author's training rows that may come from one source. 1: no limit."""


class TemplateConfig(Section):
    """Options of the base's chat template, with one meaning in training, evaluation and use."""

    model_config = ConfigDict(extra="allow")

    enable_thinking: bool = ENABLE_THINKING
    """Whether the model is asked to think before it answers, for templates with such a switch under any name. If off, an empty
    thinking block is part of the prompt. Other keys of this section are passed to the template under their own names
    (`reasoning_effort: low`); a key that the template does not read is an error."""
    date: datetime.date = DATE
    """The date that a template uses as today, if it writes one. It is fixed, so that a run resumed tomorrow or on another
    machine is the same run."""

    @model_validator(mode="after")
    def _only_plain_values(self) -> TemplateConfig:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, bool | int | float | str):
                raise ValueError(f"text, a number, true or false for template.{name}")
        return self
