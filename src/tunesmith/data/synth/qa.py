"""`qa`: questions and answers about documents. A planner asks, a writer answers with quotes, a critic judges; between them
stand gates that are programs. What a gate sends back is asked again with the reason, twice at most, then dropped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.records import Document, Example, Message, Origin, Quote, digest
from tunesmith.core.reporter import Reporter
from tunesmith.data.similar.likeness import QUESTION_SHINGLE, Likeness, repeated
from tunesmith.data.synth.attempts import ATTEMPTS, attempted, decision, told
from tunesmith.data.synth.gates import NOT_JSON, Answer, Fault, answer_in, fault_of_question, kind_of, object_in
from tunesmith.data.synth.generator import Asked, Generator
from tunesmith.data.synth.grounding import is_about
from tunesmith.data.synth.guard import speaks_to_a_model
from tunesmith.data.synth.ledger import Estimate
from tunesmith.data.synth.outcome import Outcome, Tally
from tunesmith.data.synth.parts import Part, parts_of, passage_around, withhold
from tunesmith.data.synth.prompts import critique, plan, write
from tunesmith.data.text.words import num_words

__all__ = ["LONGEST_ANSWER", "SHORTEST_ANSWER", "build_qa"]

SHORTEST_ANSWER, LONGEST_ANSWER = 8, 160  # words
_LEAST_DOCUMENT = 40  # words
_ANSWER_SHINGLE = 3
_COPIED_WORDS = 6  # from which a question that stands in the source is no question about it
_SHORT_DOCUMENT = "document too short"
_ASKED_ALREADY = "a question that the set has already"
_SAID_ALREADY = "an answer that the set has already"
_NO_MORE = "the planner had no further question"
_WORD_TOKENS = 1.4  # tokens of an English word with a usual tokenizer, for estimates
_ROLE_TOKENS = 260  # of the standing words of a role's prompt


@dataclass(frozen=True, slots=True)
class _Question:
    """A planned question with the spans that answer it."""

    part: Part
    number: int
    text: str
    quotes: tuple[Quote, ...]

    @property
    def key(self) -> str:
        return digest(self.part.document.id, str(self.part.number), str(self.number))


@dataclass(frozen=True, slots=True)
class _Pair:
    question: _Question
    answer: Answer
    asked: Asked


def build_qa(
    documents: Sequence[Document],
    *,
    generator: Generator,
    words_per_pair: int,
    system_prompt: str,
    reporter: Reporter,
) -> tuple[tuple[Example, ...], Outcome]:
    """Question and answer pairs, in the order of the documents and of a conversation about each, and what came of the work.

    The same documents, settings and replies give the same pairs, whatever the concurrency. Every answer's `origin` leads each
    sentence to the spans that support it.

    Raises:
        GeneratorError: the server does not answer, or the budget is used up; replies paid so far are kept.
    """
    tally, parts, withheld = Tally(), list[Part](), list[str]()
    for document in documents:
        text, blocks = withhold(document.text)
        withheld += blocks
        if num_words(text) < _LEAST_DOCUMENT:
            tally.drop(_SHORT_DOCUMENT, f"{document.title or document.source}: {document.text}")
        else:
            parts += parts_of(document, text, words_per_pair=words_per_pair)
    _announce(parts, documents, generator, reporter)
    questions = _plan_all(parts, generator, tally, reporter)
    pairs = _write_all(questions, generator, tally, reporter)
    examples = tuple(_example(pair, generator.model, system_prompt) for pair in pairs)
    wanted = sum(part.count for part in parts)
    return examples, Outcome.of("qa", generator, tally, wanted=wanted, kept=len(examples), withheld=withheld)


def _announce(parts: Sequence[Part], documents: Sequence[Document], generator: Generator, reporter: Reporter) -> None:
    wanted = sum(part.count for part in parts)
    material = sum(num_words(part.material) for part in parts) * _WORD_TOKENS
    passages = wanted * 200 * _WORD_TOKENS
    estimate = Estimate(
        work=f"{wanted:,} questions about {len(documents):,} documents",
        requests=len(parts) + 2 * wanted,
        prompt_tokens=round(material + len(parts) * _ROLE_TOKENS + 2 * (passages + wanted * _ROLE_TOKENS)),
        completion_tokens=round(wanted * (70 + 130 + 25)),
    )
    generator.announce(estimate, reporter)


def _plan_all(parts: Sequence[Part], generator: Generator, tally: Tally, reporter: Reporter) -> list[_Question]:
    """Every part's questions, those that the set has already left out before anybody answers them."""
    with reporter.progress("plan", total=len(parts), unit="parts") as progress:
        planned = generator.each(lambda part: _plan(part, generator), parts, progress)
    questions = []
    for found, part_tally in planned:
        questions += found
        tally.add(part_tally)
    gone = repeated([q.text for q in questions], [q.key for q in questions], shingle=QUESTION_SHINGLE)
    for index in sorted(gone):
        tally.drop(_ASKED_ALREADY, questions[index].text)
    return [question for index, question in enumerate(questions) if index not in gone]


def _plan(part: Part, generator: Generator) -> tuple[list[_Question], Tally]:
    questions: list[_Question] = []
    tally, seen = Tally(), Likeness(shingle=QUESTION_SHINGLE)
    reasons: list[str] = [_NO_MORE]
    title = part.document.title or ""
    for attempt in range(ATTEMPTS):
        missing = part.count - len(questions)
        refused = [] if attempt == 0 else list(dict.fromkeys(map(told, reasons)))[:3]
        prompt = plan(
            part.material,
            title="" if speaks_to_a_model(title) else title,
            count=missing,
            taken=[question.text for question in questions],
            refused=refused,
        )
        reasons = []
        try:
            rows = _rows(object_in(generator.ask(prompt, draw=attempt).reply))
        except Fault as fault:
            rows, reasons = [], [str(fault)]
        for row in rows[:missing]:
            text = " ".join(row["question"].split())
            try:
                quotes = _evidence(row["quotes"], part, text, seen)
            except Fault as fault:
                reasons.append(str(fault))
                continue
            seen.add(text)
            questions.append(_Question(part, len(questions), text, quotes))
        tally.refused.update(map(kind_of, reasons))
        if not reasons:
            break
    if (missing := part.count - len(questions)) > 0:
        tally.drop(kind_of(reasons[0]) if reasons else _NO_MORE, part.document.title or part.material, missing)
    return questions, tally


def _rows(value: Any) -> list[dict[str, Any]]:
    rows = value.get("questions")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict)
        and isinstance(row.get("question"), str)
        and isinstance(row.get("quotes"), list)
        and all(isinstance(quote, str) for quote in row["quotes"])
        for row in rows
    ):
        raise Fault(NOT_JSON)
    return rows


def _evidence(quoted: Sequence[str], part: Part, question: str, seen: Likeness) -> tuple[Quote, ...]:
    """The spans that answer a question. Fault: the question is none, was asked, or its quotes are not in the source."""
    if reason := fault_of_question(question):
        raise Fault(reason)
    if seen.has(question):
        raise Fault(_ASKED_ALREADY)
    if num_words(question) >= _COPIED_WORDS and part.source.find(question):
        raise Fault(f"not a question: it is a sentence of the source, “{question}”")
    found = [part.source.find(quote) for quote in quoted]
    if not found or not all(found):
        raise Fault("a question whose quotes are not in the source")
    evidence = tuple(quote for quotes in found for quote in quotes)
    if not is_about(question, f"{passage_around(part.source, evidence)}\n{part.document.title or ''}"):
        raise Fault("a question that its quotes are not about")
    return evidence


def _write_all(questions: Sequence[_Question], generator: Generator, tally: Tally, reporter: Reporter) -> list[_Pair]:
    with reporter.progress("write", total=len(questions), unit="pairs") as progress:
        written = generator.each(lambda question: _write(question, generator), questions, progress)
    pairs = []
    for pair, pair_tally in written:
        tally.add(pair_tally)
        if pair is not None:
            pairs.append(pair)
    gone = repeated([p.answer.text for p in pairs], [p.question.key for p in pairs], shingle=_ANSWER_SHINGLE)
    for index in sorted(gone):
        tally.drop(_SAID_ALREADY, pairs[index].answer.text)
    return [pair for index, pair in enumerate(pairs) if index not in gone]


def _write(question: _Question, generator: Generator) -> tuple[_Pair | None, Tally]:
    """One pair, or None with the reason of the last refusal."""
    source = question.part.source
    material = passage_around(source, question.quotes)
    least, most = SHORTEST_ANSWER, LONGEST_ANSWER

    def work(attempt: int, reasons: Sequence[str]) -> _Pair:
        prompt = write(material, question=question.text, least=least, most=most, refused=reasons)
        asked = generator.ask(prompt, draw=attempt)
        answer = answer_in(asked.reply, question=question.text, source=source, least=least, most=most)
        passed, why, _ = decision(
            generator,
            lambda refused: critique(material, question=question.text, answer=answer.text, refused=refused),
            "verdict",
            {"pass": True, "fail": False},
        )
        if not passed:
            raise Fault(f"the critic failed it: {why}")
        return _Pair(question, answer, asked)

    return attempted(work, question.text)


def _example(pair: _Pair, model: str, system_prompt: str) -> Example:
    document, question, answer = pair.question.part.document, pair.question.text, pair.answer
    head = (Message(role="system", content=system_prompt.strip()),) if system_prompt.strip() else ()
    return Example(
        id=digest("qa", document.id, question, answer.text)[:16],
        messages=(*head, Message(role="user", content=question), Message(role="assistant", content=answer.text)),
        document_id=document.id,
        group=document.id,
        source=document.source,
        title=document.title,
        origin=Origin(
            kind="qa",
            model=model,
            prompt_sha256=pair.asked.key,
            date=pair.asked.reply.date,
            generated="both",
            support=answer.support,
        ),
    )
