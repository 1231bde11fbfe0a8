"""How well scores of answers agree with preferences: the share of pairs that they order rightly, and how sure they are of it.

By scores, the chance that the chosen answer is the better one is σ(d), with d the difference of the two (Bradley–Terry).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.core.records import Preference
from tunesmith.eval.proportions import Share, clustered_share
from tunesmith.eval.stats import LEVEL

__all__ = ["PairMeasures", "calibration_error", "measure_pairs", "shared_labels"]

_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMeasures:
    """Of scored pairs: `accuracy` is the share whose chosen answer has the higher score (a tie is not right), clustered by
    document. `loss`: mean −log σ(d), log 2 for scores that say nothing. `brier`: mean (1 − σ(d))², ¼ for such scores.

    `calibration`: the expected calibration error. `margin`: mean d. All but the share are means over pairs.
    """

    accuracy: Share
    loss: float
    brier: float
    calibration: float
    margin: float


def shared_labels(row: Preference) -> dict[str, str]:
    """What joins pairs into one cluster: one prompt, or one answer, whose score decides all pairs that have it."""
    return {"prompt": str(row.prompt), "chosen": row.chosen.strip().casefold(), "rejected": row.rejected.strip().casefold()}


def measure_pairs(differences: Sequence[float], groups: Sequence[str], *, level: float = LEVEL) -> PairMeasures:
    """The figures of the differences (score of the chosen answer − score of the rejected one); `groups` names the document of
    each pair, and `level` is that of the interval."""
    d_U = np.asarray(differences, dtype=np.float64)
    wrong_U = 1 / (1 + np.exp(np.clip(d_U, -700, 700)))  # 1 − σ(d), exact where σ(d) is close to 1
    return PairMeasures(
        accuracy=clustered_share([difference > 0 for difference in differences], groups, level=level),
        loss=float(np.logaddexp(0, -d_U).mean()),
        brier=float(np.square(wrong_U).mean()),
        calibration=calibration_error(differences),
        margin=float(d_U.mean()),
    )


def calibration_error(differences: Sequence[float]) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, equation 3): over ten equal steps of the chance that the
    scores give to their own order, from ½ to 1, the mean distance between it and the share of pairs in that order, weighted by
    pairs. It is above 0 by chance where there are few pairs.

    scikit-learn's `calibration_curve` gives no counts of its bins, so it cannot be weighted.
    """
    d_U = np.asarray(differences, dtype=np.float64)
    sure_U = 1 / (1 + np.exp(-np.abs(d_U)))
    right_U = (d_U > 0) + 0.5 * (d_U == 0)
    bin_U = np.minimum(_BINS - 1, ((sure_U - 0.5) * 2 * _BINS).astype(int))
    gaps = [abs(float((sure_U - right_U)[bin_U == number].sum())) for number in range(_BINS)]
    return sum(gaps) / len(d_U)
