"""The base's own dropouts, switched off in training: the base is frozen, so noise inside it only blurs the adapter's gradient.

The adapter's dropout (`method.dropout`) is another thing and stays.
"""

from __future__ import annotations

import re
from typing import Any

import torch

__all__ = ["switch_off_dropouts"]

_DRAWS = re.compile(r"drop|jitter")  # attention_dropout, resid_pdrop, layerdrop, drop_path_rate, router_jitter_noise
_NOT_HERE = re.compile(r"^(classifier|summary|token_classification)")  # heads that a language model does not have


def switch_off_dropouts(model: Any) -> dict[str, float]:
    """Set every random draw of a fresh base to zero, in its configuration and in its modules; gives what was on, by name.

    Call it before an adapter is attached: the adapter's dropout would go as well.
    """
    found: dict[str, float] = {}
    modules = list(model.modules())
    configs = {id(config): config for module in modules if (config := getattr(module, "config", None)) is not None}
    for config in configs.values():
        found |= {name: value for name, value in _zeroed(config).items() if not _NOT_HERE.search(name)}
    for name, module in model.named_modules():
        values = _zeroed(module)
        if isinstance(module, torch.nn.modules.dropout._DropoutNd) and module.p:
            values[name.rsplit(".", 1)[-1]] = module.p
            module.p = 0.0
        found |= {key: value for key, value in values.items() if value not in found.values()}
    return found


def _zeroed(owner: Any) -> dict[str, float]:
    """The rates that `owner` holds as plain numbers, set to zero."""
    rates = {n: float(v) for n, v in vars(owner).items() if _DRAWS.search(n) and isinstance(v, float) and v > 0}
    for name in rates:
        setattr(owner, name, 0.0)
    return rates
