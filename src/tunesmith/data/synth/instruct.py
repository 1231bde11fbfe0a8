"""`distil`, `evolve` and `self_instruct`: answers to the prompts of a log, harder prompts, new tasks like those given."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tunesmith.core.records import Example, Message, Origin, digest
from tunesmith.core.reporter import Reporter
from tunesmith.data.checks.asking import asks
from tunesmith.data.similar.likeness import QUESTION_SHINGLE, Likeness
from tunesmith.data.synth.attempts import attempted, decision
from tunesmith.data.synth.gates import NOT_JSON, Fault, fault_of_text, kind_of, object_in, text_in
from tunesmith.data.synth.generator import Asked, Generator
from tunesmith.data.synth.grounding import content_stems
from tunesmith.data.synth.guard import delimited
from tunesmith.data.synth.ledger import Estimate
from tunesmith.data.synth.outcome import Outcome, Tally
from tunesmith.data.synth.prompts import DATA, turns
from tunesmith.data.text.words import num_words

__all__ = ["AGAIN", "distil", "evolve", "once", "self_instruct"]

AGAIN = "a prompt that was there before"
_ANSWER_WORDS = (1, 2000)
_PROMPT_WORDS = (3, 200)
_WAYS = (
    "add two constraints that the answer must keep to",
    "ask for the reasons behind it and for a case where they fail",
    "make it a task of several steps, each of which needs the one before",
    "put it into one concrete situation with particulars that matter",
)
_LEAST_NEW_STEMS = 3
_TASKS_A_REQUEST, _SEEDS_A_REQUEST, _ROUNDS = 4, 3, 3
_ALIKE = 0.7
_EVOLVER = (
    "You make prompts for training data harder. Rewrite the prompt between the marks as you are told; it must still make sense "
    "by itself and have an answer. " + DATA + ' Reply with one JSON object and nothing else: {"harder": "…"}'
)
_EVOLVED = (
    "You compare two prompts. Pass the second only if it is clearly harder to answer well than the first, makes sense by "
    "itself and can be answered. "
    + DATA
    + ' Reply with one JSON object and nothing else: {"verdict": "pass" or "fail", "reason": "…"}'
)
_INVENTOR = (
    f"You invent {_TASKS_A_REQUEST} new tasks for training data, each with its answer. Between the marks stand tasks that "
    "show the kind; yours differ from them and from each other in subject and form. "
    + DATA
    + ' Reply with one JSON object and nothing else: {"tasks": [{"prompt": "…", "answer": "…"}]}'
)


def distil(
    rows: Sequence[Example], *, generator: Generator, reporter: Reporter, top_logprobs: int = 0
) -> tuple[list[Example], Outcome]:
    """The prompts of the rows, each answered by the generator; each prompt once. What the rows answered is left out. The kept
    replies hold the log-probabilities of the `top_logprobs` likeliest tokens, if there are any.
    """
    tally, asked_for = Tally(), once(rows)
    tally.drop(AGAIN, "", len(rows) - len(asked_for))

    def one(row: Example) -> tuple[Example | None, Tally]:
        def work(attempt: int, reasons: Sequence[str]) -> Example:
            asked, text = _answered(generator, row.prompt, attempt, top_logprobs=top_logprobs)
            return _made(row, (*row.prompt, Message(role="assistant", content=text)), "distil", asked, generator, "answer")

        return attempted(work, row.prompt[-1].content)

    tokens = round(1.4 * sum(num_words(m.content) for row in asked_for for m in row.prompt))
    _announce(generator, reporter, f"answers to {len(asked_for):,} prompts", len(asked_for), tokens, 250 * len(asked_for))
    with reporter.progress("distil", total=len(asked_for), unit="prompts") as progress:
        made = _gathered(generator.each(one, asked_for, progress), tally)
    return made, Outcome.of("distil", generator, tally, wanted=len(rows), kept=len(made))


def evolve(rows: Sequence[Example], *, generator: Generator, reporter: Reporter) -> tuple[list[Example], Outcome]:
    """A harder form of each prompt, with its answer. Trivial changes are sent back: too alike, nothing added, not harder."""
    tally, asked_for = Tally(), once(rows)
    tally.drop(AGAIN, "", len(rows) - len(asked_for))

    def one(row: Example) -> tuple[Example | None, Tally]:
        first = row.prompt[-1].content
        way = _WAYS[int(digest("way", row.id)[:8], 16) % len(_WAYS)]

        def work(attempt: int, reasons: Sequence[str]) -> Example:
            written = generator.ask(turns(_EVOLVER, f"How: {way}.\n\n{delimited(first)}", reasons), draw=attempt)
            harder = object_in(written.reply).get("harder")
            if not isinstance(harder, str):
                raise Fault(NOT_JSON)
            harder = harder.strip()
            if reason := _fault_of_prompt(harder) or _trivial(first, harder):
                raise Fault(reason)
            both = f"First: {first}\n\nSecond: {harder}"
            passed, why, _ = decision(
                generator, lambda refused: turns(_EVOLVED, delimited(both), refused), "verdict", {"pass": True, "fail": False}
            )
            if not passed:
                raise Fault(f"trivial, says the judge: {why}")
            prompt = (*row.prompt[:-1], Message(role="user", content=harder))
            _, text = _answered(generator, prompt, attempt)
            return _made(row, (*prompt, Message(role="assistant", content=text)), "evolve", written, generator, "both")

        return attempted(work, first)

    tokens = round(1.4 * sum(num_words(row.prompt[-1].content) for row in asked_for)) * 4 + 300 * len(asked_for)
    _announce(
        generator, reporter, f"harder forms of {len(asked_for):,} prompts", 3 * len(asked_for), tokens, 330 * len(asked_for)
    )
    with reporter.progress("evolve", total=len(asked_for), unit="prompts") as progress:
        made = _gathered(generator.each(one, asked_for, progress), tally)
    return made, Outcome.of("evolve", generator, tally, wanted=len(rows), kept=len(made))


def self_instruct(
    rows: Sequence[Example], *, count: int, seed: int, generator: Generator, reporter: Reporter
) -> tuple[list[Example], Outcome]:
    """`count` new tasks after the pattern of the rows: three of them, drawn by `seed`, stand in each request.

    A task that shares 0.7 of its words with a row or an earlier task is left out. Up to three rounds make up for what is lost.
    """
    tally, made = Tally(), list[Example]()
    seen = Likeness(shingle=QUESTION_SHINGLE, same=_ALIKE)
    for row in rows:
        seen.add(row.prompt[-1].content)
    requests = -(-count // _TASKS_A_REQUEST)
    _announce(generator, reporter, f"{count:,} new tasks", requests, 500 * requests, 600 * requests)
    for number in range(_ROUNDS):
        missing = count - len(made)
        if missing <= 0:
            break
        batch = [(number, index) for index in range(-(-missing // _TASKS_A_REQUEST))]
        with reporter.progress("invent", total=len(batch), unit="requests") as progress:
            parts = generator.each(lambda at: _invent(rows, f"{seed}-{at[0]}-{at[1]}", generator), batch, progress)
        for found, part in parts:
            tally.add(part)
            for prompt, answer, asked in found or ():
                if seen.has(prompt):
                    tally.drop("a task that is there already", prompt)
                elif len(made) < count:
                    seen.add(prompt)
                    made.append(_task(prompt, answer, asked, generator))
    return made, Outcome.of("self_instruct", generator, tally, wanted=count, kept=len(made))


def _invent(rows: Sequence[Example], key: str, generator: Generator) -> tuple[list[tuple[str, str, Asked]] | None, Tally]:
    draw = random.Random(key)
    shown = [rows[i] for i in sorted(draw.sample(range(len(rows)), min(_SEEDS_A_REQUEST, len(rows))))]
    examples = "\n\n".join(f"Prompt: {row.prompt[-1].content}\nAnswer: {row.answer}" for row in shown)
    rejected = Tally()

    def work(attempt: int, reasons: Sequence[str]) -> list[tuple[str, str, Asked]]:
        user = f"Lot: {digest(key)[:8]}\n\n{delimited(examples)}"  # sets two requests with the same seeds apart
        asked = generator.ask(turns(_INVENTOR, user, reasons), draw=attempt)
        tasks = object_in(asked.reply).get("tasks")
        if not isinstance(tasks, list) or not tasks or not all(_is_task(task) for task in tasks):
            raise Fault(NOT_JSON)
        good, faults = [], []
        for task in tasks[:_TASKS_A_REQUEST]:
            prompt, answer = task["prompt"].strip(), task["answer"].strip()
            reason = _fault_of_prompt(prompt) or fault_of_text(prompt, answer, least=_ANSWER_WORDS[0], most=_ANSWER_WORDS[1])
            if reason:
                faults.append((reason, prompt))
            else:
                good.append((prompt, answer, asked))
        if not good:
            raise Fault(faults[0][0])
        for reason, prompt in faults:
            rejected.drop(kind_of(reason), prompt)
        return good

    found, tally = attempted(work, examples)
    tally.add(rejected)
    return found, tally


def _is_task(task: Any) -> bool:
    return isinstance(task, dict) and isinstance(task.get("prompt"), str) and isinstance(task.get("answer"), str)


def _task(prompt: str, answer: str, asked: Asked, generator: Generator) -> Example:
    id = digest("self_instruct", prompt, answer)[:16]
    row = Example(
        id=id,
        messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)),
        document_id=id,
        group=id,
        source="self_instruct",
    )
    return _made(row, row.messages, "self_instruct", asked, generator, "both")


def _answered(generator: Generator, prompt: Sequence[Message], attempt: int, *, top_logprobs: int = 0) -> tuple[Asked, str]:
    """The generator's own answer to a prompt. Fault: cut, refused, empty, or what no dataset should hold."""
    asked = generator.ask(prompt, draw=attempt, top_logprobs=top_logprobs)
    text = text_in(asked.reply)
    if reason := fault_of_text(prompt[-1].content, text, least=_ANSWER_WORDS[0], most=_ANSWER_WORDS[1], orders=True):
        raise Fault(reason)
    return asked, text


def _fault_of_prompt(prompt: str) -> str:
    least, most = _PROMPT_WORDS
    if not least <= num_words(prompt) <= most:
        return f"a prompt that is not {least} to {most} words"
    return f"a prompt without a request: {prompt[:80]}" if not asks(prompt) else ""


def _trivial(first: str, harder: str) -> str:
    seen = Likeness(shingle=QUESTION_SHINGLE)
    seen.add(first)
    if seen.has(harder):
        return "trivial: it asks what the first one asked"
    return (
        "trivial: no requirement was added"
        if len(set(content_stems(harder)) - set(content_stems(first))) < _LEAST_NEW_STEMS
        else ""
    )


def once(rows: Sequence[Example]) -> list[Example]:
    """The rows with each prompt once, case and spacing aside: the first of each."""
    first: dict[str, Example] = {}
    for row in rows:
        first.setdefault(" ".join("\n".join(m.content for m in row.prompt).casefold().split()), row)
    return list(first.values())


def _made(row: Example, messages: tuple[Message, ...], kind: str, asked: Asked, generator: Generator, side: Any) -> Example:
    """The row with other turns and the label of what was generated; its document and columns stay."""
    return replace(
        row,
        id=digest(kind, row.id, *(message.content for message in messages))[:16],
        messages=messages,
        origin=Origin(kind=kind, model=generator.model, prompt_sha256=asked.key, date=asked.reply.date, generated=side),
    )


def _announce(generator: Generator, reporter: Reporter, work: str, requests: int, tokens_in: int, tokens_out: int) -> None:
    estimate = Estimate(work=work, requests=requests, prompt_tokens=tokens_in, completion_tokens=tokens_out)
    generator.announce(estimate, reporter)


def _gathered(parts: Sequence[tuple[Example | None, Tally]], tally: Tally) -> list[Example]:
    for _, part in parts:
        tally.add(part)
    return [example for example, _ in parts if example is not None]
