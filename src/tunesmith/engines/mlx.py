"""MLX through `mlx-lm`: a model folder with at most one MLX adapter, in a Python of its own (`TUNESMITH_MLX` names it).

`mlx_lm.server` gives no log-probabilities of a reference, so a small worker of ours calls `mlx_lm` itself: generation is the
library's own, and log-probabilities come from the model's logits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from tunesmith.core.errors import EngineError
from tunesmith.core.records import Message, digest
from tunesmith.engines import mlx_worker
from tunesmith.engines.engine import (
    EngineAnswer,
    EngineRequest,
    RowScores,
    TopTokens,
    Usage,
    ignore_progress,
)
from tunesmith.engines.llama_cpp_logits import log_softmax, score_row
from tunesmith.engines.openai_api import wire_messages
from tunesmith.engines.process import ServerProcess
from tunesmith.engines.served import environment_of, folder_hash, python_of
from tunesmith.models.generation.requests import Sampling

__all__ = ["INSTALL", "PYTHON", "Mlx", "mlx_python"]

PYTHON = "TUNESMITH_MLX"
INSTALL = "pip install 'tunesmith[mlx]' here, or mlx-lm (with 'mlx[cpu]' on Linux) in an environment of its own"


def mlx_python() -> str:
    """The Python that has mlx-lm: the one that TUNESMITH_MLX names, or this one. EngineError if there is none."""
    return python_of(PYTHON, engine="MLX", install=INSTALL, package="mlx_lm")


class Mlx:
    """A model in MLX. Use it in a `with` block. Requests are answered one after the other.

    Raises:
        EngineError: no Python is named, mlx-lm is not installed there, or it cannot load the folder.
    """

    name = "MLX"
    takes_ids = True

    def __init__(self, folder: Path, *, adapter: Path | None = None, python: str | None = None) -> None:
        self._folder, self._adapter = folder.resolve(), adapter.resolve() if adapter is not None else None
        self._usage = Usage()
        self._lock = Lock()
        settings = {"folder": str(self._folder), "adapter": str(self._adapter) if self._adapter else None}
        python = python or mlx_python()
        self._process = ServerProcess(
            [python, str(Path(mlx_worker.__file__)), json.dumps(settings)],
            engine=self.name,
            hint=INSTALL,
            environment=environment_of(python),
            piped=True,
        )
        self.version = str(json.loads(self._process.read_line())["version"])

    def __enter__(self) -> Mlx:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model(self) -> str:
        """The folder that was loaded."""
        return str(self._folder)

    @property
    def usage(self) -> Usage:
        """What its answers took so far."""
        return self._usage

    @property
    def fingerprint(self) -> str:
        """Of folder and adapter, engine and version."""
        adapter = folder_hash(self._adapter) if self._adapter is not None else ""
        return digest("engine", self.name, self.version, folder_hash(self._folder), adapter)

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """Temperature comes last, and other random numbers."""
        found = []
        if sampling.temperature > 0:
            found.append("MLX draws with its own random numbers: other answers for the same seed")
            if sampling.temperature != 1 and (sampling.top_p < 1 or sampling.min_p > 0):
                found.append("MLX applies top_p and min_p before the temperature, Tunesmith after: other tokens are left in")
        return tuple(found)

    def _ask(self, do: str, **more: Any) -> dict[str, Any]:
        with self._lock:
            return self._said(do, more)

    def _said(self, do: str, more: dict[str, Any]) -> dict[str, Any]:
        self._process.write_line(json.dumps({"do": do, **more}).encode())
        found: dict[str, Any] = json.loads(self._process.read_line())
        return found

    def tokenize(self, text: str, *, add_special: bool = False) -> tuple[int, ...]:
        """By the tokenizer of the folder."""
        return tuple(self._ask("tokenize", text=text, add_special=add_special)["ids"])

    def render(self, messages: Sequence[Message]) -> str:
        """By the template of the folder, as mlx-lm renders it."""
        return str(self._ask("render", messages=wire_messages(messages))["prompt"])

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The rendered prompt, whose template has written all that belongs around it."""
        return self.tokenize(self.render(messages))

    def answer(
        self, requests: Sequence[EngineRequest], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[EngineAnswer]:
        """One after the other."""
        begin = time.perf_counter()
        answers = []
        for request in requests:
            answers.append(self._answer(request))
            on_done(1)
        self._usage = self._usage.after(answers, time.perf_counter() - begin)
        return answers

    def _answer(self, request: EngineRequest) -> EngineAnswer:
        self._check_adapter(request.adapter)
        begin = time.perf_counter()
        ids = request.ids if request.ids is not None else self.prompt_ids(request.messages or ())
        drawn = request.sampling
        settings = {
            "temperature": drawn.temperature,
            "top_p": drawn.top_p if drawn.top_p < 1 else 0.0,  # mlx-lm's word for all tokens
            "top_k": drawn.top_k,
            "min_p": drawn.min_p,
            "repetition_penalty": drawn.repetition_penalty,
            "seed": drawn.seed,
        }
        found = self._ask(
            "answer", ids=list(ids), max_tokens=request.max_new_tokens, sampling=settings, stop=list(request.stop)
        )
        return EngineAnswer(
            text=found["text"],
            ids=tuple(found["ids"]),
            finish_reason="length" if found["reason"] == "length" else "stop",
            ended_by=found["reason"],
            num_tokens=len(found["ids"]),
            prompt_tokens=len(ids),
            seconds=time.perf_counter() - begin,
        )

    def _check_adapter(self, adapter: str | None) -> None:
        """MLX has one adapter, merged into the layers when it is loaded."""
        own = "" if self._adapter is None else None
        if adapter not in (None, own):
            raise EngineError(
                "MLX cannot switch adapters in a running process",
                value=adapter,
                expected="the one that it was started with",
                hint="start another one for it",
            )

    def logits(self, row: Sequence[int], *, adapter: str | None = None) -> np.ndarray:
        """(T, V) float32."""
        self._check_adapter(adapter)
        with self._lock:
            shape = self._said("logits", {"ids": list(row)})["shape"]
            content = self._process.read_bytes(4 * shape[0] * shape[1])
        return np.frombuffer(content, np.float32).reshape(shape)

    def next_tokens(self, rows: Sequence[Sequence[int]], top: int, *, adapter: str | None = None) -> list[TopTokens]:
        """From the logits of the last position."""
        found = []
        for row in rows:
            log_p_V = log_softmax(self.logits(row, adapter=adapter)[-1:])[0]
            ids = np.argsort(-log_p_V, kind="stable")[:top]
            found.append(TopTokens(tuple(ids.tolist()), tuple(log_p_V[ids].tolist())))
        return found

    def score(
        self,
        rows: Sequence[Sequence[int]],
        begins: Sequence[int],
        *,
        top: int = 0,
        adapter: str | None = None,
        on_done: Callable[[int], None] = ignore_progress,
    ) -> list[RowScores]:
        """From the logits of all positions, one forward pass per row."""
        found = []
        for row, begin in zip(rows, begins, strict=True):
            scored = score_row(self.logits(row[:-1], adapter=adapter)[begin - 1 :], row[begin:], top)
            each = zip(*scored["top"], strict=True) if top else ()
            tops = tuple(TopTokens(tuple(ids), tuple(log_p)) for ids, log_p in each)
            found.append(RowScores(tuple(scored["log_p"]), tuple(scored["is_top"]), tops))
            on_done(1)
        return found

    def memory_bytes(self) -> int:
        """Of the worker process."""
        return self._process.peak_memory_bytes()

    def close(self) -> None:
        """Stop the worker."""
        self._process.stop()
