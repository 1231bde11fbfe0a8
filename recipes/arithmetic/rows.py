"""Small sums in words and figures with their answers: the rows of this recipe, the same on every call.

    python recipes/arithmetic/rows.py ROWS.jsonl

The answers are not learned; they are what the reward checks. Each pair of numbers occurs once, so no test question is one
of training.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

ASK = ("What is {a} + {b}?", "Add {a} and {b}.", "{a} apples and {b} apples: how many in all?", "How much is {a} plus {b}?")
FORM = " Answer in the form: ANSWER: number"


def rows(count: int = 400, seed: int = 7) -> list[dict[str, str]]:
    """`count` sums of two numbers up to 30."""
    rng = random.Random(seed)
    pairs = [(a, b) for a in range(1, 31) for b in range(a, 31)]
    made = []
    for a, b in rng.sample(pairs, count):
        made.append({"prompt": rng.choice(ASK).format(a=a, b=b) + FORM, "completion": f"ANSWER: {a + b}"})
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
