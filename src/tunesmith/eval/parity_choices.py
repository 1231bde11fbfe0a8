"""Servers that give answers alone: whether every token of a greedy answer is what the tested model would choose there.

A greedy answer shows the first choice of its model in every place, given what it wrote before. So the tested model, given the
same beginning, must choose the same token, but for near ties; that needs nothing of the server but its text.

Shapes: T positions of one row, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.eval.parity_prompts import ParityPrompt
from tunesmith.eval.parity_result import Apart
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import Completion
from tunesmith.systems.opened import OpenedSystem
from tunesmith.systems.system import GivesLogits, System

__all__ = ["ANSWERS", "Choices", "Said", "compare_choices", "first_choices", "other_prompts", "said_by"]

ANSWERS = "answers"
"""What a comparison was made of, if it was made of answers alone."""

_ENOUGH = 200  # tokens of b's answers; with fewer, the comparison is not measured
_LOST = "\ufffd"  # half a letter, where an answer was cut


@dataclass(frozen=True, slots=True)
class Said:
    """The tokens of an answer, and whether it ended there by itself."""

    ids: tuple[int, ...]
    ended: bool


def said_by(answer: Completion, chat: Chat | None, *, from_text: bool) -> Said | None:
    """The tokens as they were generated, or those that our tokenizer makes of the text; None without either.

    The last token of a text that was cut may be a part of one, so it is left out, as is all from half a letter on.
    """
    if not from_text:
        return None if answer.ids is None else Said(answer.ids, answer.finish_reason == "stop")
    if chat is None:
        return None
    text, lost, _ = answer.text.partition(_LOST)
    ids, ended = tuple(chat.encode_text(text)), answer.finish_reason == "stop" and not lost
    return Said(ids if ended else ids[:-1], ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Of `num_tokens` tokens, ends of answers included: those that are the model's first choice, and by how many nats the
    others are less likely than it, at most and in sum."""

    num_tokens: int
    num_same: int
    widest: float
    sum_gap: float

    @property
    def share(self) -> float:
        """Of tokens that are the first choice."""
        return self.num_same / max(1, self.num_tokens)


def first_choices(
    system: System, prompts: Sequence[Sequence[int] | None], answers: Sequence[Said | None], ends: Collection[int]
) -> Choices | None:
    """How often the tokens of `answers` are the first choice of `system` after `prompts`; None where it gives no logits.

    `ends`: tokens any of which ends an answer. An answer without prompt or tokens is left out.
    """
    if not isinstance(system, GivesLogits):
        return None
    pairs = [(tuple(ids), said) for ids, said in zip(prompts, answers, strict=True) if ids and said is not None]
    rows = [Encoded((*ids, *said.ids), (False,) * (len(ids) + len(said.ids))) for ids, said in pairs]
    gaps: list[float] = []
    for (ids, said), logits_TV in zip(pairs, system.logits(rows), strict=True):
        log_p_TV = torch.log_softmax(logits_TV[len(ids) - 1 :].float(), -1)
        best_T = log_p_TV.max(-1).values
        if said.ids:
            own_T = log_p_TV[: len(said.ids)].gather(-1, torch.tensor(said.ids)[:, None])[:, 0]
            gaps += (best_T[: len(said.ids)] - own_T).tolist()
        if said.ended and ends:
            gaps.append(float(best_T[-1] - log_p_TV[-1, sorted(ends)].max()))
    return Choices(num_tokens=len(gaps), num_same=gaps.count(0.0), widest=max(gaps, default=0.0), sum_gap=math.fsum(gaps))


def compare_choices(
    a: OpenedSystem, b: OpenedSystem, ids: Sequence[tuple[int, ...] | None], answers: Sequence[Completion]
) -> Apart | None:
    """The greedy answers of `b` under `a`. `ids`: of each prompt, as `a` reads it. None where `a` gives no logits, or where too
    few tokens were answered to say anything."""
    chat = a.chat or b.chat
    said = [said_by(answer, chat, from_text=answer.ids is None) for answer in answers]
    found = first_choices(a.system, ids, said, a.declared.ends or ())
    if found is None or found.num_tokens < _ENOUGH:
        return None
    return Apart(
        what=ANSWERS,
        max_abs=found.widest,
        mean_abs=found.sum_gap / found.num_tokens,
        mean_kl=None,
        top1=found.share,
        num_positions=found.num_tokens,
    )


# --- other ways to write a prompt -------------------------------------------------------------------------------------

_Write = Callable[[Chat, Sequence[Message]], str]


def _plain(name: str, wrap: str, end: str) -> tuple[str, _Write]:
    def write(chat: Chat, messages: Sequence[Message]) -> str:
        masked = chat.template.masked
        turns = (wrap.format(role=one.role, Role=one.role.capitalize(), text=masked(one.content)) for one in messages)
        return "".join(turns) + end

    return name, write


def _led_by(text: str) -> _Write:
    def write(chat: Chat, messages: Sequence[Message]) -> str:
        rest = [one for one in messages if one.role != "system"]
        return chat.render([Message(role="system", content=text), *rest], answer_next=True)

    return write


_OTHERS: tuple[tuple[str, _Write], ...] = (
    ("without the start of the answer", lambda chat, messages: chat.render(messages)),
    ("with an empty system message", _led_by("")),
    ("with the system message `You are a helpful assistant.`", _led_by("You are a helpful assistant.")),
    _plain("without a template", "{text}", ""),
    _plain("as `User: …`, `Assistant:`", "{Role}: {text}\n", "Assistant:"),
    _plain("as in Alpaca (`### Instruction:`)", "### Instruction:\n{text}\n\n", "### Response:\n"),
    _plain("as in ChatML", "<|im_start|>{role}\n{text}<|im_end|>\n", "<|im_start|>assistant\n"),
    _plain("as in Llama 2 (`[INST]`)", "[INST] {text} [/INST]", ""),
)
"""Ways in which servers write prompts when they do not use the model's template. Control tokens that the tokenizer does not
know are letters, as they are to such a server."""


def other_prompts(chat: Chat, prompts: Sequence[ParityPrompt]) -> list[tuple[str, list[tuple[int, ...] | None]]]:
    """For each of those ways its name and the token ids of the prompts; None where it does not write one."""

    def ids(write: _Write, prompt: ParityPrompt) -> tuple[int, ...] | None:
        try:
            return tuple(chat.tokens(write(chat, prompt.messages))[0])
        except ModelError:
            return None

    return [(name, [ids(write, one) for one in prompts]) for name, write in _OTHERS]
