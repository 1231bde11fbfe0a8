"""Hold two models against the same held-out text and the same questions, and write down what comes out.

    python judge.py --corpus work/corpus --model work/package --against BOOTSTRAP --out work/judged.json

Bits per byte are over windows of 512 of each model's own tokens, so vocabularies may differ. Questions come from held-out
documents; answers are plain greedy decoding, nothing forbidden, up to 200 tokens.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: spinning threads starve each other on a busy machine

import torch
from corpus import content_words
from torch.nn import functional as F

from tunesmith.core.records import Message, digest
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import Completion, generate
from tunesmith.models.load import find_base, load_model

__all__ = ["distinct", "held_out", "judge", "loops", "main", "moving_ttr", "takes_up"]

log = logging.getLogger("apprentice.judge")

_WINDOW, _MAX_TOKENS = 512, 200
_ASKED = ("articles", "stories", "monologues", "interviews", "instructions", "dialogues")  # files that questions come from


def held_out(corpus: Path, name: str) -> list[dict[str, Any]]:
    """The held-out rows of one corpus file, in an order fixed by hash."""
    with (corpus / f"{name}.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    return sorted((r for r in rows if r["split"] == "held"), key=lambda r: digest("judge", r["id"]))


@torch.inference_mode()
def text_bits(model: Any, chat: Chat, texts: Sequence[str]) -> float:
    """Bits per byte of running text; each window knows only itself, and its first token is not scored."""
    nats, size = 0.0, 0
    for text in texts:
        ids = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
        for begin in range(0, len(ids) - 1, _WINDOW):
            window = ids[begin : begin + _WINDOW + 1]
            nats += float(_losses(model, window).sum())
            size += len(chat.decode(window[1:]).encode())
    return nats / math.log(2) / max(1, size)


@torch.inference_mode()
def answer_bits(model: Any, chat: Chat, conversations: Sequence[Sequence[Message]]) -> float:
    """Bits per byte of the assistants' words, given what came before; the end token is counted in bits, not in bytes."""
    nats, size = 0.0, 0
    for messages in conversations:
        coded = chat.encode(messages, max_tokens=_WINDOW)
        learned = torch.tensor(coded.learned[1:])
        nats += float(_losses(model, coded.ids)[learned].sum())
        size += len(chat.decode([i for i, mark in zip(coded.ids, coded.learned, strict=True) if mark]).encode())
    return nats / math.log(2) / max(1, size)


def _losses(model: Any, ids: Sequence[int]) -> torch.Tensor:
    row = torch.tensor([list(ids)])
    logits_TV = model(input_ids=row[:, :-1], use_cache=False).logits[0].float()
    return F.cross_entropy(logits_TV, row[0, 1:], reduction="none")


def distinct(text: str, n: int = 3) -> float:
    """Share of different word n-grams among all; 1 for a text too short to have two."""
    words = re.findall(r"\w+", text.lower())
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def loops(text: str, n: int = 4, over: int = 4) -> bool:
    """Whether any word n-gram stands in the text more often than `over` times."""
    words = re.findall(r"\w+", text.lower())
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    return bool(counts) and max(counts.values()) > over


def moving_ttr(text: str, window: int = 25) -> float:
    """Moving-average type-token ratio (Covington & McFall 2010): the mean share of different words in every `window` of them.

    1 for no words. Of the held-out answers that people wrote, nineteen in twenty have 0.77 or more and half 0.87.
    """
    words = re.findall(r"\w+", text.lower())
    spans = [words[i : i + window] for i in range(max(1, len(words) - window + 1))] if words else []
    return sum(len(set(span)) / len(span) for span in spans) / len(spans) if spans else 1.0


def takes_up(question: str, answer: str) -> bool:
    """Whether a content word of the question, or one with the same first five letters, is in the answer."""
    return bool({w[:5] for w in content_words(question)} & {w[:5] for w in content_words(answer)})


def questions(corpus: Path, count: int) -> list[tuple[Message, ...]]:
    """So many held-out first questions, the files taking turns."""
    files: list[Iterator[dict[str, Any]]] = [iter(held_out(corpus, f"chat-{name}")) for name in _ASKED]
    found: list[tuple[Message, ...]] = []
    while len(found) < count and files:
        for rows in list(files):
            row = next(rows, None)
            if row is None:
                files.remove(rows)
            elif content_words(row["messages"][-2]["content"]) and len(row["messages"]) <= 3:
                found.append(tuple(Message(**m) for m in row["messages"][:-1]))
    return found[:count]


def judge(folder: Path, corpus: Path, *, num_questions: int, texts_each: int) -> dict[str, Any]:
    """Every figure for one model folder."""
    from transformers.models.llama import modeling_llama  # the library's own import is not the model's loading time

    del modeling_llama
    begin = time.perf_counter()
    base = find_base(str(folder))
    model = load_model(base, "float32").eval()
    chat = open_chat(base)
    load_s = time.perf_counter() - begin
    bits: dict[str, float] = {}
    for path in sorted(corpus.glob("*.jsonl")):
        rows = held_out(corpus, path.stem)[:texts_each]
        if not rows:  # a lesson: it has a training side only
            continue
        if path.stem.startswith("text"):
            bits[path.stem] = text_bits(model, chat, [r["text"][:8000] for r in rows])
        else:
            bits[path.stem] = answer_bits(model, chat, [tuple(Message(**m) for m in r["messages"]) for r in rows])
        log.info("%s %s %.3f bits per byte", folder.name, path.stem, bits[path.stem])
    asked = questions(corpus, num_questions)
    answers = generate(model, chat, asked, max_new_tokens=_MAX_TOKENS, batch_examples=20, context=base.context)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "bits_per_byte": bits,
        "chat": _chat_figures([q[-1].content for q in asked], answers),
        "load_s": load_s,
        "tokens_per_s": _speed(model, chat),
        "samples": [
            {"question": q[-1].content, "answer": a.text, "ended": a.finish_reason == "stop"}
            for q, a in list(zip(asked, answers, strict=True))[:24]
        ],
    }


def _chat_figures(asked: Sequence[str], answers: Sequence[Completion]) -> dict[str, float]:
    n = len(answers)
    return {
        "n": n,
        "ended": sum(a.finish_reason == "stop" for a in answers) / n,
        "distinct_3": sum(distinct(a.text) for a in answers) / n,
        "without_loops": sum(not loops(a.text) for a in answers) / n,
        "distinct_and_without_loops": sum(distinct(a.text) >= 0.7 and not loops(a.text) for a in answers) / n,
        "moving_ttr": sum(moving_ttr(a.text) for a in answers) / n,
        "takes_up": sum(takes_up(q, a.text) for q, a in zip(asked, answers, strict=True)) / n,
        "mean_words": sum(len(a.text.split()) for a in answers) / n,
        "different_answers": len({a.text for a in answers}) / n,
    }


def _speed(model: Any, chat: Chat) -> float:
    """Tokens a second of the library's own generation, one stream, best of three."""
    from transformers import GenerationConfig

    ids = torch.tensor([chat.encode_prompt([Message(role="user", content="Tell me about the sea.")])])
    settings = GenerationConfig(
        max_new_tokens=128, min_new_tokens=128, do_sample=False, pad_token_id=chat.pad_id, eos_token_id=list(chat.end_ids)
    )
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        with torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        best = max(best, 128 / (time.perf_counter() - begin))
    return best


def table(results: dict[str, dict[str, Any]]) -> str:
    """The figures side by side, as Markdown; with two models, how far the second lies below the first."""
    names = list(results)
    lines = ["| held out | " + " | ".join(names) + " | change |", "|---|" + "---:|" * (len(names) + 1)]
    for source in results[names[0]]["bits_per_byte"]:
        values = [results[n]["bits_per_byte"][source] for n in names]
        lines.append(f"| {source} | " + " | ".join(f"{v:.3f}" for v in values) + f" | {values[-1] / values[0] - 1:+.1%} |")
    for figure in results[names[0]]["chat"]:
        lines.append(f"| {figure} | " + " | ".join(f"{results[n]['chat'][figure]:.3g}" for n in names) + " | |")
    for figure in ("load_s", "tokens_per_s", "parameters"):
        lines.append(f"| {figure} | " + " | ".join(f"{results[n][figure]:,.6g}" for n in names) + " | |")
    return "\n".join(lines)


def main(given: argparse.Namespace) -> None:
    """Judge the models in turn and write JSON and a table."""
    judged = {given.against.name: given.against} if given.against else {}
    judged["apprentice"] = given.model
    results = {
        name: judge(path, given.corpus, num_questions=given.questions, texts_each=given.texts) for name, path in judged.items()
    }
    given.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    given.out.with_suffix(".md").write_text(table(results) + "\n")
    log.info("\n%s", table(results))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--texts", type=int, default=60)
    main(parser.parse_args())
