"""Writing before training every prompt that evaluation will write after it: what a template cannot do is found in time."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Example
from tunesmith.eval.evaluate import that_fit
from tunesmith.eval.likelihood import encode_items
from tunesmith.eval.results import Item
from tunesmith.models.chat import Chat
from tunesmith.systems.registry import addition_kinds, baseline_kinds

__all__ = ["rehearse"]


def rehearse(
    chat: Chat,
    items: Sequence[Item],
    *,
    train: Sequence[Example],
    general: Sequence[Item],
    context: int,
    room: int,
    baselines: Sequence[str],
    additions: Sequence[str] = (),
) -> int:
    """How many of the test items can be scored. `room`: tokens of an answer at most; the rest as for `evaluate`.

    Raises what the evaluation would raise: ModelError where the template cannot write an item with its answer, under the
    instructions of the baselines too, EvaluationError where what would be scored is not the reference, or nothing is.
    """
    kept = that_fit(chat, items, context=context, baselines=baselines)
    if not kept:
        raise EvaluationError(
            "no test item can be scored",
            value=f"0 of {len(items)} fit into the context of the base and keep their words in its chat template",
            expected="one at least",
            hint="--set build.passage_words=60, or a base with a longer context or another chat template",
        )
    encode_items(chat, kept, [item.prompt for item in kept], context=context)
    encode_items(chat, general, [item.prompt for item in general], context=context)
    asked = [*baseline_kinds(baselines), *addition_kinds(additions)]
    for make_prompts in dict.fromkeys(kind.make_prompts for kind in asked if kind.make_prompts is not None):
        own = make_prompts(chat, train, kept, context=context, room=room)
        if own is not None and own.prompts is not None:
            encode_items(chat, kept, own.prompts, context=context)
    return len(kept)
