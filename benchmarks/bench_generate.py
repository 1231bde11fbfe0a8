"""Batched greedy generation against one question at a time, on the embedded base and the general questions.

Usage: python benchmarks/bench_generate.py [rounds]
"""

from __future__ import annotations

import statistics
import sys
import time

from record import write_result
from tunesmith.api import EXAMPLES
from tunesmith.eval.files import read_items
from tunesmith.models.chat import open_chat
from tunesmith.models.generate import generate
from tunesmith.models.load import find_base, load_model

NEW_TOKENS = 128


def main() -> None:
    """Time both ways in turn and write the result file."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    base = find_base("apprentice")
    chat, model = open_chat(base), load_model(base, "float32")
    prompts = [item.prompt for item in read_items(EXAMPLES / "general.jsonl")]

    def run(batch_examples: int) -> tuple[float, int]:
        begin = time.perf_counter()
        done = generate(model, chat, prompts, max_new_tokens=NEW_TOKENS, batch_examples=batch_examples, context=base.context)
        return time.perf_counter() - begin, sum(completion.num_tokens for completion in done)

    run(32)
    seconds: dict[int, list[float]] = {1: [], 8: [], 32: []}
    tokens = 0
    for _ in range(rounds):
        for size, times in seconds.items():
            took, tokens = run(size)
            times.append(took)
    alone = statistics.median(seconds[1])
    rows = [
        {
            "batch": size,
            "median_s": statistics.median(times),
            "runs_s": times,
            "tokens_per_s": tokens / statistics.median(times),
            "times_as_fast": alone / statistics.median(times),
        }
        for size, times in seconds.items()
    ]
    write_result("generate", {"prompts": len(prompts), "new_tokens": NEW_TOKENS, "base": base.name, "rounds": rounds}, rows)


if __name__ == "__main__":
    main()
