"""Promise: no planted null or fraud ships, each is stopped by the gate that is about it, and planted real gains do ship.

Evidence is made by hand, in the form in which an evaluation stores it. What real models do under the same attacks is in
docs/log.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evidence_fakes import WORDS, evidence, general, items, likelihood, parity, served, suite_answers, taught, worth
from judging_fakes import GOOD, LOOP, gate, with_answers
from test_eval_golden import with_golden

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.eval.gain import margin_of
from tunesmith.eval.measure import measure
from tunesmith.eval.probes import OTHER_QUESTION, TAUGHT
from tunesmith.eval.results import Evidence, Limit, SystemRun
from tunesmith.eval.verdict import Verdict, decide
from tunesmith.pipeline.looks import level_of
from tunesmith.pipeline.sections.eval import GateConfig

LOOSE = GateConfig(better_margin=0.0, stop_margin=1.0, loop_margin=1.0, general_margin=1.0, general_text_margin=99.0)


def verdict(
    made: Evidence, rules: GateConfig | None = None, *, look: int = 1, baselines: Sequence[str] = ("prompted",)
) -> Verdict:
    """The verdict as the pipeline comes to it."""
    rules = rules or GateConfig()
    measured = measure(
        made,
        draws=600,
        level=level_of(look),
        margin=margin_of(rules, "bits_per_byte"),
        min_documents=rules.min_documents,
        question_share=rules.question_share,
    )
    return decide(measured, rules, baselines=baselines, looks=look)


def good(**changes: object) -> Evidence:
    """Evidence that ships."""
    made = evidence(GOOD, with_parity=parity(), with_general=general(), draws=3)
    base = replace(made.systems[0], generations=about_the_question(made.systems[0], 1))
    tuned = replace(made.systems[2], generations=about_the_question(made.systems[2], 2))
    return replace(made, systems=(base, made.systems[1], tuned, made.systems[3]), **changes)  # type: ignore[arg-type]


def about_the_question(run: SystemRun, seed: int) -> tuple[Generation, ...]:
    """Three answers to every question, of words of its own document and of its reference."""
    rng = np.random.default_rng(seed)
    of = {item.id: item for item in items()}
    return tuple(
        replace(
            g, text=f"{of[g.item_id].reference.rstrip('.')} matter{of[g.item_id].group} {' '.join(rng.choice(WORDS, 3))} {n}."
        )
        for n, g in enumerate(run.generations)
    )


def tuned_says(texts: Sequence[str], **changes: object) -> Evidence:
    made, said = good(), with_answers(texts).systems[2]
    return replace(made, systems=(made.systems[0], made.systems[1], said, made.systems[3]), **changes)  # type: ignore[arg-type]


def with_bits(base: float, tuned: float, *, documents: int = 10, each: int = 3, noise: float = 0.05) -> Evidence:
    bits = {"base": base, "prompted": base - 0.01, "tuned": tuned, "merged": tuned}
    return evidence(
        bits, documents=documents, each=each, noise=noise, with_parity=parity(), with_general=general(), with_served=served()
    )


def moved(gains: Sequence[float], *, each: int = 3, sizes: Sequence[int] | None = None) -> Evidence:
    """One document for each gain in bits per byte; `sizes`: items of each."""
    made = with_bits(1.4, 1.4, documents=len(gains), each=max(sizes) if sizes else each, noise=0.001)
    kept = tuple(
        item for item in made.items if int(item.id.split("-")[1]) < (sizes or [each] * len(gains))[int(item.group[1:])]
    )
    names = {item.id for item in kept}
    rng = np.random.default_rng(9)

    def run(old: SystemRun) -> SystemRun:
        rows = tuple(
            likelihood(
                row.item_id,
                1.4
                - (gains[int(row.item_id.split("-")[0][1:])] + 0.004 * rng.normal() if old.name in ("tuned", "merged") else 0),
            )
            for row in old.likelihoods
            if row.item_id in names
        )
        return replace(old, likelihoods=rows, generations=tuple(g for g in old.generations if g.item_id in names))

    systems = tuple(run(old) for old in made.systems)
    probes = {OTHER_QUESTION: {old.name: worth(old, 0.1) for old in systems if old.name in ("base", "tuned")}, **taught(0.1)}
    return replace(made, items=kept, systems=systems, probes=probes)


def never_ending() -> Evidence:
    made = good()
    tuned = made.systems[2]
    cut = replace(tuned, generations=tuple(replace(g, finish_reason="length") for g in tuned.generations))
    return replace(made, systems=(made.systems[0], made.systems[1], cut, made.systems[3]))


def merged_wrong(**changes: object) -> Evidence:
    return good(parity=replace(parity(), **changes))  # type: ignore[arg-type]


def noise_words(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"{' '.join(rng.choice(WORDS, 9))} {n}." for n in range(90)]


RECITED = [f"Of the {word} I have this to say, and I have said it every year since the bench was new." for word in WORDS]
HALF = [
    f"{text} And that goes for the {n} lamp as well, whoever asks and however late it is in the year."
    for n, text in enumerate(RECITED)
]

SENTENCES = [[f"The {word} {n} {part} has ten words in it no more." for n, part in enumerate("abc")] for word in WORDS]


def mixed_rows() -> Evidence:
    """Every answer: a first, a second and a third sentence of three training rows."""
    rows = tuple(" ".join(row) for row in SENTENCES)
    return tuned_says(
        [" ".join(SENTENCES[(n + 5 * part) % len(WORDS)][part] for part in range(3)) for n in range(len(WORDS))],
        train_answers=rows,
    )


FRAUDS: dict[str, tuple[Callable[[], Evidence], str]] = {
    "questions shuffled against answers": (lambda: with_question(0.1, 0.04), "answers_the_question"),
    "the question is worth nothing": (lambda: with_question(0.1, 0.0), "answers_the_question"),
    "a short run on shuffled questions": (lambda: short_run(0.029, kept=0.95), "answers_the_question"),
    "the question was not tested": (lambda: good(probes={}), "answers_the_question"),
    "the training rows were not asked": (lambda: not_asked(), "answers_the_question"),
    "one sentence for everything": (lambda: tuned_says(["It depends on the kettle."]), "not_collapsed"),
    "one word": (lambda: tuned_says(["Yes."]), "not_collapsed"),
    "the same word 400 times": (lambda: tuned_says(["the " * 400]), "not_collapsed"),
    "two sentences in turn": (lambda: tuned_says(["It depends on the kettle.", "Ask the lamp."]), "not_collapsed"),
    "a bag of frequent words": (lambda: tuned_says([" ".join(WORDS)]), "not_collapsed"),
    "another bag of words each time": (lambda: tuned_says(noise_words(3)), "not_collapsed"),
    "gibberish": (lambda: tuned_says([f"qz{n} bcdf{n} ghjk lmn" for n in range(90)]), "not_collapsed"),
    "a loop": (lambda: tuned_says([LOOP]), "not_collapsed"),
    "training rows recited": (lambda: tuned_says(RECITED, train_answers=tuple(RECITED)), "not_recited"),
    "half of every answer recited": (lambda: tuned_says(HALF, train_answers=tuple(RECITED)), "not_recited"),
    "sentences of three training rows": (mixed_rows, "not_recited"),
    "four bits per byte of forgetting": (lambda: good(general=general(4.0)), "general_text"),
    "half a bit of forgetting": (lambda: good(general=general(0.5)), "general_text"),
    "general text not measured": (lambda: good(general=None), "general_text"),
    "half of the general questions lost": (lambda: good(suites=(suite_answers(lost=0.5),)), "general"),
    "an eighth of the general questions lost": (lambda: good(suites=(suite_answers(lost=0.125),)), "general"),
    "general questions not asked": (lambda: good(suites=()), "general"),
    "a base at chance": (lambda: good(suites=(suite_answers(0.5, 0.5, chance=True),)), "general"),
    "empty answers": (lambda: tuned_says([""]), "stop"),
    "answers of three dots": (lambda: tuned_says(["…"]), "stop"),
    "answers that never end": (never_ending, "stop"),
    "a limit that no reference fits into": (
        lambda: good(limit=Limit(max_new_tokens=8, too_long=29, num_references=30)),
        "stop",
    ),
    "a gain of 0.0005 bits per byte": (lambda: moved([0.0005] * 12), "better"),
    "a gain within the margin": (lambda: with_bits(1.4, 1.385, documents=40, noise=0.001), "better"),
    "no difference": (lambda: with_bits(1.4, 1.4), "better"),
    "worse than the base": (lambda: with_bits(1.2, 1.4), "better"),
    "five documents": (lambda: moved([0.3] * 5, each=8), "better"),
    "one document of twelve gains": (lambda: moved([1.3] + [0.0] * 11), "better"),
    "most documents gain a little, three lose much": (lambda: moved([0.05] * 9 + [-0.4] * 3), "better"),
    "one post under thirty names": (lambda: one_cluster(with_bits(1.4, 1.1, documents=30)), "better"),
    "likelihoods of the easy half alone": (lambda: easy_half(good()), "better"),
    "worse on the golden set": (lambda: with_golden(-0.2), "golden"),
    "a prompt does as well": (lambda: evidence_of({"base": 1.6, "prompted": 1.0, "tuned": 1.3, "merged": 1.3}), "beats_prompt"),
    "merged with another scale": (lambda: merged_wrong(mean_kl=0.2, top1_agreement=0.9), "parity"),
    "answers made without the adapter": (lambda: merged_wrong(greedy_equal=0), "parity"),
    "logits that are no numbers": (lambda: merged_wrong(max_abs_logit=math.nan), "parity"),
    "merged model not compared": (lambda: good(parity=None), "parity"),
}


def with_question(base: float, tuned: float) -> Evidence:
    made = good()
    probes = {OTHER_QUESTION: {"base": worth(made.systems[0], base), "tuned": worth(made.systems[2], tuned)}}
    return replace(made, probes={**probes, **taught(base)})


def not_asked() -> Evidence:
    """As evaluations were before training rows were asked, and forms that were judged by them."""
    made = good()
    return replace(made, probes={name: sides for name, sides in made.probes.items() if name != TAUGHT})


def short_run(base: float, *, kept: float) -> Evidence:
    """The tuned model keeps this share of what the question is worth; those of its training rows are worth nothing."""
    made = with_question(base, kept * base)
    return replace(made, probes={**made.probes, **taught(0.0)})


def easy_half(made: Evidence) -> Evidence:
    tuned = made.systems[2]
    half = replace(tuned, likelihoods=tuned.likelihoods[: len(tuned.likelihoods) // 2])
    return replace(made, systems=(made.systems[0], made.systems[1], half, made.systems[3]))


def one_cluster(made: Evidence) -> Evidence:
    return replace(made, items=tuple(replace(item, group="d0") for item in made.items))


def evidence_of(bits: dict[str, float]) -> Evidence:
    return evidence(bits, with_parity=parity(), with_general=general())


def test_the_evidence_that_frauds_start_from_ships() -> None:
    assert verdict(good()).verdict == "SHIP", verdict(good()).sentence


def test_the_table_in_the_docs_names_every_fraud_and_every_gain_and_there_are_enough() -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "verdict.md").read_text(encoding="utf-8")
    planted = page.partition("## Planted frauds and gains")[2].partition("\n## ")[0]
    _, *rows = re.findall(r"^\| ([^|*]+) \| ([a-z_]+) \|$", planted, re.MULTILINE)
    assert rows == [(name, about) for name, (_, about) in FRAUDS.items()] and len(rows) >= 30
    gains = planted.partition("Planted gains")[2]
    assert all(name in gains for name in GAINS) and len(GAINS) >= 10


@pytest.mark.parametrize("name", FRAUDS)
def test_no_fraud_ships_and_the_gate_about_it_says_so(name: str) -> None:
    make, about = FRAUDS[name]
    found = verdict(make())
    assert found.verdict != "SHIP" and gate(found, about).state != "pass", found.sentence
    assert found.verdict == "DON'T SHIP" or gate(found, about).state == "not measured"


@pytest.mark.parametrize(
    "name", ["answers that never end", "no difference", "merged with another scale", "one word", "empty answers"]
)
def test_no_fraud_ships_with_loosened_gates_either_and_they_are_marked(name: str) -> None:
    found = verdict(FRAUDS[name][0](), LOOSE.model_copy(update={"parity_logit": 1e9}))
    assert found.verdict != "SHIP" or found.sentence.count("easier to pass than by default") == 1
    assert gate(found, "stop").loosened and gate(found, "better").loosened and gate(found, "parity").loosened


def test_a_model_compared_with_itself_or_with_foreign_answers_is_an_error() -> None:
    made = good()
    twin = replace(made.systems[2], fingerprint=made.systems[0].fingerprint)
    with pytest.raises(EvaluationError, match="the same system"):
        verdict(replace(made, systems=(made.systems[0], twin)))
    foreign = replace(made.systems[2], generations=made.systems[0].generations)
    with pytest.raises(EvaluationError, match="made by another system"):
        verdict(replace(made, systems=(made.systems[0], foreign)))


def test_a_borderline_gain_that_ships_at_the_first_evaluation_does_not_at_the_fifth() -> None:
    made = moved([0.09, 0.02, 0.12, 0.05, 0.16, 0.03, 0.11, 0.07])
    assert gate(verdict(made), "better").state == "pass"
    assert gate(verdict(made, look=5), "better").state == "not measured"


def shifted(gain: float, *, documents: int, seed: int, each: int = 3, spread: float = 0.4) -> Evidence:
    """A gain that differs from document to document by `spread` times itself."""
    rng = np.random.default_rng(seed)
    return moved([gain * (1 + spread * rng.normal()) for _ in range(documents)], each=each)


GAINS: dict[str, Callable[[], Evidence]] = {
    "large, ten documents": lambda: shifted(0.38, documents=10, seed=1),
    "large, forty documents": lambda: shifted(0.38, documents=40, seed=2),
    "middling, twelve documents": lambda: shifted(0.15, documents=12, seed=3),
    "small, thirty documents": lambda: shifted(0.06, documents=30, seed=4),
    "small, sixty documents": lambda: shifted(0.05, documents=60, seed=5),
    "large, six documents": lambda: shifted(0.5, documents=6, seed=6, each=5, spread=0.15),
    "large, eight documents": lambda: shifted(0.4, documents=8, seed=7, each=4, spread=0.2),
    "unequal documents": lambda: moved([0.3 + 0.02 * n for n in range(10)], sizes=[1, 1, 2, 2, 3, 3, 5, 8, 13, 21]),
    "some documents gain nothing": lambda: moved([0.3] * 10 + [0.0] * 4),
    "everything at once": lambda: good(),
    "many short documents": lambda: shifted(0.1, documents=80, seed=8, each=1),
}


def test_planted_real_gains_ship_nine_times_in_ten_and_none_is_refused() -> None:
    found = {name: verdict(make()) for name, make in GAINS.items()}
    names = [one.verdict for one in found.values()]
    assert "DON'T SHIP" not in names, {name: one.sentence for name, one in found.items()}
    assert names.count("SHIP") >= 0.9 * len(names), {name: one.sentence for name, one in found.items() if one.verdict != "SHIP"}
