"""The Modelfile of an export: weights, template, end tokens, context and sampling settings, in Ollama's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.ship.format import ExportSource
from tunesmith.ship.ollama.modelfile import Command, write_modelfile
from tunesmith.ship.ollama.template import GoTemplate, go_template

__all__ = ["Modelfile", "Serving", "add_bos_of", "end_texts", "make_modelfile", "parameters", "serving_of"]

_SAME = {"typical_p": ("typical_p", 1.0)}  # transformers' name → Ollama's, and the value that has no effect
_NO_EQUAL = {  # settings of transformers that Ollama has not, with the value that has no effect
    "top_h": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "penalty_alpha": None,
}
_ORDER = (
    "Ollama applies the temperature after top_k, top_p and min_p, Tunesmith and transformers before: at a temperature below 1 "
    "Ollama draws from more tokens."
)
_HEAD = (
    "Made by Tunesmith. The template is derived from the model's own chat template: same token ids on {checked} conversations."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server has to know besides the weights.

    `context`: tokens of a training example; `limit`: those that the base can hold. `generation`: the sampling settings as in a
    generation_config.json. `system`: the system prompt of training; `licence`: its text. Both may be empty.
    """

    context: int
    limit: int
    generation: Mapping[str, Any]
    system: str = ""
    licence: str = ""

    @property
    def num_ctx(self) -> int:
        """The context that a server should offer. ModelError if it is no number of tokens."""
        if (least := min(self.context, self.limit)) > 0:
            return least
        raise ModelError(
            "num_ctx has to be a number of tokens",
            value=least,
            expected="1 or more",
            hint="give the context of the training run",
        )


@dataclass(frozen=True, slots=True)
class Modelfile:
    """`text` is the file. `notes`: what Ollama does otherwise than Tunesmith, in sentences; the file has them as comments."""

    text: str
    template: GoTemplate
    notes: tuple[str, ...]


def serving_of(source: ExportSource) -> Serving:
    """What an export's source says to servers."""
    folder = source.merged.path
    settings = folder / "generation_config.json"
    licences = sorted(folder.glob("LICENSE*"))
    return Serving(
        context=source.context,
        limit=source.merged.context,
        generation=json.loads(settings.read_bytes()) if settings.is_file() else {},
        system=source.system,
        licence=licences[0].read_text(encoding="utf-8") if licences else "",
    )


def add_bos_of(gguf: Path) -> bool | None:
    """Whether the runner of a GGUF puts a beginning-of-text token in front by itself; None where the file does not say."""
    found = read_gguf_header(gguf).settings.get("tokenizer.ggml.add_bos_token")
    return None if found is None else bool(found)


def make_modelfile(chat: Chat, serving: Serving, *, weights: str, adapter: str = "", bos: bool | None = None) -> Modelfile:
    """The Modelfile of a model.

    `weights`: the GGUF, as a path from the Modelfile; `adapter`: a GGUF adapter for it. `bos`: see `go_template`. ModelError
    if the template has no equal in Go, or a value cannot be written.
    """
    template = go_template(chat, bos=bos)
    drawn, lost = parameters(serving.generation)
    commands: list[Command] = [("FROM", weights)]
    commands += [("ADAPTER", adapter)] if adapter else []
    commands += [("TEMPLATE", template.text)]
    commands += [("SYSTEM", serving.system)] if serving.system else []
    commands += [("PARAMETER stop", text) for text in end_texts(chat)]
    commands += [("PARAMETER num_ctx", str(serving.num_ctx)), *drawn]
    commands += [("LICENSE", "\n".join(serving.licence.splitlines()))] if serving.licence else []
    notes = (*template.notes, *lost)
    head = "\n".join([_HEAD.format(checked=template.num_checked), *notes])
    return Modelfile(write_modelfile([("#", head), *commands]), template, notes)


def end_texts(chat: Chat) -> list[str]:
    """Every token that ends an answer, as text."""
    return [str(chat.tokenizer.convert_ids_to_tokens(end)) for end in chat.end_ids]


def parameters(generation: Mapping[str, Any]) -> tuple[list[Command], tuple[str, ...]]:
    """The sampling settings of a generation_config.json as PARAMETER commands, and what has no equal.

    All are written, because Ollama's defaults (temperature 0.8, top_k 40, top_p 0.9) are not the model's.
    """
    given = {key: value for key, value in generation.items() if value is not None}
    drawn = bool(given.get("do_sample", False)) and float(given.get("temperature", 1.0)) > 0
    penalty = float(given.get("repetition_penalty", 1.0))
    values: dict[str, float | int] = {
        "temperature": float(given.get("temperature", 1.0)) if drawn else 0,
        "top_k": int(given.get("top_k", 50)) if drawn else 0,  # transformers takes 50 where the file does not say
        "top_p": float(given.get("top_p", 1.0)) if drawn else 1,
        "min_p": float(given.get("min_p", 0.0)) if drawn else 0,
        "repeat_penalty": penalty,
        "repeat_last_n": -1 if penalty != 1 else 0,  # transformers looks at the whole text, Ollama at 64 tokens by default
    }
    for name, (theirs, idle) in _SAME.items():
        if drawn and float(given.get(name, idle)) != idle:
            values[theirs] = float(given[name])
    lost = [f"{name} {given[name]}" for name, idle in _NO_EQUAL.items() if given.get(name, idle) != idle]
    notes = [f"Without an equal in Ollama and left out: {', '.join(lost)}."] if lost else []
    narrowed = values["top_k"] or values["top_p"] != 1 or values["min_p"]
    if drawn and values["temperature"] != 1 and narrowed:
        notes.append(_ORDER)
    return [(f"PARAMETER {name}", f"{value:g}") for name, value in values.items()], tuple(notes)
