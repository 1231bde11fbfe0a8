"""The real base as GGUF answers in llama.cpp, word for word, as it does in transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from llama_cpp_library import LlamaCpp
from tunesmith.core.records import Message
from tunesmith.models.chat import open_chat
from tunesmith.models.generate import Request, answer
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.ship.gguf import write_gguf

pytestmark = [pytest.mark.slow, pytest.mark.real]

QUESTIONS = ("What is the capital of France?", "Write one sentence about the sea.", "What colour is grass?")
TOKENS = 16


def test_float16_gives_the_greedy_answers_and_the_numbers_of_transformers(real_base: BaseFolder, tmp_path: Path) -> None:
    chat, model = open_chat(real_base), load_model(real_base, "float32")
    opened = LlamaCpp(write_gguf(real_base, tmp_path / "base.gguf", quant="f16").path)
    questions = [[Message(role="user", content=text)] for text in QUESTIONS]
    requests = [Request(messages=tuple(question), max_new_tokens=TOKENS) for question in questions]
    for question, said in zip(questions, answer(model, chat, requests, batch_examples=4, context=512), strict=True):
        prompt = opened.tokenize(chat.render(question, answer_next=True))
        assert prompt == chat.encode_prompt(question)
        written = [token for token in opened.greedy(prompt, TOKENS) if token not in chat.end_ids]
        assert chat.decode(written) == said.text
        with torch.inference_mode():
            expected = model(torch.tensor([prompt])).logits[0].log_softmax(-1).numpy()
        found = torch.tensor(opened.logits(prompt)).log_softmax(-1).numpy()
        assert np.abs(found - expected)[-1].max() < 0.1
