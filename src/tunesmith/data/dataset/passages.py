"""Documents to examples: the author's own passages, word for word, each under a question that it answers."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from tunesmith.core.records import Document, Example, Message, Row, digest
from tunesmith.data.dataset.cuts import Drops, Passage, cut_document, heading_text, quotable
from tunesmith.data.dataset.fit import WordScore, wrong_questions
from tunesmith.data.dataset.phrases import study
from tunesmith.data.dataset.questions import Cue, ask
from tunesmith.data.text.words import num_words

__all__ = ["Built", "build_examples", "build_passages"]

R = TypeVar("R", bound=Row)

_SHORT_DOCUMENT = "document too short"
_COPY = "exact copy of another passage"
_NO_QUESTION = "no question found that fits it"
_BEGINS_WORDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Built(Generic[R]):
    """Examples or preferences, and what was dropped: reason → count, up to three short samples of each, and its words where
    documents were cut into passages."""

    examples: tuple[R, ...]
    dropped: Mapping[str, int]
    dropped_samples: Mapping[str, tuple[str, ...]]
    dropped_words: Mapping[str, int] = field(default_factory=dict)


def build_passages(
    documents: Sequence[Document],
    *,
    passage_words: int,
    min_words: int,
    system_prompt: str,
    missing: Literal["drop", "keep"] = "drop",
) -> Built[Example]:
    """Examples whose answers are passages of the documents, verbatim: whole paragraphs and whole lists.

    Passages aim at `passage_words`: several paragraphs stay below 1.8 times that, one paragraph or list below 3 times; longer
    ones are cut at sentence ends or between items. A passage that points back at what precedes it is asked for as the
    continuation of that. Left out and counted: passages under `min_words`, copies, quotations, footnotes, thanks and
    navigation, what points at code, tables or pictures that are not in the text (kept with `missing` "keep"), and passages for
    which no question fits (data/dataset/fit.py, by words). Prompts are unique over the whole set.
    """
    drops = Drops()
    passages: list[Passage] = []
    seen: set[str] = set()
    for document in documents:
        if num_words(document.text) < min_words:
            drops.add(_SHORT_DOCUMENT, f"{document.title or document.source}: {document.text}")
            continue
        for passage in cut_document(document, target=passage_words, min_words=min_words, missing=missing, drops=drops):
            key = " ".join(passage.text.casefold().split())
            if key in seen:
                drops.add(_COPY, passage.text)
                continue
            seen.add(key)
            passages.append(passage)
    examples = []
    for passage, question in zip(passages, _questions(passages, documents), strict=True):
        if question is None:
            drops.add(_NO_QUESTION, passage.text)
        else:
            examples.append(_example(passage, question, system_prompt))
    return Built(
        examples=tuple(examples),
        dropped=dict(drops.counts),
        dropped_samples=drops.samples,
        dropped_words=dict(drops.words),
    )


def build_examples(pairs: Sequence[Example], *, system_prompt: str) -> Built[Example]:
    """Ready pairs, passed through: empty prompts or answers and exact copies dropped, a system message added where none is.

    Blanks at the ends of turns go. A right answer may be one word, so no answer is too short.
    """
    drops = Drops()
    examples: list[Example] = []
    seen: set[str] = set()
    for pair in pairs:
        asked = [message for message in pair.prompt if message.role == "user"]
        if not asked or not asked[-1].content.strip():
            drops.add("empty prompt", pair.answer)
            continue
        if not pair.answer.strip():
            drops.add("empty answer", asked[-1].content)
            continue
        key = digest(*(f"{message.role}\n{message.content.strip()}" for message in pair.messages if message.role != "system"))
        if key in seen:
            drops.add("exact copy of another pair", f"{asked[-1].content} → {pair.answer}")
            continue
        seen.add(key)
        pair = replace(pair, messages=tuple(replace(message, content=message.content.strip()) for message in pair.messages))
        if system_prompt.strip() and pair.messages[0].role != "system":
            pair = replace(pair, messages=(Message(role="system", content=system_prompt.strip()), *pair.messages))
        examples.append(pair)
    return Built(examples=tuple(examples), dropped=dict(drops.counts), dropped_samples=drops.samples)


def _questions(passages: Sequence[Passage], documents: Sequence[Document]) -> list[str | None]:
    """A question for each passage that its words tell from the first drafts for four passages of other documents."""
    cues = _cues(passages, documents)
    drafts = [draft or "" for draft in ask(cues)]
    groups = [passage.document.id for passage in passages]
    score = WordScore([passage.text for passage in passages])

    @functools.cache
    def wrong_scores(number: int) -> float:
        wrong = wrong_questions(number, drafts, groups, seed=cues[number].key)
        return max(score(passages[number].text, wrong), default=-1.0)

    def fits(number: int, question: str) -> bool:
        return score(passages[number].text, [question])[0] > wrong_scores(number)

    return ask(cues, fits=fits)


def _cues(passages: Sequence[Passage], documents: Sequence[Document]) -> list[Cue]:
    collection = study(document.text for document in documents)
    cues = []
    for passage in passages:
        title, heading = _shown(passage.document.title), _shown(passage.heading)
        cues.append(
            Cue(
                key=digest(passage.document.id, passage.text),
                title=title,
                heading="" if heading.casefold() == title.casefold() else heading,
                phrases=tuple(collection.key_phrases(passage.text, context=f"{title}\n{heading}")),
                before=passage.before,
                begins=" ".join(quotable(passage.text).lstrip("->0123456789. ").split()[:_BEGINS_WORDS]),
                leans=passage.leans,
                heads=passage.heads,
                fills=passage.fills,
                opens=passage.opens,
                closes=passage.closes,
                goes_on=passage.goes_on,
            )
        )
    return cues


def _example(passage: Passage, question: str, system_prompt: str) -> Example:
    document = passage.document
    head = (Message(role="system", content=system_prompt.strip()),) if system_prompt.strip() else ()
    return Example(
        id=digest("passage", document.id, passage.text)[:16],
        messages=(*head, Message(role="user", content=question), Message(role="assistant", content=passage.text)),
        document_id=document.id,
        group=document.id,
        source=document.source,
        title=document.title,
    )


def _shown(text: str | None) -> str:
    """A title or heading fit to stand between quotation marks."""
    line = quotable(heading_text(text or "")).rstrip(".")
    return line if len(line) <= 120 else ""
