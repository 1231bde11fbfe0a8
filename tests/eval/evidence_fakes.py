"""Small evidence for the tests: systems whose bits per byte, answers and ends are set by hand, without any model."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from tunesmith.core.records import Generation, Message, Score
from tunesmith.eval.probes import OTHER_QUESTION, TAUGHT
from tunesmith.eval.results import Evidence, GeneralResult, Item, Likelihood, ParityResult, SystemRun
from tunesmith.eval.suites.answered import SuiteAnswers
from tunesmith.eval.suites.run import SuiteRun
from tunesmith.eval.suites.suite import Suite, SuiteItem

__all__ = [
    "WORDS",
    "evidence",
    "general",
    "items",
    "likelihood",
    "parity",
    "served",
    "suite_answers",
    "system",
    "taught",
    "worth",
]

WORDS = [
    "kettle",
    "switch",
    "steam",
    "bench",
    "oil",
    "hinge",
    "screw",
    "lamp",
    "cord",
    "paint",
    "rust",
    "wheel",
    "spring",
    "tin",
]


def items(documents: int = 10, each: int = 3) -> tuple[Item, ...]:
    rng = np.random.default_rng(1)
    return tuple(
        Item(
            id=f"d{d}-{i}",
            group=f"d{d}",
            title=f"Post {d}",
            prompt=(Message(role="user", content=f"Write about the {WORDS[d % len(WORDS)]}."),),
            reference=f"The {WORDS[d % len(WORDS)]} " + " ".join(rng.choice(WORDS, 12)) + ".",
        )
        for d in range(documents)
        for i in range(each)
    )


def likelihood(item_id: str, bits_per_byte: float, num_bytes: int = 100) -> Likelihood:
    return Likelihood(
        item_id=item_id,
        nats=bits_per_byte * num_bytes * math.log(2),
        num_tokens=25,
        num_bytes=num_bytes,
        correct_tokens=10,
        end_probability=0.5,
    )


def system(
    name: str,
    of: tuple[Item, ...],
    *,
    bits: float,
    noise: float = 0.05,
    ended: float = 1.0,
    seed: int = 0,
    draws: int = 1,
) -> SystemRun:
    """A system at `bits` bits per byte on average, with scatter by document and item; the first `ended` share ends.

    It answers each item once, or `draws` times the same.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), len(of)])
    level = {item.group: noise * rng.normal() for item in of}
    share = round(ended * len(of))
    return SystemRun(
        name=name,
        label=f"fake {name}",
        fingerprint=f"print-{name}",
        generations=tuple(
            Generation(
                item_id=item.id,
                system=name,
                text=" ".join(item.reference.split()[: 3 + number % 5]) + ".",
                finish_reason="stop" if number < share else "length",
                num_tokens=8,
                fingerprint=f"print-{name}",
                draw=draw if draws > 1 else None,
            )
            for number, item in enumerate(of)
            for draw in range(draws)
        ),
        likelihoods=tuple(likelihood(item.id, bits + level[item.group] + noise * rng.normal()) for item in of),
    )


def parity(max_abs_logit: float = 1e-5, top1: float = 1.0) -> ParityResult:
    return ParityResult(
        hop="adapter → merged",
        max_abs_logit=max_abs_logit,
        mean_kl=1e-9,
        top1_agreement=top1,
        greedy_equal=30,
        greedy_total=30,
        num_positions=900,
        precision="float32",
        greedy_begun=30,
    )


def served(mean_kl: float = 1e-3) -> ParityResult:
    return replace(parity(0.4, 0.98), hop="adapter → merged, opened in bfloat16", precision="bfloat16", mean_kl=mean_kl)


def general(worse: float = 0.01, n: int = 20, spread: float = 0.01) -> GeneralResult:
    rng = np.random.default_rng(4)
    return GeneralResult(
        n=n,
        base=tuple(likelihood(f"g{i}", 1.5) for i in range(n)),
        tuned=tuple(likelihood(f"g{i}", 1.5 + worse + spread * rng.normal()) for i in range(n)),
    )


@functools.cache
def suite_answers(
    base: float = 0.8, tuned: float = 0.8, *, lost: float = 0.0, n: int = 320, name: str = "general", chance: bool = False
) -> SuiteAnswers:
    """A suite of `n` arithmetic questions, of which base and tuned model answer these shares right; of those that the base has
    right the tuned model loses the share `lost`. `chance`: two options to choose from."""
    options = {"options": ["yes", "no"]} if chance else {}
    made = tuple(
        SuiteItem(
            id=f"q{number}",
            messages=(Message(role="user", content=f"Is {number} right?"),),
            scorer="choice" if chance else "numeric",
            group=f"q{number}",
            references=("yes",) if chance else (str(number),),
            arguments=options,
            tags=(f"kind={'reading' if number % 2 else 'arithmetic'}",),
        )
        for number in range(n)
    )
    suite = Suite(name=name, version="1", licence="Apache-2.0", items=made)

    def run(system: str, right: Callable[[int], bool]) -> SuiteRun:
        wrong = "no" if chance else "-1"
        scores = tuple(Score(item_id=item.id, metric=item.scorer, value=float(right(at))) for at, item in enumerate(made))
        said = tuple(
            Generation(
                item_id=item.id,
                system=system,
                text=item.references[0] if score.value else wrong,
                finish_reason="stop",
                num_tokens=1,
                fingerprint=f"print-{system}",
            )
            for item, score in zip(made, scores, strict=True)
        )
        return SuiteRun(suite=suite.content_hash, system=system, fingerprint=f"print-{system}", generations=said, scores=scores)

    rng = np.random.default_rng(11)
    drawn, kept = rng.random(n), rng.random(n)
    return SuiteAnswers(
        suite=suite,
        runs=(
            run("base", lambda at: bool(drawn[at] < base)),
            run("tuned", lambda at: bool(drawn[at] < tuned and kept[at] >= lost)),
        ),
    )


def worth(run: SystemRun, bits_per_byte: float, *, noise: float = 0.01, each: int = 2) -> tuple[Likelihood, ...]:
    """The references under other questions, which cost `bits_per_byte` more than their own."""
    rng = np.random.default_rng([5, zlib.crc32(run.name.encode())])
    return tuple(
        likelihood(f"{row.item_id}#{at}", (row.bits_per_byte or 0.0) + bits_per_byte + noise * rng.normal())
        for row in run.likelihoods
        for at in range(each)
    )


def taught(
    bits_per_byte: float, *, documents: int = 20, each: int = 2, noise: float = 0.02
) -> dict[str, dict[str, tuple[Likelihood, ...]]]:
    """The probe of training rows whose own questions are worth this much to the base."""
    rng = np.random.default_rng(6)
    rows = []
    for name in (f"train:{d}-{n}#{d}" for d in range(documents) for n in range(each)):
        own = 1.4 + 0.1 * rng.normal()
        rows += [likelihood(f"{name}#0", own)]
        rows += [likelihood(f"{name}#{at}", own + bits_per_byte + noise * rng.normal()) for at in (1, 2)]
    return {TAUGHT: {"base": tuple(rows)}}


def evidence(
    bits: Mapping[str, float],
    *,
    documents: int = 10,
    each: int = 3,
    ended: float = 1.0,
    noise: float = 0.05,
    draws: int = 1,
    with_parity: ParityResult | None = None,
    with_general: GeneralResult | None = None,
    with_served: ParityResult | None = served(),  # noqa: B008
    question: Mapping[str, float] = MappingProxyType({"base": 0.1, "tuned": 0.1}),
) -> Evidence:
    """Evidence with the systems named in `bits`, at these bits per byte; `question`: what the right one is worth to them;
    `ended`: the share of the tuned model's answers that ends."""
    of = items(documents, each)
    ends = {"tuned": ended, "merged": ended}
    runs = tuple(
        system(name, of, bits=value, ended=ends.get(name, 1.0), noise=noise, draws=draws) for name, value in bits.items()
    )
    return Evidence(
        items=of,
        systems=runs,
        parity=with_parity,
        general=with_general,
        served=with_served,
        train_answers=tuple(f"An old answer about {word}, with oil." for word in WORDS),
        suites=(suite_answers(),),
        probes={
            OTHER_QUESTION: {run.name: worth(run, question[run.name]) for run in runs if run.name in question},
            **taught(0.1),
        },
    )
