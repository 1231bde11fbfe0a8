"""Rotary settings where transformers 4, and servers built on it, read them: transformers 5 writes them elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["for_older_readers", "unread_by_older_readers"]

_OLDER_NAMES = {"gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}}
_USUAL_THETA = 10_000.0  # what transformers 4 takes for most architectures where config.json says nothing


def for_older_readers(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the rotary settings also where transformers 4 and servers built on it read them.

    transformers 5 writes `rope_parameters` alone. This adds `rope_theta`, `rope_scaling` and `partial_rotary_factor` with the
    same values (`rope_local_base_freq` for the sliding layers of Gemma 3), also in `text_config`; nothing that is there is
    changed. transformers 5 reads the result as it reads `config`. Used on every config.json that Tunesmith itself writes.
    """
    out = dict(config)
    for key in ("text_config",):
        if isinstance(out.get(key), Mapping):
            out[key] = for_older_readers(out[key])
    rope = out.get("rope_parameters")
    if not isinstance(rope, Mapping):
        return out
    names = _OLDER_NAMES.get(str(out.get("model_type")), {})
    layers = {kind: part for kind, part in rope.items() if isinstance(part, Mapping)}
    whole = layers.get("full_attention", {}) if layers else rope
    found = {key: whole[key] for key in ("rope_theta", "partial_rotary_factor") if key in whole}
    if "rope_theta" in layers.get("sliding_attention", {}):
        found["rope_local_base_freq"] = layers["sliding_attention"]["rope_theta"]
    if whole.get("rope_type", "default") != "default":
        found["rope_scaling"] = {k: v for k, v in whole.items() if k not in {"rope_theta", "partial_rotary_factor"}}
    for key, value in found.items():
        if out.get(names.get(key, key)) is None:
            out[names.get(key, key)] = value
    return out


def unread_by_older_readers(config: Mapping[str, Any]) -> str:
    """What transformers 4 and servers built on it do not see in `config`, in words, or nothing.

    A `rope_theta` of 10,000 is left out: it is what they take anyway.
    """
    parts = [(config, for_older_readers(config))]
    if isinstance(config.get("text_config"), Mapping):
        parts.append((config["text_config"], parts[0][1]["text_config"]))
    unread = [
        f"{key} {json.dumps(value)}"
        for before, after in parts
        for key, value in after.items()
        if key != "text_config" and before.get(key) is None and value is not None and value != _USUAL_THETA
    ]
    if not unread:
        return ""
    return (
        f"older readers: the base's config.json has {', '.join(unread)} in rope_parameters alone, where transformers 4 and"
        " servers built on it do not look, so they run another model; to fix it, add the same value to config.json itself"
    )
