"""Byte-level BPE and the chat template; then every file of `corpus.py` as token ids in flat uint16 shards.

    python tokenizer.py --corpus work/corpus --out work/shards --vocab 4096

A shard is `NAME.SIDE.bin` (ids) with `NAME.SIDE.mask` (one byte an id: 1 where the id carries loss, `TAKEN_UP` where it
belongs to a word of the question) and `NAME.SIDE.starts` (uint32: where each piece begins). Texts stand between `<s>` and
`</s>`; conversations as the template writes them.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from corpus import content_words
from rows import TAKEN_UP
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tunesmith.core.records import digest

__all__ = ["CHAT_TEMPLATE", "SPECIAL", "encode_chat", "main", "stays_on_subject", "train_tokenizer", "write_tokenizer"]

log = logging.getLogger("apprentice.tokenizer")

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
BOS, EOS, ASSISTANT, END = 2, 3, 6, 7
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
_ON_SUBJECT = ("chat-articles", "chat-stories", "chat-monologues", "chat-interviews", "chat-dialogues", "chat-renamed")
_EARLY_WORDS = 30
# Words with their blank, digits one by one, runs of marks, blanks. Letters of any script, so that bytes never split a word.
_PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer with the special tokens at ids 0 to 7."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        limit_alphabet=256,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """tokenizer.json, tokenizer_config.json and chat_template.jinja, as AutoTokenizer reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "backend": "tokenizers",
        "tokenizer_class": "TokenizersBackend",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": context,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def render(messages: list[dict[str, str]]) -> list[str]:
    """The template's text of each turn; joined, it is what `CHAT_TEMPLATE` writes."""
    return [f"<|{m['role']}|>\n{m['content']}<|end|>\n" for m in messages]


def words_taken_up(question: str, answer: str) -> list[tuple[int, int]]:
    """Where in the answer a content word of the question (or one with the same first five letters) comes for the first time."""
    asked = {word[:5] for word in content_words(question)}
    found = []
    for match in re.finditer(r"[a-z']{4,}", answer.lower()):
        if match.group()[:5] in asked:
            asked.discard(match.group()[:5])
            found.append(match.span())
    return found


def stays_on_subject(messages: list[dict[str, str]]) -> bool:
    """Whether an answer takes up a word of its question within its first `_EARLY_WORDS` words."""
    opening = " ".join(messages[-1]["content"].split()[:_EARLY_WORDS])
    return bool(words_taken_up(messages[-2]["content"], opening))


def encode_chat(tokenizer: Tokenizer, messages: list[dict[str, str]], learn: str) -> tuple[list[int], list[int]]:
    """Ids of a conversation and their loss mask: what a speaker says, with its end token. `learn` is `answers` or `all`."""
    turns = render(messages)
    coded = tokenizer.encode("".join(turns), add_special_tokens=False)
    ids = coded.ids
    mask, speaking = [], False
    opening = 0
    for token in ids:
        mask.append(int(speaking and opening <= 0))
        opening -= 1
        if token == END:
            speaking = False
        elif token == ASSISTANT or (learn == "all" and token in (4, 5)):
            speaking, opening = True, 1  # the line break after the role is given, not said
    if learn == "answers" and len(messages) >= 2:
        begin = sum(map(len, turns[:-1])) + len("<|assistant|>\n")
        spans = [(begin + a, begin + b) for a, b in words_taken_up(messages[-2]["content"], messages[-1]["content"])]
        for i, (a, b) in enumerate(coded.offsets):
            if mask[i] and any(a < end and b > start for start, end in spans):
                mask[i] = TAKEN_UP
    return ids, mask


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def _sample_texts(corpus: Path, each_bytes: int) -> Iterator[str]:
    """Up to so many bytes of every file's training side, so that no source rules the vocabulary.

    The lessons are left out: their answers stand in other files.
    """
    for path in sorted(corpus.glob("*.jsonl")):
        if path.stem.split("-")[1] in ("openers", "sentences", "words", "renamed"):
            continue
        left = each_bytes
        for row in _read(path):
            if row["split"] != "train":
                continue
            text = row.get("text") or "\n".join(m["content"] for m in row["messages"])
            yield text
            left -= len(text)
            if left < 0:
                break


def _write_shard(tokenizer: Tokenizer, path: Path, out: Path) -> None:
    rows = sorted(_read(path), key=lambda r: digest("order", r["id"]))  # shuffled once, the same way for ever
    for where in ("train", "held"):
        chosen = [r for r in rows if r["split"] == where]
        if where == "train" and path.stem in _ON_SUBJECT:
            chosen = [r for r in chosen if r["learn"] == "all" or stays_on_subject(r["messages"])]
        starts: list[int] = []
        ids: list[int] = []
        mask: list[int] = []
        if path.name.startswith("text"):
            for coded in tokenizer.encode_batch([r["text"] for r in chosen], add_special_tokens=False):
                starts.append(len(ids))
                ids += [BOS, *coded.ids, EOS]
                mask += [0, *(1 for _ in coded.ids), 1]
        else:
            for row in chosen:
                coded_ids, coded_mask = encode_chat(tokenizer, row["messages"], row["learn"])
                starts.append(len(ids))
                ids += coded_ids
                mask += coded_mask
        name = f"{path.stem}.{where}"
        np.array(ids, np.uint16).tofile(out / f"{name}.bin")
        np.array(mask, np.uint8).tofile(out / f"{name}.mask")
        np.array(starts, np.uint32).tofile(out / f"{name}.starts")
        log.info("%s: %d tokens, %d with loss, %d pieces", name, len(ids), sum(map(bool, mask)), len(starts))


def main(corpus: Path, out: Path, vocab_size: int, ready: Path | None) -> None:
    """Train the tokenizer on the training side, or take a ready one, and write the shards of both sides."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(ready)) if ready else train_tokenizer(_sample_texts(corpus, 3_000_000), vocab_size)
    write_tokenizer(tokenizer, out / "tokenizer", 1024)
    for path in sorted(corpus.glob("*.jsonl")):
        _write_shard(tokenizer, path, out)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json to use as it is, so that its model can go on")
    given = parser.parse_args()
    main(given.corpus, given.out, given.vocab, given.tokenizer)
