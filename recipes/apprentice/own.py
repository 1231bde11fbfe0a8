"""The model's own greedy answers to training questions, with what they repeat marked to be made less likely.

    python own.py --model work/half --corpus work/corpus --shards work/shards --questions 600 --round 1

Made-up loops (`rows.with_loop`) are guesses at what goes wrong; these are what does (sequence-level unlikelihood, Welleck et
al. 2020). Nothing in an answer that goes in circles is learned as right: its row carries `AVOID` marks or nothing. Of the
greedy answer and several drawn ones, the most varied that repeats nothing, does not go in circles, ends and takes up a word is
learned as right in a row of its own (rejection sampling, as in Dong et al. 2023). Each round asks the next questions.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: spinning threads starve each other on a busy machine

import numpy as np
from corpus import COMMON, SMALL
from judge import distinct, loops, moving_ttr, takes_up
from rows import AVOID
from tokenizer import END

from tunesmith.core.records import Message, digest
from tunesmith.models.chat import open_chat
from tunesmith.models.generate import Completion, Request, Sampling, answer, generate
from tunesmith.models.generate import repeated as several
from tunesmith.models.load import find_base, load_model

__all__ = ["good", "main", "most_varied", "repeated", "said_too_often", "to_avoid"]

log = logging.getLogger("apprentice.own")

_ASKED = ("openers", "articles", "stories", "monologues", "interviews", "instructions", "dialogues", "facts")
_GRAM, _MAX_TOKENS = 4, 200
_BADLY = 0.7  # the same share, below which the judge counts an answer as repeating itself
_VARIED = 0.85  # share of different word trigrams above which an answer does not repeat itself
_CIRCLING = 0.77  # type-token ratio below which it goes in circles; one in twenty of people's answers does
_OFTEN = 2  # times that an answer may say a word of its subject
_SHORT = 15  # words from which on an answer is chosen by how varied it is


def repeated(ids: Sequence[int], size: int = _GRAM) -> list[bool]:
    """Of each id, whether it ends a run of `size` ids that came before in the same answer."""
    seen: set[tuple[int, ...]] = set()
    marks = []
    for i in range(len(ids)):
        gram = tuple(ids[max(0, i + 1 - size) : i + 1])
        marks.append(len(gram) == size and gram in seen)
        seen.add(gram)
    return marks


def said_too_often(text: str) -> list[int]:
    """Where in `text` a word of its subject begins that was said `_OFTEN` times before: `pajamas, a pajamas, and a pajamas`."""
    counts: Counter[str] = Counter()
    places = []
    for found in re.finditer(r"[a-z']{3,}", text.lower()):
        word = found.group()
        if word not in COMMON and word not in SMALL:
            counts[word] += 1
            if counts[word] > _OFTEN:
                places.append(found.start())
    return places


def to_avoid(tokenizer: Any, text: str) -> tuple[list[int], list[bool]]:
    """(ids of `text`, whether each is to be made less likely): ends of repeated runs, first tokens of words said too often."""
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    marks = repeated(coded["input_ids"])
    often = said_too_often(text)
    for at, (begin, end) in enumerate(coded["offset_mapping"]):
        marks[at] = marks[at] or any(begin <= place < end for place in often)
    return coded["input_ids"], marks


def good(question: str, said: Completion) -> bool:
    """Whether an answer ends, repeats next to nothing, does not go in circles and takes up a word of its question."""
    return _varied(said.text) and said.finish_reason == "stop" and takes_up(question, said.text)


def most_varied(question: str, answers: Sequence[Completion]) -> Completion | None:
    """The good answer of `_SHORT` words or more whose words differ most; else the longest good one, if there is one.

    Under 25 words the type-token ratio is that of all words, which favours the shorter of two.
    """
    found = [a for a in answers if good(question, a)]
    told = [a for a in found if len(a.text.split()) >= _SHORT]
    if told:
        return max(told, key=lambda a: (moving_ttr(a.text), distinct(a.text)))
    return max(found, key=lambda a: len(a.text.split()), default=None)


def _varied(text: str) -> bool:
    return distinct(text) > _VARIED and not loops(text) and moving_ttr(text) >= _CIRCLING


def _questions(corpus: Path, count: int, number: int) -> list[tuple[Message, ...]]:
    """So many first questions of the training side, the files in equal parts: round by round on through an order fixed by hash.

    A file that has been asked through begins anew.
    """
    each = count // len(_ASKED)
    found = []
    for name in _ASKED:
        with (corpus / f"chat-{name}.jsonl").open() as file:
            rows = [row for row in map(json.loads, file) if row["split"] == "train" and row["learn"] == "answers"]
        rows.sort(key=lambda row: digest("own", row["id"]))
        picked = [rows[(number * each + at) % len(rows)] for at in range(each)]
        found += [tuple(Message(**m) for m in row["messages"][:-1]) for row in picked]
    return found


def main(given: argparse.Namespace) -> None:
    """Answer, mark, and write the shard `chat-own`."""
    base = find_base(str(given.model))
    model, chat = load_model(base, given.precision).eval(), open_chat(base)
    asked = _questions(given.corpus, given.questions, given.round)
    how = {"batch_examples": 128, "context": base.context}
    first = generate(model, chat, asked, max_new_tokens=_MAX_TOKENS, **how)
    circling = [not _varied(said.text) for said in first]
    warm = Sampling(temperature=0.8, top_p=0.95, seed=given.round)
    requests = [
        r
        for messages in asked
        for r in several(Request(messages=messages, max_new_tokens=_MAX_TOKENS, sampling=warm), given.draws)
    ]
    drawn = answer(model, chat, requests, **how)
    rows: list[tuple[list[int], list[int]]] = []
    num_good = 0
    for i, messages in enumerate(asked):
        prompt = chat.encode_prompt(messages)
        if circling[i]:
            said, marks = to_avoid(chat.tokenizer, first[i].text)
            rows.append(([*prompt, *said, END], [0] * len(prompt) + [AVOID if mark else 0 for mark in marks] + [0]))
        if found := most_varied(messages[-1].content, [first[i], *drawn[i * given.draws : (i + 1) * given.draws]]):
            said = chat.tokenizer(found.text, add_special_tokens=False)["input_ids"]
            rows.append(([*prompt, *said, END], [0] * len(prompt) + [1] * (len(said) + 1)))
            num_good += 1
    order = np.random.default_rng(given.round).permutation(len(rows))  # a better answer must not stand behind its poor one
    ids = [i for row in order for i in rows[row][0]]
    mask = [m for row in order for m in rows[row][1]]
    starts = np.cumsum([0, *(len(rows[row][0]) for row in order)])[:-1]
    for kind, values, dtype in (("bin", ids, np.uint16), ("mask", mask, np.uint8), ("starts", starts, np.uint32)):
        np.array(values, dtype).tofile(given.shards / f"chat-own.train.{kind}")
        np.array([], dtype).tofile(given.shards / f"chat-own.held.{kind}")
    log.info(
        "round %d: %d of %d answers go in circles, %d badly, %d did not end; %d good ones found; %d ids to avoid",
        given.round,
        sum(circling),
        len(asked),
        sum(distinct(said.text) < _BADLY or loops(said.text) for said in first),
        sum(said.finish_reason != "stop" for said in first),
        num_good,
        mask.count(AVOID),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--draws", type=int, default=3, help="answers drawn beside each greedy one")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the model that answers")
    parser.add_argument("--round", type=int, default=0, help="which questions are asked, and the seed of what is drawn")
    main(parser.parse_args())
