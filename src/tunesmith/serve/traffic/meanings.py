"""What the names of the traffic file stand for, as `/v1/models` lists them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tunesmith.serve.registry import Registry
from tunesmith.serve.traffic.file import TrafficFile
from tunesmith.serve.traffic.split import Split

__all__ = ["meanings_of"]


def meanings_of(file: TrafficFile, splits: Mapping[str, Split], registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """By name, in the order in which a request meets them. `kind` is the section of the file; `grown` marks the model that a
    canary grows, with its share in percent as it is now. A split has the weights that hold now."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in file.ab:
        found[name].append({"kind": "ab", "arms": dict(splits[name].arms)})
    for name, canary in file.canary.items():
        arms = splits[name].arms
        steps = {"stable": canary.stable, "canary": canary.canary, "steps": canary.steps}
        found[name].append({"kind": "canary", "arms": dict(arms), **steps})
        share = 100 * arms.get(canary.canary, 0.0) / sum(arms.values())
        found[registry.resolve(canary.canary).full_name].append({"kind": "grown", "by": name, "percent": round(share, 3)})
    for name, route in file.route.items():
        found[name].append({"kind": "route", "inside": route.inside, "outside": route.outside})
    for name, model in file.shadow.items():
        found[name].append({"kind": "shadow", "model": model})
    for name, chain in file.fallback.items():
        found[name].append({"kind": "fallback", "models": [link.model for link in chain]})
    return dict(found)
