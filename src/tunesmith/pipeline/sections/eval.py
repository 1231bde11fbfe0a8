"""Settings of the evaluation stage: what is measured, and the rules of the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.core.settings import Section, plain_address

__all__ = ["BiggerConfig", "EvalConfig", "GateConfig", "JudgeConfig"]


class EvalConfig(Section):
    """What is measured on the test split."""

    baselines: list[str] = ["prompted"]
    """Cheaper alternatives measured alongside the base. `prompted`: the base with training passages in its prompt. `few_shot`:
    the base after the training examples that are most like the question. `retrieval`: the base with the training passages that
    fit the question best. `retrieval_embeddings`: the same by a sentence encoder (the extra `embeddings`)."""
    additions: list[str] = []
    """What takes more than tuning, measured alongside without a gate. `tuned_retrieval`: the tuned model with the passages that
    `retrieval` finds. A bigger model is measured where `bigger.url` says that there is one."""
    max_items: Annotated[int, Field(ge=0)] = 200
    """Maximum number of test items, spread over as many documents as possible. 0: all."""
    max_new_tokens: Literal["auto"] | Annotated[int, Field(ge=1, le=8192)] = "auto"
    """Maximum tokens per answer; answers cut here are counted. `auto`: a quarter more than 99 % of the references need."""
    batch_examples: Annotated[int, Field(ge=1, le=4096)] = 256
    """Maximum number of answers generated at once, base and tuned model together. Fewer are generated if their keys and values
    need more than a quarter of the free memory (on a CPU: 768 MiB)."""
    primary: (
        Literal["bits_per_byte", "word_overlap", "rouge_l", "exact_match", "field_accuracy", "field_f1"]
        | Annotated[str, Field(pattern=r"^json_field:[^,]+(,[^,]+)*$")]
    ) = "bits_per_byte"
    """The metric that decides the verdict. Bits per byte: how surprised the model is by the author's held-out words. Of answers
    in JSON, `field_accuracy` and `field_f1` count the right fields, `json_field:action,order` the answers in which these are
    right."""
    suites: list[str] = ["general", "safety"]
    """Further questions put to base and tuned model: `general`, `safety`, or folders and files of your own
    (docs/concepts/suites.md). Empty: none, and the gates about them are not measured."""
    weighting: Literal["documents", "items"] = "documents"
    """What counts as one in every mean: a document, whatever its number of items, or an item."""
    draws: Annotated[int, Field(ge=200, le=1_000_000)] = 10_000
    """Number of resamples of the bootstrap and of the permutation test."""


class BiggerConfig(Section):
    """A bigger model behind a server, measured on the same questions without a gate. References are not sent there."""

    url: str = ""
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1, without user name, key or query string.
    Empty: no bigger model is measured."""
    model: str = ""
    """The model's name as the server knows it."""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """Name of the environment variable that holds the API key. Empty: no key is sent. The key itself is never stored."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Maximum number of questions asked at the same time."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds to wait for an answer before a question is asked again, three times at most."""

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        return plain_address(url)


class JudgeConfig(Section):
    """A language model that compares answers. It decides nothing until people's labels say that it may."""

    url: str = ""
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1, without user name, key or query string.
    Empty: no server is asked."""
    model: str = ""
    """The model's name as the server knows it."""
    local: str = ""
    """In place of a server: a model folder, a base of `tunesmith bases`, a GGUF file, or an artifact such as `run:latest`.
    Small models are weak judges, and the result says so."""
    calibration: str = ""
    """File of labelled pairs that the judge is compared with, as for `tunesmith judge calibrate`; some of them must be answers
    of this project's base and tuned model. Empty: the judge is shown and gates nothing."""
    rubric: str = ""
    """YAML file with the question and the points that the judge goes by. Empty: accuracy, completeness and format."""
    reference: bool = False
    """Show the reference of each pair to the judge."""
    json_schema: bool = True
    """Send the JSON schema of the reply; servers that do not take it are asked without. A model in this process is held to it
    if the extra `serve` is installed, a GGUF file in llama.cpp always."""
    again: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of pairs that are judged a second time, to see whether the judge agrees with itself."""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """Name of the environment variable that holds the API key. Empty: no key is sent. The key itself is never stored."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Maximum number of requests at the same time; a local model in this process answers them in one batch,
    llama.cpp up to eight at once."""
    max_tokens_total: Annotated[int, Field(ge=0)] = 2_000_000
    """Maximum tokens, prompts and replies together, for one file or verdict. Cached replies count. 0: no limit."""
    max_cost: Annotated[float, Field(ge=0)] = 0.0
    """Maximum cost of one file or verdict, in the currency of the prices. 0: no limit."""
    price_per_million_in: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million tokens of prompts."""
    price_per_million_out: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million tokens of replies."""
    max_reply_tokens: Annotated[int, Field(ge=16, le=32_768)] = 512
    """Maximum tokens per reply. Replies that reach this limit are not parsed."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds to wait for an answer before a request is retried."""

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        return plain_address(url)


class GateConfig(Section):
    """The rules of the verdict. A rule that is easier to pass than by default is marked in verdict, report and card."""

    better_margin: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """Gain over the base that the whole confidence interval must exceed, in the unit of the primary metric. `auto`: 0.02 bits
    per byte; 0.01 for overlaps; 0.02 for shares of right answers."""
    min_documents: Annotated[int, Field(ge=2)] = 6
    """Minimum number of test documents; with fewer, the gate `better` is not measured. Fewer than six can never pass."""
    question_share: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Share of what the right question is worth to the base, in bits per byte, that it must be worth to the tuned model."""
    stop_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of sampled answers by which the tuned model may end less often by itself than the base."""
    loop_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of answers by which the tuned model may loop, or repeat one answer to different questions, more than the base."""
    parity_logit: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Largest allowed difference of any logit between tuned and merged model, both computed in float32. `auto`: 0.001 for
    float32 weights; for 16-bit weights the difference is reported without a limit."""
    parity_top1: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """Share of positions at which tuned and merged model must choose the same token. `auto`: depends on the number type of the
    stored weights; see the table in docs/concepts/merged-model.md."""
    general_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of general questions that the tuned model may lose, interval included; above 2 points there is a warning."""
    general_text_margin: Annotated[float, Field(ge=0)] = 0.2
    """Largest allowed increase in bits per byte on general text."""
    advisory: list[str] = []
    """Names of gates that are shown and do not decide, such as `general` for a base that cannot answer general questions."""

    @property
    def loosened(self) -> Mapping[str, str]:
        """For each gate that is easier to pass than by default: which setting, and its default. Limits whose default depends on
        the metric or on the stored type are not here: their gates say so themselves."""
        found: dict[str, list[str]] = {}
        for name, (gate, is_looser) in _LOOSER.items():
            value, usual = getattr(self, name), type(self).model_fields[name].default
            if value != usual and is_looser(value):
                found.setdefault(gate, []).append(f"gates.{name} is {value:g}, by default {usual}")
        return {gate: "; ".join(texts) for gate, texts in found.items()}


# a setting, its gate, and whether a value is easier to pass than the default
_LOOSER: dict[str, tuple[str, Callable[[float], bool]]] = {
    "min_documents": ("better", lambda value: value < 6),
    "question_share": ("answers_the_question", lambda value: value < 0.6),
    "stop_margin": ("stop", lambda value: value > 0.1),
    "loop_margin": ("not_collapsed", lambda value: value > 0.1),
    "general_margin": ("general", lambda value: value > 0.05),
    "general_text_margin": ("general_text", lambda value: value > 0.2),
}
