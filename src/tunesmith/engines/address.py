"""A model at an OpenAI-compatible address: vLLM, llama.cpp, Ollama, LM Studio and others, started by somebody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tunesmith.core.errors import EngineError
from tunesmith.core.records import Message, digest
from tunesmith.engines.client import Client, together
from tunesmith.engines.engine import EngineAnswer, EngineRequest, RowScores, TopTokens, Usage, ignore_progress
from tunesmith.engines.ollama import Ollama
from tunesmith.engines.openai_api import ask, check_listed, listed_models
from tunesmith.engines.vllm import Vllm
from tunesmith.models.generation.requests import Sampling

__all__ = ["ModelServer", "open_address"]


def open_address(
    url: str, model: str = "", *, api_key: str = "", at_once: int = 4, timeout_s: float = 600.0
) -> Vllm | Ollama | ModelServer:
    """The engine at an address; `url` with or without `/v1`. Without `model`, the only one that is served.

    A vLLM is recognised and asked by token ids, with log-probabilities, and Ollama by its own interface; of other servers only
    the common interface is used.

    Raises:
        EngineError: nothing answers there, or it does not serve this model, or several and none was named.
    """
    root = url.rstrip("/").removesuffix("/v1")
    probe = Client(root, engine="the server", timeout_s=timeout_s, api_key=api_key)
    try:
        chosen = model or _only(probe)
        is_ollama = probe.responds("/api/version")
        is_vllm = any(one.get("owned_by") == "vllm" for one in probe.get("/v1/models")["data"])
    finally:
        probe.close()
    if is_ollama:
        return Ollama(chosen, url=root, timeout_s=timeout_s)
    if is_vllm:
        return Vllm(root, chosen, slots=at_once, api_key=api_key)
    return ModelServer(root, chosen, api_key=api_key, at_once=at_once, timeout_s=timeout_s)


def _only(probe: Client) -> str:
    there = listed_models(probe)
    if len(there) != 1:
        raise EngineError(
            f"the server at {probe.url} serves {len(there)} models",
            value=", ".join(there[:8]),
            expected="the name of one",
            hint="name the model",
        )
    return there[0]


class ModelServer:
    """A server of which only the common interface is used: it renders and tokenizes itself, and gives no log-probabilities of
    a reference. Nothing of it is ours to stop."""

    name = "OpenAI-compatible server"
    version = ""
    takes_ids = False

    def __init__(self, url: str, model: str, *, api_key: str = "", at_once: int = 4, timeout_s: float = 600.0) -> None:
        self.model = model
        self._at_once = at_once
        self._usage = Usage()
        self._client = Client(url, engine="the server", timeout_s=timeout_s, connections=at_once, api_key=api_key)
        check_listed(self._client, model, engine="the server")

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def usage(self) -> Usage:
        """What its answers took so far."""
        return self._usage

    @property
    def fingerprint(self) -> str:
        """Of address and name: weights behind an address cannot be hashed."""
        return digest("engine", self.name, self._client.url, self.model)

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """Settings that the common interface does not have are not sent."""
        missing = [
            name for name, off in (("top_k", 0), ("min_p", 0.0), ("repetition_penalty", 1.0)) if getattr(sampling, name) != off
        ]
        found = [f"the server is not sent {name}: its interface has no such setting" for name in missing]
        if sampling.temperature > 0:
            found.append("the server draws with its own random numbers")
        return tuple(found)

    def tokenize(self, text: str, *, add_special: bool = False) -> tuple[int, ...] | None:
        """None: the interface has no such request."""
        return None

    def render(self, messages: Sequence[Message]) -> str | None:
        """None: the interface has no such request."""
        return None

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        """None: the interface has no such request."""
        return None

    def answer(
        self, requests: Sequence[EngineRequest], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[EngineAnswer]:
        """By messages."""
        begin = time.perf_counter()
        answers = together(self._answer, requests, at_once=self._at_once, on_done=on_done)
        self._usage = self._usage.after(answers, time.perf_counter() - begin)
        return answers

    def _answer(self, request: EngineRequest) -> EngineAnswer:
        if request.messages is None or request.adapter:
            raise EngineError(
                "this server takes messages, and no adapter by name",
                value=request.adapter or "token ids",
                expected="messages for the model that it serves",
                hint="ask an engine that Tunesmith starts, or a vLLM",
            )
        drawn = request.sampling
        settings = {"temperature": drawn.temperature, "top_p": drawn.top_p, "seed": drawn.seed}
        return ask(self._client, request, self.model, settings, engine="the server")

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
        """None: the interface gives log-probabilities of generated tokens only."""
        return None

    def memory_bytes(self) -> None:
        """None: it is not our process."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
