"""The gates that compare the tuned model with its other forms: merged, merged and opened as servers do, and declared ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.eval.gate import Finding, GateKind, Limits, Ruling, State, missing, ruling
from tunesmith.eval.measure import Measurements
from tunesmith.eval.results import FormResult, ParityResult
from tunesmith.eval.tolerances import SERVED, STORED, Tolerance
from tunesmith.systems.registry import by_role
from tunesmith.systems.system import FormLimits, SystemKind

__all__ = ["GATE"]


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    """One ruling per form: merged and served always, with their own tables of limits; others if they were requested."""
    found = []
    for kind in by_role("form"):
        if kind.name == "merged":
            found.append(_parity(kind, measurements.parity, limits, answered=not measurements.of_texts))
        elif kind.name == "served":
            found.append(_served(kind, measurements.served, answered=not measurements.of_texts))
        elif kind.name in measurements.forms:
            found.append(_form(kind, measurements.forms[kind.name]))
    return found


def _parity(kind: SystemKind, parity: ParityResult | None, gates: Limits, *, answered: bool) -> Ruling:
    """`answered`: whether there are greedy answers to compare; of plain texts there are none, and logits decide."""
    stored = "float32" if parity is None else parity.stored
    limits = _chosen(STORED[stored], gates)
    rule = f"merged model, stored in {stored} and computed in float32, against the tuned one: {_limits(limits)}"
    rule += "; config.json, tensors, tokenizer and end tokens are the base's"
    found = missing("adapter and merged model were not compared")
    if parity is not None and parity.num_positions and (parity.greedy_total or not answered):
        state: State = "pass" if _within(parity, limits) and not parity.differences else "fail"
        evidence = "; ".join([_compared(parity), *parity.differences])
        found = Finding(state=state, evidence=evidence, value=parity.mean_kl)
    return ruling(kind.words, found, rule=rule, threshold=limits.mean_kl, loosened=_loosened(STORED[stored], limits))


def _loosened(usual: Tolerance, limits: Tolerance) -> str:
    """Which of the limits that the recipe can set are easier to keep than those of the stored type."""
    texts = []
    if usual.max_logit is not None and limits.max_logit is not None and limits.max_logit > usual.max_logit:
        texts.append(f"gates.parity_logit is {limits.max_logit:g}, by default {usual.max_logit:g}")
    if limits.top1 < usual.top1:
        texts.append(f"gates.parity_top1 is {limits.top1:g}, by default {usual.top1:g}")
    return "; ".join(texts)


def _served(kind: SystemKind, served: ParityResult | None, *, answered: bool) -> Ruling:
    """Advisory: a served model always rounds; this gate reports what the rounding costs."""
    precision = "bfloat16" if served is None else served.precision
    limits = SERVED[precision]
    rule = f"merged model opened in {precision}, as servers do, against the tuned one in float32: {_limits(limits)}"
    found = missing(f"the merged model was not opened in {precision}")
    if served is not None and served.num_positions and (served.greedy_total or not answered):
        state: State = "pass" if _within(served, limits) else "fail"
        found = Finding(state=state, evidence=_compared(served), value=served.mean_kl)
    return ruling(kind.words, found, rule=rule, threshold=limits.mean_kl, required=False)


def _chosen(limits: Tolerance, gates: Limits) -> Tolerance:
    """The limits of the table, replaced by those that the recipe sets."""
    if gates.parity_logit != "auto":
        limits = replace(limits, max_logit=gates.parity_logit)
    if gates.parity_top1 != "auto":
        limits = replace(limits, top1=gates.parity_top1)
    return limits


def _limits(limits: Tolerance) -> str:
    parts = [] if limits.max_logit is None else [f"no logit differs by more than {limits.max_logit:g}"]
    parts += [f"mean KL at most {limits.mean_kl:g} nats", f"same token at {100 * limits.top1:g} % of positions or more"]
    for share, what in ((limits.equal, "are equal"), (limits.begun, "start the same")):
        parts += [] if share is None else [f"{100 * share:g} % of the greedy answers {what} (one may always differ)"]
    if limits.as_summed is not None:
        parts.append(f"{100 * limits.as_summed:g} % of the adapted weights equal base plus update, rounded once")
    return ", ".join(parts)


def _within(found: ParityResult, limits: Tolerance) -> bool:
    logit = math.inf if limits.max_logit is None else limits.max_logit
    return (
        not math.isnan(found.max_abs_logit)
        and found.max_abs_logit <= logit
        and found.mean_kl <= limits.mean_kl
        and found.top1_agreement >= limits.top1
        and _enough(found.greedy_equal, found.greedy_total, limits.equal)
        and _enough(found.greedy_begun, found.greedy_total, limits.begun)
        and (limits.as_summed is None or (found.as_summed is not None and found.as_summed >= limits.as_summed))
    )


def _enough(alike: int, total: int, share: float | None) -> bool:
    """Whether no more answers differ than rounding explains; more differ if one side is another model."""
    return share is None or total - alike <= max(1.0, (1 - share) * total + 1e-9)


def _compared(found: ParityResult) -> str:
    summed = "" if found.as_summed is None else f", {100 * found.as_summed:.4g} % of the adapted weights equal base plus update"
    return (
        f"{found.hop}: largest difference of a logit {found.max_abs_logit:.2g}, mean KL {found.mean_kl:.2g}, same token at"
        f" {100 * found.top1_agreement:.2f} % of {found.num_positions} positions, {found.greedy_equal} of {found.greedy_total}"
        f" greedy answers equal, {found.greedy_begun} start the same ({found.precision}){summed}"
    )


def _form(kind: SystemKind, found: FormResult) -> Ruling:
    """A gate with the limits that the system declares; a limit whose figure was not measured does not pass."""
    rules = [rule for rule in _rules(kind.limits, found) if rule.limit is not None]
    within = [rule.is_within for rule in rules]
    state: State = "not measured" if None in within or not rules else "pass"
    if False in within:
        state = "fail"
    missed = [rule.words for rule in rules if rule.is_within is None]
    parts = [found.reason] if found.reason else []
    parts += [_compared(found.logits)] if found.logits is not None else [_seen(found)] if found.greedy_total else []
    parts += [f"not measured here: {', '.join(missed)}"] if missed else []
    parts += [] if rules else ["no limits are declared"]
    first = next((rule for rule in rules if rule.value is not None), None)
    return ruling(
        kind.words,
        Finding(state=state, evidence="; ".join(parts), value=first.value if first else None),
        rule=f"{kind.words.rule}: {', '.join(rule.words for rule in rules) or 'no limits are declared'}",
        threshold=first.limit if first else None,
        required=kind.required,
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """A limit in words, the limit, the measured value (None: not measured), and whether it is within the limit."""

    words: str
    limit: float | None
    value: float | None
    is_within: bool | None


def _rules(limits: FormLimits, found: FormResult) -> list[_Rule]:
    kl, top1 = (None, None) if found.logits is None else (found.logits.mean_kl, found.logits.top1_agreement)
    begun = None if found.greedy_total == 0 else found.greedy_begun / found.greedy_total
    enough = None if begun is None else _enough(found.greedy_begun, found.greedy_total, limits.begun)
    per_token = found.mean_abs_logprob
    return [
        _Rule(f"mean KL at most {limits.mean_kl or 0:g} nats", limits.mean_kl, kl, _at_most(kl, limits.mean_kl)),
        _Rule(
            f"same token at {100 * (limits.top1 or 0):g} % of positions or more",
            limits.top1,
            top1,
            None if top1 is None or limits.top1 is None else top1 >= limits.top1,
        ),
        _Rule(
            f"log-probabilities of the references differ by at most {limits.mean_abs_logprob or 0:g} nats per token on average",
            limits.mean_abs_logprob,
            per_token,
            _at_most(per_token, limits.mean_abs_logprob),
        ),
        _Rule(
            f"{100 * (limits.begun or 0):g} % of the greedy answers start the same (one may always differ)",
            limits.begun,
            begun,
            enough,
        ),
    ]


def _at_most(value: float | None, limit: float | None) -> bool | None:
    return None if value is None or limit is None else value <= limit


def _seen(found: FormResult) -> str:
    """The comparison of a form that gives no logits."""
    differ = ""
    if found.mean_abs_logprob is not None and found.max_abs_logprob is not None:
        differ = (
            f"log-probabilities of {found.num_tokens} reference tokens differ by {found.mean_abs_logprob:.2g} nats on average,"
            f" at most {found.max_abs_logprob:.2g}; "
        )
    return f"{differ}{found.greedy_equal} of {found.greedy_total} greedy answers equal, {found.greedy_begun} start the same"


GATE = GateKind(order=80, names=lambda: [kind.words.name for kind in by_role("form")], judge=_judge)
