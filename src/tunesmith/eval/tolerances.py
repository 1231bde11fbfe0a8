"""How far a stored or served form of a model may be from the tuned one, for each form.

The one table behind the parity gates and `tunesmith parity`; docs/concepts/parity.md shows it with the measurements that it
rests on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ANSWERS_ALONE", "FORMS", "SERVED", "STORED", "Tolerance", "looser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Limits on the comparison of two forms of one model on the same token ids.

    `max_logit`: largest difference of any logit; `mean_kl`: nats per position; `top1`: share of positions with the same most
    likely token; `equal`: share of greedy answers that are the same to the letter; `begun`: share whose first 40 characters
    are; `as_summed`: share of the elements of the adapted matrices that are base + update, rounded once to the stored type.
    None: reported, and not judged. Of the answers, one may always differ.
    """

    max_logit: float | None = None
    mean_kl: float
    top1: float
    equal: float | None = None
    begun: float | None = None
    as_summed: float | None = None

    @property
    def noise(self) -> float:
        """Nats by which two next tokens may be apart where greedy answers part; a wider gap is not explained by rounding.

        Four standard deviations of the difference of log-probabilities at the KL limit, which is half its variance (to second
        order).
        """
        return 4 * math.sqrt(2 * self.mean_kl)


STORED: Mapping[str, Tolerance] = {
    "float32": Tolerance(max_logit=1e-3, mean_kl=1e-6, top1=0.999, equal=0.9),
    "float16": Tolerance(mean_kl=1e-5, top1=0.995, begun=0.5, as_summed=0.999),
    "bfloat16": Tolerance(mean_kl=1e-3, top1=0.98, begun=0.5, as_summed=0.999),
}
"""The tuned model against the stored weights, both computed in float32: by the type in which most weights are stored.

Rounded weights part long answers at the first tie of two tokens, so with 16 bits only their beginnings are judged.
"""

SERVED: Mapping[str, Tolerance] = {
    "float16": Tolerance(mean_kl=1e-3, top1=0.98, begun=0.5),
    "bfloat16": Tolerance(mean_kl=1e-2, top1=0.95, begun=0.5),
}
"""The tuned model, in float32, against the merged folder opened in the type in which it will be served."""

_GGUF: Mapping[str, Tolerance] = {
    "F32": Tolerance(max_logit=1e-3, mean_kl=1e-6, top1=0.999),
    "F16": Tolerance(mean_kl=1e-4, top1=0.99),
    "BF16": Tolerance(mean_kl=1e-3, top1=0.98),
    "Q8_0": Tolerance(mean_kl=0.02, top1=0.9),
    "Q6_K": Tolerance(mean_kl=0.06, top1=0.8),
    "Q4_K_M": Tolerance(mean_kl=0.1, top1=0.8),
}
"""GGUF files in llama.cpp, which also rounds the activations of quantised matrices."""

ANSWERS_ALONE = "answers alone"
"""The row for a server that shows its greedy answers and nothing else. Its `top1` is of the tokens that it wrote; its KL cannot
be measured, and only sets the gap."""

_OTHERS: Mapping[str, Tolerance] = {
    "MLX float32": Tolerance(max_logit=1e-3, mean_kl=1e-6, top1=0.999),
    "MLX bfloat16": Tolerance(mean_kl=1e-2, top1=0.95),
    "int8 (torchao)": Tolerance(mean_kl=0.02, top1=0.9),
    "4 bits (compressed-tensors)": Tolerance(mean_kl=0.5, top1=0.6),
    "vLLM at an address": Tolerance(mean_kl=1e-2, top1=0.95),
    ANSWERS_ALONE: Tolerance(mean_kl=0.02, top1=0.95),
}
"""Folders of other tools, on the engines that run them. MLX computes in the stored type; a vLLM should serve bfloat16."""

FORMS: Mapping[str, Tolerance] = {
    **STORED,
    **{f"{name} served": limits for name, limits in SERVED.items()},
    **{f"GGUF {name}": limits for name, limits in _GGUF.items()},
    **_OTHERS,
}
"""What `tunesmith parity` judges by, for every form that was measured; a form that is not here is *not measured*."""


def looser(a: str, b: str) -> str:
    """Of two forms, the one that is judged by: the one that rounds more (`b` if both do alike), or the one that the table does
    not have."""
    if a not in FORMS or b not in FORMS:
        return b if b not in FORMS else a
    return max((b, a), key=lambda name: FORMS[name].mean_kl)
