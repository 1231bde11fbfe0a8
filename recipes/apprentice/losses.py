"""What a step is scored by: words that are said, words that are to be avoided, and echoes.

Left to likelihood alone, a small model says again what it said: of many next words that it holds possible the one said before
is the likeliest by a little, and greedy decoding takes it. So what would be an echo is pushed down where something is learned.
Shapes: B rows, T positions, K places back, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from corpus import COMMON, SMALL
from model import Llama
from rows import AVOID, TAKEN_UP
from tokenizers import Tokenizer
from torch import Tensor

__all__ = ["WEIGHTS", "Echoes", "Weights", "echoes", "mean_loss", "word_kinds"]

_BACK = 32  # places back that an echo is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What counts how much, beside 1 for a word that is learned."""

    taken_up: float = 1.0  # a word that the answer takes from its question
    avoid: float = 1.0  # what a row marks as to be avoided
    echo: float = 0.0  # what would be an echo


WEIGHTS = {  # by the mix that is read
    "stable": Weights(taken_up=4.0),  # while copying is learned
    "decay": Weights(taken_up=2.0, echo=2.0),
    "polish": Weights(taken_up=2.5, echo=5.0, avoid=4.0),
    "finish": Weights(taken_up=2.5, echo=10.0, avoid=4.0),  # the last round of polish
}


def word_kinds(tokenizer: Tokenizer) -> Tensor:
    """V × 3 of each id: whether it begins a word, goes on with one, and is alone a word that may be a subject."""
    kinds = []
    for number in range(tokenizer.get_vocab_size()):
        text = tokenizer.decode([number])  # the text and not the piece: in its spelling every byte is a letter
        word = text.removeprefix(" ")
        begins = text.startswith(" ") and word.isalpha()
        kinds.append((begins, text.isalpha(), begins and len(word) >= 3 and word.lower() not in COMMON | SMALL))
    return torch.tensor(kinds)


class Echoes(NamedTuple):
    """Of each position, the ids said in the `_BACK` places before it, and what they would be as its next.

    An echo begins a word of the subject said before in the same turn (a word of several pieces always is one), or is what came
    after the same two ids; what is really said next is none. What was said twice stands here twice, and weighs twice.
    """

    said_BTK: Tensor
    is_echo_BTK: Tensor
    is_again_BT: Tensor  # what is really said next was said in those places


def echoes(x_BT: Tensor, y_BT: Tensor, kinds_V3: Tensor) -> Echoes:
    """What must not be said again after each of `x_BT`, where `y_BT` is what is said. Ids below 8 mark turns."""
    at_TK = torch.arange(x_BT.shape[1])[:, None] - torch.arange(_BACK)
    inside_TK, at_TK = at_TK >= 2, at_TK.clamp(min=2)
    turn_BT, before_BT = (x_BT < 8).cumsum(1), x_BT.roll(1, 1)
    subject_BT = kinds_V3[x_BT, 2] | (kinds_V3[x_BT, 0] & kinds_V3[y_BT, 1])
    said_BTK = x_BT[:, at_TK]
    follows_BTK = (before_BT[:, at_TK] == x_BT[:, :, None]) & (x_BT[:, at_TK - 2] == before_BT[:, :, None])
    same_BTK = inside_TK & (turn_BT[:, at_TK] == turn_BT[:, :, None]) & (said_BTK >= 8)
    right_BTK = said_BTK == y_BT[:, :, None]
    is_echo_BTK = same_BTK & (subject_BT[:, at_TK] | follows_BTK) & ~right_BTK
    return Echoes(said_BTK, is_echo_BTK, (same_BTK & right_BTK).any(-1))


def mean_loss(model: Llama, x_BT: Tensor, y_BT: Tensor, mask_BT: Tensor, *, weights: Weights, kinds_V3: Tensor) -> Tensor:
    """Likelihood of what is said, words taken up from the question above the rest; unlikelihood of what is to be avoided.

    With an `echo` weight, every echo where something is learned is to be avoided (token-level unlikelihood, Welleck et al.
    2020, for words of the subject and repeated runs alone), and a word that was just said is not taken up.
    """
    is_learned_BT, is_taken_BT = (mask_BT == 1) | (mask_BT == TAKEN_UP), mask_BT == TAKEN_UP
    if weights.echo:
        found = echoes(x_BT, y_BT, kinds_V3)
        nats_BT, odds_BTK = model.losses_and_odds(x_BT, y_BT, found.said_BTK)
        unlike_BT = weights.echo * (_unlikelihood(-odds_BTK) * found.is_echo_BTK).sum(-1) * is_learned_BT
        is_taken_BT = is_taken_BT & ~found.is_again_BT
    else:
        nats_BT = model.losses(x_BT, y_BT)
        unlike_BT = torch.zeros_like(nats_BT)  # and a word taken up counts each time
    weight_BT = is_learned_BT + (weights.taken_up - 1) * is_taken_BT
    unlike_BT = unlike_BT + weights.avoid * _unlikelihood(nats_BT) * (mask_BT == AVOID)
    return (nats_BT * weight_BT + unlike_BT).sum() / weight_BT.sum().clamp(min=1)


def _unlikelihood(nats: Tensor) -> Tensor:
    return -torch.log1p(-torch.exp(-nats).clamp(max=0.999))
