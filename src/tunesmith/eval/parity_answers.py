"""Where the greedy answers of two systems part, and whether rounding explains it: the two next tokens are nearly as likely.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from tunesmith.eval.parity_choices import said_by
from tunesmith.eval.parity_prompts import ParityPrompt
from tunesmith.eval.parity_result import ENDS, Answers, Divergence
from tunesmith.eval.tolerances import Tolerance
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import Completion
from tunesmith.systems.comparable import GivesTopTokens
from tunesmith.systems.opened import OpenedSystem
from tunesmith.systems.system import GivesLogits

__all__ = ["compare_answers"]

_TOP = 20
_SLACK = 2  # tokens: a text that is read again may have other ones than those that were generated


def compare_answers(
    a: OpenedSystem,
    b: OpenedSystem,
    prompts: Sequence[ParityPrompt],
    ids: Sequence[tuple[int, ...] | None],
    answers: tuple[Sequence[Completion], Sequence[Completion]],
    limits: Tolerance | None,
) -> Answers:
    """The greedy answers of both, prompt by prompt. `ids`: the token ids of each prompt, None where nobody shows them."""
    chat = a.chat or b.chat
    partings = [
        parting
        for prompt, before, one, other in zip(prompts, ids, *answers, strict=True)
        if (parting := _parting(prompt, before, (one, other), (a, b), chat)) is not None
    ]
    margins = _margins(a, b, partings)
    noise = None if limits is None else limits.noise
    found = tuple(parting.described(margin, noise, chat) for parting, margin in zip(partings, margins, strict=True))
    return Answers(num_answers=len(prompts), num_equal=len(prompts) - len(found), divergences=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parting:
    """Two answers that part. `row`: ids of the prompt and of what both wrote; `choices`: the next token of each, None for an
    end, or the tokens that end an answer there. `cut`: b stopped there without an end, though it may write as much as a."""

    prompt: ParityPrompt
    texts: tuple[str, str]
    at: int | None
    row: tuple[int, ...] | None
    choices: tuple[tuple[int, ...], tuple[int, ...]]
    ended: tuple[bool, bool]
    ends: bool
    cut: bool = False

    def described(self, margin: float | None, noise: float | None, chat: Chat | None) -> Divergence:
        shown = [
            ENDS if ended else "" if chat is None or not tokens else str(chat.tokenizer.decode(list(tokens[:1])))
            for tokens, ended in zip(self.choices, self.ended, strict=True)
        ]
        return Divergence(
            prompt=self.prompt.id,
            kind=self.prompt.kind,
            at=self.at,
            a=self.texts[0],
            b=self.texts[1],
            a_next=shown[0],
            b_next=shown[1],
            margin=margin,
            explained=not self.ends and not self.cut and margin is not None and noise is not None and margin <= noise,
            ends=self.ends,
            cut=self.cut,
        )


def _parting(
    prompt: ParityPrompt,
    before: tuple[int, ...] | None,
    answers: tuple[Completion, Completion],
    sides: tuple[OpenedSystem, OpenedSystem],
    chat: Chat | None,
) -> _Parting | None:
    """Where two answers part; None if they are the same as far as both were allowed to write."""
    from_text = any(answer.ids is None for answer in answers)  # of a server that gives the text alone; then of both
    said = [said_by(answer, chat, from_text=from_text) for answer in answers]
    texts = (answers[0].text, answers[1].text)
    if said[0] is None or said[1] is None:
        if texts[0] == texts[1]:
            return None
        nothing = ((), ())
        return _Parting(prompt=prompt, texts=texts, at=None, row=None, choices=nothing, ended=(False, False), ends=False)
    x, y = said[0].ids, said[1].ids
    at = next((n for n, (i, j) in enumerate(zip(x, y, strict=False)) if i != j), min(len(x), len(y)))
    ended = [at == len(one.ids) and one.ended for one in said if one is not None]
    stopped = [at == len(one.ids) and not one.ended for one in said if one is not None]
    cut = stopped[1] and len(x) > at + (_SLACK if from_text else 0)
    if all(ended) or (any(stopped) and not cut):  # the same to the end, or as far as one was allowed to write
        return None
    declared = [side.declared.ends or sides[1 - n].declared.ends or () for n, side in enumerate(sides)]
    choices = tuple(
        tuple(sorted(own_ends)) if has_ended else own[at : at + 1]
        for own, own_ends, has_ended in zip((x, y), declared, ended, strict=True)
    )
    controls = frozenset() if chat is None else chat.control_ids()  # servers may end at any of them
    ends = any(has_ended and set(choices[1 - n]) & (set(choices[n]) | controls) for n, has_ended in enumerate(ended))
    row = None if before is None else (*before, *x[:at])
    both = (choices[0], choices[1])
    return _Parting(prompt=prompt, texts=texts, at=at, row=row, choices=both, ended=(ended[0], ended[1]), ends=ends, cut=cut)


def _margins(a: OpenedSystem, b: OpenedSystem, partings: Sequence[_Parting]) -> list[float | None]:
    """For each parting, nats between the two next tokens under the system that finds them further apart."""
    asked = [n for n, one in enumerate(partings) if one.row and all(one.choices)]
    rows = [row for n in asked if (row := partings[n].row) is not None]
    found: dict[int, float] = {}
    for side in (a, b):
        for n, log_p in zip(asked, _next(side, rows), strict=False):
            here = abs(_best(log_p, partings[n].choices[0]) - _best(log_p, partings[n].choices[1]))
            found[n] = max(found.get(n, 0.0), here)
    return [found.get(n) for n in range(len(partings))]


def _next(side: OpenedSystem, rows: Sequence[tuple[int, ...]]) -> Iterator[Mapping[int, float]]:
    """ln p of the next token after each row, as far as the system gives it; nothing where it does not."""
    system = side.system
    if isinstance(system, GivesLogits):
        for logits_TV in system.logits([Encoded(row, (False,) * len(row)) for row in rows]):
            log_p_V = torch.log_softmax(logits_TV[-1].float(), -1)
            yield dict(enumerate(log_p_V.tolist()))
    elif isinstance(system, GivesTopTokens) and rows:
        longer = [(*row, row[-1]) for row in rows]  # the likeliest tokens in the place behind each row
        given = system.top_tokens(longer, [len(row) for row in rows], _TOP)
        yield from () if given is None else (places[0] for places in given)


def _best(log_p: Mapping[int, float], tokens: Sequence[int]) -> float:
    """The likeliest of the tokens; below everything that was named where none of them was."""
    return max((log_p[token] for token in tokens if token in log_p), default=min(log_p.values()) - 1.0)
