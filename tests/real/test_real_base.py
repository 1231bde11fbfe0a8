"""Claims about language, on a model that has one: SmolLM2-135M-Instruct. Random weights cannot fail these."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.core.records import Message
from tunesmith.eval.likelihood import encode_items, likelihoods
from tunesmith.eval.results import Item
from tunesmith.models.adapters import attach, save_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import Request, Sampling, answer
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.reach import choose_modules

pytestmark = [pytest.mark.slow, pytest.mark.real]

FLUENT = "The kettle takes about four minutes to boil. Pour the water slowly over the leaves and wait."
SHUFFLED = "leaves the four wait. over boil about slowly kettle The Pour minutes to water and takes the."
QUESTIONS = ("What is the capital of France?", "Write one sentence about the sea.", "What colour is grass?")


def ask(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


@pytest.fixture(scope="module")
def model(real_base: BaseFolder) -> Iterator[Any]:
    yield load_model(real_base, "float32")


@pytest.fixture(scope="module")
def chat(real_base: BaseFolder) -> Chat:
    return open_chat(real_base)


def test_it_answers_in_whole_sentences_that_end_and_knows_a_capital(model: Any, chat: Chat) -> None:
    requests = [Request(messages=ask(q), max_new_tokens=96) for q in QUESTIONS]
    said = answer(model, chat, requests, batch_examples=8, context=2048)
    assert "Paris" in said[0].text
    assert sum(one.finish_reason == "stop" for one in said) >= 2
    assert all(len(one.text.split()) >= 3 for one in said)


def test_greedy_answers_are_those_of_the_library(model: Any, chat: Chat) -> None:
    from transformers import GenerationConfig

    requests = [Request(messages=ask(q), max_new_tokens=32) for q in QUESTIONS]
    ours = answer(model, chat, requests, batch_examples=8, context=2048)
    for question, said in zip(QUESTIONS, ours, strict=True):
        ids = torch.tensor([chat.encode_prompt(ask(question))])
        settings = GenerationConfig(
            max_new_tokens=32, do_sample=False, eos_token_id=list(chat.end_ids), pad_token_id=chat.pad_id
        )
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        assert chat.decode(out[0, ids.shape[1] :].tolist()) == said.text


def test_fluent_text_is_likelier_than_its_own_words_shuffled(model: Any, chat: Chat) -> None:
    items = [
        Item(id=name, group=name, title=None, prompt=ask("How do I make tea?"), reference=text)
        for name, text in (("fluent", FLUENT), ("shuffled", SHUFFLED))
    ]
    rows = encode_items(chat, items, [item.prompt for item in items], context=2048)
    fluent, shuffled = likelihoods(model, chat, items, rows, batch_examples=2)
    assert fluent.bits_per_byte is not None and shuffled.bits_per_byte is not None
    assert fluent.bits_per_byte < 1.5 < 1.7 * fluent.bits_per_byte < shuffled.bits_per_byte


def test_drawn_answers_repeat_with_their_seed_and_differ_with_another(model: Any, chat: Chat) -> None:
    def drawn(seed: int) -> str:
        how = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.1, seed=seed)
        request = Request(messages=ask(QUESTIONS[1]), max_new_tokens=40, sampling=how)
        return answer(model, chat, [request], batch_examples=1, context=2048)[0].text

    assert drawn(1) == drawn(1) != drawn(2)


def test_a_merged_folder_chooses_the_words_of_base_and_adapter(real_base: BaseFolder, chat: Chat, tmp_path: Path) -> None:
    base = load_model(real_base, "float32")
    modules = choose_modules(base, "attention", 2)
    adapted, _ = attach(base, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=7)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02, generator=torch.Generator().manual_seed(7))
    ids = torch.tensor([chat.encode_prompt(ask(QUESTIONS[0]))])
    with torch.inference_mode():
        wanted = adapted.eval()(input_ids=ids).logits
        with adapted.disable_adapter():
            plain = adapted(input_ids=ids).logits
    save_adapter(adapted, real_base.name, tmp_path / "adapter")
    merge(real_base, tmp_path / "adapter", tmp_path / "merged")
    with torch.inference_mode():
        found = load_model(find_base(str(tmp_path / "merged")), "float32")(input_ids=ids).logits
    assert float((wanted - plain).abs().max()) > 0.05, "the adapter does something"
    assert float((wanted - found).abs().max()) < 1e-3
    assert bool((wanted.argmax(-1) == found.argmax(-1)).all())
