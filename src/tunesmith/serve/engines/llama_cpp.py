"""llama.cpp, started and watched by us: one GGUF file, its adapters as GGUF LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event

from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile, sampling_payload
from tunesmith.models.generation.requests import Sampling
from tunesmith.serve.engines.forward import Forward
from tunesmith.serve.engines.started import StartedEngine, start_engine

__all__ = ["start_llama_cpp"]

_HONOURS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop"),
        *("logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "response_format"),
    )
)


async def start_llama_cpp(
    file: Path,
    adapters: Mapping[str, Path],
    *,
    context: int,
    at_once: int = 4,
    sampling: Sampling | None = None,
    threads: int | None = None,
) -> StartedEngine[LlamaCpp]:
    """`adapters` by target; the empty target is the file alone. `sampling` holds where a request sets nothing.

    EngineError if llama.cpp is missing or does not start.
    """
    usual = sampling_payload(Sampling(temperature=1.0) if sampling is None else sampling, context=context)
    del usual["seed"]
    targets = ["", *adapters]
    scales = {t: [{"id": n, "scale": float(name == t)} for n, name in enumerate(adapters)] for t in targets}

    def start(_: Event) -> LlamaCpp:
        files = {target: LoraFile(path) for target, path in adapters.items()}
        return LlamaCpp(file, context=context, slots=at_once, threads=threads, adapters=files)

    def way(server: LlamaCpp) -> Forward:
        return Forward(
            server.url,
            name="llama.cpp",
            at_once=at_once,
            honours=_HONOURS,
            defaults=dict.fromkeys(targets, usual),
            forced={t: {"lora": scales[t]} if adapters else {} for t in targets},
            names={t: t or file.stem for t in targets},
            alive=server.check_alive,
        )

    return await start_engine(start, way, lambda server, _, messages: server.prompt_ids(messages), context=context)
