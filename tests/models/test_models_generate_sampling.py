"""Sampling: distributions against a reference, draws that hang on the request alone, filters as the library has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fakes import conversation
from tunesmith.core.errors import EvaluationError
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, Sampling, answer, generate, repeated
from tunesmith.models.generation.requests import Job
from tunesmith.models.generation.sampling import Voice, choose, kept_tokens, seed_of
from tunesmith.models.load import BaseFolder, load_model

SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.6, top_k=5),
    Sampling(temperature=1.3, top_p=0.7),
    Sampling(temperature=1.0, min_p=0.15),
    Sampling(temperature=0.9, top_k=8, top_p=0.8, min_p=0.05),
]


def reference(logits_V: torch.Tensor, sampling: Sampling, seen: list[int]) -> torch.Tensor:
    """Probabilities by the library's own processors, in its own order."""
    ids, scores = torch.tensor([seen]), logits_V[None].clone()
    chain: list[Any] = []
    if sampling.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        chain.append(MinPLogitsWarper(sampling.min_p))
    for step in chain:
        scores = step(ids, scores)
    return torch.softmax(scores, -1)[0]


def fitting(found: Counter[int], wanted: torch.Tensor, kept: list[int]) -> float:
    """p-value of the counts under these probabilities."""
    shares = wanted.double()[kept] / wanted.double()[kept].sum()
    return float(chisquare([found[t] for t in kept], (shares * found.total()).tolist()).pvalue)


@pytest.mark.parametrize("penalty", [1.0, 1.7])
@pytest.mark.parametrize("sampling", SETTINGS)
def test_drawn_tokens_follow_the_librarys_distribution(sampling: Sampling, penalty: float) -> None:
    sampling = replace(sampling, repetition_penalty=penalty)
    logits_V = torch.randn(13, generator=torch.Generator().manual_seed(2)) * 1.5
    wanted = reference(logits_V, sampling, [1, 4, 4, 9])
    count = 6000
    voices = [Voice(Job((1, 4, 4, 9), 1, sampling, seed)) for seed in range(count)]
    found = Counter(choose(logits_V.repeat(count, 1), voices))
    kept = [t for t in range(13) if wanted[t] > 0]
    assert set(found) <= set(kept)
    assert fitting(found, wanted, kept) > 1e-3


def test_a_wrong_distribution_would_be_noticed() -> None:
    """The planted fault: draws at another temperature than the reference's."""
    logits_V = torch.randn(13, generator=torch.Generator().manual_seed(2)) * 1.5
    wanted = reference(logits_V, Sampling(temperature=1.15), [1])
    voices = [Voice(Job((1,), 1, Sampling(temperature=1.0), seed)) for seed in range(6000)]
    found = Counter(choose(logits_V.repeat(6000, 1), voices))
    assert fitting(found, wanted, list(range(13))) < 1e-3


@pytest.mark.parametrize("flat", [0.01, 1.0, 6.0])
@pytest.mark.parametrize("sampling", SETTINGS[1:])
def test_a_large_vocabulary_keeps_the_tokens_that_the_library_keeps(sampling: Sampling, flat: float) -> None:
    """A flat distribution needs more candidates than are looked at first."""
    logits_V = torch.randn(5000, generator=torch.Generator().manual_seed(3)) * flat
    ids, weights = kept_tokens((logits_V / sampling.temperature)[None], sampling)
    mine = torch.zeros(5000).index_put_((ids[0],), weights[0])
    wanted = reference(logits_V, sampling, [0])
    differ = (mine > 0) != (wanted > 0)
    assert int(differ.sum()) <= 1 and float(wanted[differ].sum()) < 2e-3  # the token at the border, by rounding
    torch.testing.assert_close(mine[~differ] / mine.sum(), wanted[~differ], atol=1e-6, rtol=2e-3)


def test_a_greedy_row_beside_drawn_ones_takes_the_likeliest() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    voices = [Voice(Job((1,), 1, s, 5)) for s in (Sampling(temperature=2.0), Sampling(), Sampling(temperature=2.0))]
    assert choose(logits.clone(), voices)[1] == int(logits[1].argmax())


def test_the_penalty_counts_for_greedy_rows_too() -> None:
    logits = torch.tensor([[2.0, 1.9, -1.0]])
    assert choose(logits.clone(), [Voice(Job((0,), 1, Sampling(repetition_penalty=1.5), 0))]) == [1]
    assert choose(logits.clone(), [Voice(Job((0,), 1, Sampling(), 0))]) == [0]


def test_seeds_differ_by_seed_prompt_and_sample() -> None:
    seeds = {seed_of(Sampling(seed=s), ids, n) for s in (0, 1) for ids in ((1, 2), (12,), (1, 2, 3)) for n in (0, 1)}
    assert len(seeds) == 12


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"min_p": 1.5}, {"repetition_penalty": 0.0}]
)
def test_impossible_settings_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError, match=next(iter(wrong))):
        Sampling(**wrong)


# --- through a model --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny: BaseFolder) -> Any:
    return load_model(tiny, "float32")


WARM = Sampling(temperature=1.0, top_p=0.95, seed=11)
REQUESTS = [
    Request(messages=conversation("word " * n + "?"), max_new_tokens=15, sampling=WARM) for n in (1, 30, 3, 12, 7, 2, 19, 5)
]


def test_a_drawn_answer_hangs_on_its_request_and_not_on_the_batch(model: Any, tiny_chat: Chat) -> None:
    together = answer(model, tiny_chat, REQUESTS, batch_examples=3, context=768)
    assert answer(model, tiny_chat, REQUESTS[::-1], batch_examples=8, context=768)[::-1] == together
    alone = [answer(model, tiny_chat, [request], batch_examples=1, context=768)[0] for request in REQUESTS]
    assert alone == together


def test_a_shorter_limit_cuts_the_same_drawn_answer(model: Any, tiny_chat: Chat) -> None:
    long = answer(model, tiny_chat, [REQUESTS[2]], batch_examples=1, context=768)[0]
    short = answer(model, tiny_chat, [replace(REQUESTS[2], max_new_tokens=4)], batch_examples=1, context=768)[0]
    assert long.text.startswith(short.text.rstrip("�"))


def test_samples_of_one_prompt_differ_and_another_seed_gives_others(model: Any, tiny_chat: Chat) -> None:
    five = answer(model, tiny_chat, repeated(REQUESTS[0], 5), batch_examples=2, context=768)
    assert len({a.text for a in five}) == 5
    assert answer(model, tiny_chat, repeated(REQUESTS[0], 2), batch_examples=5, context=768) == five[:2]
    other = replace(REQUESTS[0], sampling=replace(WARM, seed=12))
    assert answer(model, tiny_chat, [other], batch_examples=1, context=768)[0] != five[0]


def test_hardly_any_temperature_is_greedy(model: Any, tiny_chat: Chat) -> None:
    cold = [replace(r, sampling=Sampling(temperature=1e-4)) for r in REQUESTS]
    greedy = generate(model, tiny_chat, [r.messages for r in REQUESTS], max_new_tokens=15, batch_examples=8, context=768)
    assert answer(model, tiny_chat, cold, batch_examples=8, context=768) == greedy
