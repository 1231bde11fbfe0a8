"""Questions for passages, made without a model: from the title, the heading, key phrases, or the sentence before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from tunesmith.core.records import digest
from tunesmith.data.dataset.phrases import Phrase

__all__ = ["WORDINGS", "Cue", "ask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What is known about one passage when its question is made. `key` is stable; empty text means not there.

    `begins`: its first words, used only where nothing else tells it apart. `heads`, `opens`, `closes`: it is the first
    below its heading, the first or the last of its document.
    """

    key: str
    title: str = ""
    heading: str = ""
    phrases: tuple[Phrase, ...] = ()
    previous: str = ""
    begins: str = ""
    heads: bool = False
    opens: bool = False
    closes: bool = False


_Maker = Callable[[Cue, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class _Wording:
    """One way to ask. `needs` names the fields that must be filled; `num_phrases` is how many key phrases it takes."""

    name: str
    needs: tuple[str, ...]
    num_phrases: int
    make: _Maker


WORDINGS: tuple[_Wording, ...] = (
    _Wording("say-about", (), 1, lambda cue, p: f"What do you say about {p[0]}?"),
    _Wording("view", (), 1, lambda cue, p: f"What is your view on {p[0]}?"),
    _Wording("tell-me", (), 1, lambda cue, p: f"Tell me about {p[0]}."),
    _Wording("reader-asks", (), 1, lambda cue, p: f"A reader asks about {p[0]}. What do you tell them?"),
    _Wording("come-to-mind", (), 1, lambda cue, p: f"What comes to mind when you think of {p[0]}?"),
    _Wording("two-phrases", (), 2, lambda cue, p: f"Write a few lines about {p[0]} and {p[1]}."),
    _Wording("in-title-about", ("title",), 1, lambda cue, p: f"In “{cue.title}”, what do you say about {p[0]}?"),
    _Wording("title-turns-to", ("title",), 1, lambda cue, p: f"“{cue.title}” turns to {p[0]}. What do you write there?"),
    _Wording("title-passage", ("title",), 1, lambda cue, p: f"Write the passage of “{cue.title}” that deals with {p[0]}."),
    _Wording("title-two", ("title",), 2, lambda cue, p: f"How do {p[0]} and {p[1]} come into “{cue.title}”?"),
    _Wording(
        "title-mention", ("title",), 2, lambda cue, p: f"Where “{cue.title}” mentions {p[0]} and {p[1]}, what does it say?"
    ),
    _Wording("title-opens", ("title", "opens"), 0, lambda cue, p: f"How does “{cue.title}” begin?"),
    _Wording("title-write", ("title", "opens"), 0, lambda cue, p: f"Write the opening of “{cue.title}”."),
    _Wording("title-closes", ("title", "closes"), 0, lambda cue, p: f"How does “{cue.title}” end?"),
    _Wording(
        "heading-title",
        ("title", "heading", "heads"),
        0,
        lambda cue, p: f"What do you write under “{cue.heading}” in “{cue.title}”?",
    ),
    _Wording(
        "heading-part",
        ("title", "heading", "heads"),
        0,
        lambda cue, p: f"“{cue.title}” has a part called “{cue.heading}”. What does it say?",
    ),
    _Wording(
        "heading-about", ("heading",), 1, lambda cue, p: f"Under the heading “{cue.heading}”, what do you say about {p[0]}?"
    ),
    _Wording("continue", ("previous",), 0, lambda cue, p: f"Continue from here: “{cue.previous}”"),
    _Wording("goes-on", ("previous",), 0, lambda cue, p: f"You wrote: “{cue.previous}” How does it go on?"),
    _Wording("next-about", ("previous",), 1, lambda cue, p: f"“{cue.previous}” What do you say next, about {p[0]}?"),
)


def ask(cues: Sequence[Cue]) -> list[str]:
    """One question for each cue, no two alike. Wordings are dealt evenly: of those that fit, the one used least so far.

    The same cues give the same questions. A cue with nothing but `key` gets a plain request with a number.
    """
    used: Counter[str] = Counter()
    taken: set[str] = set()
    questions: dict[int, str] = {}
    for index in sorted(range(len(cues)), key=lambda i: digest("order", cues[i].key)):
        question, name = next(made for made in _choices(cues[index], used) if _same(made[0]) not in taken)
        used[name] += 1
        taken.add(_same(question))
        questions[index] = question
    return [questions[index] for index in range(len(cues))]


def _same(question: str) -> str:
    return " ".join(question.casefold().split())


def _choices(cue: Cue, used: Counter[str]) -> Iterator[tuple[str, str]]:
    """Questions for a cue, best choice first; the last ones never run out."""
    fitting = [w for w in WORDINGS if len(_usable(cue, w)) >= w.num_phrases and all(getattr(cue, need) for need in w.needs)]
    fitting.sort(key=lambda w: (used[w.name], digest("wording", cue.key, w.name)))
    for wording in fitting:
        yield wording.make(cue, _usable(cue, wording)[: wording.num_phrases]), wording.name
    for wording in fitting:
        if wording.num_phrases:
            for phrases in list(combinations(_usable(cue, wording), wording.num_phrases))[1:]:
                yield wording.make(cue, phrases), wording.name
        else:
            for phrase in cue.phrases:
                yield f"{wording.make(cue, ())} Mention {phrase.text}.", f"{wording.name}+"
    about = f"Write another passage of “{cue.title}”" if cue.title else "Write a passage in your own words"
    if cue.begins:
        yield f"{about.replace('another', 'the')} that begins “{cue.begins} …”", "begins"
    number = 1
    while True:
        yield f"{about}, number {number}.", "numbered"
        number += 1


def _usable(cue: Cue, wording: _Wording) -> list[str]:
    """The phrases a wording may use: one that names no title, heading or sentence needs phrases that stand alone."""
    return [phrase.text for phrase in cue.phrases if wording.needs or phrase.alone]
