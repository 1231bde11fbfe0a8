"""How far a stored or served form of a model may be from the tuned one, for each number type.

The one table behind the parity gates; docs/concepts/merged-model.md shows it with the measurements that it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SERVED", "STORED", "Tolerance"]


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
