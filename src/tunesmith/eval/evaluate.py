"""Putting the questions: base, prompted base, tuned (adapter at run time) and merged answer the same items, greedily.

Base and tuned share one copy of the weights, the adapter switched off and on; merged is opened from its own folder with its
own tokenizer and template, as somebody who downloads it would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.config import EvalConfig
from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Example, Generation, Message, canonical_json, digest, whole_documents
from tunesmith.core.reporter import Reporter
from tunesmith.eval.likelihood import encode_items, likelihoods
from tunesmith.eval.parity import compare_hops
from tunesmith.eval.results import GeneralResult, Item, ParityResult, SystemName, SystemRun
from tunesmith.models.adapters import open_adapter, without_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import generate
from tunesmith.models.load import BaseFolder, load_model

__all__ = ["Measured", "choose_items", "evaluate", "style_prompt", "that_fit"]

_PARITY_ITEMS = 64
_SHOWN = 3
_FRAME = 24  # tokens that a template may put around a system message
_STYLE = "Answer in the voice of the author of these passages. Keep to the author's words, rhythm and habits.\n\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the models gave: systems in the order of comparison, parity of the merge, and the general texts."""

    systems: tuple[SystemRun, ...]
    parity: ParityResult
    general: GeneralResult


def choose_items(examples: Sequence[Example], max_items: int) -> tuple[Item, ...]:
    """The test items; with a limit, whole documents in the order of their hash until it is reached."""
    rows = whole_documents(examples, max_items)
    return tuple(Item(id=e.id, group=e.group, title=e.title, prompt=e.prompt, reference=e.answer) for e in rows)


def that_fit(chat: Chat, items: Sequence[Item], *, context: int, least: int = 16) -> tuple[Item, ...]:
    """The items whose reference fits into the context, with room for an answer of `least` tokens; the rest cannot be scored."""
    kept = []
    for item in items:
        whole = len(chat.encode([*item.prompt, Message(role="assistant", content=item.reference)]).ids)
        if max(whole, len(chat.encode_prompt(item.prompt)) + least) <= context:
            kept.append(item)
    return tuple(kept)


def style_prompt(chat: Chat, train: Sequence[Example], items: Sequence[Item], *, context: int, room: int) -> str:
    """A system prompt that shows passages of the training split: as many, up to three, as leave every item its room."""
    needed = max(len(encoded.ids) for encoded in encode_items(chat, items, [i.prompt for i in items], context=context))
    longest = max(len(chat.encode_prompt(i.prompt)) for i in items)
    budget = context - max(needed, longest + room) - _FRAME
    shown: list[str] = []
    for example in sorted(train, key=lambda e: hashlib.sha256(e.id.encode()).hexdigest()):
        trial = _STYLE + "\n\n".join([*shown, example.answer])
        if len(shown) < _SHOWN and len(chat.tokenizer(trial, add_special_tokens=False)["input_ids"]) <= budget:
            shown.append(example.answer)
    return _STYLE + "\n\n".join(shown) if shown else _STYLE.strip()


def evaluate(
    base: BaseFolder,
    *,
    adapter: Path,
    merged: BaseFolder,
    items: Sequence[Item],
    train: Sequence[Example],
    general: Sequence[Item],
    config: EvalConfig,
    reporter: Reporter,
) -> Measured:
    """Measure every system on `items`, in float32. EvaluationError if the merged model speaks another chat format."""
    if not items:
        raise EvaluationError("there is nothing to evaluate on", value=0, expected="test items", hint="--set split.test=0.2")
    chat, context = open_chat(base), base.context
    if open_chat(merged).fingerprint != chat.fingerprint:
        raise EvaluationError(
            "the merged model has another tokenizer or chat template than the base",
            value=str(merged.path),
            expected="the same files",
            hint="delete the merged model and run again",
        )
    adapted = open_adapter(load_model(base, "float32"), adapter)
    plain = [item.prompt for item in items]
    parts = digest(sha256_file(adapter / "adapter_model.safetensors"), sha256_file(adapter / "adapter_config.json"))
    count = 3 + len(config.baselines)
    with reporter.progress("evaluate", total=2 * count * len(items), unit="answers") as progress:

        def run(name: SystemName, label: str, model: Any, weights: str, prompts: Sequence[Sequence[Message]]) -> SystemRun:
            progress.advance(0, label)
            mark = digest(
                weights,
                chat.fingerprint,
                canonical_json([list(p) for p in prompts]),
                canonical_json({"greedy": True, "max_new_tokens": config.max_new_tokens}),
            )
            rows = encode_items(chat, items, prompts, context=context)
            scored = likelihoods(
                model, chat, items, rows, batch_examples=min(8, config.batch_examples), on_done=progress.advance
            )
            answers = generate(
                model,
                chat,
                prompts,
                max_new_tokens=config.max_new_tokens,
                batch_examples=config.batch_examples,
                context=context,
                on_done=progress.advance,
            )
            made = tuple(
                Generation(
                    item_id=i.id,
                    system=name,
                    text=a.text,
                    finish_reason=a.finish_reason,
                    num_tokens=a.num_tokens,
                    fingerprint=mark,
                )
                for i, a in zip(items, answers, strict=True)
            )
            return SystemRun(name=name, label=label, fingerprint=mark, generations=made, likelihoods=scored)

        systems = []
        with without_adapter(adapted) as model:
            systems.append(run("base", "base", model, base.fingerprint, plain))
            if "prompted" in config.baselines:
                style = style_prompt(chat, train, items, context=context, room=config.max_new_tokens)
                systems.append(
                    run(
                        "prompted",
                        "base with a style prompt",
                        model,
                        base.fingerprint,
                        [chat.with_system(p, style) for p in plain],
                    )
                )
        tuned = run("tuned", "tuned: base and adapter", adapted, digest(base.fingerprint, parts), plain)
        fused_model = load_model(merged, "float32")
        fused = run("merged", "merged", fused_model, merged.fingerprint, plain)
    rows = encode_items(chat, items, plain, context=context)[:_PARITY_ITEMS]
    parity = compare_hops("adapter → merged", adapted, fused_model, chat, rows, (tuned.generations, fused.generations))
    general_rows = encode_items(chat, general, [g.prompt for g in general], context=context)
    with without_adapter(adapted) as model:
        before = likelihoods(model, chat, general, general_rows, batch_examples=8)
    after = likelihoods(adapted, chat, general, general_rows, batch_examples=8)
    return Measured((*systems, tuned, fused), parity, GeneralResult(n=len(general), base=before, tuned=after))
