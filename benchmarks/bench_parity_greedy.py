"""Whether a GGUF file in llama.cpp writes the greedy answers of transformers in float32: 200 prompts, answers of 64 tokens.

    python benchmarks/bench_parity_greedy.py ask --model smollm2 --gguf FILE --more ROWS.jsonl --save answers.jsonl
    python benchmarks/bench_parity_greedy.py write answers.jsonl --form "SmolLM2-135M, F16"

The engine answers by itself. transformers then reads prompt and answer in float32: the first token that is not its own first
choice is where the two diverge, and the margin is by what float32 prefers its own choice, in nats. There llama.cpp is asked for
the logits of the same row as well, which gives its own margin for the token that it wrote. A line is saved for each prompt, so
that a run which was stopped goes on where it was. Times are of the processor, since a machine may be busy.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from bench_parity_engines import read_float32
from record import write_result
from tunesmith.core.records import Message
from tunesmith.engines.engine import EngineRequest
from tunesmith.engines.llama_cpp import LlamaCpp
from tunesmith.eval.parity_prompts import fixed_prompts
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model

EXAMPLES = Path(__file__).parents[1] / "src" / "tunesmith" / "examples"
LONG = 1024  # tokens of the longest prompts


def questions(chat: Chat, more: list[Path], count: int) -> list[tuple[str, list[int]]]:
    """The fixed prompts of `tunesmith parity`, then questions of the files, then the general questions; the first `count`."""
    fixed = fixed_prompts(lambda messages: len(chat.encode_prompt(messages)), LONG)
    asked = [(one.id, one.messages) for one in fixed if one.kind != "control"]
    for file in more:
        for number, line in enumerate(file.read_text().splitlines()):
            turns = [Message(role=m["role"], content=m["content"]) for m in json.loads(line)["messages"]]
            asked.append((f"{file.stem} {number}", tuple(turns[:-1])))
    general = [json.loads(line)["prompt"] for line in (EXAMPLES / "general.jsonl").read_text().splitlines()]
    general += [line for line in (EXAMPLES / "general_questions.txt").read_text().splitlines() if line.strip()]
    asked += [(f"general {n}", (Message(role="user", content=text),)) for n, text in enumerate(general)]
    return [(name, list(chat.encode_prompt(messages))) for name, messages in asked][:count]


def ask(arguments: argparse.Namespace) -> None:
    """One line for each prompt that has none yet."""
    base = find_base(arguments.model)
    chat, model = open_chat(base), load_model(base, "float32")
    end = chat.turn_end if chat.turn_end is not None else chat.end_ids[0]
    done = {json.loads(line)["prompt"] for line in arguments.save.open()} if arguments.save.is_file() else set()
    with LlamaCpp(arguments.gguf, context=LONG + 256, ready_s=3600) as engine, arguments.save.open("a") as out:
        for name, ids in questions(chat, arguments.more, arguments.prompts):
            if name in done:
                continue
            begun = time.process_time()
            [answer] = engine.answer([EngineRequest(ids=tuple(ids), max_new_tokens=arguments.tokens)])
            said, ended = list(answer.ids or ()), answer.finish_reason == "stop"
            said = [*said, end] if ended and said[-1:] != [end] else said
            row = {"prompt": name, "prompt_tokens": len(ids), "tokens": len(said), "ended": ended}
            row |= divergence(model, engine, chat, ids, said)
            out.write(json.dumps(row | {"own_cpu_s": time.process_time() - begun}, ensure_ascii=False) + "\n")
            out.flush()


def divergence(model: Any, engine: LlamaCpp, chat: Chat, ids: list[int], said: list[int]) -> dict[str, Any]:
    """Where float32 would have written another token, if anywhere."""
    log_p = read_float32(model, [*ids, *said[:-1]], len(ids))
    best = log_p.argmax(-1).tolist()
    at = next((i for i, (a, b) in enumerate(zip(best, said, strict=True)) if a != b), None)
    if at is None:
        return {"at": None}
    ours, theirs = best[at], said[at]
    there = torch.from_numpy(engine.logits([*ids, *said[:at]])[-1].copy()).log_softmax(-1)
    return {
        "at": at,
        "margin": float(log_p[at, ours] - log_p[at, theirs]),
        "engine_margin": float(there[theirs] - there[ours]),
        "largest_gap": float((there - log_p[at])[log_p[at] > -10].abs().max()),  # of tokens with 1 in 20,000 or more
        "float32": chat.tokenizer.decode([ours]),
        "engine": chat.tokenizer.decode([theirs]),
    }


def write(arguments: argparse.Namespace) -> None:
    """The saved lines as a dated result."""
    rows = [json.loads(line) for line in arguments.saved.open()]
    apart = [row for row in rows if row["at"] is not None]
    margins = sorted(row["margin"] for row in apart)
    summary = {
        "form": arguments.form,
        "prompts": len(rows),
        "greedy_equal": len(rows) - len(apart),
        "tokens_compared": sum(row["tokens"] if row["at"] is None else row["at"] + 1 for row in rows),
        "ended": sum(row["ended"] for row in rows),
        "largest_margin": margins[-1] if margins else 0.0,
        "median_margin": margins[len(margins) // 2] if margins else 0.0,
        "largest_engine_margin": max((row["engine_margin"] for row in apart), default=0.0),
        "divergences": apart,
    }
    write_result("parity-greedy", {"against": "transformers, float32", "answers": "up to 64 tokens"}, [summary])
    print({key: value for key, value in summary.items() if key != "divergences"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("ask")
    one.add_argument("--model", required=True, help="a base, or the folder that float32 reads")
    one.add_argument("--gguf", type=Path, required=True)
    one.add_argument("--more", type=Path, nargs="*", default=[], help="files of rows, whose last turn is left out")
    one.add_argument("--prompts", type=int, default=200)
    one.add_argument("--tokens", type=int, default=64)
    one.add_argument("--save", type=Path, required=True)
    two = verbs.add_parser("write")
    two.add_argument("saved", type=Path)
    two.add_argument("--form", required=True)
    arguments = parser.parse_args()
    ask(arguments) if arguments.verb == "ask" else write(arguments)


if __name__ == "__main__":
    main()
