"""Whether an answer loops, and whether a model gives the same answer to different questions. From the text alone, any script.

A unit is a word (`\\w+`, lower-cased); in scripts that put no blanks between words each character is a unit, and two of them
count as one word.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence

from tunesmith.eval.metrics.metric import Expected, Metric, Unscored
from tunesmith.eval.metrics.text import words

__all__ = ["LOOP", "METRICS", "loop_scores", "loops", "same_answers", "unspaced"]

_UNSPACED = re.compile(
    "[\u0e00-\u0edf\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)  # Thai, Lao, Burmese, Khmer, kana, Han
_RUN, _WITHIN, _TIMES = 4, 200, 4
_TAIL_PERIODS, _TAIL_CHARACTERS = 3, 40
LOOP = (
    f"some run of {_RUN} words comes more than {_TIMES} times within {_WITHIN} words, or the answer ends with one piece of text"
    f" {_TAIL_PERIODS} times or more in a row, over {_TAIL_CHARACTERS} characters or more"
)


def loops(text: str) -> bool:
    """Whether the text goes round in a loop, as `LOOP` says in words.

    The first rule finds sentences and templates that come again and again, the second endless letters, signs and whole
    paragraphs. A refrain of up to four times passes, and so does a line of dashes that something follows.
    """
    return _repeats_a_run(text) or _ends_periodically(text)


def unspaced(text: str) -> bool:
    """Whether most of the text is in a script that puts no spaces between words, such as Chinese or Thai."""
    return _units(text)[1] == 2


def loop_scores(texts: Sequence[str]) -> list[float | None]:
    """1 for each text that loops, else 0."""
    return [float(loops(text)) for text in texts]


def _repeats_a_run(text: str) -> bool:
    """Whether a run of words comes too often within a stretch of text, so that long answers are judged as short ones are."""
    units, scale = _units(text)
    size, within = _RUN * scale, _WITHIN * scale
    recent: deque[tuple[str, ...]] = deque()
    counts: Counter[tuple[str, ...]] = Counter()
    for at in range(len(units) - size + 1):
        run = tuple(units[at : at + size])
        recent.append(run)
        counts[run] += 1
        if counts[run] > _TIMES:
            return True
        if len(recent) > within - size:
            counts[recent.popleft()] -= 1
    return False


def _units(text: str) -> tuple[list[str], int]:
    """The units of a text, and how many of them make a word: 2 where most are characters of an unspaced script."""
    found: list[str] = []
    single = 0
    for word in words(text):
        if _UNSPACED.search(word):
            found.extend(word)
            single += len(word)
        else:
            found.append(word)
    return found, 2 if 2 * single > len(found) else 1


def _ends_periodically(text: str) -> bool:
    """Whether the end of the text is one piece again and again. White space of any length counts as one blank.

    The prefix function of the reversed text (Knuth, Morris and Pratt 1977) gives the shortest period of every ending in one
    pass over the text.
    """
    backwards = " ".join(text.lower().split())[::-1]
    borders = [0] * len(backwards)
    for at in range(1, len(backwards)):
        border = borders[at - 1]
        while border and backwards[at] != backwards[border]:
            border = borders[border - 1]
        borders[at] = border + (backwards[at] == backwards[border])
        size = at + 1
        if size >= _TAIL_CHARACTERS and size + 1 >= _TAIL_PERIODS * (size - borders[at]):  # + 1: the blank after the last
            return True
    return False


def same_answers(
    answers: Sequence[str], questions: Sequence[str], references: Sequence[Sequence[str]] | None = None
) -> list[float | None]:
    """For each answer, 1 if an answer to another question has the same words in the same order, else 0.

    With `references`, the right answers to each question, an answer that is one of them is 0: it is right, whatever else has
    it as well. Nor does an answer to a question that shares a right answer count. Upper and lower case, punctuation and white
    space do not count. None for an answer without a word, which is no answer, and where there is no other question.
    """
    texts = [_plain(answer) for answer in answers]
    rights = [frozenset(map(_plain, right)) for right in references] if references else [frozenset[str]()] * len(texts)
    asked: dict[str, set[tuple[str, frozenset[str]]]] = {}
    for text, question, right in zip(texts, questions, rights, strict=True):
        asked.setdefault(text, set()).add((question, right))
    several = len(set(questions)) > 1
    return [
        float(text not in right and any(q != question and not r & right for q, r in asked[text])) if text and several else None
        for text, question, right in zip(texts, questions, rights, strict=True)
    ]


def _plain(text: str) -> str:
    return " ".join(words(text))


def _loop(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
    return [float(loops(answer)) for answer in answers]


def _collapse(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
    found = same_answers(answers, [one.question or "" for one in expected], [one.references for one in expected])
    reason = "the answer has no word, or there is only one question"
    return [Unscored(reason) if value is None else value for value in found]


METRICS = (
    Metric(
        name="ended",
        label="ended by itself",
        task="form",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="Share of answers that ended by themselves, within the limit, and contain a word; computed in `eval.shares`.",
        misses="answers that stop in the middle of a thought.",
        needs=(),
    ),
    Metric(
        name="loop",
        label="loops",
        task="form",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=False,
        measures=f"Share of answers that loop: {LOOP}.",
        misses="an answer that says the same thing in new words again and again.",
        needs=(),
        score=_loop,
    ),
    Metric(
        name="collapse",
        label="same answer",
        task="form",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=False,
        measures="Share of answers with the same words in the same order as an answer to a different question. A right answer"
        " does not count, nor does the same answer to a question with the same reference.",
        misses="answers that differ in one word, or that say the same thing in other words.",
        needs=("question",),
        score=_collapse,
    ),
)
