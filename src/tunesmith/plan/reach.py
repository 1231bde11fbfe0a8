"""What no adapter can change, in words for the plan and the page of a run."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["not_reached"]

_WORTH_NAMING = 0.005  # share of all weights from which a kind that no adapter reaches is named


def not_reached(out_of_reach: Mapping[str, int], num_parameters: int) -> str:
    """`; no adapter reaches 71 % of the weights (experts), …`, for the kinds that make up a share worth naming."""
    kinds = [
        f"{count / num_parameters:.0%} {kind}"
        for kind, count in out_of_reach.items()
        if count >= _WORTH_NAMING * num_parameters
    ]
    return f"; not adaptable, of all weights: {', '.join(kinds)}" if kinds else ""
