"""Further rows whose likelihood says what the test items alone cannot: other questions, training rows, reworded prompts.

Each probe is a list of items that base and tuned model score like test items. No answer is generated for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tunesmith.core.records import Example, Message, digest, spread_over_documents
from tunesmith.eval.floors import nearest_rows
from tunesmith.eval.results import Item

__all__ = [
    "GOLDEN",
    "OTHER_QUESTION",
    "REWORDED",
    "TAUGHT",
    "TRAINING",
    "Taught",
    "item_of",
    "probe_items",
    "probes_of",
    "taught_of",
    "training_id",
]

OTHER_QUESTION = "other_question"
"""Every test reference under questions from other documents: what the right question is worth."""
TRAINING, REWORDED = "training", "training_reworded"
"""The training rows nearest to the test questions as they were learned, and the same with another wording of the question."""

TAUGHT = "training_questions"
"""Training rows of many documents under their own questions and those of others: whether what is learned are questions and
their answers at all. It says something of the data, so the base alone is asked."""

GOLDEN = "golden"
"""The items of the golden set, which training never saw."""

_QUESTIONS, _ROWS = 3, 40  # other questions for an item, and training rows, at most
_QUESTIONS_OF_A_ROW = 2  # of other training rows
_MOST = 240  # rows of a probe
_SEPARATOR = "#"


def probe_items(items: Sequence[Item], train: Sequence[Example], *, seed: int = 7) -> dict[str, tuple[Item, ...]]:
    """The items of every probe by name; a probe without items is left out. Of `train`, the rows nearest to the questions."""
    asked = [row for row in train if row.prompt]  # plain texts of an earlier stage answer no question
    found = probes_of(items, nearest_rows([item.question for item in items], asked, most=_ROWS), seed=seed)
    return {**found, **({TAUGHT: taught} if (taught := _under_each_others_questions(asked)) else {})}


def probes_of(items: Sequence[Item], rows: Sequence[Example], *, seed: int = 7) -> dict[str, tuple[Item, ...]]:
    """The same of training rows that were chosen before: which ones are nearest depends on all that there were."""
    learned = tuple(
        Item(id=training_id(row), group=row.group, title=row.title, prompt=row.prompt, reference=row.answer) for row in rows
    )
    found = {
        OTHER_QUESTION: _under_other_questions(items, seed),
        TRAINING: learned,
        REWORDED: tuple(replace(item, prompt=_reworded(item.prompt)) for item in learned),
    }
    return {name: those for name, those in found.items() if those}


def training_id(row: Example) -> str:
    """The id of a training row in the probes `TRAINING` and `REWORDED`."""
    return f"train:{row.id}"


def item_of(probe_id: str) -> str:
    """The id of the test item that a row of `OTHER_QUESTION` was made from."""
    return probe_id.rsplit(_SEPARATOR, 1)[0]


class Taught(NamedTuple):
    """What the id of a row of `TAUGHT` says, since evidence holds no training rows: its row, a name of its document, and
    whether it was asked its own question."""

    row: str
    document: str
    is_own: bool


def taught_of(probe_id: str) -> Taught:
    """The parts of an id of `TAUGHT`."""
    row, document, asking = probe_id.rsplit(_SEPARATOR, 2)
    return Taught(row, document, asking == "0")


def _under_other_questions(items: Sequence[Item], seed: int) -> tuple[Item, ...]:
    """Each item with the prompts of up to three items from other documents, drawn with a seed."""
    each = max(1, min(_QUESTIONS, _MOST // max(1, len(items))))
    found = []
    for number, item in enumerate(items):
        others = [other.prompt for other in items if other.group != item.group and other.prompt != item.prompt]
        drawn = np.random.default_rng([seed, number]).permutation(len(others))[:each]
        found += [replace(item, id=f"{item.id}{_SEPARATOR}{at}", prompt=others[int(at)]) for at in drawn]
    return tuple(found)


def _under_each_others_questions(train: Sequence[Example]) -> tuple[Item, ...]:
    """Training rows under their own question (asking 0) and those of two rows from other documents, chosen by hashes."""
    rows = [row for row in spread_over_documents(train, _ROWS) if row.answer]
    found = []
    for row in rows:
        others = [other for other in rows if other.group != row.group and other.prompt != row.prompt]
        drawn = sorted(others, key=lambda one: digest(row.id, one.id))[:_QUESTIONS_OF_A_ROW]
        name = f"{training_id(row)}{_SEPARATOR}{digest(row.group)[:12]}"
        found += [
            Item(id=f"{name}{_SEPARATOR}{at}", group=row.group, title=row.title, prompt=asked.prompt, reference=row.answer)
            for at, asked in enumerate((row, *drawn) if drawn else ())
        ]
    return tuple(found)


def _reworded(prompt: Sequence[Message]) -> tuple[Message, ...]:
    """The last user turn in lower case, without punctuation, behind two words of courtesy: the same question."""
    *before, last = prompt
    plain = " ".join(re.findall(r"[\w'’-]+", last.content.lower()))
    return (*before, Message(role=last.role, content=f"please answer: {plain or last.content}"))
