"""Ollama at its own interface (https://github.com/ollama/ollama/blob/main/docs/api.md), written from its documentation.

Never run against Ollama itself: no package brings it. The tests answer as the documentation shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EngineError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Message, digest
from tunesmith.engines.client import Client, together
from tunesmith.engines.engine import EngineAnswer, EngineRequest, RowScores, TopTokens, Usage, ignore_progress
from tunesmith.engines.openai_api import wire_messages
from tunesmith.models.generation.requests import Sampling

__all__ = ["ADDRESS", "Ollama", "create_model"]

ADDRESS = "http://127.0.0.1:11434"
_HINT = "start Ollama with `ollama serve`"


def create_model(
    name: str,
    file: Path,
    *,
    url: str = ADDRESS,
    template: str = "",
    parameters: Mapping[str, Any] | None = None,
    system: str = "",
    timeout_s: float = 1800.0,
) -> None:
    """Upload a GGUF file as a blob and make the model `name` of it.

    Raises:
        EngineError: Ollama does not answer, or refuses the file or the settings.
    """
    client = Client(url, engine="Ollama", timeout_s=timeout_s, hint=_HINT)
    blob = f"sha256:{sha256_file(file)}"
    try:
        if not client.responds(f"/api/blobs/{blob}", method="HEAD"):
            client.upload(f"/api/blobs/{blob}", file)
        asked: dict[str, Any] = {"model": name, "files": {file.name: blob}, "stream": False}
        asked |= {key: value for key, value in (("template", template), ("system", system)) if value}
        if parameters:
            asked["parameters"] = dict(parameters)
        found = client.post("/api/create", asked)
    finally:
        client.close()
    if found.get("status") != "success":
        raise EngineError(
            "Ollama did not make the model", value=found, expected="success", hint="check the file and the template"
        )


class Ollama:
    """A model in a running Ollama, which renders and tokenizes prompts itself. `context` is sent as `num_ctx`."""

    name = "Ollama"
    takes_ids = False

    def __init__(self, model: str, *, url: str = ADDRESS, context: int = 2048, timeout_s: float = 900.0) -> None:
        self._context = context
        self._usage = Usage()
        self._client = Client(url, engine=self.name, timeout_s=timeout_s, hint=_HINT)
        self.version = str(self._client.get("/api/version")["version"])
        there = {str(one["name"]): str(one["digest"]) for one in self._client.get("/api/tags")["models"]}
        self.model = model if ":" in model else f"{model}:latest"
        if self.model not in there:
            raise EngineError(
                "Ollama does not have this model",
                value=model,
                expected=", ".join(sorted(there)[:8]) or "a model",
                hint=f"ollama create {model} -f Modelfile",
            )
        self._digest = there[self.model]

    def __enter__(self) -> Ollama:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def usage(self) -> Usage:
        """What its answers took so far."""
        return self._usage

    @property
    def fingerprint(self) -> str:
        """Of the model's digest in Ollama, which covers weights, template and settings, and of the version."""
        return digest("engine", self.name, self.version, self.model, self._digest)

    def shown(self) -> dict[str, Any]:
        """What `/api/show` says: template, parameters, details."""
        found: dict[str, Any] = self._client.post("/api/show", {"model": self.model})
        return found

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """The order of llama.cpp's own steps, and other random numbers."""
        if sampling.temperature == 0:
            return ()
        found = ["Ollama draws with its own random numbers: other answers for the same seed"]
        if sampling.temperature != 1 and (sampling.top_p < 1 or sampling.min_p > 0):
            found.append("Ollama decides the order of temperature, top_k, top_p and min_p: it cannot be set")
        return tuple(found)

    def tokenize(self, text: str, *, add_special: bool = False) -> tuple[int, ...] | None:
        """None: Ollama has no such request."""
        return None

    def render(self, messages: Sequence[Message]) -> str | None:
        """By its option to render without answering, which is not documented; None for a version that does not have it."""
        asked = {"model": self.model, "messages": wire_messages(messages), "stream": False, "_debug_render_only": True}
        found = self._client.post("/api/chat", asked).get("_debug_info")
        return str(found["rendered_template"]) if found else None

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        """None: Ollama has no such request."""
        return None

    def answer(
        self, requests: Sequence[EngineRequest], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[EngineAnswer]:
        """Through `/api/chat`, one after the other."""
        begin = time.perf_counter()
        answers = together(self._answer, requests, at_once=1, on_done=on_done)
        self._usage = self._usage.after(answers, time.perf_counter() - begin)
        return answers

    def _answer(self, request: EngineRequest) -> EngineAnswer:
        if request.messages is None or request.adapter:
            raise EngineError(
                "Ollama takes messages, and no adapter by name",
                value=request.adapter or "token ids",
                expected="messages for one of its models",
                hint="make a model of its own for the adapter",
            )
        begin = time.perf_counter()
        drawn = request.sampling
        options: dict[str, Any] = {
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "top_k": drawn.top_k,
            "min_p": drawn.min_p,
            "repeat_penalty": drawn.repetition_penalty,
            "repeat_last_n": self._context,
            "seed": drawn.seed,
            "num_predict": request.max_new_tokens,
            "num_ctx": self._context,
        }
        if request.stop:  # sent only then: it replaces the stop texts of the Modelfile
            options["stop"] = list(request.stop)
        messages = wire_messages(request.messages)
        found = self._client.post("/api/chat", {"model": self.model, "messages": messages, "options": options, "stream": False})
        if found.get("model") not in (self.model, self.model.removesuffix(":latest")) or not found.get("done"):
            raise EngineError(
                "Ollama answered with another model, or not to the end",
                value=f"{found.get('model')}, done: {found.get('done')}",
                expected=f"{self.model}, done: True",
                hint="ask again; ollama ps shows what is loaded",
            )
        reason = str(found.get("done_reason", "stop"))
        return EngineAnswer(
            text=found["message"]["content"],
            ids=None,
            finish_reason="length" if reason == "length" else "stop",
            ended_by=reason,
            num_tokens=int(found["eval_count"]),
            prompt_tokens=found.get("prompt_eval_count"),
            seconds=time.perf_counter() - begin,
        )

    def next_tokens(self, rows: Sequence[Sequence[int]], top: int, *, adapter: str | None = None) -> list[TopTokens] | None:
        """None: rows of ids cannot be sent."""
        return None

    def score(
        self,
        rows: Sequence[Sequence[int]],
        begins: Sequence[int],
        *,
        top: int = 0,
        adapter: str | None = None,
        on_done: Callable[[int], None] = ignore_progress,
    ) -> list[RowScores] | None:
        """None: Ollama gives log-probabilities of generated tokens only."""
        return None

    def memory_bytes(self) -> None:
        """None: it is not our process."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
