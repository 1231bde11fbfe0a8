"""`rewrite`: a plain version of the author's passage as the prompt, the author's own passage as the answer.

Only the prompt is generated; what is learned stays the author's own, word for word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.core.records import Document, Example, Message, Origin, Support, digest
from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.attempts import attempted
from tunesmith.data.synth.gates import NOT_JSON, Fault, fault_of_text, object_in
from tunesmith.data.synth.generator import Asked, Generator
from tunesmith.data.synth.grounding import LEAST_QUOTE_WORDS, Source, content_stems, fault_of_sentence
from tunesmith.data.synth.guard import delimited, speaks_to_a_model
from tunesmith.data.synth.ledger import Estimate
from tunesmith.data.synth.outcome import Outcome, Tally
from tunesmith.data.synth.prompts import DATA, turns
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import num_words, runs, words

__all__ = ["FRAMES", "build_rewrite"]

FRAMES = (
    "Write this in your own way: {}",
    "How would you put this? {}",
    "Say this as you would say it: {}",
    "Here is a plain version. Write it as you do: {}",
    "Rewrite this in your voice: {}",
    "Put this in your own words: {}",
    "Turn this into a passage of yours: {}",
    "This is too plain. Write it yourself: {}",
)
_REWRITER = (
    "You put passages into plain words for training data. Keep every fact, name and number and the order, add nothing, and "
    "take away the author's manner: no jokes, no figures of speech, no asides. Use other words than the passage where you can. "
    + DATA
    + ' Reply with one JSON object and nothing else: {"plain": "…"}'
)
_LENGTHS = (0.3, 1.7)  # of the passage
_COPIED_RUN, _COPIED_SHARE = 5, 0.5
_CARRIERS = 2  # sentences of the passage that may carry one plain sentence together


@dataclass(frozen=True, slots=True)
class _Plain:
    text: str
    support: tuple[Support, ...]
    asked: Asked


def build_rewrite(
    passages: Sequence[Example], documents: Sequence[Document], *, generator: Generator, reporter: Reporter
) -> tuple[tuple[Example, ...], Outcome]:
    """The passages, each under a plain version of itself; those that a model could not put plainly are dropped and counted.

    Raises:
        GeneratorError: the server does not answer, or the budget is used up; replies paid so far are kept.
    """
    tally = Tally()
    sources = {document.id: Source(document.text) for document in documents}
    withheld = [p for p in passages if speaks_to_a_model(p.answer)]
    sent = [p for p in passages if not speaks_to_a_model(p.answer)]
    tokens = round(1.4 * sum(num_words(p.answer) for p in sent))
    estimate = Estimate(
        work=f"plain versions of {len(sent):,} passages",
        requests=len(sent),
        prompt_tokens=tokens + 160 * len(sent),
        completion_tokens=tokens,
    )
    generator.announce(estimate, reporter)
    with reporter.progress("rewrite", total=len(sent), unit="passages") as progress:
        made = generator.each(lambda p: _rewrite(p, sources[p.document_id], generator), sent, progress)
    examples = []
    for passage, (plain, part) in zip(sent, made, strict=True):
        tally.add(part)
        if plain is not None:
            examples.append(_example(passage, plain, generator.model))
    return tuple(examples), Outcome.of(
        "rewrite",
        generator,
        tally,
        wanted=len(sent),
        kept=len(examples),
        withheld=[passage.answer for passage in withheld],
    )


def _rewrite(passage: Example, source: Source, generator: Generator) -> tuple[_Plain | None, Tally]:
    def work(attempt: int, reasons: Sequence[str]) -> _Plain:
        asked = generator.ask(turns(_REWRITER, delimited(passage.answer), reasons), draw=attempt)
        plain = object_in(asked.reply).get("plain")
        if not isinstance(plain, str):
            raise Fault(NOT_JSON)
        plain = " ".join(plain.split())
        length = num_words(passage.answer)
        least, most = (round(share * length) for share in _LENGTHS)
        if reason := fault_of_text("", plain, least=least, most=most):
            raise Fault(reason)
        if _copied(plain, passage.answer) > _COPIED_SHARE:
            raise Fault("it copies the passage instead of putting it plainly")
        if lost := _numbers(passage.answer) - _numbers(plain):
            raise Fault(f"a number of the passage is lost: {min(lost)}")
        return _Plain(plain, _support(plain, passage.answer, source), asked)

    return attempted(work, passage.answer)


def _copied(plain: str, passage: str) -> float:
    """Share of the plain version's five-word runs that stand in the passage."""
    said, there = (set(runs([word.casefold() for word in words(text)], _COPIED_RUN)) for text in (plain, passage))
    return len(said & there) / len(said) if said else 0.0


def _numbers(text: str) -> set[str]:
    return {word for word in words(text) if any(c.isdigit() for c in word)}


def _support(plain: str, passage: str, source: Source) -> tuple[Support, ...]:
    """Each plain sentence with the one or two sentences of the passage that share most words with it. Fault: none carry it."""
    stems: Mapping[str, set[str]] = {
        sentence: set(content_stems(sentence))
        for line in passage.split("\n")
        for sentence in split_sentences(line)
        if num_words(sentence) >= LEAST_QUOTE_WORDS
    }
    support = []
    for sentence in split_sentences(plain):
        said = set(content_stems(sentence))
        nearest = sorted(stems, key=lambda s: -len(said & stems[s]))[:_CARRIERS]
        reason = "a sentence that its quotes do not carry"
        for count in range(1, len(nearest) + 1):
            quotes = tuple(quote for part in nearest[:count] for quote in source.find(part))
            reason = fault_of_sentence(sentence, quotes, source, question="") if quotes else reason
            if not reason:
                support.append(Support(sentence=sentence, quotes=quotes))
                break
        if reason:
            raise Fault(reason if ": " in reason else f"{reason}: “{sentence[:120]}”")
    return tuple(support)


def _example(passage: Example, plain: _Plain, model: str) -> Example:
    frame = FRAMES[int(digest("frame", passage.id)[:8], 16) % len(FRAMES)]
    head = tuple(message for message in passage.messages if message.role == "system")
    return replace(
        passage,
        id=digest("rewrite", passage.id, plain.text)[:16],
        messages=(*head, Message(role="user", content=frame.format(plain.text)), passage.messages[-1]),
        origin=Origin(
            kind="rewrite",
            model=model,
            prompt_sha256=plain.asked.key,
            date=plain.asked.reply.date,
            generated="prompt",
            support=plain.support,
        ),
    )
