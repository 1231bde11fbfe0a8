"""vLLM: what is sent to its server and read back, against a server that answers as vLLM 0.32 does; and starting one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_server import FakeServer, Reply, serving

from fakes import conversation
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EngineError, EvaluationError
from tunesmith.engines.address import open_address
from tunesmith.engines.engine import ALONE, EngineRequest
from tunesmith.engines.served import folder_hash
from tunesmith.engines.vllm import PYTHON, Vllm, start_vllm, vllm_command
from tunesmith.models.chat import Chat
from tunesmith.models.generation.requests import Sampling
from tunesmith.systems.comparable import Rendered
from tunesmith.systems.engine_system import EngineSystem
from tunesmith.systems.opening import Opening, open_system

COMPLETE = "/v1/completions"


def completion(body: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = {"text": " yes", "finish_reason": "stop", "token_ids": [11, 7]}
    if "prompt_logprobs" in body:
        listed = [
            {
                str(token): {"logprob": -0.5 * place, "rank": 1 + place % 2},
                "99": {"logprob": -0.1, "rank": 2 - place % 2},
            }
            for place, token in enumerate(body["prompt"])
        ]
        choice["prompt_logprobs"] = [None, *listed[1:]]
    if "logprobs" in body:
        choice["logprobs"] = {"top_logprobs": [{"token_id:5": -1.5, "token_id:9": -0.3}]}
    return {"model": body["model"], "choices": [choice], "usage": {"completion_tokens": 2, "prompt_tokens": 3}}


def replies() -> dict[str, Reply]:
    models = [{"id": name, "owned_by": "vllm"} for name in ("base", "mine", "other")]
    return {
        "/version": {"version": "0.32.0"},
        "/v1/models": {"data": models},
        "/tokenize": lambda body: {"tokens": [1, 2, 3] if "messages" in body else [len(body["prompt"])]},
        "/detokenize": lambda body: {"prompt": f"<{len(body['tokens'])} tokens>"},
        COMPLETE: completion,
    }


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(replies()) as running:
        yield running


@pytest.fixture
def engine(server: FakeServer) -> Iterator[Vllm]:
    with Vllm(server.url, "base", adapters=("mine", "other")) as running:
        yield running


def test_settings_are_sent_by_vllms_own_names_and_ids_come_back(server: FakeServer, engine: Vllm) -> None:
    how = Sampling(temperature=0.7, top_p=0.9, min_p=0.05, repetition_penalty=1.1, seed=3)
    [answer] = engine.answer([EngineRequest(ids=(4, 5, 6), max_new_tokens=8, sampling=how)])
    assert (answer.text, answer.ids, answer.finish_reason, answer.num_tokens) == (" yes", (11, 7), "stop", 2)
    body = server.last(COMPLETE)
    sent = {name: body[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")}
    assert sent == {"temperature": 0.7, "top_p": 0.9, "top_k": -1, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 3}
    assert body["prompt"] == [4, 5, 6] and body["add_special_tokens"] is False
    assert len(engine.differences(how)) == 2 and not engine.differences(Sampling())


def test_an_adapter_is_a_model_of_its_own_name_and_the_first_is_the_default(server: FakeServer, engine: Vllm) -> None:
    for adapter, model in ((None, "mine"), ("other", "other"), (ALONE, "base")):
        engine.answer([EngineRequest(ids=(4,), max_new_tokens=1, adapter=adapter)])
        assert server.last(COMPLETE)["model"] == model
    with pytest.raises(EngineError, match="started without this adapter"):
        engine.score([(4, 5)], [1], adapter="third")


def test_scores_are_read_from_the_log_probabilities_of_the_prompt(engine: Vllm) -> None:
    [scores, nothing] = engine.score([(4, 5, 6, 8), (4, 5)], [2, 2], top=2)
    assert scores.log_p == (-1.0, -1.5) and scores.is_top == (True, False)
    assert scores.top[0].ids == (6, 99) and scores.top[1].ids == (99, 8)
    assert nothing.log_p == ()
    [likeliest] = engine.next_tokens([(4, 5)], 2)
    assert likeliest.ids == (9, 5) and likeliest.log_p == (-0.3, -1.5)


def test_token_ids_and_the_rendered_prompt_are_read_back(engine: Vllm) -> None:
    assert engine.tokenize("abcd") == (4,)
    assert engine.render(conversation("Hello")) == "<3 tokens>"
    assert engine.prompt_ids(conversation("Hello")) == (1, 2, 3), "as the server makes them, not its text read once more"


def test_a_vllm_at_an_address_is_recognised(server: FakeServer) -> None:
    with open_address(server.url, "base") as found:
        assert isinstance(found, Vllm) and found.takes_ids and found.version == "0.32.0" and found.memory_bytes() is None


def test_parity_opens_a_vllm_at_an_address_with_its_prompts_and_log_probabilities(
    server: FakeServer, tiny_chat: Chat, tmp_path: Path
) -> None:
    how = Opening(store=Store(tmp_path), chat=tiny_chat)
    with open_system(f"{server.url}/v1#base", how) as opened:
        assert (opened.engine, opened.form) == ("vLLM", "vLLM at an address")
        assert isinstance(opened.system, EngineSystem)
        assert opened.system.rendered([conversation("Hello")]) == [Rendered(text="<3 tokens>", ids=(1, 2, 3))]
        assert opened.system.top_tokens([(3, 4, 5)], [1], 2) is not None


def test_parity_does_not_open_a_server_alone(server: FakeServer, tmp_path: Path) -> None:
    with (
        pytest.raises(EvaluationError, match="chat format"),
        open_system(f"{server.url}/v1#base", Opening(store=Store(tmp_path))),
    ):
        pass


def test_an_adapter_that_was_not_loaded_is_found_when_the_engine_is_opened(server: FakeServer) -> None:
    with pytest.raises(EngineError, match="does not serve this model") as caught:
        Vllm(server.url, "base", adapters=("mine", "lost"))
    assert caught.value.problems[0].value == "lost"


def test_the_command_names_folder_limits_and_adapters() -> None:
    words = vllm_command(
        "python",
        Path("/m"),
        port=9,
        context=512,
        slots=2,
        dtype="auto",
        adapters={"a": Path("/x"), "b": Path("/y")},
        max_rank=8,
    )
    text = " ".join(words)
    assert "--host 127.0.0.1 --port 9" in text and "--max-model-len 512" in text
    assert "--enable-lora --max-loras 2 --max-cpu-loras 2 --max-lora-rank 8 --lora-modules a=/x b=/y" in text


def test_without_a_python_of_its_own_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value in ("", str(tmp_path / "gone")):
        monkeypatch.setenv(PYTHON, value)
        with pytest.raises(EngineError, match="needs a Python environment of its own") as caught:
            start_vllm(tmp_path)
        assert "export TUNESMITH_VLLM=" in caught.value.problems[0].hint


def test_a_python_without_vllm_is_reported_with_what_it_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('No module named vllm')\n", encoding="utf-8")
    script.chmod(0o755)
    if os.name != "posix":
        pytest.skip("a script is no program there")
    monkeypatch.setenv(PYTHON, str(script))
    with pytest.raises(EngineError, match="No module named vllm"):
        start_vllm(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="vLLM is not there")
def test_vllm_ends_with_its_processes_when_its_parent_is_gone(tmp_path: Path) -> None:
    package = tmp_path / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text(
        "import subprocess, sys, threading; child = subprocess.Popen(['sleep', '1000'])\n"
        "print(child.pid, __name__, *sys.argv[1:], flush=True); threading.Event().wait()\n",
        encoding="utf-8",
    )
    words = vllm_command(sys.executable, Path("/m"), port=9, context=8, slots=1, dtype="auto", adapters={}, max_rank=8)
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    with process:
        assert process.stdout is not None and process.stdin is not None
        child, name, *given = process.stdout.readline().split()
        assert name == "__main__" and given == words[2:]
        running = psutil.Process(int(child))
        process.stdin.close()
        assert process.wait(30) == 1
        psutil.wait_procs([running], timeout=30)
    assert not running.is_running() or running.status() == psutil.STATUS_ZOMBIE


def test_the_hash_of_a_folder_changes_with_a_byte_and_with_a_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    first = folder_hash(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    second = folder_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, folder_hash(tmp_path)}) == 3
