"""Does the tuned model answer in its own words, or does it recite its training rows?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling, unless_one_sided
from tunesmith.eval.gates.stop import LEAST_ITEMS
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import percent, signed
from tunesmith.eval.probe_measures import Recital
from tunesmith.eval.recital import RECITAL

__all__ = ["GATE"]

_MARGIN = 0.1  # share of answers beyond what base and references have anyway
_GAP = 2.0  # the gain on training rows, in times the gain on test rows, from which it is warned of


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    words = GateWords(
        name="not_recited",
        rule=f"at most {100 * _MARGIN:g} points more of the tuned model's sampled answers are recited than of the base's"
        f" answers and the references, interval included, on at least {LEAST_ITEMS} questions ({RECITAL})",
        failed="The tuned model recites its training rows.",
        unknown="Whether the tuned model recites its training rows could not be measured.",
        topic="whether answers are recited from the training rows",
    )
    comparison = measurements.comparison("base", "tuned")
    found = unless_one_sided(_finding(measurements), comparison.one_sided("ended") if comparison else 0)
    return [ruling(words, found, threshold=_MARGIN)]


def _finding(measurements: Measurements) -> Finding:
    found, tuned = measurements.recital, measurements.systems.get("tuned")
    if found.tuned.share is None or tuned is None:
        return missing("there are no training answers, or no answers of the tuned model")
    usual = max(found.base.share or 0.0, found.references.share or 0.0)
    value = found.tuned.share - usual
    evidence = (
        f"{percent(found.tuned)} of {found.tuned.n} answers are recited ({percent(found.base, interval=False)} of the base's,"
        f" {percent(found.references, interval=False)} of the references); the longest run copied is {found.longest} words"
    )
    evidence += _likelihoods(found)
    warning = _warning(found)
    if found.tuned.ci is None:
        return Finding(state="not measured", evidence=f"{evidence}: too few documents for an interval", value=value)
    interval = (found.tuned.ci.low - usual, found.tuned.ci.high - usual)
    if interval[0] > _MARGIN:
        return Finding(state="fail", evidence=evidence, value=value, interval=interval)
    if tuned.answers.num_items < LEAST_ITEMS:
        return Finding(state="not measured", evidence=f"{evidence}: too few answers", value=value, interval=interval)
    # where base or references recite as well (a fixed last paragraph, say), only the same questions can be compared
    if usual > 0 and found.excess.ci is not None:
        interval = (found.excess.ci.low, found.excess.ci.high)
    # if no question's answers are recited more often, the interval is wide with few documents: as many as there are agree
    if interval[1] <= _MARGIN or found.tuned.count == 0 or (usual > 0 and found.excess.better == 0):
        return Finding(state="pass", evidence=evidence, value=value, interval=interval, warning=warning)
    evidence += ": the interval includes the limit, too few answers to tell"
    return Finding(state="not measured", evidence=evidence, value=value, interval=interval)


def _likelihoods(found: Recital) -> str:
    if found.training_gain is None or found.test_gain is None:
        return ""
    text = (
        f"; bits per byte fell by {found.training_gain:.3f} on the nearest training rows, by {found.test_gain:.3f} on test rows"
    )
    if found.reworded_loss is not None:
        text += f", and with reworded questions by {signed(-found.reworded_loss)} more on the training rows"
    return text


def _warning(found: Recital) -> str:
    if found.training_gain is None or found.test_gain is None or found.training_gain < 0.1:
        return ""
    if found.training_gain <= _GAP * max(found.test_gain, 0.0):
        return ""
    gains = f"training rows gained {found.training_gain:.2f} bits per byte, test rows {found.test_gain:.2f}"
    return f"{gains}: much is learned by heart"


GATE = GateKind(order=60, names=lambda: ["not_recited"], judge=_judge, of_answers=True)
