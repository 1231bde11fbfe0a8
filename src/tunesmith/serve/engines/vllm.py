"""vLLM, started and watched by us: a model folder and its adapters, each a model of its own name there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

from tunesmith.core.records import Message
from tunesmith.engines.engine import ALONE
from tunesmith.engines.vllm import Vllm, sampling_payload, start_vllm, vllm_rank
from tunesmith.models.load import StoredType
from tunesmith.serve.engines.forward import Forward
from tunesmith.serve.engines.started import StartedEngine, start_engine
from tunesmith.serve.engines.target import Target

__all__ = ["start_vllm_engine"]

_HONOURS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "n", "seed"),
        *("stop", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "response_format"),
    )
)


async def start_vllm_engine(
    folder: Path,
    targets: Mapping[str, Target],
    *,
    base: str,
    context: int,
    at_once: int,
    most_adapters: int,
    precision: StoredType,
) -> StartedEngine[Vllm]:
    """`targets` by name; `base`: the fingerprint of the weights in `folder`; `most_adapters`: in one batch.

    The files of an adapter are hashed before every start. EngineError if vLLM is missing, does not start, or cannot apply an
    adapter as it was trained; ModelError if an adapter has changed.
    """
    files = {name: one.adapter for name, one in targets.items() if one.adapter is not None}
    rank = max((vllm_rank(one.folder) for one in files.values()), default=0)
    key = secrets.token_urlsafe(32)  # vLLM leaves some routes open all the same: that is why it listens on loopback alone
    template = next(iter(targets.values())).chat.template.text

    def start(given_up: Event) -> Vllm:
        for one in files.values():
            one.check(base)
        return start_vllm(
            folder,
            context=context,
            slots=at_once,
            dtype=precision,
            adapters={name: one.folder for name, one in files.items()},
            max_rank=rank,
            most_adapters=most_adapters,
            template=template,
            api_key=key,
            given_up=given_up,
            more=("--disable-uvicorn-access-log", "--disable-log-stats"),  # its log is kept as long as it runs
        )

    def way(server: Vllm) -> Forward:
        settings = {
            name: {**sampling_payload(one.sampling), "chat_template_kwargs": dict(one.chat.template.variables)}
            for name, one in targets.items()
        }
        return Forward(
            server.url,
            name="vLLM",
            api_key=key,
            at_once=at_once,
            honours=_HONOURS if files else _HONOURS | {"echo"},  # with adapters it ends where a prompt is scored (0.32, CPU)
            defaults=settings,
            forced={name: {"stop_token_ids": list(one.chat.end_ids)} for name, one in targets.items()},
            names={name: name if name in files else server.model for name in targets},
            alive=server.check_alive,
        )

    def prompt(server: Vllm, target: str, messages: Sequence[Message]) -> Sequence[int]:
        variables = targets[target].chat.template.variables
        return server.prompt_ids(messages, adapter=target if target in files else ALONE, variables=variables)

    return await start_engine(start, way, prompt, context=context)
