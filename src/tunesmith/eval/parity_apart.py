"""How far the next-token distributions of two systems are apart on the same rows, by the strongest measure that both have:
logits, else the likeliest tokens, else log-probabilities of the references.

Shapes: T positions of one row, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tunesmith.eval.parity import Distance
from tunesmith.eval.parity_result import Apart
from tunesmith.models.chat import Encoded
from tunesmith.systems.comparable import GivesTopTokens
from tunesmith.systems.opened import OpenedSystem
from tunesmith.systems.system import GivesLogits, System

__all__ = ["Scored", "ScoresCompared", "compare_scores"]

_TOP = 20  # likeliest tokens asked of a server for each position
_EARLY = 32
_Done = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """A row that both score. `begin`: the place of the first token that was not part of the prompt."""

    row: Encoded
    begin: int
    is_reference: bool


@dataclass(slots=True)
class ScoresCompared:
    """`apart` is None where nothing could be compared. `rows`: what was compared. `failed`: what cannot be the same model.

    `vocabularies`: the sizes of both, where they differ. `by_place`: (position, KL) of every compared position.
    """

    apart: Apart | None
    rows: tuple[Scored, ...]
    failed: list[str] = field(default_factory=list)
    vocabularies: tuple[int, int] | None = None
    by_place: list[tuple[int, float]] = field(default_factory=list)


def compare_scores(a: OpenedSystem, b: OpenedSystem, rows: Sequence[Scored], *, on_done: _Done) -> ScoresCompared:
    """Compare `a` and `b` on `rows`. EvaluationError for logits that are not numbers."""
    found = ScoresCompared(None, tuple(rows))
    if not rows:
        return found
    one, other = a.system, b.system
    if isinstance(one, GivesLogits) and isinstance(other, GivesLogits):
        _by_logits(found, one, other, f"{a.reference} → {b.reference}", on_done)
    elif not _by_top_tokens(found, one, other, on_done):
        _by_references(found, one, other, on_done)
    return found


def _by_logits(found: ScoresCompared, a: GivesLogits, b: GivesLogits, step: str, on_done: _Done) -> None:
    apart, nats = Distance(), [0.0, 0.0]
    plain = [one.row for one in found.rows]
    for one, a_TV, b_TV in zip(found.rows, a.logits(plain), b.logits(plain), strict=True):
        sizes = (a_TV.shape[-1], b_TV.shape[-1])
        if sizes[0] != sizes[1]:
            found.vocabularies = sizes
        shared = min(sizes)
        kl_T = apart.add(step, a_TV[:, :shared], b_TV[:, :shared])
        found.by_place += list(enumerate(kl_T.tolist()))
        if one.is_reference:
            nats = [total + _nats(one.row, logits_TV) for total, logits_TV in zip(nats, (a_TV, b_TV), strict=True)]
        on_done(1)
    if found.vocabularies is not None:
        found.failed.append(f"the vocabularies have {found.vocabularies[0]} and {found.vocabularies[1]} tokens")
    found.apart = _apart("logits", apart, found, ratio=_ratio(nats, found.rows))


def _nats(row: Encoded, logits_TV: torch.Tensor) -> float:
    """Sum of −ln p over the target tokens of a row."""
    at = [place for place, mark in enumerate(row.learned) if mark and place > 0]
    log_p_NV = torch.log_softmax(logits_TV[[place - 1 for place in at]].float(), -1)
    return -float(log_p_NV[range(len(at)), [row.ids[place] for place in at]].sum())


def _ratio(nats: Sequence[float], rows: Sequence[Scored]) -> float | None:
    """Perplexity of b over that of a, on the references."""
    count = sum(one.row.num_learned for one in rows if one.is_reference)
    return math.exp((nats[1] - nats[0]) / count) if count else None


def _by_top_tokens(found: ScoresCompared, a: System, b: System, on_done: _Done) -> bool:
    """Whether both could be compared by the likeliest tokens in the places of the answers."""
    sides = [_distributions(system, found.rows) for system in (a, b)]
    if sides[0] is None or sides[1] is None:
        return False
    apart = Distance()
    for one, in_a, in_b in zip(found.rows, sides[0], sides[1], strict=True):
        for place, (x, y) in enumerate(zip(in_a, in_b, strict=True)):
            kl = apart.add_top(*_alike(x, y))
            found.by_place.append((one.begin + place - 1, kl))
        on_done(1)
    if apart.num_positions:
        found.apart = _apart("top tokens", apart, found)
    return apart.num_positions > 0


_Place = Mapping[int, float] | torch.Tensor


def _distributions(system: System, rows: Sequence[Scored]) -> Iterator[list[_Place]] | None:
    """For each row, what the system gives for every place of the answer: ln p of all tokens, or of the likeliest."""
    if isinstance(system, GivesLogits):
        plain = [one.row for one in rows]
        return (
            list(torch.log_softmax(logits_TV[one.begin - 1 : len(one.row.ids) - 1].float(), -1))
            for one, logits_TV in zip(rows, system.logits(plain), strict=True)
        )
    if isinstance(system, GivesTopTokens):
        given = system.top_tokens([one.row.ids for one in rows], [one.begin for one in rows], _TOP)
        return None if given is None else (list[_Place](places) for places in given)
    return None


def _alike(x: _Place, y: _Place) -> tuple[Mapping[int, float], Mapping[int, float]]:
    """Both as mappings; a whole distribution is reduced to the tokens of the other side, and its own first choice."""
    if isinstance(x, torch.Tensor) and not isinstance(y, torch.Tensor):
        return _reduced(x, y), y
    if isinstance(y, torch.Tensor) and not isinstance(x, torch.Tensor):
        return x, _reduced(y, x)
    if isinstance(x, torch.Tensor) or isinstance(y, torch.Tensor):
        raise AssertionError("two whole distributions are compared as logits")
    return x, y


def _reduced(log_p_V: torch.Tensor, other: Mapping[int, float]) -> dict[int, float]:
    tokens = {*(token for token in other if token < len(log_p_V)), int(log_p_V.argmax())}
    return {token: float(log_p_V[token]) for token in tokens}


def _by_references(found: ScoresCompared, a: System, b: System, on_done: _Done) -> None:
    rows = [one for one in found.rows if one.is_reference and one.row.num_learned]
    plain = [one.row for one in rows]
    in_a, in_b = (system.logprobs(plain, on_done=on_done) for system in (a, b))
    if not rows or in_a is None or in_b is None:
        return
    pairs = [(x, y) for one, other in zip(in_a, in_b, strict=True) for x, y in zip(one.log_p, other.log_p, strict=True)]
    apart = [abs(x - y) for x, y in pairs]
    found.apart = Apart(
        what="references",
        max_abs=max(apart),
        mean_abs=math.fsum(apart) / len(apart),
        mean_kl=None,
        top1=None,
        num_positions=len(apart),
        perplexity_ratio=math.exp(math.fsum(x - y for x, y in pairs) / len(pairs)),
    )


def _apart(what: str, apart: Distance, found: ScoresCompared, *, ratio: float | None = None) -> Apart:
    longest = max((place for place, _ in found.by_place), default=0)
    early = [kl for place, kl in found.by_place if place < _EARLY]
    late = [kl for place, kl in found.by_place if place > max(_EARLY, longest // 2)]
    return Apart(
        what=what,
        max_abs=apart.max_abs,
        mean_abs=apart.mean_abs,
        mean_kl=apart.mean_kl,
        top1=apart.top1,
        num_positions=apart.num_positions,
        perplexity_ratio=ratio,
        early=math.fsum(early) / len(early) if early else None,
        late=math.fsum(late) / len(late) if late else None,
    )
