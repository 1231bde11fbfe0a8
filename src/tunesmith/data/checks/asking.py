"""Whether a user turn asks or requests anything. Rules for English."""

from __future__ import annotations

import re

__all__ = ["asks"]

_REQUESTS_TEXT = """
write tell describe explain continue give list name show summarize summarise compare discuss share talk walk outline
complete rewrite translate imagine consider help suggest make create draft generate provide define identify state
elaborate reflect finish answer find classify convert calculate compute solve fill choose pick select rank sort edit
correct improve fix extract design propose recommend act pretend speak teach say add go begin start tell read use take
put let please rate evaluate analyze analyse count determine predict paraphrase rephrase shorten expand brainstorm
advise argue assume come do don't expand express formulate illustrate introduce invent justify mention note offer
outline plan point prepare present prove recount categorize categorise change separate split arrange order place match
group brief remove replace correct insert refer relate remind respond reply reverse review simplify sketch specify think
try turn
"""
_REQUESTS = frozenset(_REQUESTS_TEXT.split())
_ASKING_TEXT = """
what why how who whom whose which is are was were do does did can could should would will shall may might have has had
am isn't aren't don't doesn't didn't can't couldn't shouldn't wouldn't won't
"""
_ASKING = frozenset(_ASKING_TEXT.split())
_ASKING_INSIDE = re.compile(
    r"""\b(?:i(?:'d|\ would)\ like\ (?:you\ )?to|i\ want\ (?:you\ )?to|i\ wonder|can\ you|could\ you|would\ you|please
    |tell\ me|give\ me|take\ us|take\ me
    |extract|summari[sz]e|categori[sz]e|classify|calculate|determine|compute)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_ASKING_LATE = re.compile(  # “In golf what do …”; after “you considered”, or as “which can be”, it asks nothing
    r"""\b(?:(?:what|how|when|where|which(?!\ \w+\ be\b)|who|why)\ (?:do|does|did|is|are|was|were|can|will|would|many|much)
    |in\ what|of\ what|by\ what)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_TELLING = re.compile(r"(?:you|he|she|it|they|this|that|these|those)\b", re.IGNORECASE)
_QUOTED_FIRST = re.compile(r"\A[\"“][^\"”]{1,300}[\"”](?=\s*[–—-]\s)")  # words spoken about


def asks(text: str) -> bool:
    """Whether a turn asks or requests: a question mark, an asking or commanding first word, or a request inside."""
    text = text.strip()
    if not text or "?" in text or "？" in text:
        return bool(text)
    if text.startswith("**"):
        return False  # a bold label is how a generated list of answers begins
    spoken = _QUOTED_FIRST.sub("", text).replace("’", "'")
    for line in re.split(r"(?<=[.!])\s+|\n+", spoken):
        first = line.lstrip("\"'“‘([# ").split(" ")[0].rstrip(",:.").lower()
        if first in _REQUESTS or first in _ASKING:
            return True
        if not _TELLING.match(line) and _ASKING_LATE.search(line):
            return True
    return bool(_ASKING_INSIDE.search(spoken))
