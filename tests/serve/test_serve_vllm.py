"""A base and its adapters in a vLLM that the server starts, asks, and starts again when it has ended. vLLM is a stand-in that
speaks its HTTP; tests/real/test_other_engines.py has the real one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from running_server import Running, running
from tiny_models import loaded, make_adapter, raised
from vllm_stand_in import install

from fakes import make_base
from tunesmith.core.errors import EngineError
from tunesmith.engines.vllm import PYTHON, vllm_rank
from tunesmith.serve.engines.started import StartedEngine
from tunesmith.serve.registry import Registry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="vLLM is not there")


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vllm")
    base = make_base(root / "tiny")
    (base / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_k": 7}')
    return {
        "root": root,
        "base": base,
        "mine": make_adapter(base, root / "mine", seed=1),
        "wide": make_adapter(base, root / "wide", seed=2, rank=9),
    }


def opened(folders: dict[str, Path], stand_in: Path, *names: str, **how: Any) -> tuple[Registry, list[Any]]:
    references = [f"tiny={folders['base']}", *(f"{name}={folders['base']}+{folders[name]}" for name in names)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(PYTHON, str(stand_in))
        return loaded(folders["root"], *references, engine="vllm", context=256, rows=2, **how)


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    stand_in = install(tmp_path_factory.mktemp("stand-in"))
    registry, refused = opened(folders, stand_in, "mine", "wide", most_adapters=1)
    assert not refused
    with pytest.MonkeyPatch.context() as patched, running(registry) as found:
        patched.setenv(PYTHON, str(stand_in))  # for the starts to come
        yield found


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, model: str, text: str = "What is tea?", **how: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": asked(text), **how})


def score(client: openai.OpenAI, model: str) -> Any:
    return client.completions.create(model=model, prompt="Tea", max_tokens=0, echo=True, logprobs=1)


def engine_of(server: Running) -> StartedEngine[Any]:
    (engine,) = server.engines()
    return engine  # type: ignore[no-any-return]


def read(engine: StartedEngine[Any], path: str) -> Any:
    with urllib.request.urlopen(f"{engine.server.url}{path}") as answer:
        return json.loads(answer.read())


def test_a_base_and_its_adapters_answer_by_name_whole_and_streamed(client: openai.OpenAI, server: Running) -> None:
    for name, who in (("tiny", "base"), ("mine", "mine"), ("wide", "wide")):
        text = ask(client, name).choices[0].message.content
        assert text == f"{who} heard: What is tea?"
        assert "".join(c.choices[0].delta.content or "" for c in ask(client, name, stream=True)) == text
    assert client.completions.create(model="mine", prompt="Tea").choices[0].text == "mine heard: Tea"
    listed: dict[str, Any] = {one.id: one for one in client.models.list()}
    assert {one.model_extra["engine"] for one in listed.values()} == {"vLLM"}
    assert all(one.model_extra["prompt_parity"] == "32 of 32 prompts have the same token ids" for one in listed.values())


def test_vllm_is_started_with_what_the_models_need(server: Running, folders: dict[str, Path]) -> None:
    options = read(engine_of(server), "/options")
    assert (options["host"], options["max_model_len"], options["max_num_seqs"], options["dtype"]) == (
        "127.0.0.1",
        256,
        2,
        "float32",
    )
    assert (options["max_lora_rank"], options["max_loras"], options["max_cpu_loras"]) == (16, 1, 2)
    key = psutil.Process(engine_of(server).server._process.pid).environ()["VLLM_API_KEY"]
    assert len(key) > 30 and key not in " ".join(psutil.Process(engine_of(server).server._process.pid).cmdline())


def test_a_request_carries_the_settings_that_the_model_was_tested_with_unless_it_says_otherwise(
    client: openai.OpenAI, server: Running
) -> None:
    ask(client, "tiny")
    ask(client, "mine", temperature=0, seed=3)
    tested, own = read(engine_of(server), "/heard")[-2:]
    assert (tested["temperature"], tested["top_k"], own["temperature"], own["seed"]) == (0.6, 7, 0, 3)
    assert tested["stop_token_ids"] == own["stop_token_ids"] == [7]


@pytest.mark.parametrize(
    ("how", "param"),
    [
        ({"max_tokens": 10_000}, "max_tokens"),
        ({"tools": [{"type": "function", "function": {"name": "look"}}]}, "tools"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"messages": [{"role": "user", "content": "Hi", "name": "ada"}]}, "messages[0].name"),
    ],
)
def test_what_vllm_is_not_asked_for_is_refused_by_name(client: openai.OpenAI, how: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "tiny", **how)
    assert caught.value.param == param


def test_a_prompt_is_scored_only_where_vllm_has_no_adapters(
    client: openai.OpenAI, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:  # vLLM 0.32 on a CPU would end there, for all
        score(client, "tiny")
    assert caught.value.param == "echo"
    registry, refused = opened(folders, install(tmp_path))
    with running(registry) as alone, openai.OpenAI(base_url=f"{alone.url}/v1", api_key="none", max_retries=0) as asking:
        assert not refused and score(asking, "tiny").choices
        heard = read(engine_of(alone), "/heard")[-1]
        assert (heard["echo"], heard["max_tokens"], heard["logprobs"]) == (True, 0, 1)


def test_a_vllm_that_dies_in_mid_stream_is_an_error_there_and_is_started_again_until_it_dies_too_often(
    client: openai.OpenAI, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    engine, pids, clock = engine_of(server), [], [0.0]
    engine._clock = lambda: clock[0]
    engine._changed, pieces = 0.0, list[str]()
    for _ in range(2):
        pids.append(engine.server._process.pid)
        with pytest.raises(openai.APIError, match="vLLM"):
            pieces += [c.choices[0].delta.content or "" for c in ask(client, "mine", "please die", stream=True)]
        assert ask(client, "mine").choices[0].message.content == "mine heard: What is tea?", "the next one waits for the start"
    assert "EngineDeadError: out of memory" in caplog.text, "the operator sees its last lines"
    assert len({*pids, engine.server._process.pid}) == 3 and not any(map(psutil.pid_exists, pids))
    psutil.Process(engine.server._process.pid).kill()
    engine.server._process._process.wait()
    with pytest.raises(openai.InternalServerError, match="ended 3 times in a row") as caught:
        ask(client, "tiny")
    assert caught.value.status_code == 503 and int(caught.value.response.headers["retry-after"]) == 120
    assert "vLLM ended" in asyncio.run(engine.health())
    clock[0] = 121.0
    assert ask(client, "tiny").choices[0].message.content == "base heard: What is tea?"


def test_a_vllm_that_dies_before_its_first_piece_is_started_and_asked_again(client: openai.OpenAI, server: Running) -> None:
    engine_of(server)._lives.clear()
    with pytest.raises(openai.InternalServerError):
        ask(client, "mine", "please die")  # twice: the second time it is told
    assert ask(client, "mine").choices[0].message.content == "mine heard: What is tea?"


@pytest.mark.parametrize(("fault", "left"), [("template", []), ("adapter", ["tiny"])])
def test_a_model_whose_prompts_vllm_reads_otherwise_is_not_served(
    folders: dict[str, Path], tmp_path: Path, fault: str, left: list[str]
) -> None:
    registry, refused = opened(folders, install(tmp_path, fault=fault), "mine")
    with running(registry):
        assert list(registry.names()) == left
    assert "mine is not served: vLLM reads its prompts otherwise" in str(refused[-1])


def test_a_vllm_that_does_not_start_is_told_with_its_last_lines(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the KV cache does not fit"):
        raised(opened(folders, install(tmp_path, fault="no start")))
    with pytest.raises(EngineError, match="needs a Python environment of its own") as caught:
        raised(opened(folders, tmp_path / "nothing"))
    assert "export TUNESMITH_VLLM=" in caught.value.problems[0].hint


def test_an_adapter_that_changes_while_it_is_served_is_not_started_again(folders: dict[str, Path], tmp_path: Path) -> None:
    make_adapter(folders["base"], folders["root"] / "other", seed=3)
    folders = {**folders, "other": folders["root"] / "other"}
    stand_in = install(tmp_path)
    registry, _ = opened(folders, stand_in, "other")
    with pytest.MonkeyPatch.context() as patched, running(registry) as server:
        patched.setenv(PYTHON, str(stand_in))
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            assert ask(client, "other").choices[0].message.content
            make_adapter(folders["base"], folders["other"], seed=4)
            psutil.Process(engine_of(server).server._process.pid).kill()
            with pytest.raises(openai.InternalServerError, match="has changed on the disk"):
                ask(client, "other")


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"use_dora": True}, "DoRA"), ({"rank_pattern": {"q_proj": 513}}, "513"), ({"r": 600}, "600")],
)
def test_an_adapter_that_vllm_would_apply_otherwise_is_refused(
    folders: dict[str, Path], tmp_path: Path, changed: dict[str, Any], what: str
) -> None:
    assert (vllm_rank(folders["mine"]), vllm_rank(folders["wide"])) == (8, 16)
    config = json.loads((folders["mine"] / "adapter_config.json").read_bytes())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | changed))
    with pytest.raises(EngineError, match=what):
        vllm_rank(tmp_path)


def test_ranks_by_layer_are_left_to_a_vllm_that_reads_them(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["mine"], tmp_path / "by-layer")
    file = tmp_path / "by-layer" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"rank_pattern": {"q_proj": 9}}))
    assert vllm_rank(file.parent) == 16
    folders = {**folders, "by-layer": file.parent}
    registry, refused = opened(folders, install(tmp_path / "new"), "by-layer")
    with running(registry):
        assert not refused and len(list(registry)) == 2
    with pytest.raises(EngineError, match=r"rank_pattern, in vLLM 0\.31\.9"):
        raised(opened(folders, install(tmp_path / "old", fault="old"), "by-layer"))
