"""Questions for passages, made without a model: from the title, the heading, key phrases, or the text before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from tunesmith.core.records import digest
from tunesmith.data.dataset.phrases import Phrase

__all__ = ["WORDINGS", "Cue", "Fits", "ask"]

Fits = Callable[[int, str], bool]
"""Whether a question fits the answer of the cue with this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What is known about one passage when its question is made. `key` is stable; empty text means not there.

    `before`: the end of the text before it. `leans`: it cannot be understood without `before`. `begins`: its first words, used
    only where nothing else tells it apart. `heads`, `fills`: it is the first, or all there is, below its heading. `opens`,
    `closes`: it is the first or the last of its document. `goes_on`: it is the beginning of a list or paragraph that was cut.
    """

    key: str
    title: str = ""
    heading: str = ""
    phrases: tuple[Phrase, ...] = ()
    before: str = ""
    begins: str = ""
    leans: bool = False
    heads: bool = False
    fills: bool = False
    opens: bool = False
    closes: bool = False
    goes_on: bool = False

    @property
    def begins_heading(self) -> bool:
        """The first passage of several below its heading."""
        return self.heads and not self.fills

    @property
    def nameless(self) -> bool:
        """Its document has no title."""
        return not self.title

    @property
    def names(self) -> bool:
        """The heading names a part, and is not a question."""
        return bool(self.heading) and not self.heading.endswith("?")

    @property
    def asks(self) -> bool:
        """The heading is a question, which the passage answers."""
        return self.heads and self.heading.endswith("?")

    @property
    def goes_under(self) -> bool:
        """It follows what is before it under the same heading."""
        return not self.heads


_Maker = Callable[[Cue, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class _Wording:
    """One way to ask. `needs` names the fields that must be filled; `num_phrases` is how many key phrases it takes."""

    name: str
    needs: tuple[str, ...]
    num_phrases: int
    make: _Maker


_UNDER = ("title", "heading", "fills")
_STARTS = ("title", "heading", "begins_heading")
_GOES_ON = ("before", "goes_under")
_NEXT_PART = ("before", "heading", "heads")

WORDINGS: tuple[_Wording, ...] = (
    _Wording("say-about", (), 1, lambda cue, p: f"What do you say about {p[0]}?"),
    _Wording("tell-me", (), 1, lambda cue, p: f"Tell me about {p[0]}."),
    _Wording("reader-asks", (), 1, lambda cue, p: f"A reader asks about {p[0]}. What do you tell them?"),
    _Wording("in-title-about", ("title",), 1, lambda cue, p: f"In “{cue.title}”, what do you say about {p[0]}?"),
    _Wording("title-says", ("title",), 1, lambda cue, p: f"What does “{cue.title}” say about {p[0]}?"),
    _Wording("title-passage", ("title",), 1, lambda cue, p: f"Write the passage of “{cue.title}” that deals with {p[0]}."),
    _Wording("title-two", ("title",), 2, lambda cue, p: f"What do you write about {p[0]} and {p[1]} in “{cue.title}”?"),
    _Wording("title-opens", ("title", "opens"), 0, lambda cue, p: f"How does “{cue.title}” begin?"),
    _Wording("title-write", ("title", "opens"), 0, lambda cue, p: f"Write the opening of “{cue.title}”."),
    _Wording("opens-with", ("title", "opens"), 1, lambda cue, p: f"Write the opening of “{cue.title}”, about {p[0]}."),
    _Wording("title-closes", ("title", "closes"), 0, lambda cue, p: f"How does “{cue.title}” end?"),
    _Wording("heading-title", _UNDER, 0, lambda cue, p: f"What do you write under “{cue.heading}” in “{cue.title}”?"),
    _Wording("heading-part", _UNDER, 0, lambda cue, p: f"“{cue.title}” has a part called “{cue.heading}”. What does it say?"),
    _Wording("heading-write", _UNDER, 0, lambda cue, p: f"Write the part “{cue.heading}” of “{cue.title}”."),
    _Wording("heading-asks", ("title", "asks"), 0, lambda cue, p: f"“{cue.title}” asks: “{cue.heading}” What is the answer?"),
    _Wording("heading-begins", _STARTS, 0, lambda cue, p: f"How does the part “{cue.heading}” of “{cue.title}” begin?"),
    _Wording("heading-opens", _STARTS, 0, lambda cue, p: f"Begin the part “{cue.heading}” of “{cue.title}”."),
    _Wording("heading-alone", ("nameless", "heading", "heads"), 0, lambda cue, p: f"What do you write under “{cue.heading}”?"),
    _Wording(
        "heading-about",
        ("title", "names"),
        1,
        lambda cue, p: f"In the part “{cue.heading}” of “{cue.title}”, what do you say about {p[0]}?",
    ),
    _Wording("heading-turns", ("nameless", "names"), 1, lambda cue, p: f"Under “{cue.heading}”, what do you say about {p[0]}?"),
    _Wording("continue", _GOES_ON, 0, lambda cue, p: f"Continue from here: “{cue.before}”"),
    _Wording("goes-on", _GOES_ON, 0, lambda cue, p: f"You wrote: “{cue.before}” How does it go on?"),
    _Wording("comes-next", _GOES_ON, 0, lambda cue, p: f"“{cue.before}” What comes next?"),
    _Wording("next-part", _GOES_ON, 0, lambda cue, p: f"Your text ends so far: “{cue.before}” Write the next passage."),
    _Wording("leaves-off", _GOES_ON, 0, lambda cue, p: f"Pick up where this leaves off: “{cue.before}”"),
    _Wording("title-goes-on", ("title", *_GOES_ON), 0, lambda cue, p: f"In “{cue.title}” you write: “{cue.before}” And then?"),
    _Wording("next-about", _GOES_ON, 1, lambda cue, p: f"“{cue.before}” What do you say next, about {p[0]}?"),
    _Wording(
        "before-heading",
        _NEXT_PART,
        0,
        lambda cue, p: f"You wrote: “{cue.before}” Now comes the part “{cue.heading}”. What does it say?",
    ),
    _Wording(
        "into-heading",
        _NEXT_PART,
        0,
        lambda cue, p: f"Continue from here with the part “{cue.heading}”: “{cue.before}”",
    ),
)
_FIRST_PART_ONLY = "Leave the rest for later."


def ask(cues: Sequence[Cue], *, fits: Fits = lambda number, question: True) -> list[str | None]:
    """One question for each cue, no two alike; None where there is nothing to ask by.

    Wordings are dealt evenly: of those that are possible, the one used least so far, if its question `fits`. Where none fits,
    a continuation is taken; or a part is asked for by its heading, an opening by the title or its first words. The same cues
    give the same questions.
    """
    used: Counter[str] = Counter()
    taken: set[str] = set()
    questions: dict[int, str | None] = {}
    for number in sorted(range(len(cues)), key=lambda n: digest("order", cues[n].key)):
        free = ((question, name) for question, name in _choices(cues[number], used) if _same(question) not in taken)
        chosen = next(((q, name) for q, name in free if name in _LAST or fits(number, q)), None)
        questions[number] = chosen[0] if chosen else None
        if chosen:
            used[chosen[1]] += 1
            taken.add(_same(chosen[0]))
    return [questions[number] for number in range(len(cues))]


_LAST_TEXT = """
continue! into-heading! heading-title! heading-write! heading-begins! heading-opens! title-write! heading-passage! begins
"""
_LAST = frozenset(_LAST_TEXT.split())  # what is asked where nothing fits by its words


def _same(question: str) -> str:
    return " ".join(question.casefold().split())


def _choices(cue: Cue, used: Counter[str]) -> Iterator[tuple[str, str]]:
    """(question, name of the wording) for a cue, best choice first."""
    start = int(digest("wording", cue.key)[:8], 16) % len(WORDINGS)  # equally used wordings: another first for each cue
    fitting = [w for w in (*WORDINGS[start:], *WORDINGS[:start]) if _possible(cue, w)]
    fitting.sort(key=lambda w: used[w.name])
    end = f" {_FIRST_PART_ONLY}" if cue.goes_on else ""
    for wording in fitting:
        yield wording.make(cue, _usable(cue, wording)[: wording.num_phrases]) + end, wording.name
    for wording in fitting:
        for phrases in list(combinations(_usable(cue, wording), wording.num_phrases))[1:] if wording.num_phrases else ():
            yield wording.make(cue, phrases) + end, wording.name
    for wording in fitting:  # nothing fits: the text before tells most, then the heading, then that it is the opening
        if f"{wording.name}!" in _LAST and "before" in wording.needs:
            yield wording.make(cue, ()) + end, f"{wording.name}!"
    for wording in fitting:
        if f"{wording.name}!" in _LAST and "before" not in wording.needs:
            yield wording.make(cue, ()) + end, f"{wording.name}!"
    if cue.title and cue.names and not cue.leans:
        yield f"Write a passage of the part “{cue.heading}” of “{cue.title}”.{end}", "heading-passage!"
    if cue.begins and cue.opens:  # after something left out, the first words alone explain nothing
        of = f" of “{cue.title}”" if cue.title else ""
        yield f"Write the passage{of} that begins “{cue.begins} …”{end}", "begins"


def _possible(cue: Cue, wording: _Wording) -> bool:
    if cue.leans and "before" not in wording.needs and "opens" not in wording.needs:
        return False
    return len(_usable(cue, wording)) >= wording.num_phrases and all(getattr(cue, need) for need in wording.needs)


def _usable(cue: Cue, wording: _Wording) -> list[str]:
    """The phrases a wording may use: one that names no title, heading or sentence needs phrases that stand alone."""
    return [phrase.text for phrase in cue.phrases if wording.needs or phrase.alone]
