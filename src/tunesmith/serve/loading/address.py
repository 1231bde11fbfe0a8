"""Models behind an address: the server there has them, so nothing of torch is needed here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tunesmith.core.errors import EngineError
from tunesmith.core.records import digest
from tunesmith.serve.engines.forward import HONOURED_BY_VLLM, Forward
from tunesmith.serve.loading.asked import Loading, Named
from tunesmith.serve.registry import Registry, Version, plain_name

__all__ = ["UrlGroup", "is_url", "place_url"]

_URL = re.compile(r"https?://")


@dataclass(slots=True)
class UrlGroup:
    """A server and the models of it that are wanted; an empty one stands for all that it lists."""

    url: str
    wanted: list[tuple[Named, str]] = field(default_factory=list)

    async def open(self, how: Loading, registry: Registry) -> list[EngineError]:
        """Add the versions; returns which models the server lacks. EngineError if nothing answers there."""
        engine = Forward(self.url, api_key=how.upstream_key)
        listed = {str(one["id"]): one for one in await engine.models()}
        if any(one.get("owned_by") == "vllm" for one in listed.values()):
            await engine.close()
            engine = Forward(self.url, api_key=how.upstream_key, name="vLLM", honours=HONOURED_BY_VLLM, tokenizes="vllm")
        refused: list[EngineError] = []
        for one, model in self.wanted:
            if model and model not in listed:
                refused.append(
                    EngineError(
                        f"the server at {self.url} does not serve this model",
                        value=model,
                        expected=", ".join(list(listed)[:8]) or "a model",
                        hint=f"tunesmith serve {self.url}/v1#NAME, with one of these names",
                    )
                )
                continue
            for target in [model] if model else listed:
                version = Version(
                    name=one.name or plain_name(target),
                    id=digest(self.url, target)[:12],
                    engine=engine,
                    target=target,
                    label=f"{target} at {self.url}",
                    stall_s=how.stall_s,
                    parity="not measured: nothing on this machine says how it should read a prompt",
                )
                registry.add(version, *one.aliases)
        return refused


def is_url(reference: str) -> bool:
    """Whether a reference is an address."""
    return _URL.match(reference) is not None


def place_url(one: Named, groups: dict[str, UrlGroup]) -> None:
    """Sort an address to its server."""
    url, _, model = one.reference.partition("#")
    url = url.rstrip("/").removesuffix("/v1")
    groups.setdefault(url, UrlGroup(url)).wanted.append((one, model))
