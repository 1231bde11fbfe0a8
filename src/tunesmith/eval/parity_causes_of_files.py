"""Causes that show in what both sides declare, and in how they read prompts and end answers."""

from __future__ import annotations

from tunesmith.eval.parity_case import Case, another
from tunesmith.eval.parity_result import Cause

__all__ = [
    "another_base",
    "another_shape",
    "bos",
    "context",
    "layers",
    "norm",
    "rope",
    "stops",
    "template",
    "tied",
    "tokenizer",
    "vocabulary",
]


def another_shape(case: Case) -> Cause | None:
    """Width or heads differ."""
    a, b = case.a.declared, case.b.declared
    for name, one, other in (("width", a.width, b.width), ("heads", a.heads, b.heads), ("key heads", a.kv_heads, b.kv_heads)):
        if one is not None and other is not None and one != other:
            return another(f"{name} is {one} in a and {other} in b")
    return None


def layers(case: Case) -> Cause | None:
    """A layer is not there, or is zero."""
    a, b = case.a.declared, case.b.declared
    evidence = ""
    if a.layers is not None and b.layers is not None and a.layers != b.layers:
        evidence = f"a has {a.layers} layers and b has {b.layers}"
    elif case.weights is not None:
        lost = [name for name, drift in case.weights.drifts.items() if drift.relative > 0 and abs(drift.cosine) < 1e-6]
        evidence = f"{lost[0]} is zero in b" if lost and "embed" not in lost[0] else ""
    hint = "convert again, and check that the conversion reports every tensor of the source as written"
    return Cause(name="layer missing", evidence=evidence, hint=hint) if evidence else None


def vocabulary(case: Case) -> Cause | None:
    """One side has embeddings for more tokens."""
    a, b = case.a.declared.vocabulary, case.b.declared.vocabulary
    sizes = case.scored.vocabularies or ((a, b) if a is not None and b is not None and a != b else None)
    if sizes is None:
        return None
    return Cause(
        name="vocabulary resized",
        evidence=f"a has embeddings for {sizes[0]} tokens and b for {sizes[1]}",
        hint="convert without adding tokens or padding, or resize the base before training",
    )


def tied(case: Case) -> Cause | None:
    """The output matrix is the embedding in one side alone."""
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


def rope(case: Case) -> Cause | None:
    """Rotary settings differ."""
    a, b = case.a.declared.rope, case.b.declared.rope
    if a is None or b is None or a == b:
        return None
    return Cause(
        name="RoPE settings",
        evidence=f"{a.words} in a, {b.words} in b",
        hint="give b the rope_theta and rope_scaling of the base's config.json (older readers need them at the top level)",
    )


def norm(case: Case) -> Cause | None:
    """The epsilon of the norms differs."""
    a, b = case.a.declared.norm_eps, case.b.declared.norm_eps
    if a is None or b is None or abs(a - b) <= 1e-3 * a:
        return None
    hint = "convert again from the base's own config.json"
    return Cause(name="norm epsilon", evidence=f"{a:g} in a, {b:g} in b", hint=hint)


def another_base(case: Case) -> Cause | None:
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


def bos(case: Case) -> Cause | None:
    """The first token is missing, added or doubled."""
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


def template(case: Case) -> Cause | None:
    """The chat template writes other prompts."""
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


def tokenizer(case: Case) -> Cause | None:
    """The same text becomes other tokens."""
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


def context(case: Case) -> Cause | None:
    """Prompts that a takes do not fit into b."""
    if "context" not in case.failed:
        return None
    return Cause(
        name="context length",
        evidence=f"b takes {case.b.context} tokens, a takes {case.a.context}",
        hint=f"start b with a context of {case.a.trained_tokens or case.a.context} tokens (-c, num_ctx, --max-model-len)",
    )


def stops(case: Case) -> Cause | None:
    """Other tokens end an answer."""
    a, b = case.a.declared.ends, case.b.declared.ends
    if not case.answers.other_ends and (a is None or b is None or a == b):
        return None
    ends = [", ".join(map(str, sorted(one))) if one else "none that it states" for one in (a, b)]
    return Cause(
        name="stop tokens",
        evidence=f"{len(case.answers.other_ends)} answers end in one system alone; end tokens {ends[0]} in a, {ends[1]} in b",
        hint="list every end token of a in eos_token_id of b's generation_config.json, or give them to the server as stops",
    )
