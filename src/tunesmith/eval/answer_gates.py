"""The gates on sampled answers: whether they end by themselves, and whether they loop or are all the same."""

from __future__ import annotations

from tunesmith.eval.gate import Gate, Limits, Outcome, missing
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import percent

__all__ = ["answers_gate", "stop_gate"]

_LEAST_ITEMS = 20  # questions below which no gate about answers passes


def stop_gate(measurements: Measurements, gates: Limits) -> Gate:
    """Whether enough answers end by themselves; not measured if the references do not fit into the token limit either."""
    rule = (
        f"at least {100 * gates.stop_share:g} % of the tuned model's sampled answers end by themselves and contain a word,"
        f" on at least {_LEAST_ITEMS} questions; the rule tests the share itself, not its interval"
    )
    system, limit = measurements.systems.get("tuned"), measurements.limit
    outcome: Outcome = "not measured"
    if system is None or system.answers.ended.share is None:
        outcome, evidence, value = missing("the tuned model gave no answers")
        return Gate(name="stop", required=True, rule=rule, outcome=outcome, evidence=evidence, value=value)
    answers, value = system.answers, system.answers.ended.share
    ended, most = answers.ended, 1.0 if answers.ended.ci is None else answers.ended.ci.high
    evidence = f"{ended.count} of {ended.n} answers ended by themselves ({percent(ended)}), {answers.cut.count} cut,"
    evidence += f" {answers.empty.count} empty"
    if system.greedy.ended.share is not None and not measurements.use.is_plain_greedy:
        evidence += f"; with greedy decoding, for comparison, {percent(system.greedy.ended, interval=False)}"
    if limit is not None and limit.too_long > (1 - gates.stop_share) * limit.num_references:
        evidence += (
            f": {limit.too_long} of {limit.num_references} references need more than the limit of {limit.max_new_tokens}"
            " tokens, so this does not measure the model; set eval.max_new_tokens=auto"
        )
    elif answers.num_items < _LEAST_ITEMS and most >= gates.stop_share:
        evidence += ": too few answers to tell"
    else:
        outcome = "pass" if value >= gates.stop_share else "fail"
    return Gate(name="stop", required=True, rule=rule, outcome=outcome, evidence=evidence, value=value)


_REPEATS = {"loop": "loop", "collapse": "repeat the answer to another question"}


def answers_gate(measurements: Measurements, gates: Limits) -> Gate:
    """Whether answers that loop, or that do not depend on the question, became more frequent."""
    rule = (
        "the share of the tuned model's sampled answers that loop, and of those that repeat the answer to another question,"
        f" exceeds that of the base (or of the references) by at most {100 * gates.loop_margin:g} points,"
        f" interval included, on at least {_LEAST_ITEMS} questions"
    )
    found = [_more_often(measurements, name, gates.loop_margin) for name in _REPEATS]
    outcomes = [outcome for outcome, _, _ in found]
    evidence = "; ".join(text for _, text, _ in found)
    values = [value for _, _, value in found if value is not None]
    tuned = measurements.systems.get("tuned")
    outcome: Outcome = "pass"
    if "fail" in outcomes:
        outcome = "fail"
    elif "not measured" in outcomes:
        outcome = "not measured"
    elif tuned is not None and tuned.answers.num_items < _LEAST_ITEMS:
        outcome, evidence = "not measured", f"{evidence}: too few answers to tell"
    return Gate(
        name="answers", required=True, rule=rule, outcome=outcome, evidence=evidence, value=max(values) if values else None
    )


def _more_often(measurements: Measurements, name: str, margin: float) -> tuple[Outcome, str, float | None]:
    """How much more often the tuned model's answers have a fault than those of the base, or the references if higher."""
    comparison, what = measurements.comparison("base", "tuned"), _REPEATS[name]
    difference = comparison.differences[name] if comparison else None
    if difference is None or difference.ci is None or difference.mean is None or difference.mean_a is None:
        return missing(f"whether answers {what} was not measured")
    excess, low, high = difference.mean, difference.ci.low, difference.ci.high
    usual, whose = difference.mean_a, "the base's"
    reference, own = measurements.references[name], measurements.systems["tuned"].summaries[name]
    if reference is not None and reference > usual and own.ci is not None and own.mean is not None:
        usual, whose = reference, "the references"
        excess, low, high = own.mean - reference, own.ci.low - reference, own.ci.high - reference
    text = (
        f"{100 * (usual + excess):.0f} % of the tuned model's answers {what}, {100 * usual:.0f} % of {whose}"
        f" ({_points(excess)} points [{_points(low)}, {_points(high)}])"
    )
    if high <= margin:
        return "pass", text, excess
    if low > margin:
        return "fail", text, excess
    return "not measured", f"{text}, which includes the limit: too few documents to tell", excess


def _points(share: float) -> str:
    return f"{100 * share:+.0f}".replace("-", "−")
