"""The reference work of the benchmarks: a Llama-shaped model of 135 M random weights, and blog-sized examples as token ids.

Nothing is downloaded: the weights are drawn from a fixed seed. Lengths of questions and answers follow those of a real set
of questions about blog posts; every prompt opens with the same system message of 45 tokens.
"""

from __future__ import annotations

import math
import random
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

__all__ = ["END", "NUM_PROMPTS", "SYSTEM_TOKENS", "VOCABULARY", "reference_examples", "reference_model"]

VOCABULARY = 49_152
SYSTEM_TOKENS = 45
NUM_PROMPTS = 212
END = 2  # ends every answer; ordinary tokens are drawn from 10 upwards
_FRAME = 6  # tokens that a chat template puts around a question


def reference_model(dtype: torch.dtype = torch.float32) -> Any:
    """30 layers, width 576, MLP 1,536, 9 query heads over 3 key heads of width 64, tied head; weights from seed 0."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(shape).to(dtype)


def reference_examples(n: int = 128, seed: int = 1, *, stretch: int = 1) -> list[tuple[list[int], list[int]]]:
    """`n` pairs of prompt ids and answer ids: log-normal lengths, median 22 tokens a question and 88 an answer.

    `stretch` makes questions and answers so many times as long.
    """
    draw = random.Random(seed)

    def words(count: int) -> list[int]:
        return [draw.randrange(10, VOCABULARY) for _ in range(count)]

    def length(median: float, spread: float, least: int) -> int:
        return stretch * max(least, int(draw.lognormvariate(math.log(median), spread)))

    system = words(SYSTEM_TOKENS)
    examples = []
    for _ in range(n):
        question, answer = length(22, 0.4, 6), length(88, 0.5, 10)
        examples.append((system + words(question + _FRAME), [*words(answer), END]))
    return examples
