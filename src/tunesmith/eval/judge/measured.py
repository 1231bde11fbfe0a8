"""The figures of a judge in an evaluation: what it is worth, and how often people would prefer the tuned model's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.eval.judge.calibration import Calibration, calibrate_pairs
from tunesmith.eval.judge.corrected import WinRate, win_rates
from tunesmith.eval.judge.evidence import JudgedAnswers
from tunesmith.eval.judge.rows import Label

__all__ = ["JudgeMeasures", "judge_measures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeMeasures:
    """`win_rate`: of the tuned model over the base, corrected for the judge's errors. `calibration`: None without labels; `why`
    then says so. `verdicts`: that of both orders for each item that was judged; `people`: labels of items that have one."""

    name: str
    weak: bool
    calibration: Calibration | None
    why: tuple[str, ...]
    win_rate: WinRate
    verdicts: Mapping[str, Label]
    people: Mapping[str, Label]
    unparsed: int

    @property
    def may_gate(self) -> bool:
        """Whether the judge may decide in people's place."""
        return self.calibration is not None and self.calibration.may_gate


def judge_measures(judged: JudgedAnswers | None) -> JudgeMeasures | None:
    """The figures; None where nothing was judged."""
    if judged is None or not judged.pairs:
        return None
    everything = [*judged.pairs, *judged.labels]
    labelled = any(pair.human for pair in everything)
    calibration = calibrate_pairs(everything, faults=judged.faults) if labelled else None
    why = ("no labels of people were given (judge.calibration)",) if calibration is None else calibration.why
    return JudgeMeasures(
        name=judged.name,
        weak=judged.weak,
        calibration=calibration,
        why=why,
        win_rate=win_rates(judged.pairs)[0],
        verdicts={pair.id: pair.final for pair in judged.pairs if pair.final is not None},
        people={pair.id: pair.human for pair in judged.pairs if pair.human is not None},
        unparsed=sum(pair.final is None for pair in judged.pairs),
    )
