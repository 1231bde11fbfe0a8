"""Choosing the next token of every row: greedy, or drawn with the row's own random numbers.

A draw turns one uniform number into a token by the cumulative distribution in the order of token ids, so it depends only on
the row's distribution and its own seed. Shapes: n rows, V vocabulary, k candidates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from tunesmith.models.generation.requests import Job, Sampling

__all__ = ["Voice", "choose", "kept_tokens", "seed_of"]

_CANDIDATES = 256  # most likely tokens looked at first; more only where they hold too little of the probability
_CHUNK = 64  # uniform numbers drawn at once: always as many, so that the sequence is the same for every length of answer


def seed_of(sampling: Sampling, ids: Sequence[int], number: int) -> int:
    """The seed of a request's draws, from the seed asked for, the prompt and which sample of it this is."""
    told = f"{sampling.seed}/{number}/" + ",".join(map(str, ids))
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=7).digest(), "big")


class Voice:
    """How one row chooses its tokens: settings, its own uniform numbers, and the tokens that it has seen."""

    def __init__(self, job: Job) -> None:
        self.sampling = job.sampling
        self._generator = torch.Generator().manual_seed(job.seed)
        self._uniforms: list[float] = []
        self._seen = list(dict.fromkeys(job.ids)) if job.sampling.repetition_penalty != 1 else []

    def uniform(self) -> float:
        """The next of the row's numbers in [0, 1)."""
        if not self._uniforms:
            self._uniforms = torch.rand(_CHUNK, generator=self._generator, dtype=torch.float64).flip(0).tolist()
        return self._uniforms.pop()

    def penalise(self, logits_V: torch.Tensor) -> None:
        """Make every token seen in prompt or answer less likely, in place (Keskar et al. 2019, section 4.1)."""
        seen = torch.tensor(self._seen, device=logits_V.device)
        scores = logits_V[seen]
        penalty = self.sampling.repetition_penalty
        logits_V[seen] = torch.where(scores < 0, scores * penalty, scores / penalty)

    def said(self, token: int) -> None:
        """Remember a token for the penalty."""
        if self.sampling.repetition_penalty != 1:
            self._seen.append(token)


def choose(logits_nV: torch.Tensor, voices: Sequence[Voice]) -> list[int]:
    """The next token of every row. Rows of like settings are drawn together; `logits_nV` may be changed in place."""
    logits_nV = logits_nV.float()
    for row, voice in enumerate(voices):
        if voice.sampling.repetition_penalty != 1:
            voice.penalise(logits_nV[row])
    tokens: list[int] = logits_nV.argmax(-1).tolist()
    drawn: dict[tuple[float, float, int, float], list[int]] = {}
    for row, voice in enumerate(voices):
        s = voice.sampling
        if s.temperature > 0:
            drawn.setdefault((s.temperature, s.top_p, s.top_k, s.min_p), []).append(row)
    for rows in drawn.values():
        uniforms = torch.tensor([voices[row].uniform() for row in rows], dtype=torch.float64, device=logits_nV.device)
        for row, token in zip(rows, _draw(logits_nV[rows], voices[rows[0]].sampling, uniforms).tolist(), strict=True):
            tokens[row] = token
    for token, voice in zip(tokens, voices, strict=True):
        voice.said(token)
    return tokens


def _draw(logits_nV: torch.Tensor, sampling: Sampling, uniforms_n: torch.Tensor) -> torch.Tensor:
    scores = logits_nV / sampling.temperature
    if sampling.top_k == 0 and sampling.top_p == 1 and sampling.min_p == 0:
        return _inverse(torch.softmax(scores, -1), uniforms_n)
    ids, weights = kept_tokens(scores, sampling)
    ids, order = ids.sort(-1)
    return ids.gather(-1, _inverse(weights.gather(-1, order), uniforms_n)[:, None])[:, 0]


def _inverse(weights_nk: torch.Tensor, uniforms_n: torch.Tensor) -> torch.Tensor:
    """Index of the weight in which each uniform number falls; a weight of zero is never hit."""
    mass = weights_nk.double().cumsum(-1)
    return torch.searchsorted(mass, (uniforms_n * mass[:, -1])[:, None], right=True)[:, 0].clamp_(max=mass.shape[-1] - 1)


def kept_tokens(scores_nV: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Candidates (n, k) and their weights, zero where top-k, top-p or min-p leaves a token out; not normalised.

    top-p keeps the likeliest tokens until those before hold `top_p` (Holtzman et al. 2020); min-p those at least `min_p`
    times as likely as the likeliest (Nguyen et al. 2024).
    """
    V = scores_nV.shape[-1]
    k = min(sampling.top_k or _CANDIDATES, V)
    while True:
        values, ids = scores_nV.topk(k, dim=-1)
        if sampling.top_k:
            weights = torch.softmax(values, -1)
        else:
            weights = torch.exp(values - torch.logsumexp(scores_nV, -1, keepdim=True))
        mass = weights.cumsum(-1)
        floor = sampling.min_p * weights[:, :1]
        enough = (mass[:, -1] >= sampling.top_p) | (weights[:, -1] < floor[:, 0])
        if sampling.top_k or k == V or bool(enough.all()):
            break
        k = min(V, 8 * k)
    keep = (mass - weights < sampling.top_p) & (weights >= floor)
    return ids, torch.where(keep, weights, 0.0)
