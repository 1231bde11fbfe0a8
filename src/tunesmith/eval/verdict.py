"""The verdict, from written rules (`eval.gates`). Each gate is pass, fail or not measured; not measured is never a pass.

A required gate that fails gives DON'T SHIP (exit code 2), else one that is not measured gives CAN'T TELL (3), else SHIP
(0). Advisory gates are shown and never decide. SHIP needs all required gates at once, so testing several of them makes
a false SHIP rarer and not likelier (intersection-union test; Berger 1982), and their p values need no correction.

In an audit of a model that was trained elsewhere, the gates that nothing outside can measure are advisory, or no audit could
ever end in SHIP. They stay *not measured*, and the sentence names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from tunesmith.core.records import to_json
from tunesmith.eval.gain import OVERLAPS
from tunesmith.eval.gate import Gate, Limits, Ruling, State
from tunesmith.eval.gates import ALWAYS, judge_all
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import signed, signed_range
from tunesmith.eval.results import Audited
from tunesmith.systems.registry import by_role

__all__ = ["Gate", "Verdict", "VerdictName", "decide"]

VerdictName = Literal["SHIP", "DON'T SHIP", "CAN'T TELL"]
_ANSWERS = frozenset({"stop", "not_collapsed", "not_recited", "answers_the_question"})
_FIRST = (ALWAYS, "answers_the_question")  # of what could not be measured, what a reader must know
_CONTRARY = ("exact_match", *OVERLAPS)  # metrics of answers that may say the opposite of a likelihood


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict: one word, its exit code (0, 2, 3), sentences that explain it, every gate, and what was not measured.

    `looks` counts the evaluations on this test set so far, this one included. `effective_documents`: independent units that the
    intervals rest on. `advice`: what to do next, in a sentence.
    """

    verdict: VerdictName
    exit_code: int
    sentence: str
    gates: tuple[Gate, ...]
    not_measured: tuple[str, ...]
    looks: int = 1
    effective_documents: float = 0.0
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith verdict --json` prints."""
        plain: dict[str, Any] = orjson.loads(to_json(self))
        return plain


def decide(
    measurements: Measurements,
    limits: Limits,
    *,
    baselines: Sequence[str] = (),
    looks: int = 1,
    changed: Sequence[str] = (),
) -> Verdict:
    """The verdict on the tuned model. `baselines` are the cheaper alternatives that the recipe asked for; `looks` counts the
    evaluations on this test set, and `changed` says what differs from what was planned before the first."""
    audited = measurements.audited
    found = [
        _as_an_audit_can(_as_the_recipe_says(one, limits), audited)
        for one in judge_all(measurements, limits, baselines=baselines)
    ]
    failed = [one for one in found if one.gate.required and one.gate.state == "fail"]
    unknown = [one for one in found if one.gate.required and one.gate.state == "not measured"]
    name: VerdictName
    if failed:
        name, code, sentence = "DON'T SHIP", 2, _no(failed, found)
    elif unknown:
        name, code, sentence = "CAN'T TELL", 3, " ".join(one.words.unknown for one in sorted(unknown, key=_told_first)[:2])
    else:
        name, code, sentence = "SHIP", 0, _yes(measurements, found)
    sentence = " ".join([sentence, *_unseen_from_outside(found, audited), *_looked(looks, changed, measurements.level)])
    unseen = [one.words.topic for one in found if one.gate.state == "not measured"]
    unseen += _not_compared(measurements, baselines)
    unseen += audited.unknown if audited else ()
    return Verdict(
        verdict=name,
        exit_code=code,
        sentence=sentence,
        gates=tuple(one.gate for one in found),
        not_measured=tuple(unseen),
        looks=looks,
        effective_documents=_effective(measurements),
        advice=_advice(failed, unknown, _overruled(found)) if audited is None else _advice_on_audit(failed, unknown, audited),
    )


def _told_first(one: Ruling) -> bool:
    """Sorts what could not be measured: first what a gain in likelihood means nothing without."""
    return one.gate.name not in _FIRST


def _not_compared(measurements: Measurements, baselines: Sequence[str]) -> list[str]:
    """The cheaper alternatives that nobody asked for, in one phrase; of plain texts, all that answers would tell."""
    if measurements.of_texts:
        return ["answers: the test set is plain text, of which nothing is asked"]
    left = [kind for kind in by_role("baseline") if kind.name not in baselines and kind.name not in measurements.systems]
    if len(left) < 2:
        return [kind.words.topic for kind in left]
    return [f"whether other cheaper alternatives would be enough ({', '.join(kind.name for kind in left)})"]


def _effective(measurements: Measurements) -> float:
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.differences[measurements.primary] if comparison else None
    return float(measurements.num_documents) if difference is None else difference.effective_documents


def _looked(looks: int, changed: Sequence[str], level: float) -> Iterator[str]:
    """That the test set was used before, and what has changed since the plan."""
    if looks > 1:
        yield f"This is evaluation {looks} on this test set, so intervals are at {100 * level:.3g} %."
    if changed:
        yield f"Changed since the plan: {'; '.join(changed)}."


def _as_the_recipe_says(one: Ruling, limits: Limits) -> Ruling:
    """The ruling with what the recipe changed: made advisory, and in which way the rule is easier to pass than by default."""
    gate = one.gate
    changes = [text for text in (gate.loosened, limits.loosened.get(gate.name, "")) if text]
    if gate.name in limits.advisory and gate.required and gate.name != ALWAYS:
        gate, changes = replace(gate, required=False), [*changes, "made advisory by the recipe"]
    return Ruling(replace(gate, loosened="; ".join(changes)), one.words)


def _as_an_audit_can(one: Ruling, audited: Audited | None) -> Ruling:
    """The ruling, advisory where nothing outside of the training run can measure it. A failure decides all the same."""
    if audited is None or one.gate.name not in audited.advisory or one.gate.state != "not measured":
        return one
    return Ruling(replace(one.gate, required=False), one.words)


def _unseen_from_outside(found: Sequence[Ruling], audited: Audited | None) -> Iterator[str]:
    """What the verdict of an audit cannot speak of."""
    if audited is None:
        return
    if audited.reason:
        yield f"The audited model was not measured: {audited.reason}"
        return
    unseen = [one.words.topic for one in found if one.gate.name in audited.advisory and one.gate.state == "not measured"]
    if topics := [*unseen, *audited.unknown]:
        yield f"Not measured, because an audit cannot: {'; '.join(topics)}."


def _yes(measurements: Measurements, found: Sequence[Ruling]) -> str:
    passed = {one.gate.name for one in found if one.gate.state == "pass"}
    return " ".join([_claim(measurements, passed), *_but(measurements, found)])


def _claim(measurements: Measurements, passed: AbstractSet[str]) -> str:
    """What a passed gate `better` says, and which baselines the gates about them found beaten."""
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.differences[measurements.primary] if comparison else None
    gain = improvement(difference, measurements.primary) if difference else None
    if difference is None or gain is None:
        raise AssertionError("the gate passed without a measured improvement")
    beaten = [f", and than the {kind.title}" for kind in by_role("baseline") if kind.words.name in passed]
    whose = "tuned" if measurements.audited is None else "audited"
    if measurements.primary == "bits_per_byte":
        words = "the author's held-out words" if measurements.audited is None else "these words"
        words = "held-out text" if measurements.of_texts else words
        claim = f"The {whose} model predicts {words} better than the base does{''.join(beaten)}"
        size = f"{gain[0]:.3f} bits per byte less"
    else:
        claim = f"The {whose} model's answers are closer to the references than those of the base are{''.join(beaten)}"
        size = f"{signed(gain[0])} {metric_named(measurements.primary).label}"
    relative = "" if difference.relative is None else f" ({100 * abs(difference.relative):.0f} %)"
    told = "" if measurements.perplexity is None else f", {measurements.perplexity.words}"
    return f"{claim}: {size}{relative}{told}, better on {difference.better} of {difference.n} items."


def _but(measurements: Measurements, found: Sequence[Ruling]) -> Iterator[str]:
    """What speaks against the claim, in sentences: gates that failed and were made advisory, metrics of answers that fell,
    warnings, gates that were loosened."""
    yield from (one.words.failed for one in _overruled(found))
    yield from (one.words.unknown for one in _overruled(found, "not measured"))
    for metric, gain in _contrary(measurements):
        yield f"But its answers got worse in {metric_named(metric).label}, cut to the reference's length: {signed_range(gain)}."
    warnings = dict.fromkeys(text for one in found for text in one.gate.warning.split("; ") if text)
    if warnings:
        yield f"Note: {'; '.join(warnings)}."
    loosened = [one.gate.name.replace("_", " ") for one in found if one.gate.loosened]
    if loosened:
        yield f"The recipe made {_listed(loosened)} easier to pass than by default."


def _overruled(found: Sequence[Ruling], state: State = "fail") -> list[Ruling]:
    """Gates in this state that only the recipe made advisory."""
    return [one for one in found if one.gate.state == state and not one.gate.required and one.gate.loosened]


def _contrary(measurements: Measurements) -> Iterator[tuple[str, tuple[float, float, float]]]:
    comparison = measurements.comparison("base", "tuned")
    for metric in _CONTRARY if comparison else ():
        if metric != measurements.primary and comparison is not None:
            difference = comparison.length_matched.get(metric, comparison.differences[metric])
            gain = improvement(difference, metric)
            if gain is not None and gain[2] < 0:
                yield metric, gain


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _no(failed: Sequence[Ruling], found: Sequence[Ruling]) -> str:
    """The first two reasons, and a note if answers got worse although the primary metric improved."""
    reasons = [one.words.failed for one in failed[:2]]
    helped = any(one.gate.name == "better" and one.gate.state == "pass" for one in found)
    if helped and {one.gate.name for one in failed} & _ANSWERS:
        reasons.insert(0, "The primary metric improved, but the answers got worse.")
    return " ".join(reasons)


_ADVICE = {
    "better": "Do not tune on this as it is: try more or cleaner examples, or another base.",
    "stop": "Check the end token of the template, and train on whole answers: tunesmith check.",
    "not_collapsed": "Train less: fewer epochs or a lower learning rate.",
    "not_recited": "Train less, and look for passages that occur many times: tunesmith dedup.",
    "answers_the_question": "Check the questions: the answers hardly depend on them.",
    "general": "Mix in general rows (mix.own_answers=true, or mix.general), raise mix.share, or train less.",
    "general_text": "Mix in general rows (mix.own_answers=true, or mix.general), raise mix.share, or train less.",
    "parity": "Do not ship the merged folder; ship the adapter, or merge again in float32.",
}


_ADVICE_UNKNOWN = {
    "better": "Add writing, so that the test set holds more documents; the evidence says how many would do.",
    "general": "Mix in more general rows (mix.share), train less, or take a larger base, which changes fewer of its answers.",
}


def _advice(failed: Sequence[Ruling], unknown: Sequence[Ruling], overruled: Sequence[Ruling]) -> str:
    """What to do next about the gate that decides, or would if the recipe had not made it advisory."""
    if not failed and not unknown and overruled:
        return f"Do not release it before you know why it failed: {_listed([one.gate.name for one in overruled])}."
    if not failed and not unknown:
        return "Ship the merged folder, and read a few of its answers first."
    name = (*failed, *unknown)[0].gate.name
    if not failed:
        return _ADVICE_UNKNOWN.get(name, "Measure what is missing, or add writing; the gate's evidence says which.")
    if name.startswith("beats_"):
        return "Use the cheaper alternative: it does at least as well."
    return _ADVICE.get(name, "Read the evidence of the gate that failed.")


def _advice_on_audit(failed: Sequence[Ruling], unknown: Sequence[Ruling], audited: Audited) -> str:
    """What to do next with a model that somebody else trained."""
    if audited.reason:
        return "Start the server, or correct its address and the model's name, and type the same command again."
    if failed:
        return "Do not use this model in place of the base; the evidence of the gates that failed says why."
    if unknown:
        return "Audit it on more documents; the evidence of the gates that are not measured says what is missing."
    return "Read a few of its answers first, and ask its maker about what an audit cannot measure."
