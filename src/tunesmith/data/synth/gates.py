"""The program gates between the roles: what a reply must be before anything is made of it. Each returns a reason or nothing.

A reason is a short text for two readers: it is counted in the report, and it is told to the model when it is asked again.
What follows a colon is the case at hand; what stands before it is what is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.records import Example, Message, Quote, Support
from tunesmith.data.checks import check_examples
from tunesmith.data.checks.asking import asks
from tunesmith.data.synth.grounding import LEAST_QUOTE_WORDS, Source, fault_of_sentence
from tunesmith.data.synth.guard import speaks_to_a_model
from tunesmith.data.synth.request import Reply
from tunesmith.data.text.words import num_words, words

__all__ = [
    "CUT",
    "NOT_JSON",
    "NOT_TAKEN",
    "REFUSED",
    "Answer",
    "Fault",
    "answer_in",
    "fault_of_question",
    "fault_of_reply",
    "fault_of_text",
    "kind_of",
    "object_in",
    "text_in",
]

NOT_JSON = "not the JSON that was asked for"
CUT = "cut off at the token limit"
REFUSED = "the model refused"
NOT_TAKEN = "the server did not take the request"
_QUESTION_WORDS = (4, 40)
_THOUGHT = re.compile(r"^\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_LEANS = re.compile(
    r"\b(?:the|this|that|these|your) (?:(?:given|above|following|provided|quoted|same|whole|first|last) )?"
    r"(?:source|text|passage|document|article|excerpt|extract|quotes?|quotation|paragraph|material"
    r"|(?:blog )?post|essay|page|author|writer|narrator|speaker)s?\b"
    r"|\b(?:according to|mentioned|described|stated|discussed|given) (?:in )?(?:it|here|above|below)\b",
    re.IGNORECASE,
)
_MACHINE_TALK = {
    "refusals": REFUSED,
    "ai_disclaimers": "it presents itself as an AI model",
    "placeholders": "a placeholder",
    "fill_ins": "a placeholder",
    "source_talk": "it refers to “the text”, which its reader does not have",
    "loops": "it goes round in a loop",
    "mojibake": "damaged characters",
    "replacement_characters": "damaged characters",
    "control_characters": "damaged characters",
    "chat_template": "marks of a chat template",
    "html": "markup left over",
    "mdx": "markup left over",
    "cut_ends": "an answer that stops in mid-sentence",
}


class Fault(Exception):
    """A gate said no. `str()` is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A written answer that passed, each sentence with its quotes."""

    text: str
    support: tuple[Support, ...]


def kind_of(reason: str) -> str:
    """What is counted: the reason without the case at hand."""
    return reason.partition(": ")[0]


def fault_of_reply(reply: Reply) -> str:
    """A reply that is cut, refused or empty can hold nothing of use."""
    if reply.stop == "not_taken":
        return NOT_TAKEN
    if reply.stop == "length":
        return CUT
    return REFUSED if reply.stop == "refused" or not reply.text.strip() else ""


def text_in(reply: Reply) -> str:
    """The text of a reply, without thoughts before it.

    Raises:
        Fault: cut off, refused or empty.
    """
    if reason := fault_of_reply(reply):
        raise Fault(reason)
    if not (text := _THOUGHT.sub("", reply.text).strip()):
        raise Fault(REFUSED)
    return text


def object_in(reply: Reply) -> Mapping[str, Any]:
    """The JSON object in a reply; thoughts before it and a code fence around it are passed over.

    Raises:
        Fault: cut off, refused, not one JSON object, or one in which a name is there twice.
    """
    text = text_in(reply)
    fenced = _FENCE.search(text)
    text = fenced.group(1) if fenced else text
    begin, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[begin : end + 1], object_pairs_hook=_each_once) if 0 <= begin < end else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        refused = _machine_talk("", text) == REFUSED
        raise Fault(REFUSED if refused else NOT_JSON)
    return value


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError where a name is there twice, since any of its values may be meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice in one object")
    return found


def fault_of_question(question: str) -> str:
    """A question must ask, stand by itself, and be of a usual length."""
    if not question.strip():
        return "an empty question"
    if not _QUESTION_WORDS[0] <= num_words(question) <= _QUESTION_WORDS[1] or "\n" in question.strip():
        return f"a question that is not {_QUESTION_WORDS[0]} to {_QUESTION_WORDS[1]} words in one line"
    if not question.rstrip(" \"'”’)»").endswith(("?", "？")) or not asks(question):
        return f"not a question: {question}"
    if leaning := _LEANS.search(question):
        return f"a question that needs a text next to it: “{leaning.group()}”"
    if speaks_to_a_model(question):
        return "an instruction to a model"
    return ""


def fault_of_text(prompt: str, text: str, *, least: int, most: int, orders: bool = False) -> str:
    """An answer must be of a fair length, whole, and free of what models say about themselves.

    `orders`: whether it may speak to a model, as an answer about prompts does.
    """
    count = num_words(text)
    if not least <= count <= most:
        return f"an answer that is not {least} to {most} words: it has {count}"
    if not orders and speaks_to_a_model(text):
        return "an instruction to a model"
    if text.strip().casefold() == prompt.strip().casefold():
        return "an answer that repeats the prompt"
    return _machine_talk(prompt, text)


def answer_in(reply: Reply, *, question: str, source: Source, least: int, most: int) -> Answer:
    """The answer of a writer's reply `{"sentences": [{"text", "quotes"} …]}`, each sentence supported by its quotes.

    Raises:
        Fault: the reason, worded so that the writer can do better.
    """
    rows = object_in(reply).get("sentences")
    if not isinstance(rows, list) or not rows or not all(_is_sentence(row) for row in rows):
        raise Fault(NOT_JSON)
    support = tuple(_supported(row["text"].strip(), row["quotes"], question=question, source=source) for row in rows)
    text = " ".join(part.sentence for part in support)
    if reason := fault_of_text(question, text, least=least, most=most):
        raise Fault(reason)
    return Answer(text=text, support=support)


def _is_sentence(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("text"), str)
        and bool(words(row["text"]))
        and isinstance(row.get("quotes"), list)
        and all(isinstance(quote, str) for quote in row["quotes"])
    )


def _supported(sentence: str, quoted: Sequence[str], *, question: str, source: Source) -> Support:
    if not quoted:
        raise Fault("a sentence without a quote")
    quotes: list[Quote] = []
    for quote in quoted:
        if num_words(quote) < LEAST_QUOTE_WORDS:
            raise Fault(f"a quote under {LEAST_QUOTE_WORDS} words")
        if not (found := source.find(quote)):
            raise Fault(f"a quote that the source does not have: “{_short(quote)}”")
        quotes += found
    if any(speaks_to_a_model(source.around([quote])) for quote in quotes):
        raise Fault("a quote that is an instruction to a model")
    if reason := fault_of_sentence(sentence, quotes, source, question=question):
        raise Fault(f"{reason}: “{_short(sentence)}”" if ": " not in reason else reason)
    return Support(sentence=sentence, quotes=tuple(quotes))


def _machine_talk(prompt: str, text: str) -> str:
    """The first fault that the checks of a dataset find in one answer and that no dataset should hold."""
    names = {finding.name for finding in check_examples([_as_example(prompt or "Tell me.", text)])}
    return next((reason for name, reason in _MACHINE_TALK.items() if name in names), "")


def _as_example(prompt: str, answer: str) -> Example:
    turns: Iterable[Message] = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Example(id="-", messages=tuple(turns), document_id="-", group="-", source="-")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:117] + "…"
