"""An answer that begins and then goes silent: it ends with an error, its place is free, and it is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from echo_engine import chat_body, opened
from running_server import Running, running
from stepping import Stepping, stepping
from test_serve_care import until
from tiny_models import loaded
from upstream import upstream

SILENT = "sent nothing for 0.05 s in the middle of its answer"


def post(server: Running, model: str, **how: Any) -> tuple[int, str]:
    body = chat_body("Tea?", model, **how)
    found = urllib3.request("POST", f"{server.url}/v1/chat/completions", json=body, retries=False, timeout=60)
    return found.status, found.data.decode()


def check_stalled(server: Running, model: str, *, stream: bool) -> None:
    status, content = post(server, model, stream=stream)
    assert status == (200 if stream else 504) and SILENT in content
    if stream:
        last = content.strip().split("\n\n")
        assert json.loads(last[-2].removeprefix("data: "))["error"]["code"] == "stalled" and last[-1] == "data: [DONE]"
        assert 'finish_reason":"stop' not in content
    assert server.pipeline.load == (0, 0)


def count(server: Running, name: str) -> float:
    lines = urllib3.request("GET", f"{server.url}/metrics").data.decode().splitlines()
    found = [line for line in lines if line.startswith(f'tunesmith:answers_stalled_total{{model_name="{name}')]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_a_model_of_a_chain_that_goes_silent_is_given_up_at_the_limit_of_its_link(tmp_path: Path) -> None:
    engine = Stepping(at_once=1)
    registry = stepping(engine, "m")
    chains = {"mine": [{"model": "m", "stall": 0.05}], "patient": [{"model": "m", "stall": 60.0}], "free": [{"model": "m"}]}
    with running(registry, traffic=opened(tmp_path / "serve.db", registry=registry, fallback=chains)) as server:
        for at, stream in enumerate((True, False)):
            check_stalled(server, "mine", stream=stream)
            assert engine.given_up == at + 1 and engine.open == 0
        until(lambda: count(server, "m") == 2)
        assert [line["status"] for line in server.log if line["event"] == "request"] == [504, 504]
        engine.go.set()
        for model in ("mine", "patient", "free", "m"):
            assert "said" in post(server, model)[1]
        assert count(server, "m") == 2


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A server that sends one piece, and then comments alone until it may go on."""
    go, pause = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        for text, finish in (("Tea", None), ("!", "stop")):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
            yield b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
            while not go.is_set():
                yield b": wait\n\n"
                pause.wait(0.005)
        yield b"data: [DONE]\n\n"

    def script(path: str, body: bytes) -> tuple[int, dict[str, str], Iterable[bytes], bool]:
        return 200, {}, [b'{"data": [{"id": "small"}]}'] if path == "/v1/models" else pieces(), True

    with upstream(script) as url:
        yield url, go
        go.set()


def test_a_server_behind_an_address_that_goes_silent_is_given_up(silent: tuple[str, threading.Event], tmp_path: Path) -> None:
    url, go = silent
    for stall_s in (0.05, 60.0):
        registry, _ = loaded(tmp_path, f"{url}/v1", stall_s=stall_s)
        with running(registry) as server:
            if stall_s < 1:
                check_stalled(server, "small", stream=True)
                until(lambda server=server: count(server, "small") == 1)
                go.set()
            else:
                assert "stop" in post(server, "small", stream=True)[1]
