"""Whether real engines answer as the tested model does: greedy answers and reference log-probabilities, against float32.

    python benchmarks/bench_parity_engines.py vllm --url http://127.0.0.1:8000 --served NAME --model FOLDER --test TEST.jsonl …
    python benchmarks/bench_parity_engines.py mlx --python VENV/bin/python --opened FOLDER --model FOLDER --test TEST.jsonl …
    python benchmarks/bench_parity_engines.py write a.json b.json …

The engine answers by itself, greedily. transformers then reads every prompt and answer in float32: the first token that is not
its own first choice is where the two diverge. The margin is what float32 prefers its own choice by, in nats. A divergence is
explained by a margin no larger than the noise: the largest difference of a log-probability on the reference answers.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity_engines import Answers, Row, ask_engine, ask_transformers, prompts_equal
from record import write_result
from tunesmith.core.records import Message
from tunesmith.engines.mlx import Mlx
from tunesmith.engines.vllm import Vllm
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model

FIXED = (  # scripts, code, numbers, emoji, and a long prompt
    "Réponds en français : qu'est-ce qu'une charnière ?",
    "什么是铰链？请用一句话回答。",
    "def area(r):\n    return",
    "1, 1, 2, 3, 5, 8, 13,",
    "🙂🔧 What do these two mean together?",
    "Repeat the last word of this text. " + "The bench stands by the window, and the plane lies on it. " * 12,
)


def questions(chat: Chat, test: Path, count: int) -> tuple[list[list[int]], list[Row]]:
    """Token ids of `count` prompts, and the reference answers."""
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    messages = [[Message(role=m["role"], content=m["content"]) for m in row["messages"]] for row in rows]
    fixed = [list(chat.encode_prompt([Message(role="user", content=text)])) for text in FIXED]
    encoded = [chat.encode_answer(m) for m in messages]
    prompts = [*fixed, *(list(chat.encode_prompt(m[:-1])) for m in messages)]
    return prompts[:count], [(list(one.ids), one.learned.index(True)) for one in encoded]


def read_float32(model: Any, ids: Sequence[int], begin: int) -> torch.Tensor:
    """(T, V) log-probabilities of the tokens from `begin` on, and of the one after the last."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)]), logits_to_keep=len(ids) - begin + 1).logits[0]
    return logits.float().log_softmax(-1)


def compare_greedy(model: Any, chat: Chat, prompts: Sequence[list[int]], found: Answers, noise: float) -> dict[str, Any]:
    """The greedy answers held against float32, with every divergence."""
    divergences, compared = [], 0
    for number, (ids, (said, _)) in enumerate(zip(prompts, found.greedy, strict=True)):
        log_p = read_float32(model, [*ids, *said[:-1]], len(ids))
        best = log_p.argmax(-1).tolist()
        at = next((i for i, (a, b) in enumerate(zip(best, said, strict=True)) if a != b), None)
        compared += len(said) if at is None else at + 1
        if at is not None:
            two = log_p[at].topk(2).values
            margin = float(log_p[at, best[at]] - log_p[at, said[at]])
            words = {"float32": chat.tokenizer.decode([best[at]]), "engine": chat.tokenizer.decode([said[at]])}
            where = {"prompt": number, "token": at, "margin": margin, "top2_margin": float(two[0] - two[1])}
            divergences.append({**where, **words, "explained": margin <= noise})
    return {
        "prompts": len(prompts),
        "greedy_equal": len(prompts) - len(divergences),
        "tokens_compared": compared,
        "largest_margin": max((one["margin"] for one in divergences), default=0.0),
        "unexplained": sum(not one["explained"] for one in divergences),
        "ended": sum(ended for _, ended in found.greedy),
        "tokens_per_s": sum(len(said) for said, _ in found.greedy) / found.seconds,
        "divergences": divergences,
    }


def compare_scores(model: Any, rows: Sequence[Row], found: Answers) -> dict[str, Any]:
    """Log-probabilities of the reference answers by the engine and in float32."""
    ours, top = [], []
    for ids, begin in rows:
        log_p = read_float32(model, ids[:-1], begin)
        rest = torch.tensor(ids[begin:])
        ours.append(log_p[torch.arange(len(rest)), rest].numpy())
        top.append((log_p.argmax(-1) == rest).numpy())
    mine, theirs = np.concatenate(ours), np.concatenate([np.array(log_p) for log_p, _ in found.scores])
    is_top = np.concatenate([np.array(likeliest) for _, likeliest in found.scores])
    gap = np.abs(mine - theirs)
    return {
        "scored": len(mine),
        "nats_float32": float(-mine.mean()),
        "nats_engine": float(-theirs.mean()),
        "mean_gap": float(gap.mean()),
        "p99_gap": float(np.quantile(gap, 0.99)),
        "max_gap": float(gap.max()),
        "same_top": float((np.concatenate(top) == is_top).mean()),
    }


def measure(arguments: argparse.Namespace) -> None:
    """Ask one engine and save what came out."""
    base = find_base(str(arguments.model))
    model, chat = load_model(base, "float32"), open_chat(base)
    if arguments.adapter:
        model = open_adapter(model, arguments.adapter)
    prompts, answers = questions(chat, arguments.test, arguments.prompts)
    rows, end = answers[: arguments.references], chat.turn_end if chat.turn_end is not None else chat.end_ids[0]
    if arguments.verb == "transformers":
        found = ask_transformers(arguments.python, arguments.opened, prompts, rows, tokens=arguments.tokens, end=end)
        same = "the same library"
    else:
        engine = (
            Vllm(arguments.url, arguments.served, adapters=[arguments.ask] if arguments.ask else [])
            if arguments.verb == "vllm"
            else Mlx(arguments.opened, adapter=arguments.opened_adapter, python=str(arguments.python))
        )
        with engine:
            adapter = arguments.ask if arguments.verb == "vllm" else ""
            found = ask_engine(engine, prompts, rows, tokens=arguments.tokens, end=end, adapter=adapter)
            same = prompts_equal(engine, chat, FIXED)
    row = {"engine": found.engine, "form": arguments.form, "prompts_equal": same}
    row |= compare_scores(model.eval(), rows, found)
    row |= {"tokens": arguments.tokens} | compare_greedy(model, chat, prompts, found, row["max_gap"])
    row["load"] = os.getloadavg()[0]
    arguments.save.write_text(json.dumps(row, indent=2, ensure_ascii=False) + "\n")
    print({key: value for key, value in row.items() if key != "divergences"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("vllm", "mlx", "transformers"):
        ask = verbs.add_parser(name)
        if name == "vllm":
            ask.add_argument("--url", required=True)
            ask.add_argument("--served", required=True, help="the model, as the server names it")
            ask.add_argument("--ask", default="", help="the adapter that answers, as the server names it")
        else:
            ask.add_argument("--python", type=Path, required=True, help="the interpreter of the engine's own environment")
            ask.add_argument("--opened", type=Path, required=True, help="the folder that the engine opens")
            ask.add_argument("--opened-adapter", type=Path, help="the adapter that it puts on it, in its own format")
        ask.add_argument("--model", type=Path, required=True, help="the folder that float32 reads")
        ask.add_argument("--adapter", type=Path, help="the adapter that float32 puts on it")
        ask.add_argument("--form", required=True, help="what is asked, in words, for the table")
        ask.add_argument("--test", type=Path, required=True)
        ask.add_argument("--prompts", type=int, default=40)
        ask.add_argument("--tokens", type=int, default=48)
        ask.add_argument("--references", type=int, default=12)
        ask.add_argument("--save", type=Path, required=True)
    write = verbs.add_parser("write")
    write.add_argument("saved", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.verb != "write":
        measure(arguments)
        return
    rows = [json.loads(file.read_text()) for file in arguments.saved]
    write_result(
        "parity-engines", {"base": "SmolLM2-135M-Instruct", "against": "transformers, float32", "machine": "not idle"}, rows
    )


if __name__ == "__main__":
    main()
