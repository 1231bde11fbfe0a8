"""What a judge said about an evaluation's answers, kept with the evidence."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.eval.judge.rows import JudgedPair

__all__ = ["JudgedAnswers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswers:
    """`pairs`: for each test item that both answered, the tuned model's answer (`a`) and the base's (`b`), with people's labels
    where there are any; `id` is the item's. `labels`: other labelled pairs, by which the judge is calibrated too.

    `name`: the model and where it is; `id`: the hash of its prompts, rubric and name; `weak`: it runs on this machine.
    `faults`: why its verdicts may decide nothing, whatever they are. `withheld`: sentences that were not shown to it.
    """

    name: str
    id: str
    weak: bool
    pairs: tuple[JudgedPair, ...]
    labels: tuple[JudgedPair, ...] = ()
    faults: tuple[str, ...] = ()
    withheld: int = 0
