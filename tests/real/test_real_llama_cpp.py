"""Claims about llama.cpp on SmolLM2-135M-Instruct in F16: it reads, answers and scores like transformers in float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gguf_files import write_gguf
from tunesmith.core.records import Message
from tunesmith.engines.llama_cpp import LlamaCpp
from tunesmith.models.bases import BASES
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.generate import Request, answer
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.systems.engine_system import EngineLogitsSystem, engine_system

pytestmark = [pytest.mark.slow, pytest.mark.real]

CONTEXT = 512
BOUND = 0.02  # nats per token; measured: 0.006
QUESTIONS = ("What is the capital of France?", "What colour is grass?", "Name three fruits.")


@pytest.fixture(scope="module")
def chat(real_base: BaseFolder) -> Chat:
    return open_chat(real_base)


@pytest.fixture(scope="module")
def served(real_base: BaseFolder, chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLogitsSystem]:
    file = write_gguf(real_base.path, tmp_path_factory.mktemp("real-gguf") / "smollm2-f16.gguf")
    with LlamaCpp(file, context=CONTEXT, threads=1) as engine:
        system = engine_system(engine, chat, name="gguf", label="F16 in llama.cpp", context=CONTEXT)
        assert isinstance(system, EngineLogitsSystem)
        yield system
    file.unlink()


def test_llama_cpp_reads_the_same_tokens_and_writes_the_same_prompt(served: EngineLogitsSystem, chat: Chat) -> None:
    engine = served.system.engine
    package = BASES["smollm2"].package
    assert package is not None
    for text, ids in package.ids.items():
        assert engine.tokenize(text) == ids, text
    messages = (Message(role="user", content=QUESTIONS[0]),)
    assert engine.render(messages) == chat.render(messages, answer_next=True)


def test_llama_cpp_answers_and_scores_like_transformers(served: EngineLogitsSystem, chat: Chat, real_base: BaseFolder) -> None:
    model = load_model(real_base, "float32")
    requests = [Request(messages=(Message(role="user", content=q),), max_new_tokens=24) for q in QUESTIONS]
    ours, theirs = answer(model, chat, requests, batch_examples=4, context=CONTEXT), served.answer(requests)
    assert [one.text for one in theirs] == [one.text for one in ours]
    assert theirs[0].finish_reason == "stop" and theirs[0].num_tokens == ours[0].num_tokens
    rows = []
    for request, said in zip(requests, ours, strict=True):
        prompt, target = chat.encode_prompt(request.messages), chat.encode_text(said.text)
        rows.append(Encoded((*prompt, *target), (False,) * len(prompt) + (True,) * len(target)))
    unlikely = chat.encode_text("Zebras quietly audit Byzantine spreadsheets")
    rows.append(Encoded((1, *unlikely), (False,) + (True,) * len(unlikely)))
    scored = served.logprobs(rows)
    assert scored is not None and min(scored[-1].log_p) < -10, "far outside any list of the likeliest"
    for row, found in zip(rows, scored, strict=True):
        with torch.inference_mode():
            log_p_TV = torch.log_softmax(model(input_ids=torch.tensor([row.ids])).logits[0].double(), -1)
        at = [n for n, target in enumerate(row.learned) if target]
        expected = log_p_TV[torch.tensor(at) - 1, torch.tensor(row.ids)[at]]
        assert np.abs(np.array(found.log_p) - expected.numpy()).max() < BOUND
        assert list(found.is_top) == (log_p_TV.argmax(-1)[torch.tensor(at) - 1] == torch.tensor(row.ids)[at]).tolist()
