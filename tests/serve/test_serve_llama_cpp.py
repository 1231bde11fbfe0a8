"""A GGUF file and its adapter, in a llama.cpp that the server starts, asks, and starts again when it has ended."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from running_server import Running, running
from tiny_models import loaded, make_adapter, raised

from fakes import TEMPLATE, make_base
from gguf_files import write_gguf, write_gguf_adapter
from tunesmith.core.errors import EngineError
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base
from tunesmith.serve.loading.gguf import GgufGroup

pytest.importorskip("xllamacpp", reason="needs tunesmith[llama-cpp]")
ASKED: list[Any] = [{"role": "user", "content": "Tell me about the lamp."}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("gguf")
    base = make_base(root / "tiny")
    file = write_gguf(base, root / "tiny.gguf", template=TEMPLATE)
    adapter = write_gguf_adapter(make_adapter(base, root / "a", seed=1), base, root / "mine.gguf")
    folder = find_base(str(base))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(GgufGroup, "_own", lambda self, how: (folder, open_chat(folder)))  # as for the GGUF of a run
        registry, refused = loaded(root, f"tiny={file}", f"mine={file}+{adapter}", context=256, rows=2)
    assert not refused
    with running(registry) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, model: str, **how: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": ASKED, "max_tokens": 16, "temperature": 0, **how})


def test_the_file_and_its_adapter_answer_by_name_whole_and_streamed(client: openai.OpenAI) -> None:
    texts = {name: ask(client, name).choices[0].message.content for name in ("tiny", "mine")}
    assert texts["tiny"] != texts["mine"]
    for name, text in texts.items():
        assert "".join(c.choices[0].delta.content or "" for c in ask(client, name, stream=True)) == text
    listed: dict[str, Any] = {one.id: one for one in client.models.list()}
    assert all("same token ids" in one.model_extra["prompt_parity"] for one in listed.values())
    tokens = ask(client, "tiny", logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert tokens and all(one.logprob <= 0 for one in tokens)


def test_as_many_likeliest_tokens_come_as_were_asked_for(client: openai.OpenAI) -> None:
    bias = {str(id): -100 for id in range(256)}  # parts of characters have none from llama.cpp
    for count in (0, 2):
        tokens = ask(client, "tiny", logprobs=True, top_logprobs=count, logit_bias=bias).choices[0].logprobs.content
        assert tokens and all(len(one.top_logprobs) == count for one in tokens)
        how: Any = {"prompt": "The lamp", "max_tokens": 4, "temperature": 0, "logprobs": count, "logit_bias": bias}
        found = client.completions.create(model="tiny", **how).choices[0]
        assert found.logprobs and "".join(found.logprobs.tokens or ()) == found.text
        assert all(len(one) == count for one in found.logprobs.top_logprobs or ())
    with pytest.raises(openai.BadRequestError) as caught:  # its server cannot
        client.completions.create(model="tiny", prompt="The lamp", max_tokens=0, echo=True, logprobs=1)
    assert caught.value.param == "echo"


@pytest.mark.parametrize(
    ("how", "param"),
    [
        ({"n": 2}, "n"),
        ({"max_tokens": 10_000}, "max_tokens"),
        ({"extra_body": {"repetition_penalty": 1.5}}, "repetition_penalty"),
        ({"messages": [{**ASKED[0], "name": "ada"}]}, "messages[0].name"),
    ],
)
def test_what_llama_cpp_is_not_asked_for_is_refused_by_name(client: openai.OpenAI, how: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "tiny", **how)
    assert caught.value.param == param


def test_a_llama_cpp_that_was_killed_is_started_again_for_the_next_request(server: Running, client: openai.OpenAI) -> None:
    before = ask(client, "mine").choices[0].message.content
    engine = server.engines()[0]
    psutil.Process(engine.server._process.pid).kill()
    assert ask(client, "mine").choices[0].message.content == before
    assert asyncio.run(engine.health()) == ""
    process, pause = psutil.Process(engine.server._process.pid), threading.Event()
    process.suspend()
    with ThreadPoolExecutor(1) as pool:  # and one that dies with a request in work
        asked = pool.submit(ask, client, "mine")
        while server.pipeline.load[0] != 1:
            pause.wait(0.002)
        process.kill()
        assert asked.result().choices[0].message.content == before


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Running]:
    """The file in a llama.cpp of its own, and its base in this process."""
    base = make_base(tmp_path / "tiny")
    folder = find_base(str(base))
    file = write_gguf(base, tmp_path / "mine.gguf", template=TEMPLATE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(GgufGroup, "_own", lambda self, how: (folder, open_chat(folder)))
        registry, refused = loaded(tmp_path, f"mine={file}", f"base={base}", context=768, rows=1)
    assert not refused
    with running(registry) as found:
        yield found


def process_of(server: Running) -> psutil.Process:
    engine: Any = server.registry.resolve("mine").engine
    return psutil.Process(engine.server._process.pid)


def test_a_llama_cpp_that_dies_in_mid_stream_never_ends_a_stream_as_if_it_were_whole(two: Running) -> None:
    """This model writes faster than a test can kill it, so the answer may have been whole; stand-ins that die between two
    pieces are in the tests of vLLM, which is started by the same code."""
    begun, dead = threading.Event(), threading.Event()

    def hear(client: openai.OpenAI) -> str | None:
        reason = None
        for piece in ask(client, "mine", stream=True, max_tokens=700, logit_bias={"7": -100}):  # never its end token
            begun.set()
            assert dead.wait(60)
            reason = piece.choices[0].finish_reason if piece.choices else reason
        return reason

    with openai.OpenAI(base_url=f"{two.url}/v1", api_key="none", max_retries=0) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(hear, client)
        assert begun.wait(60)
        process_of(two).kill()
        dead.set()
        try:
            assert asked.result() == "length"
        except openai.APIError as error:
            assert re.match(r"llama\.cpp (at .* broke off|ended)", str(error))
        assert ask(client, "mine").choices and ask(client, "base").choices
    assert two.pipeline.load == (0, 0)


def test_a_file_that_is_gone_when_llama_cpp_has_to_start_again_is_said_and_other_models_are_served_on(
    two: Running, tmp_path: Path
) -> None:
    with openai.OpenAI(base_url=f"{two.url}/v1", api_key="none", max_retries=0) as client:
        process = process_of(two)
        kept = (tmp_path / "mine.gguf").rename(tmp_path / "kept.gguf")
        process.kill()
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, "mine")
        assert caught.value.status_code == 503 and caught.value.response.headers["retry-after"]
        assert "mine.gguf" in caught.value.message and ask(client, "base").choices
        kept.rename(tmp_path / "mine.gguf")
        assert ask(client, "mine").choices


def test_without_llama_cpp_a_gguf_file_is_refused_with_the_command_that_installs_it_and_the_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path / "tiny")
    file = write_gguf(base, tmp_path / "mine.gguf", template=TEMPLATE)
    monkeypatch.setattr("tunesmith.engines.llama_cpp._PACKAGE", "a-package-that-is-not-installed")
    registry, refused = loaded(tmp_path, f"mine={file}", f"base={base}", rows=1)
    problem = refused[0].problems[0]
    assert registry.names() == ("base",) and "not installed" in problem.what
    assert problem.hint == "pip install 'tunesmith[llama-cpp]'"
    for engine in {version.engine for version in registry}:
        asyncio.run(engine.close())


def test_a_file_that_reads_prompts_otherwise_than_the_model_did_in_training_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find_base(str(make_base(tmp_path / "tiny")))
    file = write_gguf(base.path, tmp_path / "odd.gguf", template="<s>" + TEMPLATE)
    monkeypatch.setattr(GgufGroup, "_own", lambda self, how: (base, open_chat(base)))  # as for the GGUF of a run
    registry, refused = loaded(tmp_path, f"odd={file}", context=256, rows=1)
    assert not list(registry) and "odd is not served: llama.cpp reads its prompts otherwise" in str(refused[0])


@pytest.mark.parametrize(
    ("how", "slots"),
    [
        ({"rows": 32, "context": 256}, 32),  # as many as asked for, where their contexts are short
        ({"rows": 200, "context": 256}, 128),  # together they have 32,768 tokens
        ({"rows": 2, "context": 256}, 2),
    ],
)
def test_slots_share_a_limit_of_tokens_and_threads_are_those_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, int], slots: int
) -> None:
    started: list[dict[str, Any]] = []

    async def start(file: Path, adapters: Any, **settings: Any) -> Any:
        started.append(settings)
        raise EngineError("not started", value="", expected="", hint="")

    monkeypatch.setattr("tunesmith.serve.loading.gguf.start_llama_cpp", start)
    file = write_gguf(make_base(tmp_path / "tiny"), tmp_path / "tiny.gguf", template=TEMPLATE)
    for threads, expected in (("3", 3), ("2,1", 2), ("", None), ("many", None)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        with pytest.raises(EngineError):
            raised(loaded(tmp_path, str(file), **how))
        assert (started[-1]["at_once"], started[-1]["context"], started[-1]["threads"]) == (slots, 256, expected)
