"""The model's own greedy answers to training questions, with what they repeat marked to be made less likely.

    python own.py --model work/half --corpus work/corpus --shards work/shards --questions 600

Made-up loops (`rows.with_loop`) are guesses at what goes wrong; these are what does (sequence-level unlikelihood, Welleck et
al. 2020). Nothing in such an answer is learned as right: a row carries `AVOID` marks or nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from judge import distinct, loops
from rows import AVOID
from tokenizer import END

from tunesmith.core.records import Message, digest
from tunesmith.models.chat import open_chat
from tunesmith.models.generate import generate
from tunesmith.models.load import find_base, load_model

__all__ = ["main", "repeated"]

log = logging.getLogger("apprentice.own")

_ASKED = ("openers", "articles", "stories", "monologues", "interviews", "instructions", "dialogues", "facts")
_GRAM, _MAX_TOKENS = 4, 200


def repeated(ids: Sequence[int], size: int = _GRAM) -> list[bool]:
    """Of each id, whether it ends a run of `size` ids that came before in the same answer."""
    seen: set[tuple[int, ...]] = set()
    marks = []
    for i in range(len(ids)):
        gram = tuple(ids[max(0, i + 1 - size) : i + 1])
        marks.append(len(gram) == size and gram in seen)
        seen.add(gram)
    return marks


def _questions(corpus: Path, count: int) -> list[tuple[Message, ...]]:
    """So many first questions of the training side, the files in equal parts, in an order fixed by hash."""
    found = []
    for name in _ASKED:
        with (corpus / f"chat-{name}.jsonl").open() as file:
            rows = [row for row in map(json.loads, file) if row["split"] == "train" and row["learn"] == "answers"]
        rows.sort(key=lambda row: digest("own", row["id"]))
        found += [tuple(Message(**m) for m in row["messages"][:-1]) for row in rows[: count // len(_ASKED)]]
    return found


def main(given: argparse.Namespace) -> None:
    """Answer, mark, and write the shard `chat-own`."""
    base = find_base(str(given.model))
    model, chat = load_model(base, "float32").eval(), open_chat(base)
    asked = _questions(given.corpus, given.questions)
    answers = generate(model, chat, asked, max_new_tokens=_MAX_TOKENS, batch_examples=40, context=base.context)
    ids: list[int] = []
    mask: list[int] = []
    starts: list[int] = []
    for question, answer in zip(asked, answers, strict=True):
        if distinct(answer.text) > 0.85 and not loops(answer.text):
            continue
        prompt = chat.encode_prompt(question)
        said = chat.tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        starts.append(len(ids))
        ids += [*prompt, *said, END]
        mask += [0] * len(prompt) + [AVOID if mark else 0 for mark in repeated(said)] + [0]
    for kind, values, dtype in (("bin", ids, np.uint16), ("mask", mask, np.uint8), ("starts", starts, np.uint32)):
        np.array(values, dtype).tofile(given.shards / f"chat-own.train.{kind}")
        np.array([], dtype).tofile(given.shards / f"chat-own.held.{kind}")
    log.info("%d of %d answers repeat themselves; %d ids marked", len(starts), len(asked), sum(map(bool, mask)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=600)
    main(parser.parse_args())
