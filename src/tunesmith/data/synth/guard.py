"""Text of documents is data. Blocks that speak to a language model are withheld; the rest goes out delimited and quoted.

Three lines of defence, and none is trusted alone: what looks like an instruction to a model is never sent and can never be
quoted; what is sent stands between marks that it cannot contain, each line quoted; and what comes back is checked against the
source by program (`gates`). A claim made in plain words is content, true or not: it is what the document says.
"""

from __future__ import annotations

import re

from tunesmith.core.records import digest

__all__ = ["delimited", "speaks_to_a_model"]

_BLANKS = re.compile(r"[^\S\n]+")
_REPLY = r"(?:answers?|repl(?:y|ies)|responses?|outputs?|completions?|summar(?:y|ies))"
_QUESTION = r"(?:questions?|prompts?|requests?|quer(?:y|ies)|tasks?|asked)"
_RULES = r"(?:instructions?|prompts?|rules|guidelines|directions|orders|training|context|messages?|constraints)"
_MACHINE = r"(?:ais?|a\.i\.|llms?|(?:large )?language models?|chat ?bots?|assistants?|crawlers?|summari[sz]ers?)"
_SPEAK = r"(?:answer|reply|respond|output|print|return|repeat|say|write)"
_FORM = r"(?:json|the words?|this|the following|capitals?|uppercase|french|german|spanish|latin|rhyme|base64)"
_PATTERNS = (
    rf"\b(?:ignore|disregard|forget|override|bypass|skip|drop|discard)\b[^.!?\n]{{0,60}}\b{_RULES}\b",
    r"\b(?:ignore|disregard|forget) (?:everything|anything|all|whatever|what|the)\b[^.!?\n]{0,40}"
    r"\b(?:above|before|said|told|previous\w*|prior|earlier)\b",
    r"\b(?:you are|you're|act|behave|pretend to be|roleplay|respond|reply|answer|speak) (?:now |no longer |only )?(?:as )?"
    r"(?:an?|the|my)? ?(?:\w+ ){0,3}(?:ai|a\.i\.|assistant|language model|llm|chat ?bot|bot|gpt)\b",
    r"\b(?:system|developer|initial|hidden|secret) (?:prompt|message|instructions?)\b",
    r"\b(?:new|updated|revised|special|important|urgent|additional|real|true) (?:instructions?|task|orders?)\b\s*[:\-–—]",
    r"\b(?:if|when|whenever|any|attention|note to|dear|hey|hello|message to|instructions? (?:to|for))\b[^.!?\n]{0,30}"
    rf"\b{_MACHINE}\b",
    rf"\b(?:any|all|every|each|whatever|other) (?:\w+ ){{0,3}}{_QUESTION}\b[^.!?\n]{{0,40}}\b{_SPEAK}\b",
    rf"\b(?:answer|reply to|respond to) (?:any|all|every|each|whatever) (?:\w+ ){{0,3}}{_QUESTION} (?:with|by|in|as|using)\b",
    r"\b(?:begin|start|open|end|close|finish|sign|include|add|append|insert|mention|put)\b[^.!?\n]{0,50}"
    rf"\b(?:every|all|each|any|your) (?:of your )?(?:\w+ )?{_REPLY}\b",
    r"\b(?:answer|reply|respond|output|print|return) (?:(?:only|exactly|just|simply|always|instead) )*"
    rf"(?:with|only|exactly|in)\b[^.!?\n]{{0,20}}(?:[\"“'‘:]|\b{_FORM}\b)",
    rf"\b(?:in|into) your (?:\w+ )?{_REPLY}\b",
    r"<\|[a-z_]{2,20}\|>|\[/?INST\]|<</?SYS>>|</?(?:system|assistant|instructions?|user)>",
    r"^\W{0,4}(?:system|assistant|instructions?|human|user)\s*(?:#+|:)",
    r"\b(?:reveal|repeat|print|show|leak|output)\b[^.!?\n]{0,30}\b(?:your|the) (?:\w+ )?"
    r"(?:prompt|instructions|api key|password|credentials)\b",
    r"\b(?:begin|end) (?:of )?(?:the )?(?:source|document|text|material|system|prompt|quoted?)\b\s*(?:[:\-#=>\]]|$)",
)
_INSTRUCTION = re.compile("|".join(_PATTERNS), re.IGNORECASE | re.MULTILINE)


def speaks_to_a_model(text: str) -> bool:
    """Whether a text reads like an instruction to a language model rather than like writing for people.

    Words only: it errs towards withholding, so posts about prompts lose some paragraphs, and it is not complete.
    """
    return _INSTRUCTION.search(_BLANKS.sub(" ", text.replace("’", "'"))) is not None


def delimited(text: str) -> str:
    """A text between two marks that it cannot contain, each line quoted."""
    mark = digest("mark", text)[:12]
    lines = "\n".join(f"| {line}" for line in text.split("\n"))
    return f"[source {mark}]\n{lines}\n[end of source {mark}]"
