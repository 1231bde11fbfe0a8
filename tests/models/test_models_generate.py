"""Generation: many at once is the same as one at a time, and how an answer ended is kept."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pytest

from fakes import conversation
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Completion, generate, stream
from tunesmith.models.generation.slots import LayerCache
from tunesmith.models.load import BaseFolder, load_model

PROMPTS = [conversation("word " * n + "?") for n in (1, 30, 3, 12, 7, 2, 19, 5, 1)]


@pytest.fixture(scope="module")
def model(tiny: BaseFolder) -> Any:
    return load_model(tiny, "float32")


def answers(model: Any, chat: Chat, prompts: list[tuple[Message, ...]], *, batch: int = 4, most: int = 20) -> list[Completion]:
    return generate(model, chat, prompts, max_new_tokens=most, batch_examples=batch, context=768)


def stopping(model: Any, chat: Chat) -> Chat:
    """The random model never ends an answer by itself, so a token that it likes is made the end token."""
    said = [set(chat.tokenizer(a.text)["input_ids"]) for a in answers(model, chat, PROMPTS)]
    some = set.union(*said) - set.intersection(*said)
    return replace(chat, end_ids=(min(some),))


@pytest.fixture(scope="module")
def ending(model: Any, tiny_chat: Chat) -> Chat:
    return stopping(model, tiny_chat)


@pytest.mark.parametrize("batch", [2, 4, 9, 100])
def test_answers_in_a_batch_are_the_answers_one_by_one_in_the_order_asked(batch: int, model: Any, ending: Chat) -> None:
    assert answers(model, ending, PROMPTS, batch=batch) == answers(model, ending, PROMPTS, batch=1)


def test_an_answer_that_ends_itself_says_stop_and_one_that_is_cut_says_length(model: Any, ending: Chat) -> None:
    for answer in answers(model, ending, PROMPTS):
        assert (answer.finish_reason == "length") == (answer.num_tokens == 20 and answer.finish_reason != "stop")
    reasons = {a.finish_reason for a in answers(model, ending, PROMPTS)}
    assert reasons == {"stop", "length"}


def test_a_stream_put_together_is_the_generated_answer(model: Any, ending: Chat) -> None:
    for prompt, answer in zip(PROMPTS, answers(model, ending, PROMPTS), strict=True):
        pieces = list(stream(model, ending, prompt, max_new_tokens=20, context=768))
        assert answer.text.startswith("".join(pieces)) and "".join(pieces).rstrip("�") == answer.text.rstrip("�")


def test_a_prompt_that_fills_the_context_is_an_error(model: Any, tiny_chat: Chat) -> None:
    with pytest.raises(EvaluationError, match="fills the whole context"):
        generate(model, tiny_chat, PROMPTS, max_new_tokens=4, batch_examples=4, context=40)


def test_an_answer_ends_where_the_context_does(model: Any, tiny_chat: Chat) -> None:
    size = len(tiny_chat.encode_prompt(PROMPTS[0]))
    made = generate(model, tiny_chat, PROMPTS[:1], max_new_tokens=50, batch_examples=1, context=size + 3)
    assert made[0].num_tokens <= 3


def test_an_answer_has_its_full_room_whatever_else_is_in_the_batch(model: Any, tiny_chat: Chat) -> None:
    """A short prompt beside one that nearly fills the context may still use all of its own room."""
    context = len(tiny_chat.encode_prompt(PROMPTS[1])) + 2
    alone = generate(model, tiny_chat, PROMPTS[:1], max_new_tokens=20, batch_examples=1, context=context)
    beside = generate(model, tiny_chat, PROMPTS[:2], max_new_tokens=20, batch_examples=2, context=context)
    assert beside[0] == alone[0]


def test_every_answer_is_counted_once(model: Any, tiny_chat: Chat) -> None:
    done: list[int] = []
    generate(model, tiny_chat, PROMPTS, max_new_tokens=2, batch_examples=4, context=768, on_done=done.append)
    assert sum(done) == len(PROMPTS)


def test_no_prompts_give_no_answers(model: Any, tiny_chat: Chat) -> None:
    assert answers(model, tiny_chat, []) == []


def test_keys_and_values_are_gone_with_the_last_answer_of_a_batch(model: Any, tiny_chat: Chat) -> None:
    """A suite is asked in several batches: the memory of the one before must not wait for the garbage collector."""

    def caches() -> int:
        return sum(isinstance(one, LayerCache) for one in gc.get_objects())

    gc.collect()
    before = caches()
    gc.disable()
    try:
        answers(model, tiny_chat, PROMPTS, most=4)
        after = caches()
    finally:
        gc.enable()
    assert after == before
