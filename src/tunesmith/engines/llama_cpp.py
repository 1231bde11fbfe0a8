"""llama.cpp: one GGUF file, with adapters as GGUF LoRA, in a server process of its own (`pip install 'tunesmith[llama-cpp]'`).

Answers come from its HTTP server. Log-probabilities of a reference come from the same library in a second process, started
when they are first asked for: see `llama_cpp_logits` for why.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from tunesmith.core.errors import EngineError, ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Message, digest
from tunesmith.engines.client import Client, together
from tunesmith.engines.engine import (
    ALONE,
    EngineAnswer,
    EngineRequest,
    RowScores,
    TopTokens,
    Usage,
    ignore_progress,
)
from tunesmith.engines.llama_cpp_server import ADDRESS
from tunesmith.engines.openai_api import wire_messages
from tunesmith.engines.process import ServerProcess, needs_free_port
from tunesmith.models.generation.requests import Sampling
from tunesmith.models.gguf_header import read_gguf_header

__all__ = ["LlamaCpp", "LoraFile", "installed_version", "sampling_payload"]

_PACKAGE = "xllamacpp"
_INSTALL = "pip install 'tunesmith[llama-cpp]'"
_AGREEMENT = 0.05  # nats by which server and library may differ: kernels for one position and for many round differently
_PROBE_TOOL = "probe_of_a_tool"
_COMPACT = {"x-guidance": {"whitespace_flexible": False}}  # or a weak model fills its answer with line ends
_ORDER = ("penalties", "temperature", "top_k", "top_p", "min_p")  # that of models.generation


@dataclass(frozen=True, slots=True)
class LoraFile:
    """An adapter as GGUF. `scale` 1 is the adapter as it was trained."""

    file: Path
    scale: float = 1.0


def installed_version() -> str:
    """Of the package that brings llama.cpp. EngineError if it is not installed."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError as error:
        raise EngineError(
            "llama.cpp is not installed", value=_PACKAGE, expected="an installed package", hint=_INSTALL
        ) from error


def sampling_payload(sampling: Sampling, *, context: int) -> dict[str, Any]:
    """The settings as llama.cpp's own, in Tunesmith's order of steps. The penalty counts all of prompt and answer, as ours
    does: its window is the whole context."""
    return {
        "samplers": list(_ORDER),
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "min_keep": 1,
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": context,
        "seed": sampling.seed % 2**32,
    }


class LlamaCpp:
    """A running llama.cpp. Use it in a `with` block.

    `context` in tokens per request; `threads` None is llama.cpp's own choice; `adapters` by name, the first of which is the
    default. `slots`: requests answered at once. More than one is faster, but rounding then depends on which requests meet, so
    greedy answers repeat exactly only with one. The start ends early once `given_up` is set.

    Raises:
        ModelError: the file is not a whole GGUF file.
        EngineError: llama.cpp is missing, the port is in use, or the process ends or is not ready in `ready_s`.
    """

    name = "llama.cpp"
    takes_ids = True

    def __init__(  # noqa: PLR0913
        self,
        file: Path,
        *,
        context: int = 2048,
        threads: int | None = None,
        slots: int = 1,
        adapters: Mapping[str, LoraFile] | None = None,
        port: int = 0,
        ready_s: float = 180.0,
        answer_s: float = 900.0,
        given_up: Event | None = None,
    ) -> None:
        self.version = installed_version()
        self.file = file.resolve()
        self.adapters = dict(adapters or {})
        for one in (self.file, *(lora.file for lora in self.adapters.values())):
            read_gguf_header(one)
        if port:
            needs_free_port(port, self.name)
        self.slots, self._context = slots, context
        self._settings = {
            "file": str(self.file),
            "context": context,
            "slots": slots,
            "threads": threads or 0,
            "adapters": [[str(lora.file.resolve()), lora.scale] for lora in self.adapters.values()],
            "port": port,
        }
        self._usage = Usage()
        self._library: ServerProcess | None = None
        self._lock = Lock()
        self._process = self._start("llama_cpp_server")
        waits: Any = {"timeout_s": ready_s, "given_up": given_up}
        address = self._process.wait_for(self._address, what="loading the model", **waits)
        self._client = Client(
            address,
            engine=self.name,
            timeout_s=answer_s,
            connections=slots + 1,
            when_lost=lambda: self._process.check_alive(patience_s=5.0),
            hint="ask for shorter answers, or start it again",
        )
        try:
            self._process.wait_for(lambda: self._client.responds("/health") or None, what="answering /health", **waits)
            self._served = self._read_served()
        except BaseException:
            self.close()
            raise

    def _start(self, module: str, *, piped: bool = False) -> ServerProcess:
        command = [sys.executable, "-m", f"tunesmith.engines.{module}", json.dumps(self._settings)]
        hint = f"if the file is sound, {_INSTALL} brings the version that this was made for"
        return ServerProcess(command, engine=self.name, hint=hint, piped=piped)

    def _address(self) -> str | None:
        lines = [line for line in self._process.log().splitlines(keepends=True) if line.startswith(ADDRESS)]
        return lines[0].removeprefix(ADDRESS).strip() if lines and lines[0].endswith("\n") else None

    def _read_served(self) -> str:
        found = str(self._client.get("/props")["model_path"])
        if Path(found) != self.file:
            raise EngineError(
                f"{self.name} serves another model", value=found, expected=str(self.file), hint="stop the other server"
            )
        return found

    def __enter__(self) -> LlamaCpp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model(self) -> str:
        """The file that the server says it serves."""
        return self._served

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._client.url

    @property
    def usage(self) -> Usage:
        """What its answers took so far."""
        return self._usage

    @property
    def fingerprint(self) -> str:
        """Of the file's content, the adapters', and engine and version."""
        adapters = (f"{name} {lora.scale} {sha256_file(lora.file)}" for name, lora in self.adapters.items())
        return digest("engine", self.name, self.version, sha256_file(self.file), *adapters)

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """Draws come from another generator of random numbers; all settings mean the same."""
        if sampling.temperature == 0:
            return ()
        return ("llama.cpp draws with its own random numbers: the same distribution, other answers for the same seed",)

    def tokenize(self, text: str, *, add_special: bool = False) -> tuple[int, ...]:
        """Ids by the vocabulary in the GGUF file; control tokens in the text are read as such."""
        found = self._client.post("/tokenize", {"content": text, "add_special": add_special, "parse_special": True})
        return tuple(found["tokens"])

    def render(self, messages: Sequence[Message]) -> str:
        """The template in the GGUF file, rendered by the server."""
        return str(self._client.post("/apply-template", {"messages": wire_messages(messages)})["prompt"])

    def render_turns(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, *, answer_next: bool = False
    ) -> str:
        """The same for a conversation with tools, which are as OpenAI's interface has them; arguments of calls may be objects.

        ModelError if the template refuses it.
        """
        asked: dict[str, Any] = {"messages": [_wired(turn) for turn in turns], "add_generation_prompt": answer_next}
        try:
            return str(self._client.post("/apply-template", asked | ({"tools": list(tools)} if tools else {}))["prompt"])
        except EngineError as error:
            self.check_alive(patience_s=1.0)
            raise ModelError(
                "the chat template in the file refuses this conversation",
                value=", ".join(str(turn["role"]) for turn in turns),
                expected=f"roles that it knows, in its order ({error.problems[0].what})",
                hint="serve a model whose template takes these roles",
            ) from error

    def shows_tools(self) -> bool:
        """Whether the template in the file shows the model the tools of a request. The server takes them in silence if not."""
        function = {"name": _PROBE_TOOL, "description": "A tool.", "parameters": {"type": "object"}}
        question = {"role": "user", "content": "Say it."}
        return _PROBE_TOOL in self.render_turns([question], [{"type": "function", "function": function}], answer_next=True)

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """With the tokens that the vocabulary puts around a text."""
        return self.tokenize(self.render(messages), add_special=True)

    def answer(
        self, requests: Sequence[EngineRequest], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[EngineAnswer]:
        """Through `/completion`, as many at once as there are slots. Messages are rendered by the server first."""
        begin = time.perf_counter()
        answers = together(self._answer, requests, at_once=self.slots, on_done=on_done)
        with self._lock:
            self._usage = self._usage.after(answers, time.perf_counter() - begin)
        return answers

    def _answer(self, request: EngineRequest) -> EngineAnswer:
        begin = time.perf_counter()
        prompt = list(request.ids) if request.ids is not None else self.render(request.messages or ())
        form = {"json_schema": {**json.loads(request.json_schema), **_COMPACT}} if request.json_schema else {}
        found = self._client.post(
            "/completion",
            {
                "prompt": prompt,
                "n_predict": request.max_new_tokens,
                "stop": list(request.stop),
                "stream": False,
                "return_tokens": True,
                "cache_prompt": False,  # a cached prefix is rounded otherwise than one computed in a batch
                "lora": self._lora(request.adapter),
                **sampling_payload(request.sampling, context=self._context),
                **form,
            },
        )
        ended_by = str(found["stop_type"])
        return EngineAnswer(
            text=found["content"],
            ids=tuple(found["tokens"]),
            finish_reason="length" if ended_by in {"limit", "none"} else "stop",
            ended_by=ended_by,
            num_tokens=int(found["tokens_predicted"]),
            prompt_tokens=int(found["tokens_evaluated"]),
            seconds=time.perf_counter() - begin,
        )

    def _scales(self, adapter: str | None) -> list[float]:
        """One for each adapter: that of the one asked for, 0 for the others."""
        wanted = next(iter(self.adapters), ALONE) if adapter is None else adapter
        if wanted != ALONE and wanted not in self.adapters:
            raise EngineError(
                "llama.cpp was started without this adapter",
                value=wanted,
                expected=", ".join(self.adapters) or "no adapter",
                hint="start it with this adapter",
            )
        return [lora.scale if name == wanted else 0.0 for name, lora in self.adapters.items()]

    def _lora(self, adapter: str | None) -> list[dict[str, float]]:
        return [{"id": at, "scale": scale} for at, scale in enumerate(self._scales(adapter))]

    def next_tokens(self, rows: Sequence[Sequence[int]], top: int, *, adapter: str | None = None) -> list[TopTokens]:
        """From the server, which generates one token after each row."""
        return [self._next(row, top, adapter) for row in rows]

    def _next(self, row: Sequence[int], top: int, adapter: str | None) -> TopTokens:
        asked = {"prompt": list(row), "n_predict": 1, "n_probs": top, "temperature": 0, "post_sampling_probs": False}
        found = self._client.post("/completion", {**asked, "cache_prompt": False, "lora": self._lora(adapter)})
        likeliest = found["completion_probabilities"][0]["top_logprobs"]
        return TopTokens(tuple(one["id"] for one in likeliest), tuple(one["logprob"] for one in likeliest))

    def score(
        self,
        rows: Sequence[Sequence[int]],
        begins: Sequence[int],
        *,
        top: int = 0,
        adapter: str | None = None,
        on_done: Callable[[int], None] = ignore_progress,
    ) -> list[RowScores]:
        """Exact, by the library's own logits, one pass per row."""
        found: list[RowScores] = []
        for row, begin in zip(rows, begins, strict=True):
            asked = {"rows": [list(row)], "begins": [begin], "top": top, "scales": self._scales(adapter)}
            with self._lock:
                scored = self._ask_library(asked)["rows"][0]
            each = zip(*scored["top"], strict=True) if top else ()
            tops = tuple(TopTokens(tuple(ids), tuple(log_p)) for ids, log_p in each)
            found.append(RowScores(tuple(scored["log_p"]), tuple(scored["is_top"]), tops))
            on_done(1)
        return found

    def logits(self, row: Sequence[int], *, adapter: str | None = None) -> np.ndarray:
        """(T, V) float32, from the library."""
        with self._lock:
            shape = self._ask_library({"logits": list(row), "scales": self._scales(adapter)})["shape"]
            assert self._library is not None
            content = self._library.read_bytes(4 * shape[0] * shape[1])
        return np.frombuffer(content, np.float32).reshape(shape)

    def _ask_library(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if self._library is None:
            self._library = self._start("llama_cpp_logits", piped=True)
            self._said(self._library)
            self._compare(asked)
        self._library.write_line(json.dumps(asked).encode())
        return self._said(self._library)

    def _said(self, library: ServerProcess) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(library.read_line())
        if "error" in found:
            raise EngineError(
                f"log-probabilities cannot be had: {found['error']}\nfrom", value=self.name, expected="scores", hint=_INSTALL
            )
        return found

    def _compare(self, asked: Mapping[str, Any]) -> None:
        """The library must say what the server says about the beginning of the first row: the file, the version and the
        layout of the parameters are then the same."""
        row = (asked["logits"] if "logits" in asked else asked["rows"][0])[:16]
        assert self._library is not None
        none = [0.0] * len(self.adapters)
        self._library.write_line(json.dumps({"logits": row, "scales": none}).encode())
        shape = self._said(self._library)["shape"]
        logits_V = np.frombuffer(self._library.read_bytes(4 * shape[0] * shape[1]), np.float32).reshape(shape)[-1]
        log_p_V = logits_V - np.logaddexp.reduce(logits_V.astype(np.float64))
        server = self._next(row, 8, ALONE)
        apart = max(abs(log_p_V[token] - log_p) for token, log_p in zip(server.ids, server.log_p, strict=True))
        if apart > _AGREEMENT:
            raise EngineError(
                "the library and the server of llama.cpp disagree about the next token",
                value=f"{apart:.3f} nats",
                expected=f"at most {_AGREEMENT} nats",
                hint=_INSTALL,
            )

    def check_alive(self, *, patience_s: float = 0.0) -> None:
        """EngineError with the end of the log if the server's process has ended, or ends within `patience_s`."""
        self._process.check_alive(patience_s=patience_s)

    def memory_bytes(self) -> int:
        """Of the server process, without the second process that scores."""
        return self._process.peak_memory_bytes()

    def close(self) -> None:
        """Stop both processes."""
        self._client.close()
        for process in (self._process, self._library):
            if process is not None:
                process.stop()


def _wired(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn with the arguments of its calls as JSON text."""
    calls = []
    for call in turn.get("tool_calls") or ():
        given = call["function"]["arguments"]
        arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": arguments}})
    return {**turn, "tool_calls": calls} if calls else dict(turn)
