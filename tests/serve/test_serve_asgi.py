"""The server as an ASGI application in another program: uvicorn here, with its own idea of the lifespan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import urllib3
import uvicorn
from echo_engine import chat_body

from fakes import make_base
from tunesmith import AsgiApp, asgi_app
from tunesmith.core.errors import EngineError, RecipeError
from tunesmith.serve.running import Address, bind

KEY = "a-key-of-more-than-sixteen"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_SERVE_KEY", KEY)
    return make_base(tmp_path / "tiny")


@contextmanager
def under_uvicorn(app: AsgiApp) -> Iterator[str]:
    """Its address; the block ends when uvicorn has ended the lifespan."""
    listening = bind(Address("127.0.0.1", 0), has_key=True)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    pause = threading.Event()
    while not server.started and thread.is_alive():
        pause.wait(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


def test_another_program_serves_the_models_and_closes_them_at_its_end(base: Path, tmp_path: Path) -> None:
    app = asgi_app([f"mine={base}"], project=tmp_path)
    with under_uvicorn(app) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            stream: Any = client.completions.create(model="mine", prompt="The lamp", max_tokens=8, stream=True)
            assert [chunk.choices[0].finish_reason for chunk in stream][-1] in ("length", "stop")
        assert urllib3.request("GET", f"{url}/healthz?ready").status == 200
        assert urllib3.request("POST", f"{url}/v1/chat/completions", json=chat_body("Tea?", "mine")).status == 401
        (engine,) = {version.engine for version in app._registry}
        asyncio.run(app.check_health())
    assert not engine._thread.is_alive
    with pytest.raises(EngineError):
        asyncio.run(app.check_health())


def test_a_model_that_cannot_be_opened_ends_the_start_with_its_message(base: Path, tmp_path: Path) -> None:
    sent: list[Any] = []

    async def live() -> None:
        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            sent.append(message)

        await asgi_app([str(tmp_path / "nowhere")], project=tmp_path)({"type": "lifespan"}, receive, send)

    asyncio.run(live())
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed" and "nowhere" in message["message"] and "hint" in message["message"]


def lived(app: AsgiApp) -> list[Any]:
    """What it says of its start and its end."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    return sent


def test_a_model_that_is_left_out_is_logged_and_said_where_the_traffic_needs_it(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    references = [f"mine={base}", f"other={tmp_path / 'nowhere'}"]
    first, _ = lived(asgi_app(references, project=tmp_path))
    assert first["type"] == "lifespan.startup.complete" and "left out: " in caplog.text and "nowhere" in caplog.text
    file = tmp_path / "traffic.yaml"
    file.write_text("ab: {both: {mine: 1, other: 1}}")
    (message,) = lived(asgi_app(references, project=tmp_path, traffic=str(file)))
    assert "not served" in message["message"] and "nowhere" in message["message"]


def test_without_a_key_a_lifespan_or_a_known_setting_there_is_no_application(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="lifespan has not begun"):
        asyncio.run(asgi_app([str(base)])({"type": "http"}, None, None))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="unknown setting"):
        asgi_app([str(base)], prot=1)
    monkeypatch.delenv("TUNESMITH_SERVE_KEY")
    with pytest.raises(EngineError, match="needs a key"):
        asgi_app([str(base)])
