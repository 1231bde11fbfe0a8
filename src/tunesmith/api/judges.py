"""`calibrate_judge`: how far a judge agrees with people, what it goes by otherwise, and whether it may decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.eval.judge.calibration import Calibration, calibrate_pairs
from tunesmith.eval.judge.rows import read_pairs

__all__ = ["JudgeCalibration", "calibrate_judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCalibration:
    """What was found out about a judge. `calibration`: every figure with its interval; None is not measured."""

    calibration: Calibration

    @property
    def may_gate(self) -> bool:
        """Whether the judge may decide in people's place."""
        return self.calibration.may_gate

    @property
    def why(self) -> str:
        """The reasons, in words."""
        return "; ".join(self.calibration.why)

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith judge calibrate --json` prints."""
        c = self.calibration
        diagnosed = {
            "agreement": c.agreement,
            "changed": c.changed,
            "reversed": c.reversed,
            "length_preference": c.length_preference,
            "position_preference": c.position_preference,
            "family_preference": c.family_preference,
            "retest": c.retest,
        }
        return {
            "n": c.n,
            "prompts": c.prompts,
            "agreement": c.agreement.value,
            "kappa": c.kappa.as_dict(),
            "kappa_both_orders": c.kappa_both_orders.as_dict(),
            "kappa_decided": c.kappa_decided.as_dict(),
            "ceiling": c.ceiling.as_dict(),
            "changed": c.changed.value,
            "reversed": c.reversed.value,
            "length_preference": c.length_preference.value,
            "position_preference": c.position_preference.value,
            "family_preference": c.family_preference.value,
            "retest": c.retest.value,
            "unparsed": c.unparsed,
            "swapped_missing": c.swapped_missing,
            "may_gate": c.may_gate,
            "why": self.why,
            "confusion": c.confusion,
            "learning_curve": c.learning.as_dict(),
            "win_rates": [one.as_dict() for one in c.win_rates],
            "next_labels": [{"id": one.id, "because": one.because} for one in c.next_labels],
            "measured": {name: one.as_dict() for name, one in diagnosed.items()},
        }


def calibrate_judge(file: str | Path, *, family: Sequence[str] = ()) -> JudgeCalibration:
    """Compare the verdicts of a judge with people's labels on the same pairs of answers.

    Each line of `file` is a JSON object with `id`, `prompt`, `a`, `b`, `human` (or `annotators`, a list), `judge`, and
    optionally `judge_swapped` (from the request that showed `b` first), `judge_again`, `group`, `system_a`, `system_b`. Labels
    are `A`, `B` and `tie` and name the answers `a` and `b` of the row, also in `judge_swapped`. `family`: names of systems that
    belong to the judge's own family.

    Raises:
        EvaluationError: a file that cannot be read, or without labels or verdicts.
    """
    return JudgeCalibration(calibration=calibrate_pairs(read_pairs(Path(file)), family=frozenset(family)))
