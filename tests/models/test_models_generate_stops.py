"""Where answers end and how they are shown: stop texts across the borders of tokens, pieces, both systems side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes import conversation
from tunesmith.core.errors import EvaluationError
from tunesmith.models.adapters import open_adapter, without_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, answer, generate, stream_all
from tunesmith.models.generation.text import Ending, Spoken
from tunesmith.models.load import BaseFolder, load_model

MESSAGES = [conversation("word " * n + "?") for n in (1, 30, 3, 12)]


@pytest.fixture(scope="module")
def model(tiny: BaseFolder, trained_adapter: Path) -> Any:
    return open_adapter(load_model(tiny, "float32"), trained_adapter)


def ids_of(chat: Chat, text: str) -> list[int]:
    ids: list[int] = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def said(chat: Chat, text: str, stop: Sequence[str]) -> tuple[str, str, list[str]]:
    """An answer of `text`, token by token, until it ends: (text, reason, pieces)."""
    ending = Ending(chat, stop)
    spoken = Spoken(ending)
    pieces, tokens = [], list[int]()
    ids = ids_of(chat, text)
    for number, token in enumerate(ids, start=1):
        tokens.append(token)
        last = ending.reached(tokens) or number == len(ids)
        pieces.append(spoken.said(token, last=last))
        if last:
            break
    done = ending.completion(tokens)
    return done.text, done.finish_reason, pieces


@pytest.mark.parametrize("stop", ["in the", "he w", "e", " that was", "hat was in the"])
def test_a_stop_text_cuts_the_answer_wherever_tokens_are_cut(tiny_chat: Chat, stop: str) -> None:
    text = "and out of it all that was in the wall"
    assert len(ids_of(tiny_chat, text)) < len(text)
    shown, reason, pieces = said(tiny_chat, text, [stop])
    if stop in text:
        assert (shown, reason) == (text[: text.index(stop)], "stop")
    else:
        assert (shown, reason) == (text, "length")
    assert "".join(pieces) == shown


def test_the_earliest_of_several_stop_texts_counts(tiny_chat: Chat) -> None:
    assert said(tiny_chat, "one two three", ["three", "two"])[0] == "one "


def test_what_may_become_a_stop_text_is_held_back_and_shown_when_it_does_not(tiny_chat: Chat) -> None:
    text, reason, pieces = said(tiny_chat, "a ##b ### c", ["###!", "### c!"])
    assert text == "a ##b ### c" and reason == "length" and "".join(pieces) == text


@pytest.mark.parametrize("text", ["naïve — 日本語 🎉 ok", "🎉🎉"])
def test_pieces_never_end_inside_a_character(tiny_chat: Chat, text: str) -> None:
    shown, _, pieces = said(tiny_chat, text, ["never said"])
    assert "".join(pieces) == shown == text and not any("�" in piece for piece in pieces)


def test_a_stop_text_ends_a_models_answer_early(model: Any, tiny_chat: Chat) -> None:
    made = generate(model, tiny_chat, MESSAGES, max_new_tokens=30, batch_examples=4, context=768)
    whole = [a for a in made if len(a.text) > 12]
    assert whole
    stops = [a.text[6:9] for a in whole]
    asked = [m for m, a in zip(MESSAGES, made, strict=True) if a in whole]
    requests = [Request(messages=m, max_new_tokens=30, stop=(s,)) for m, s in zip(asked, stops, strict=True)]
    for long, short, stop in zip(whole, answer(model, tiny_chat, requests, batch_examples=2, context=768), stops, strict=True):
        assert short.text == long.text[: long.text.index(stop)] and short.finish_reason == "stop"
        assert short.num_tokens < long.num_tokens


def test_base_and_tuned_side_by_side_are_each_alone(model: Any, tiny_chat: Chat) -> None:
    requests = [Request(messages=m, max_new_tokens=20, adapter=on) for m in MESSAGES for on in (False, True)]
    both = answer(model, tiny_chat, requests, batch_examples=8, context=768)
    tuned = generate(model, tiny_chat, MESSAGES, max_new_tokens=20, batch_examples=1, context=768)
    with without_adapter(model):
        base = generate(model, tiny_chat, MESSAGES, max_new_tokens=20, batch_examples=1, context=768)
    assert both[0::2] == base and both[1::2] == tuned and base != tuned


def test_streams_grow_side_by_side_and_the_model_is_free_between_pieces(model: Any, tiny_chat: Chat) -> None:
    requests = [Request(messages=m, max_new_tokens=12, adapter=on) for m in MESSAGES[:2] for on in (False, True)]
    wanted = answer(model, tiny_chat, requests, batch_examples=4, context=768)
    texts, order = [""] * 4, []
    for number, piece in stream_all(model, tiny_chat, requests, context=768):
        texts[number] += piece
        order.append(number)
        generate(model, tiny_chat, MESSAGES[:1], max_new_tokens=1, batch_examples=1, context=768)
    assert texts == [a.text for a in wanted]
    assert len(set(order[:6])) > 1


def test_an_empty_stop_text_or_no_room_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="stop text"):
        Request(messages=MESSAGES[0], max_new_tokens=3, stop=("",))
    with pytest.raises(EvaluationError, match="max_new_tokens"):
        Request(messages=MESSAGES[0], max_new_tokens=0)
