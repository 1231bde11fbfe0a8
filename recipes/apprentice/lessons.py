"""Lessons in staying on the subject: questions whose answer cannot be guessed without looking back at the question.

    python lessons.py --shared ../../../shared --corpus work/corpus

Reads what `corpus.py` wrote and adds to it: `openers` (passages asked for by a noun of their first sentence), `sentences`
(single sentences asked for by their rarest words), `words` (lists said back) and `renamed` (stories whose people are called
something else each time, so that the name must be read and cannot be known). All but the openers have a training side only.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from corpus import COMMON, Pair, chat_row, content_words, fresh, passage_pairs, side, stories, transcripts

from tunesmith.core.records import Document, digest
from tunesmith.data.text.sentences import split_sentences

__all__ = ["main", "renamed", "said_back", "sentence_pairs"]

log = logging.getLogger("apprentice.lessons")

_NUM_WORD_LISTS = 12_000
_NUM_RENAMED = 4
_BEFORE_NOUN = "(?:the|a|an|your|our|their|his|her|my|this|these)"
_AFTER_NOUN = r"(?=[,.;:!?]| (?:is|are|was|of|to|and|in|for|that)\b)"
_OPENERS = (
    "Tell me about {}.",
    "What do you say about {}?",
    "What is your view on {}?",
    "Write a few lines about {}.",
    "Why does {} matter?",
    "What should I know about {}?",
    "A reader asks about {}. What do you tell them?",
    "What comes to mind when you think of {}?",
)
_ONE = (
    "Write a sentence with the word {}.",
    "Use the word {} in a sentence.",
    "Say something with {} in it.",
    "Give me one sentence about {}.",
    "What can you say about {}?",
    "Tell me something about {}.",
)
_MORE = (
    "Write a sentence with the words {}.",
    "Say something about {}.",
    "What have {} to do with each other?",
    "Put {} into one sentence.",
    "Write a line about {}.",
)
_BACK = ("Say these words again: {}.", "Repeat after me: {}.", "Which words did I say? {}.", "Read this list aloud: {}.")
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "Once One They Then There This That These Those When What Where While With Who Why His Her She The And But You Your "
        "Mom Dad Mommy Daddy Mum Mummy Mama Papa Grandma Grandpa Miss Mister God Sunday Monday Christmas Yes Let Can Did Now "
        "Look Every Suddenly After Before Finally Their",
    )
)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def write_openers(out: Path) -> None:
    """Passages asked for once more, by the rarest word of their first sentence.

    An answer that takes up the asked-for word at once is the easiest lesson in staying on the subject.
    """
    passages: list[dict[str, Any]] = []
    for name in ("articles", "monologues", "stories"):
        passages += _rows(out / f"chat-{name}.jsonl")
    frequency = Counter(word for row in passages for word in content_words(row["messages"][-1]["content"]))
    count = 0
    with (out / "chat-openers.jsonl").open("w") as file:
        for row in passages:
            answer = row["messages"][-1]["content"]
            opening = split_sentences(answer)[0]
            # A bare word stands for its subject only where it is a noun: near enough, one that follows "the", "a" or "your".
            nouns = re.findall(rf"\b{_BEFORE_NOUN} ([a-z]{{4,}})\b{_AFTER_NOUN}", opening)
            known = [word for word in nouns if word not in COMMON and frequency[word] > 1]
            if not known:
                continue
            word = min(known, key=lambda w: (frequency[w], w))
            found = re.search(rf"\b({_BEFORE_NOUN}) {word}\b", opening)
            subject = f"{found.group(1)} {word}" if found and found.group(1) in ("the", "a") else word
            ask = _OPENERS[int(digest("opener", row["id"])[:4], 16) % len(_OPENERS)].format(subject)
            messages = [*row["messages"][:-2], {"role": "user", "content": ask}, row["messages"][-1]]
            new = {"id": digest(ask, answer)[:16], "split": row["split"], "messages": messages, "learn": "answers"}
            file.write(json.dumps(new) + "\n")
            count += 1
    log.info("chat openers: %d conversations", count)


def sentence_pairs(sentences: Iterable[str], frequency: Counter[str]) -> Iterator[Pair]:
    """Each sentence, asked for by one to three of its rarest words, in the order in which they come."""
    for sentence in sentences:
        if not (6 <= len(sentence.split()) <= 32 and sentence[0].isupper() and sentence[-1] in ".!?"):
            continue
        key = int(digest("sentence", sentence)[:8], 16)
        known = [w for w in dict.fromkeys(re.findall(r"\b[a-z]{4,}\b", sentence)) if w not in COMMON and frequency[w] > 1]
        rarest = sorted(known, key=lambda w: (frequency[w], w))[: 1 + key % 3]
        if not rarest:
            continue
        asked = [w for w in known if w in rarest]
        wordings = _ONE if len(asked) == 1 else _MORE
        question = wordings[key // 3 % len(wordings)].format(_listed(asked))
        yield Pair(group=sentence, messages=(("user", question), ("assistant", sentence)))


def said_back(words: list[str], count: int) -> Iterator[Pair]:
    """Lists of 2 to 24 words drawn evenly from the vocabulary, and the same list as the answer."""
    rng = random.Random(0)
    for _ in range(count):
        chosen = rng.sample(words, rng.randint(2, min(24, len(words))))
        answer = ", ".join(chosen)
        question = rng.choice(_BACK).format(answer)
        yield Pair(group=answer, messages=(("user", question), ("assistant", answer[0].upper() + answer[1:] + ".")))


def renamed(document: Document, names: list[str], copy: int) -> Document:
    """The story with every name that comes at least twice replaced by another, title and text alike."""
    counts = Counter(re.findall(r"(?<=[a-z,\"] )[A-Z][a-z]{2,}\b", document.text))
    old = [word for word, n in counts.most_common(6) if n > 1 and word not in _NO_NAMES]
    rng = random.Random(digest("names", document.id, str(copy)))
    new = dict(zip(old, rng.sample(names, len(old)), strict=True))
    if not new:
        return document
    pattern = re.compile(rf"\b({'|'.join(new)})\b")
    text, title = (pattern.sub(lambda m: new[m.group()], part) for part in (document.text, document.title or ""))
    return replace(document, id=digest(document.id, str(copy))[:16], text=text, title=title)


def _write(out: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    count = 0
    with (out / f"{name}.jsonl").open("w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
            count += 1
    log.info("%s: %d rows", name, count)


def _sentences(corpus: Path) -> Iterator[str]:
    """Sentences of the training side: all facts and stories, a third of the articles' and a tenth of the monologues'."""
    for name, share in (("text-facts", 1.0), ("text-stories", 1.0), ("text-articles", 0.33), ("chat-monologues", 0.1)):
        for row in _rows(corpus / f"{name}.jsonl"):
            if row["split"] == "train":
                for sentence in split_sentences(row.get("text") or row["messages"][-1]["content"]):
                    sentence = " ".join(sentence.split())
                    if sentence and int(digest("share", sentence)[:8], 16) / 16**8 < share:
                        yield sentence


def main(shared: Path, corpus: Path) -> None:
    """Write every lesson's file beside the corpus."""
    write_openers(corpus)
    sentences = list(dict.fromkeys(_sentences(corpus)))
    frequency = Counter(word for sentence in sentences for word in content_words(sentence))
    _write(corpus, "chat-sentences", (chat_row(pair, "train") for pair in sentence_pairs(sentences, frequency)))
    known = sorted(word for word, n in frequency.items() if n > 2 and word.isalpha())
    _write(corpus, "chat-words", (chat_row(pair, "train") for pair in said_back(known, _NUM_WORD_LISTS)))

    speakers = Counter(who.split()[0] for _, turns in transcripts(shared, 0.2) for who, _ in turns if who.split())
    plain = {word for sentence in sentences for word in re.findall(r"\b[a-z]+\b", sentence)}
    names = sorted(name for name in speakers if re.fullmatch(r"[A-Z][a-z]{2,9}", name) and name.lower() not in plain)
    told = [d for d in fresh(stories(shared), 40) if side("stories", d.source) == "train"]
    copies = [renamed(document, names, copy) for copy in range(_NUM_RENAMED) for document in told]
    _write(corpus, "text-renamed", ({"id": f"{d.source}-{d.id}", "split": "train", "text": d.text} for d in copies))
    pairs = (pair for copy in range(_NUM_RENAMED) for pair in passage_pairs(copies[copy * len(told) : (copy + 1) * len(told)]))
    _write(corpus, "chat-renamed", (chat_row(pair, "train") for pair in pairs))
    log.info("names: %s …", ", ".join(islice(names, 12)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("TUNESMITH_SHARED", "../shared")))
    parser.add_argument("--corpus", type=Path, required=True)
    given = parser.parse_args()
    main(given.shared, given.corpus)
