"""Ollama's own interface, against a server that answers as its documentation shows. Never run against Ollama."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, serving

from fakes import conversation
from tunesmith.core.errors import EngineError
from tunesmith.core.files import sha256_file
from tunesmith.engines.address import open_address
from tunesmith.engines.engine import EngineRequest
from tunesmith.engines.ollama import Ollama, create_model
from tunesmith.models.generation.requests import Sampling

CHAT = "/api/chat"


def chat(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("_debug_render_only"):
        return {"model": body["model"], "_debug_info": {"rendered_template": f"<user>{body['messages'][0]['content']}"}}
    message = {"role": "assistant", "content": "Blue."}
    counts = {"prompt_eval_count": 26, "eval_count": 3, "eval_duration": 4709213000}
    return {"model": body["model"], "message": message, "done": True, "done_reason": "stop", **counts}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    replies = {
        "/api/version": {"version": "0.5.1"},
        "/api/tags": {"models": [{"name": "mine:latest", "digest": "abc"}, {"name": "other:q8", "digest": "def"}]},
        "/api/show": {"template": "{{ .Prompt }}", "parameters": "stop END"},
        "/api/create": {"status": "success"},
        CHAT: chat,
    }
    with serving(replies) as running:
        yield running


def test_it_answers_messages_with_all_settings_and_says_where_they_mean_something_else(server: FakeServer) -> None:
    how = Sampling(temperature=0.8, top_p=0.9, top_k=40, min_p=0.1, repetition_penalty=1.2, seed=5)
    with Ollama("mine", url=server.url, context=1024) as engine:
        [answer] = engine.answer([EngineRequest(messages=conversation("Why?"), max_new_tokens=7, sampling=how)])
        assert (answer.text, answer.finish_reason, answer.num_tokens, answer.prompt_tokens) == ("Blue.", "stop", 3, 26)
        options = server.last(CHAT)["options"]
        assert options["num_predict"] == 7 and options["num_ctx"] == options["repeat_last_n"] == 1024
        assert (options["top_k"], options["min_p"], options["repeat_penalty"], options["seed"]) == (40, 0.1, 1.2, 5)
        assert "stop" not in options and "order" in " ".join(engine.differences(how)) and not engine.differences(Sampling())
        assert engine.render(conversation("Why?")) == "<user>Why?" and engine.shown()["template"] == "{{ .Prompt }}"
        server.replies[CHAT] = {"model": "mine:latest", "message": {"content": ""}, "done": True}
        assert engine.render(conversation("Why?")) is None, "an older version answers in place of rendering"


def test_a_model_that_is_not_there_is_refused_with_those_that_are(server: FakeServer) -> None:
    with pytest.raises(EngineError) as caught:
        Ollama("lost", url=server.url)
    assert caught.value.problems[0].expected == "mine:latest, other:q8"


@pytest.mark.parametrize("change", [{"model": "other:q8"}, {"done": False}])
def test_an_answer_of_another_model_or_a_cut_one_is_refused(server: FakeServer, change: dict[str, Any]) -> None:
    server.replies[CHAT] = lambda body: {**chat(body), **change}
    with Ollama("mine", url=server.url) as engine, pytest.raises(EngineError, match="another model, or not to the end"):
        engine.answer([EngineRequest(messages=conversation("Why?"), max_new_tokens=7)])


def test_the_fingerprint_follows_the_digest_and_the_version(server: FakeServer) -> None:
    found = []
    for digest, version in (("abc", "1"), ("abd", "1"), ("abd", "2")):
        server.replies["/api/tags"] = {"models": [{"name": "mine:latest", "digest": digest}]}
        server.replies["/api/version"] = {"version": version}
        with Ollama("mine", url=server.url) as engine:
            found.append(engine.fingerprint)
    assert len(set(found)) == 3


def test_a_model_is_made_of_an_uploaded_file(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF and so on")
    blob = f"sha256:{sha256_file(file)}"
    path = f"/api/blobs/{blob}"
    server.replies[path] = b""
    server.status[path] = 404
    with pytest.raises(EngineError, match="refused /api/blobs"):
        create_model("new", file, url=server.url)
    assert server.last(path) == b"GGUF and so on"
    server.status[path] = 200
    create_model(
        "new", file, url=server.url, template="{{ .Prompt }}", parameters={"stop": ["END"], "num_ctx": 512}, system="Be brief."
    )
    body = server.last("/api/create")
    assert body["files"] == {"m.gguf": blob} and body["parameters"]["num_ctx"] == 512 and body["system"] == "Be brief."
    server.replies["/api/create"] = {"status": "invalid template"}
    with pytest.raises(EngineError, match="did not make the model"):
        create_model("new", file, url=server.url)


def test_an_ollama_at_an_address_is_recognised_and_asked_by_its_own_interface(server: FakeServer) -> None:
    server.replies["/v1/models"] = {"data": [{"id": "mine:latest"}]}
    with open_address(f"{server.url}/v1", "mine:latest") as found:
        assert isinstance(found, Ollama) and found.prompt_ids(conversation("Why?")) is None
