"""What must not happen whatever a client or an engine does: errors without a shape, heads without end, answers left out."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import openai
import pytest
from running_server import Running, running
from stepping import Stepping, stepping
from tiny_models import loaded
from upstream import upstream

from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.running import Address

ASKED: list[Any] = [{"role": "user", "content": "Say it."}]


class Broken(Stepping):
    """Fails as nobody expects: before its first piece or, for a stream, after it."""

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        if ask.user == "late":
            yield Delta(0, "half ")
        raise KeyError("secret-prompt")

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        raise KeyError("secret-prompt")


@pytest.fixture(scope="module")
def broken() -> Iterator[Running]:
    with running(stepping(Broken(), "m"), address=Address("127.0.0.1", 0, head_s=0.2)) as found:
        yield found


def connected(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def heard(connection: socket.socket) -> bytes:
    content = b""
    while piece := connection.recv(65536):
        content += piece
    connection.close()
    return content


def test_a_fault_that_nobody_expects_is_an_error_in_openais_shape_that_tells_nothing(
    broken: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with openai.OpenAI(base_url=f"{broken.url}/v1", api_key="none", max_retries=0) as client:
        for ask in (
            lambda: client.embeddings.create(model="m", input="a"),
            lambda: client.chat.completions.create(model="m", messages=ASKED),
            lambda: client.chat.completions.create(model="m", messages=ASKED, user="late"),
            lambda: client.chat.completions.create(model="m", messages=ASKED, stream=True),
        ):
            with pytest.raises(openai.InternalServerError) as caught:
                ask()
            error: Any = caught.value
            assert (error.status_code, error.code) == (500, "internal_error") and "secret" not in str(error)
            assert error.response.headers["x-request-id"] in error.message
        with pytest.raises(openai.InternalServerError) as caught:
            client.embeddings.create(model="m", input="a")
        assert caught.value.response.headers["connection"] == "close"  # or the next request meets a closed connection
        stream = client.chat.completions.create(model="m", messages=ASKED, user="late", stream=True)
        with pytest.raises(openai.APIError, match="something failed inside"):
            list(stream)


def test_whoever_leaves_while_an_embedding_is_made_frees_the_place() -> None:
    begun, given_up = threading.Event(), threading.Event()

    class Slow(Stepping):
        async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            raise AssertionError

    with running(stepping(Slow(), "m")) as server:
        made, body = connected(server), b'{"model": "m", "input": "a"}'
        made.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert begun.wait(30)
        made.close()
        assert given_up.wait(30)


def test_headers_without_end_late_or_no_http_are_refused_in_the_same_shape(broken: Running) -> None:
    for begin, status, code in (
        (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000, 431, "headers_too_large"),
        (b"GET /v1/models HTTP/1.1\r\nHost: local", 408, "headers_too_slow"),
        (b"", 408, "headers_too_slow"),
        (b"\x16\x03\x01 not http\r\n\r\n", 400, "invalid_http"),
    ):
        made = connected(broken)
        made.sendall(begin)
        head, _, body = heard(made).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status) and json.loads(body)["error"]["code"] == code


def test_no_websocket_is_opened_and_no_route_redirects(broken: Running) -> None:
    connection = http.client.HTTPConnection(broken.url.removeprefix("http://"), timeout=30)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "a" * 24, "Sec-WebSocket-Version": "13"}
    for path, headers, status in (("/v1/models", upgrade, 200), ("/v1/models/", {}, 404)):
        connection.request("GET", path, headers=headers)
        found = connection.getresponse()
        found.read()
        assert found.status == status and "location" not in found.headers
    connection.close()


def test_a_server_that_leaves_out_answers_or_is_no_such_server_is_an_error(tmp_path: Any) -> None:
    """Ollama, for one, reads `n` and answers once."""
    says: list[bytes] = []

    def script(path: str, body: bytes) -> tuple[int, dict[str, str], Sequence[bytes], bool]:
        return 200, {}, [b'{"data": [{"id": "small"}]}'] if path == "/v1/models" else says, True

    whole = {"choices": [{"index": 0, "message": {"content": "One."}, "finish_reason": "stop"}]}
    piece = {"choices": [{"index": 0, "delta": {"content": "One."}, "finish_reason": "stop"}], "error": None}
    with upstream(script) as url:
        registry, _ = loaded(tmp_path, f"{url}/v1")
        with running(registry) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            for n in (1, 2):
                says[:] = [json.dumps(whole).encode()]
                if n == 1:
                    assert (
                        client.chat.completions.create(model="small", messages=ASKED, n=n).choices[0].message.content == "One."
                    )
                else:
                    with pytest.raises(openai.InternalServerError, match="left out 1 of the answers"):
                        client.chat.completions.create(model="small", messages=ASKED, n=n)
                says[:] = [b"data: " + json.dumps(piece).encode() + b"\n\ndata: [DONE]\n\n"]
                stream = client.chat.completions.create(model="small", messages=ASKED, n=n, stream=True)
                if n == 1:
                    assert [one.choices[0].delta.content for one in stream] == ["One."]
                else:
                    with pytest.raises(openai.APIError, match="broke off"):
                        list(stream)
            for odd in (b'{"choices": [{"index": "x", "message": {}}]}', b'{"choices": 7}', b"[]"):
                says[:] = [odd]
                with pytest.raises(openai.InternalServerError, match="not OpenAI's"):
                    client.chat.completions.create(model="small", messages=ASKED)
            says[:] = [b'{"vectors": []}']
            with pytest.raises(openai.InternalServerError, match="not OpenAI's"):
                client.embeddings.create(model="small", input="a")
