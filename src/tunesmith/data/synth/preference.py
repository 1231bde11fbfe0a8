"""`preference`: two samples for each prompt, ranked by a judge in both orders. Ties and verdicts that flip are dropped."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.records import Example, Message, Origin, Preference, digest
from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.attempts import attempted
from tunesmith.data.synth.gates import Fault, fault_of_text, text_in
from tunesmith.data.synth.generator import Asked, Generator
from tunesmith.data.synth.instruct import AGAIN, once
from tunesmith.data.synth.judge import Judge
from tunesmith.data.synth.ledger import Estimate
from tunesmith.data.synth.outcome import Outcome, Tally
from tunesmith.data.text.words import num_words

__all__ = ["FLIPPED", "TIED", "prefer"]

TIED = "the judge calls it a tie"
FLIPPED = "the judge changes its mind with the order"
_NO_VERDICT = "the judge gave no verdict"
_SAME = "both samples say the same"
_LENGTHS = (1, 2000)
_DRAWS_APART = 10  # between the two samples, so that a retry of one never is the other


def prefer(rows: Sequence[Example], *, generator: Generator, reporter: Reporter) -> tuple[list[Preference], Outcome]:
    """A Preference for each prompt on which the judge is of one mind. Both answers are the generator's; the rows' are left out.

    `outcome.dropped` counts ties and flips: a judge that flips often is no judge.
    """
    asked_for = once(rows)
    num, tokens = len(asked_for), round(1.4 * sum(num_words(m.content) for row in asked_for for m in row.prompt))
    estimate = Estimate(
        work=f"two answers to each of {num:,} prompts, judged twice",
        requests=4 * num,
        prompt_tokens=4 * tokens + 2 * 700 * num,
        completion_tokens=2 * (250 + 30) * num,
    )
    generator.announce(estimate, reporter)
    judge = Judge(generator)
    with reporter.progress("prefer", total=num, unit="prompts") as progress:
        parts = generator.each(lambda row: _prefer(row, generator, judge), asked_for, progress)
    tally, made = Tally(), list[Preference]()
    tally.drop(AGAIN, "", len(rows) - num)
    for preference, part in parts:
        tally.add(part)
        if preference is not None:
            made.append(preference)
    return made, Outcome.of("preference", generator, tally, wanted=len(rows), kept=len(made))


def _prefer(row: Example, generator: Generator, judge: Judge) -> tuple[Preference | None, Tally]:
    tally, samples = Tally(), list[Asked]()
    question = row.prompt[-1].content
    for draw in (0, _DRAWS_APART):
        sample, part = attempted(lambda attempt, _: _sample(row.prompt, draw + attempt, generator), question)  # noqa: B023
        tally.add(part)
        if sample is None:
            return None, tally
        samples.append(sample)
    first, second = (text_in(sample.reply) for sample in samples)
    try:
        if " ".join(first.split()) == " ".join(second.split()):
            raise Fault(_SAME)
        forth = _judged(judge, question, first, second)
        back = _judged(judge, question, second, first)
        if forth == "tie" or back == "tie":
            raise Fault(TIED)
        if forth == back:  # the same letter for either order is another answer
            raise Fault(FLIPPED)
    except Fault as fault:
        tally.drop(str(fault), question)
        return None, tally
    chosen, rejected = (first, second) if forth == "A" else (second, first)
    winner = samples[0] if forth == "A" else samples[1]
    return _preference(row, chosen, rejected, winner, generator.model), tally


def _sample(prompt: Sequence[Message], draw: int, generator: Generator) -> Asked:
    asked = generator.ask(prompt, draw=draw)
    text = text_in(asked.reply)
    if reason := fault_of_text(prompt[-1].content, text, least=_LENGTHS[0], most=_LENGTHS[1], orders=True):
        raise Fault(reason)
    return asked


def _judged(judge: Judge, question: str, a: str, b: str) -> str:
    found = judge.compare(question, a, b)
    if found.winner is None:
        raise Fault(_NO_VERDICT)
    return found.winner


def _preference(row: Example, chosen: str, rejected: str, asked: Asked, model: str) -> Preference:
    return Preference(
        id=digest("preference", row.id, chosen, rejected)[:16],
        prompt=row.prompt,
        chosen=chosen,
        rejected=rejected,
        document_id=row.document_id,
        group=row.group,
        source=row.source,
        origin=Origin(kind="preference", model=model, prompt_sha256=asked.key, date=asked.reply.date, generated="answer"),
    )
