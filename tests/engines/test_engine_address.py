"""Models at an address: another model, refusals, cut answers, silence, and a vLLM that is recognised."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from fake_server import Reply, serving

from fakes import conversation
from tunesmith.core.errors import EngineError
from tunesmith.engines.address import ModelServer, open_address
from tunesmith.engines.client import Client
from tunesmith.engines.engine import EngineRequest
from tunesmith.models.generation.requests import Sampling

CHAT = "/v1/chat/completions"
ASKED = EngineRequest(messages=conversation("Hello"), max_new_tokens=5, stop=("END",))


def chat(body: dict[str, Any]) -> dict[str, Any]:
    choice = {"message": {"content": f"to {body['messages'][-1]['content']}"}, "finish_reason": "length"}
    return {"model": body["model"], "choices": [choice], "usage": {"completion_tokens": 5, "prompt_tokens": 9}}


def replies(**more: Reply) -> dict[str, Reply]:
    return {"/v1/models": {"data": [{"id": "mine", "owned_by": "someone"}]}, CHAT: chat, **more}


def test_the_only_model_is_asked_with_the_settings_that_the_interface_has() -> None:
    with serving(replies()) as server, open_address(server.url + "/v1", api_key="secret") as engine:
        assert isinstance(engine, ModelServer) and engine.model == "mine" and not engine.takes_ids
        [answer] = engine.answer([ASKED])
        assert (answer.text, answer.finish_reason, answer.num_tokens, answer.ids) == ("to Hello", "length", 5, None)
        body = server.last(CHAT)
        assert (body["max_tokens"], body["stop"], body["temperature"], body["stream"]) == (5, ["END"], 0, False)
        assert engine.tokenize("x") is None and engine.score([(1, 2)], [1]) is None and engine.usage.answers == 1


def test_settings_that_cannot_be_sent_are_stated() -> None:
    with serving(replies()) as server, open_address(server.url) as engine:
        said = " ".join(engine.differences(Sampling(temperature=1.0, top_k=5, min_p=0.1, repetition_penalty=1.1)))
        assert all(name in said for name in ("top_k", "min_p", "repetition_penalty", "random numbers"))
        assert not engine.differences(Sampling())


def test_an_answer_of_another_model_is_refused() -> None:
    def other(body: dict[str, Any]) -> dict[str, Any]:
        return {**chat(body), "model": "something-bigger"}

    with serving({**replies(), CHAT: other}) as server, open_address(server.url) as engine:
        with pytest.raises(EngineError, match="another model than was asked") as caught:
            engine.answer([ASKED])
        assert caught.value.problems[0].value == "something-bigger"


def test_a_model_that_is_not_served_is_refused_with_those_that_are() -> None:
    with serving(replies()) as server, pytest.raises(EngineError) as caught:
        open_address(server.url, "theirs")
    assert (caught.value.problems[0].value, caught.value.problems[0].expected) == ("theirs", "mine")


def test_one_of_several_models_must_be_named() -> None:
    several = {"/v1/models": {"data": [{"id": "a"}, {"id": "b"}]}}
    with serving(several) as server, pytest.raises(EngineError, match="serves 2 models"):
        open_address(server.url)


def test_an_address_where_nothing_listens_is_reported() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(EngineError, match="cannot be reached"):
            open_address(f"http://127.0.0.1:{closed.getsockname()[1]}")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "too long"}}, "too long"),
        ({"error": "model is loading"}, "model is loading"),
        ({"detail": "not allowed"}, "not allowed"),
        (b"<html>Bad Gateway", "<html>Bad Gateway"),
    ],
)
def test_what_a_server_says_when_it_refuses_is_in_the_error(body: Any, words: str) -> None:
    with serving(replies()) as server, open_address(server.url) as engine:
        server.replies[CHAT], server.status[CHAT] = body, 500
        with pytest.raises(EngineError, match="HTTP 500") as caught:
            engine.answer([ASKED])
        assert caught.value.problems[0].value == words


def test_an_answer_that_is_cut_is_never_taken_for_a_whole_one() -> None:
    with serving(replies()) as server, open_address(server.url) as engine:
        server.promised = 50
        with pytest.raises(EngineError, match="broke the connection"):
            engine.answer([ASKED])
        server.promised = 0
        server.replies[CHAT] = b'{"model": "mine", "choices": [{"mess'
        with pytest.raises(EngineError, match="not whole JSON"):
            engine.answer([ASKED])
        server.replies[CHAT] = {"model": "mine", "choices": []}
        with pytest.raises(EngineError, match="in a form that is not OpenAI's"):
            engine.answer([ASKED])


def test_a_server_that_never_answers_is_given_up_after_its_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", engine="the server", timeout_s=0.01)
        with pytest.raises(EngineError, match="did not answer /v1/models in time"):
            client.get("/v1/models")
        client.close()


def test_token_ids_and_adapters_are_refused_where_they_cannot_be_sent() -> None:
    with serving(replies()) as server, open_address(server.url) as engine:
        for request in (
            EngineRequest(ids=(1, 2), max_new_tokens=5),
            EngineRequest(messages=conversation("x"), max_new_tokens=5, adapter="mine"),
        ):
            with pytest.raises(EngineError, match="takes messages"):
                engine.answer([request])
