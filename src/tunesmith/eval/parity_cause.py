"""Why two forms of a model differ: likely causes, named by evidence.

Evidence is what both sides declare, what their weights are where both are in this process, and what the numbers look like
(equal to the base's, proportional to the adapter's effect, different late in long texts only). A rule is asked only about the
kind of failure that it could explain, so a difference that has no known sign is called unknown, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tunesmith.eval.parity_apart import ScoresCompared
from tunesmith.eval.parity_causes_of_numbers import Effect, adapter_effect
from tunesmith.eval.parity_result import Answers, Cause, Prompts
from tunesmith.eval.parity_weights import MatrixDrift, WeightsCompared, compare_weights
from tunesmith.models.declared import DeclaredAdapter
from tunesmith.systems.comparable import Rendered
from tunesmith.systems.opening import OpenedSystem

__all__ = ["Case", "Failure", "find_causes"]

Failure = Literal["prompts", "context", "model", "answers", "ends"]
"""The parts of a comparison that can fail."""


@dataclass(frozen=True)
class Case:
    """Two systems that differ. `failed`: which parts did; `readings`: how both read each prompt."""

    a: OpenedSystem
    b: OpenedSystem
    failed: frozenset[Failure]
    found: Prompts
    readings: Sequence[tuple[Rendered, Rendered]]
    scored: ScoresCompared
    answers: Answers

    @cached_property
    def weights(self) -> WeightsCompared | None:
        """Both forms' matrices; None where one of them is not in this process."""
        return compare_weights(self.a, self.b)

    @cached_property
    def effect(self) -> Effect | None:
        """How the difference compares with what the adapter does; None where no side has its base at hand."""
        return adapter_effect(self.a, self.b, self.scored.rows)

    @property
    def adapter(self) -> DeclaredAdapter | None:
        """The adapter of either side."""
        return self.a.declared.adapter or self.b.declared.adapter


def find_causes(case: Case) -> tuple[Cause, ...]:
    """The likely causes, the likeliest first; one that says it is unknown where no rule found its sign."""
    found: list[Cause] = []
    for parts, rule in _RULES:
        cause = rule(case) if case.failed & parts else None
        if cause is not None and cause.name not in {one.name for one in found}:
            found.append(cause)
    return tuple(found) or (
        Cause(
            name="unknown",
            evidence="none of the known signs is there: settings, control tokens and what can be seen of the weights agree",
            hint="convert again from the merged folder and compare step by step: tunesmith parity run:latest model:latest",
        ),
    )


# --- what both declare ------------------------------------------------------------------------------------------------


def _another_shape(case: Case) -> Cause | None:
    a, b = case.a.declared, case.b.declared
    for name, one, other in (("width", a.width, b.width), ("heads", a.heads, b.heads), ("key heads", a.kv_heads, b.kv_heads)):
        if one is not None and other is not None and one != other:
            return _another(f"{name} is {one} in a and {other} in b")
    return None


def _another(evidence: str) -> Cause:
    return Cause(
        name="another model",
        evidence=evidence,
        hint="check which file or model name b was given; `tunesmith show run:latest` names the base of the run",
    )


def _layers(case: Case) -> Cause | None:
    a, b = case.a.declared, case.b.declared
    evidence = ""
    if a.layers is not None and b.layers is not None and a.layers != b.layers:
        evidence = f"a has {a.layers} layers and b has {b.layers}"
    elif case.weights is not None:
        lost = [name for name, drift in case.weights.drifts.items() if drift.relative > 0 and abs(drift.cosine) < 1e-6]
        evidence = f"{lost[0]} is zero in b" if lost and "embed" not in lost[0] else ""
    hint = "convert again, and check that the conversion reports every tensor of the source as written"
    return Cause(name="layer missing", evidence=evidence, hint=hint) if evidence else None


def _vocabulary(case: Case) -> Cause | None:
    a, b = case.a.declared.vocabulary, case.b.declared.vocabulary
    sizes = case.scored.vocabularies or ((a, b) if a is not None and b is not None and a != b else None)
    if sizes is None:
        return None
    return Cause(
        name="vocabulary resized",
        evidence=f"a has embeddings for {sizes[0]} tokens and b for {sizes[1]}",
        hint="convert without adding tokens or padding, or resize the base before training",
    )


def _tied(case: Case) -> Cause | None:
    a, b, weights = case.a.declared.tied, case.b.declared.tied, case.weights
    if a is None or b is None or a == b:
        return None
    if weights is not None and not any("lm_head" in name or "embed" in name for name in weights.changed):
        return None  # stored twice, and still the same numbers
    words = {True: "tied to the embedding", False: "a matrix of its own"}
    return Cause(
        name="tied embeddings untied" if a else "untied embeddings tied",
        evidence=f"the output matrix is {words[a]} in a and {words[b]} in b",
        hint="keep tie_word_embeddings of the base in config.json, and do not store lm_head.weight where the base has none",
    )


def _rope(case: Case) -> Cause | None:
    a, b = case.a.declared.rope, case.b.declared.rope
    if a is None or b is None or a == b:
        return None
    return Cause(
        name="RoPE settings",
        evidence=f"{a.words} in a, {b.words} in b",
        hint="give b the rope_theta and rope_scaling of the base's config.json (older readers need them at the top level)",
    )


def _norm(case: Case) -> Cause | None:
    a, b = case.a.declared.norm_eps, case.b.declared.norm_eps
    if a is None or b is None or abs(a - b) <= 1e-3 * a:
        return None
    hint = "convert again from the base's own config.json"
    return Cause(name="norm epsilon", evidence=f"{a:g} in a, {b:g} in b", hint=hint)


def _another_base(case: Case) -> Cause | None:
    """Both run an adapter, and the matrices that it does not touch differ."""
    if case.a.declared.adapter is None or case.b.declared.adapter is None or case.weights is None:
        return None
    drift = case.weights.typical(case.weights.plain)
    if drift < 1e-3:
        return None
    return Cause(
        name="adapter of another base",
        evidence=f"the weights of {case.a.declared.where} and {case.b.declared.where} differ by {100 * drift:.2g} %",
        hint=f"use the base that the adapter names: {case.a.declared.adapter.base or 'see its adapter_config.json'}",
    )


# --- prompts, context, ends -------------------------------------------------------------------------------------------


def _bos(case: Case) -> Cause | None:
    pairs = [(one.ids, other.ids) for one, other in case.readings if one.ids and other.ids and one.ids != other.ids]
    if not pairs:
        return None
    bos = case.a.declared.bos if case.a.declared.bos is not None else case.b.declared.bos
    if all(y[1:] == x for x, y in pairs):
        doubled = all(x[0] == y[0] for x, y in pairs)
        what = f"b puts token {pairs[0][1][0]} before every prompt" + (", which begins with it already" if doubled else "")
        name = "BOS doubled" if doubled else "BOS added"
    elif all(x[1:] == y for x, y in pairs):
        what, name = f"b lacks token {pairs[0][0][0]} at the start of every prompt", "BOS missing"
    else:
        return None
    if bos is not None and bos != pairs[0][0][0] and bos != pairs[0][1][0]:
        return None
    hint = "set add_bos_token as the base's tokenizer has it; a template that writes the token itself needs it off"
    return Cause(name=name, evidence=what, hint=hint)


def _template(case: Case) -> Cause | None:
    texts = [(one, other) for one, other in case.readings if one.text is not None and other.text is not None]
    differ = [pair for pair in texts if pair[0].text != pair[1].text]
    refused = [pair for pair in case.readings if bool(pair[0].refused) != bool(pair[1].refused)]
    a, b = case.a.declared.template, case.b.declared.template
    other_file = a is not None and b is not None and a.strip() != b.strip()
    if not differ and not refused and not (other_file and not texts):
        return None
    first = case.found.first or {}
    shown = f": a {first.get('a', '')!r}, b {first.get('b', '')!r}" if first else ""
    return Cause(
        name="chat template",
        evidence=f"{len(differ) + len(refused)} of {len(case.readings)} prompts are written in another way{shown}",
        hint="give b the chat_template.jinja of the base (llama.cpp: --jinja --chat-template-file FILE)",
    )


def _tokenizer(case: Case) -> Cause | None:
    same_text = [
        (one.ids, other.ids)
        for one, other in case.readings
        if one.ids and other.ids and one.ids != other.ids and (one.text == other.text or other.text is None)
    ]
    if not same_text:
        return None
    return Cause(
        name="tokenizer",
        evidence=f"the same text becomes other token ids for {len(same_text)} of {len(case.readings)} prompts",
        hint="copy the tokenizer files of the base, and convert again: merges, added tokens or the pre-tokenizer differ",
    )


def _context(case: Case) -> Cause | None:
    if "context" not in case.failed:
        return None
    return Cause(
        name="context length",
        evidence=f"b takes {case.b.context} tokens, a takes {case.a.context}",
        hint=f"start b with a context of {case.a.trained_tokens or case.a.context} tokens (-c, num_ctx, --max-model-len)",
    )


def _stops(case: Case) -> Cause | None:
    a, b = case.a.declared.ends, case.b.declared.ends
    if not case.answers.other_ends and (a is None or b is None or a == b):
        return None
    ends = [", ".join(map(str, sorted(one))) if one else "none that it states" for one in (a, b)]
    return Cause(
        name="stop tokens",
        evidence=f"{len(case.answers.other_ends)} answers end in one system alone; end tokens {ends[0]} in a, {ends[1]} in b",
        hint="list every end token of a in eos_token_id of b's generation_config.json, or give them to the server as stops",
    )


# --- weights ----------------------------------------------------------------------------------------------------------


def _update(case: Case) -> Cause | None:
    """The adapter's update is left out, or multiplied by another factor."""
    if case.weights is None or not (adapted := case.weights.adapted):
        return None
    if case.weights.typical(case.weights.plain) > 1e-3:
        return None
    along = {name: drift for name, drift in adapted.items() if drift.rest is not None and drift.rest < 0.25}
    left = {name: drift.update_left or 0.0 for name, drift in along.items()}
    sign = 1.0 if case.a.declared.adapter is not None else -1.0  # the update was measured on the side that has the adapter
    lost = [name for name, factor in left.items() if -1.05 < sign * factor < -0.95]
    if len(along) < 0.9 * len(adapted):
        return None
    if lost:
        whole = "the weights of b are those of the base" if len(lost) == len(adapted) else f"{lost[0]} is as in the base"
        where = "b" if sign > 0 else "a"
        return _not_applied(f"{whole}: the update is missing in {where} from {len(lost)} of {len(adapted)} adapted matrices")
    factor = 1.0 + sorted(left.values())[len(left) // 2]
    return None if abs(factor - 1) < 1e-3 else _scale(case.adapter, factor)


def _not_applied(evidence: str) -> Cause:
    return Cause(
        name="adapter not applied",
        evidence=evidence,
        hint="merge again, or load the adapter in b (llama.cpp: --lora FILE; vLLM: --enable-lora and the adapter's model name)",
    )


def _scale(adapter: DeclaredAdapter | None, factor: float) -> Cause:
    reasons = {2.0: "it was added twice", -1.0: "it was subtracted"}
    if adapter is not None:
        reasons[1 / adapter.scale] = "its scale was left out"
        reasons[float(adapter.rank)] = "alpha was not divided by the rank"
        reasons[adapter.rank**0.5] = "alpha was divided by the root of the rank, as rsLoRA does"
        reasons[adapter.rank**-0.5] = "alpha was divided by the rank, and this is rsLoRA"
    why = next((why for usual, why in reasons.items() if abs(factor - usual) < 0.02 * abs(usual)), "")
    return Cause(
        name="scale",
        evidence=f"b has the adapter's update {factor:.3g} times" + (f": {why}" if why else ""),
        hint="multiply the update by alpha / rank (rsLoRA: alpha / root of the rank), as adapter_config.json says",
    )


def _permuted(case: Case) -> Cause | None:
    turned = [name for name, drift in (case.weights.changed.items() if case.weights else ()) if drift.is_permuted]
    if not turned:
        return None
    return Cause(
        name="q/k permutation",
        evidence=f"{len(turned)} matrices have the rows of a in another order, first {turned[0]}",
        hint="convert again with a converter that knows this architecture: rotary halves are stored interleaved or split",
    )


def _quantised(case: Case) -> Cause | None:
    drifts = _plain_changed(case)
    on_grid = [drift.bits for drift in drifts.values() if drift.bits is not None]
    if not drifts or len(on_grid) < 0.5 * len(drifts):
        return None
    bits = max(set(on_grid), key=on_grid.count)
    return Cause(
        name="merged into a quantised base",
        evidence=f"{len(on_grid)} of {len(drifts)} matrices that no adapter touches hold numbers of {bits} bits",
        hint="merge the adapter into the full-precision base: tunesmith merge",
    )


def _dtype(case: Case) -> Cause | None:
    changed = case.weights.changed if case.weights is not None else {}
    kinds = [drift.rounded_to for drift in changed.values()]
    if not changed or kinds.count("") > 0.1 * len(kinds):
        return None
    kind = max(set(kinds), key=kinds.count)
    return Cause(
        name="dtype",
        evidence=f"the weights of b are those of a rounded to {kind}, and b is compared as {case.b.form}",
        hint=f"store b in {case.a.declared.stored}, or declare {kind} in its config.json",
    )


def _other_weights(case: Case) -> Cause | None:
    drifts = _plain_changed(case)
    if not drifts or case.weights is None or len(drifts) < 0.5 * len(case.weights.plain):
        return None
    far = [drift for drift in drifts.values() if drift.cosine < 0.5]
    share = 100 * case.weights.typical(drifts)
    if len(far) > 0.5 * len(drifts):
        return _another(f"matrices that no adapter touches have nothing in common (median difference {share:.0f} %)")
    return Cause(
        name="another base",
        evidence=f"matrices that no adapter touches differ by {share:.2g} %, and are not those of a rounded",
        hint="merge the adapter into the base that it was trained on: tunesmith show run:latest names it",
    )


def _plain_changed(case: Case) -> dict[str, MatrixDrift]:
    if case.weights is None:
        return {}
    return {name: drift for name, drift in case.weights.plain.items() if drift.relative > 0 and not drift.is_permuted}


# --- numbers ----------------------------------------------------------------------------------------------------------


def _effect(case: Case) -> Cause | None:
    """Where the weights cannot be compared: how the difference lies to what the adapter does."""
    if case.weights is not None or case.effect is None:
        return None
    if case.effect.is_base:
        return _not_applied(f"b answers as the base does: {case.effect.words}")
    return _scale(case.adapter, case.effect.factor) if case.effect.is_along else None


def _late(case: Case) -> Cause | None:
    apart = case.scored.apart
    if apart is None or apart.early is None or apart.late is None or apart.late < 10 * max(apart.early, 1e-9):
        return None
    return Cause(
        name="RoPE settings",
        evidence=f"mean KL is {apart.early:.2g} in the first 32 positions and {apart.late:.2g} far into long texts",
        hint="compare rope_theta, rope_scaling, sliding window and context of both configurations",
    )


def _strangers(case: Case) -> Cause | None:
    apart = case.scored.apart
    if case.weights is not None or apart is None or apart.top1 is None or apart.mean_kl is None:
        return None
    return _another(f"the first choice is the same at {100 * apart.top1:.0f} % of positions") if apart.top1 < 0.3 else None


_ALL: frozenset[Failure] = frozenset(("prompts", "context", "model", "answers", "ends"))
_MODEL: frozenset[Failure] = frozenset(("model", "answers"))
_RULES: tuple[tuple[frozenset[Failure], Callable[[Case], Cause | None]], ...] = (
    (_MODEL, _another_shape),
    (_MODEL, _layers),
    (_MODEL, _vocabulary),
    (_MODEL, _tied),
    (frozenset(("prompts",)), _bos),
    (frozenset(("prompts",)), _template),
    (frozenset(("prompts",)), _tokenizer),
    (frozenset(("context",)), _context),
    (_MODEL, _rope),
    (_MODEL, _norm),
    (_MODEL, _permuted),
    (_MODEL, _update),
    (_MODEL, _another_base),
    (_MODEL, _dtype),
    (_MODEL, _quantised),
    (_MODEL, _other_weights),
    (_MODEL, _effect),
    (_MODEL, _late),
    (_MODEL, _strangers),
    (frozenset(("ends", "answers")), _stops),
)
