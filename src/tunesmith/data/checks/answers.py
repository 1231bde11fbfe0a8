"""Answers nobody wants to be learned: placeholders, disclaimers, refusals, cut ends, echoes and loops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import eq

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, error_above, found, plain, shared

__all__ = [
    "check_disclaimers",
    "check_echoes",
    "check_ends",
    "check_loops",
    "check_placeholders",
    "check_refusals",
    "check_source_talk",
    "declines",
]

_PLACEHOLDER = re.compile(
    r"""[\[<{(]\s*(?:todo|tbd|fixme|placeholder|answer\ here|your\ (?:answer|text|response)\b)[^\]>})\n]{0,60}[\]>})]
    |lorem\ ipsum\ dolor|\blorem\ ipsum\b(?=[^.]{0,40}$)|\b(?:answer|text|content)\ goes\ here\b
    |^\W*(?:todo|tbd|fixme|n/?a|null|nan|undefined|placeholder|x{3,}|test\ test|asdf\w*|to\ be\ (?:written|done|added))\W*$
    |^\s*(?:todo|tbd|fixme)\s*:
    |^\W+$""",
    re.IGNORECASE | re.VERBOSE,
)
_FILL_IN = re.compile(r"[\[<{]\s*(?:insert|add|enter|your)\b [^\]>}\n]{0,60}[\]>}]", re.IGNORECASE)
_HINTS_TEXT = (
    "todo|tbd|fixme|placeholder|[your|<your|{your|(your|lorem|goes here|answer here|[insert|<insert|{insert|[add|[enter"
)
_HINTS = tuple(_HINTS_TEXT.split("|"))
_DISCLAIMER = re.compile(
    r"""\bas\ an?\ (?:large\ )?(?:ai|artificial\ intelligence|language|a\.i\.)(?:\ language)?
        (?:\ (?:model|assistant|system|chatbot))?
        (?:\ (?:developed|created|trained|made)\ by\ \w+)?,?\ (?:and\ )?(?:i\b|my\b|it\ is\ not)
    |\bas\ an?\ (?:large\ language|ai\ language|ai|language)\ (?:model|assistant)\b
    |\b(?:i\ am|i'm)\ (?:just\ |only\ )?an?\ (?:ai|large\ language)\ (?:language\ )?(?:model|assistant)\b
    |\bmy\ (?:knowledge\ (?:cutoff|cut-off)|training\ data\ (?:only|goes|ends))
    |\bi\ (?:do\ not|don't)\ have\ (?:personal|real-time)\ (?:opinions|experiences?|beliefs|feelings|preferences|access)""",
    re.VERBOSE,
)
_DISCLAIMER_HINTS_TEXT = "an ai|a.i.|language model|language assistant|artificial|my knowledge|my training|not have|don't have"
_DISCLAIMER_HINTS = tuple(_DISCLAIMER_HINTS_TEXT.split("|"))
_REFUSAL = re.compile(
    r"""\W*(?:(?:(?:i(?:'m|\ am)\ (?:very\ |so\ |really\ )?sorry|sorry|i\ apologi[sz]e|unfortunately)\W{1,3}
            (?:but\ )?(?:that\ )?i(?:'m|\ am)?\ (?:can(?:not|'t|\ not)|won't|will\ not|do\ not|don't|unable|not\ able)\b)
        |i\ (?:can(?:not|'t|\ not)|won't|will\ not)\ (?:help\ (?:you\ )?with|assist|answer|comply|fulfil+|do\ that
            |engage\ in|support\ th|discuss\ th|(?:create|generate|write)\ (?:that|this)
            |provide\ (?:that|this|any|you|information|instructions|advice|assistance))
        |i(?:'m|\ am)\ (?:unable|not\ able)\ to\ (?:help|assist|answer|provide|fulfil+|comply|do|discuss|create|generate))""",
    re.VERBOSE,
)
_UNFINISHED_TEXT = """
the a an and or but of to in with for from that which because if when while as at by is are was were my your our
"""
_UNFINISHED = frozenset(_UNFINISHED_TEXT.split())
_LAST_LINE_WITHOUT_STOP = re.compile(
    r"(?:[-*+•]|\d{1,3}[.)]|[a-zA-Z][.)]|#{1,6}|>|\|)\s*\S|.*(?:https?://|www\.)\S+$|```|[A-Z][\w ]{0,24}:\s"
)
_SOURCE_TALK = re.compile(
    r"""\b(?:the|this|your)\ (?:provided|supplied)\ (?:text|context|passage|article|document|content|excerpt|blog)
    |\b(?:text|context|passage|article|document|excerpt|blog\ post)\ (?:provided|appears\ to\ be|is\ about)
    |\b(?:text|context|passage|article|document|excerpt|blog\ post)\ (?:does\ not|doesn't)\ (?:mention|specify|provide)
    |\bnot\ (?:explicitly\ )?(?:mentioned|stated|specified|provided)\ in\ th(?:e|is)\ (?:text|context|passage|article|post)
    |\b(?:based\ on|according\ to)\ (?:the|this)\ (?:text|context|passage|excerpt|information\ (?:provided|given))""",
    re.VERBOSE,
)
_SOURCE_HINTS_TEXT = "provided|supplied|appears to be|is about|mention|stated|specif|not provide|based on th|according to th"
_SOURCE_HINTS = tuple(_SOURCE_HINTS_TEXT.split("|"))
_FEW_WORDS = 8
_MOST_END_SO = 0.8
_TEXT_IN_PROMPT = 400
_SHORT_ANSWER = 40


def check_placeholders(rows: Sequence[Row]) -> Iterator[Finding]:
    """`placeholders`: [TODO], lorem ipsum, `N/A`, marks without a word. `fill_ins`: `[insert name]` in a written answer."""
    may = [row for row in rows if len(row.answer) <= _SHORT_ANSWER or any(hint in row.low for hint in _HINTS)]
    odd = [row for row in may if row.answer.strip() and _PLACEHOLDER.search(plain(row.answer))]
    yield from found(
        "placeholders",
        error_above(odd, rows),
        odd,
        f"{shared(odd, rows)} answers are or hold placeholders such as [TODO] or lorem ipsum.",
        "write the answers, or drop the rows.",
    )
    odd = [row for row in may if _FILL_IN.search(plain(row.answer))]
    yield from found(
        "fill_ins",
        "warning",
        odd,
        f"{shared(odd, rows)} answers leave something to fill in, such as [insert name], which the model will repeat.",
        "fill it in, or drop the rows (letters and forms to copy may be meant so).",
    )


def check_disclaimers(rows: Sequence[Row]) -> Iterator[Finding]:
    """`ai_disclaimers`: "As an AI language model …" and its kin, anywhere in an answer."""
    odd = [row for row in rows if any(h in row.low for h in _DISCLAIMER_HINTS) and _DISCLAIMER.search(row.low)]
    yield from found(
        "ai_disclaimers",
        "warning",
        odd,
        f"{shared(odd, rows)} answers mention being an AI model (“As an AI language model”), which the model will repeat.",
        "cut the sentence, or drop the rows.",
    )


def declines(answer: str) -> bool:
    """Whether an answer begins by declining to answer, in English."""
    return _REFUSAL.match(answer[:200].lower().replace("’", "'")) is not None


def check_refusals(rows: Sequence[Row]) -> Iterator[Finding]:
    """`refusals`: answers that begin by declining."""
    odd = [row for row in rows if _REFUSAL.match(row.low[:200])]
    yield from found(
        "refusals",
        "warning",
        odd,
        f"{shared(odd, rows)} answers decline to answer; a small share already makes a model refuse harmless requests.",
        "drop them, unless refusing is what the model shall learn.",
    )


def check_source_talk(rows: Sequence[Row]) -> Iterator[Finding]:
    """`source_talk`: answers about “the provided text”, where the prompt holds none: left over from generating the pairs."""
    odd = [row for row in rows if len(row.said) < _TEXT_IN_PROMPT and _talks_of_source(row.low)]
    yield from found(
        "source_talk",
        "warning",
        odd,
        f"{shared(odd, rows)} answers refer to a text that their prompt does not contain (“the provided text”).",
        "drop them: in use, the prompt will not contain such a text.",
    )


def check_ends(rows: Sequence[Row]) -> Iterator[Finding]:
    """`cut_ends`: answers that stop in mid-sentence. `mixed_ends`: a set of which part ends sentences and part does not.

    Answers under eight words, lists, headings, code and addresses at the end are passed over. Without a full stop counts as cut
    only where at least 80 % of the answers have one; a comma, a hyphen or a word like “the” at the end always does.
    """
    judged = [row for row in rows if len(row.tokens) >= _FEW_WORDS and not _ends_freely(row.answer)]
    bare = [row for row in judged if row.answer.rstrip()[-1].isalnum() and not _ends_with_title(row.answer)]
    cut = [row for row in judged if _stops_short(row)]
    if len(bare) <= (1 - _MOST_END_SO) * len(judged):
        cut_ids = {id(row) for row in cut}
        cut += [row for row in bare if id(row) not in cut_ids]
    elif len(bare) < _MOST_END_SO * len(judged):
        yield from found(
            "mixed_ends",
            "info",
            bare,
            f"{shared(bare, judged)} of the longer answers end without a full stop, the others with one: no habit to learn.",
            "end all answers in the same way.",
        )
    yield from found(
        "cut_ends",
        "warning",
        cut,
        f"{shared(cut, rows)} answers stop in mid-sentence: the model would learn to stop anywhere.",
        "complete them, cut them back to the last whole sentence, or drop the rows.",
    )


def check_echoes(rows: Sequence[Row]) -> Iterator[Finding]:
    """`echoes`: answers that are the prompt again."""
    odd = [row for row in rows if len(row.tokens) > 3 and row.answer.strip().casefold() == row.said.strip().casefold()]
    yield from found(
        "echoes",
        error_above(odd, rows),
        odd,
        f"{shared(odd, rows)} answers only repeat the prompt.",
        "write the answers, or drop the rows.",
    )


def check_loops(rows: Sequence[Row]) -> Iterator[Finding]:
    """`loops`: answers in which the same eight words in a row come four times, or one word six times in a row."""
    odd = [row for row in rows if len(row.tokens) >= 6 and _loops(row.tokens)]
    yield from found(
        "loops",
        "warning",
        odd,
        f"{shared(odd, rows)} answers go round in a loop: the same run of words four times or more.",
        "drop them: a model learns loops faster than anything else.",
    )


def _talks_of_source(low: str) -> bool:
    return any(hint in low for hint in _SOURCE_HINTS) and _SOURCE_TALK.search(low) is not None


def _ends_freely(answer: str) -> bool:
    """Whether the last line is one that needs no full stop: a list item, an address, code, a label."""
    last = answer.rstrip().rpartition("\n")[2].strip()
    return _LAST_LINE_WITHOUT_STOP.match(last) is not None


def _ends_with_title(answer: str) -> bool:
    """Whether the last of several lines is short: a heading, a signature, a credit."""
    before, _, last = answer.rstrip().rpartition("\n")
    return bool(before) and len(last.split()) < _FEW_WORDS


def _stops_short(row: Row) -> bool:
    end = row.answer.rstrip()[-1]
    return end in ",;-–—(" or (end.isalpha() and row.tokens[-1].lower() in _UNFINISHED)


def _loops(tokens: Sequence[str]) -> bool:
    if len(tokens) < 2 * len(set(tokens)) and len(tokens) < 24:
        return False
    run = 1
    for before, after in pairwise(tokens) if any(map(eq, tokens, tokens[1:])) else ():
        run = run + 1 if before == after else 1
        if run >= 6:
            return True
    if len(set(tokens)) > 0.6 * len(tokens):
        return False
    counts = Counter(zip(*(tokens[start:] for start in range(8)), strict=False))
    return bool(counts) and counts.most_common(1)[0][1] >= 4
