"""The cheaper alternative to tuning: the base with passages of the author's training split in its system prompt.

What is shown decides what tuning has to beat, so it is chosen for nine items of ten and counted. The few longest items are
shown fewer passages, or none, rather than taking them from all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from tunesmith.core.records import Example, Message
from tunesmith.models.chat import Chat
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import GateWords, NotMeasured, Question, SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights

__all__ = ["SYSTEM", "Shown", "instruction_tokens", "style_prompts"]

_MOST = 3
_LONGEST = 10  # one item in so many may have room for fewer passages than the rest
_FRAME = 24  # tokens that a template may put around a system message
_STYLE = "Answer in the voice of the author of these passages. Keep to the author's words, rhythm and habits.\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The prompt of every item, and what most of them show: `num_passages` in a system text of `num_tokens`.

    `num_fewer` items had room for fewer passages; those with room for none keep their plain prompt.
    """

    prompts: tuple[tuple[Message, ...], ...]
    num_passages: int
    num_tokens: int
    num_fewer: int

    @property
    def numbers(self) -> Mapping[str, int]:
        """The numbers for the evidence, with labels in words."""
        return {
            "passages shown to the prompted base": self.num_passages,
            "tokens of the text that shows them": self.num_tokens,
            "items with room for fewer passages": self.num_fewer,
        }


def instruction_tokens(chat: Chat) -> int:
    """Number of tokens of the instruction without any passage, including the template around it."""
    return _FRAME + len(chat.encode_text(_STYLE))


def style_prompts(
    chat: Chat, train: Sequence[Example], questions: Sequence[Question], *, context: int, room: int
) -> Shown | None:
    """Every question under a system text with up to three different passages of `train`, which should be the author's alone.

    As many are shown as leave nine questions of ten room for their reference and for an answer of `room` tokens. None if not
    even one fits: then the baseline cannot be measured.
    """
    plain = [question.prompt for question in questions]
    whole = [chat.encode_answer([*one.prompt, Message(role="assistant", content=one.reference)]) for one in questions]
    needed = [max(len(row.ids), len(chat.encode_prompt(prompt)) + room) for row, prompt in zip(whole, plain, strict=True)]
    left = [context - _FRAME - tokens for tokens in needed]
    passages = _chosen(chat, train, sorted(left)[len(left) // _LONGEST])
    if not passages:
        return None
    texts = [_STYLE + shown for shown in accumulate(passages, "{}\n\n{}".format)]
    sizes = [len(chat.encode_text(text)) for text in texts]
    counts = [sum(size <= budget for size in sizes) for budget in left]
    return Shown(
        prompts=tuple(
            chat.with_system(prompt, texts[count - 1]) if count else prompt for prompt, count in zip(plain, counts, strict=True)
        ),
        num_passages=len(texts),
        num_tokens=sizes[-1],
        num_fewer=sum(count < len(texts) for count in counts),
    )


def _chosen(chat: Chat, train: Sequence[Example], budget: int) -> list[str]:
    """Different passages in a stable, arbitrary order; passages that would not fit are skipped."""
    shown: list[str] = []
    for example in sorted(train, key=lambda e: hashlib.sha256(e.id.encode()).hexdigest()):
        if len(shown) == _MOST:
            break
        if example.answer.strip() in (passage.strip() for passage in shown):
            continue
        if len(chat.encode_text(_STYLE + "\n\n".join([*shown, example.answer]))) <= budget:
            shown.append(example.answer)
    return shown


def _open(inputs: SystemInputs, model: Any) -> LocalSystem | NotMeasured:
    shown = style_prompts(inputs.chat, inputs.train, inputs.questions, context=inputs.base.context, room=inputs.max_new_tokens)
    if shown is None:
        return NotMeasured(
            "no training passage fits into the prompt together with a test item: the prompted base is not measured"
        )
    return LocalSystem.of(
        inputs,
        model,
        name="prompted",
        label=f"base shown {shown.num_passages} training passages ({shown.num_tokens} tokens)",
        fingerprint=inputs.base.fingerprint,
        adapter=False,
        prompts=shown.prompts,
        numbers=shown.numbers,
    )


SYSTEM = SystemKind(
    name="prompted",
    title="base with a prompt",
    role="baseline",
    order=20,
    advice="prompt",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
    make_prompts=style_prompts,
    instruction_tokens=instruction_tokens,
    gate=GateWords(
        name="beats_prompt",
        rule="better than the base with training passages in its prompt",
        failed="Don't fine-tune, a prompt is enough: the base with your passages in its prompt does at least as well.",
        unknown="Whether tuning does more than a prompt would could not be measured.",
        topic="whether a prompt would be enough",
    ),
)
