"""What a server owes those who do not behave, and those who wait: refusals that say why, order, and an end without cuts."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from running_server import Running, running
from stepping import Stepping, stepping

from tunesmith.core.errors import EngineError
from tunesmith.serve.errors import ApiError
from tunesmith.serve.gate import Rates
from tunesmith.serve.pipeline import Answer, Call, Handler
from tunesmith.serve.queue import FairQueue
from tunesmith.serve.running import Address, bind

KEY = "a-key-of-at-least-16"
ASKED: list[Any] = [{"role": "user", "content": "Say it."}]
BODY = json.dumps({"model": "m", "messages": ASKED})


def send(
    server: Running, method: str, path: str, body: bytes | str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request as it is; `headers` with _ for -."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        found = connection.getresponse()
        return found.status, {name.lower(): value for name, value in found.getheaders()}, found.read()
    finally:
        connection.close()


def open_stream(server: Running, name: str = "m", *, stream: bool = True) -> socket.socket:
    """A request on a connection of its own; if streamed, its first piece has come."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    made = socket.create_connection((host, int(port)), timeout=30)
    body = json.dumps({"model": name, "messages": ASKED, "stream": stream}).encode()
    made.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    if stream:
        seen = b""
        while b"data: " not in seen:
            seen += made.recv(65536)
    return made


def until(found: Any) -> None:
    """Wait, at most half a minute, for what the server does in its own time."""
    pause = threading.Event()
    for _ in range(15_000):
        if found():
            return
        pause.wait(0.002)
    raise AssertionError("it did not come")


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    engine = Stepping()
    engine.go.set()
    with running(stepping(engine, "m"), keys={"me": KEY, "you": "another-key-of-16-c"}) as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    engine = Stepping()
    engine.go.set()
    with running(stepping(engine, "m", "other")) as found:
        yield found


# --- who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/m"),
        ("PUT", "/v1/models/m/aliases/live"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/chat.css"),
        ("GET", "/chat.js"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("OPTIONS", "/v1/models"),
    ],
)
def test_every_route_wants_the_key_once_there_is_one(locked: Running, method: str, path: str) -> None:
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}):
        status, headers, body = send(locked, method, path, BODY if method != "GET" else None, **given)
        assert status == 401 and json.loads(body)["error"]["code"] == "invalid_api_key" and headers["www-authenticate"]
    status, *_ = send(locked, method, path, BODY if method != "GET" else None, Authorization=f"Bearer {KEY}")
    assert status != 401


def test_the_list_of_guarded_routes_above_is_whole(locked: Running) -> None:
    mark: pytest.Mark = test_every_route_wants_the_key_once_there_is_one.pytestmark[0]  # type: ignore[attr-defined]
    tested = {route[1] for route in mark.args[1][:10]}  # the others are no routes
    from tunesmith.serve.app import make_app
    from tunesmith.serve.observing import Observer

    routes = {getattr(route, "path", "") for route in make_app(locked.pipeline, Observer(lambda line: None)).routes}
    named = {path.replace("{name}", "m").replace("{alias}", "live") for path in routes}
    assert named == tested


def test_only_the_bodyless_health_is_open_and_it_says_when_the_server_is_ready(locked: Running) -> None:
    for path in ("/healthz", "/healthz?ready"):
        assert send(locked, "GET", path)[::2] == (200, b"")
    locked.service.ready = False
    assert [send(locked, "GET", path)[0] for path in ("/healthz", "/healthz?ready")] == [200, 503]
    locked.service.ready = True


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example:80"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1"}, 200),
    ],
)
def test_other_hosts_and_pages_of_other_origins_are_refused(server: Running, headers: dict[str, str], status: int) -> None:
    assert send(server, "GET", "/v1/models", **headers)[0] == status


def test_an_address_that_others_reach_needs_a_key_and_a_taken_port_is_said() -> None:
    with pytest.raises(EngineError, match="there is no key"):
        bind(Address("0.0.0.0", 0), has_key=False)
    first = bind(Address("127.0.0.1", 0), has_key=False)
    with pytest.raises(EngineError, match="cannot listen there: Address already in use"):
        bind(Address("127.0.0.1", first.getsockname()[1]), has_key=False)
    first.close()


# --- what may be asked ------------------------------------------------------------------------------------------------

DEEP = '{"model": "m", "messages": ' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"x" * 10_000_000, 413, "body_too_large"),
        (DEEP, 400, "invalid_json"),
        ('{"model": "m", "metadata": ' + "[" * 80 + "]" * 80 + "}", 400, "invalid_json"),
        ("", 400, "invalid_json"),
        ("[]", 400, "invalid_json"),
        (b'{"model": "\xff"}', 400, "invalid_json"),
        ('{"model": "m\0"}', 400, "invalid_json"),
        ('{"model": "\\ud800", "messages": []}', 400, "invalid_json"),
        ('{"model": "m", "messages": [{"role": "user", "content": "a\\u0000b"}]}', 400, "invalid_value"),
        (json.dumps({"model": "m", "messages": ASKED, "n": 1_000_000}), 400, "invalid_value"),
        (json.dumps({"model": "m", "messages": ASKED, "wish": 1}), 400, "unknown_parameter"),
        (json.dumps({"model": "m", "messages": [{"role": "user", "content": "w" * 1_000_001}]}), 413, "too_long"),
        (json.dumps({"model": "../../etc/passwd", "messages": ASKED}), 404, "model_not_found"),
        (json.dumps({"model": "m@../x", "messages": ASKED}), 404, "model_not_found"),
        (json.dumps({"messages": ASKED}), 400, "missing_required_parameter"),
    ],
    ids=lambda value: "",
)
def test_a_hostile_body_gets_an_error_in_openais_shape(server: Running, body: Any, status: int, code: str) -> None:
    found, _, content = send(server, "POST", "/v1/chat/completions", body)
    error = json.loads(content)["error"]
    assert (found, error["code"]) == (status, code) and error["message"] and error["type"]
    assert send(server, "POST", "/v1/chat/completions", BODY)[0] == 200


def test_a_body_that_never_says_its_length_is_cut_at_the_limit(server: Running) -> None:
    status, _, content = send(server, "POST", "/v1/completions", iter([b"x" * 70_000] * 40))  # type: ignore[arg-type]
    assert status == 413 and b"body_too_large" in content


def test_a_body_that_does_not_come_is_not_waited_for_without_end() -> None:
    with running(stepping(Stepping(), "m"), body_s=0.05) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        connection.putrequest("POST", "/v1/completions")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408
        connection.close()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405)])
def test_routes_that_are_not_there_are_said_in_the_same_shape(server: Running, method: str, path: str, status: int) -> None:
    found, _, content = send(server, method, path)
    assert found == status and json.loads(content)["error"]["message"]


def test_embeddings_come_as_numbers_or_packed(server: Running) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        found = client.embeddings.create(model="m", input=["ab", "abc"])  # this client asks for the packed form
        assert [one.embedding for one in found.data] == [[2.0, 0.5], [3.0, 0.5]] and found.usage.total_tokens == 2
        plain: Any = client.embeddings.with_raw_response.create(model="m", input="ab", encoding_format="base64")
    packed = json.loads(plain.content)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (2.0, 0.5)


# --- rates, queue, order ----------------------------------------------------------------------------------------------


def test_a_rate_is_kept_by_key_and_says_when_to_come_back() -> None:
    now = [0.0]
    rates = Rates(2, clock=lambda: now[0])
    for _ in range(2):
        rates.take("me")
    with pytest.raises(ApiError) as caught:
        rates.take("me")
    assert caught.value.status == 429 and caught.value.retry_after_s == pytest.approx(30)
    rates.take("you")
    now[0] = 30.0
    rates.take("me")


def test_a_full_queue_answers_429_with_retry_after_and_those_that_wait_are_answered_in_turn() -> None:
    engine = Stepping(at_once=1)
    order: list[str] = []

    async def noting(call: Call, inner: Handler) -> Answer:
        answer = await inner(call)
        order.append(call.ask.user)
        return answer

    keys = {"many": KEY, "one": "another-key-of-16-c"}
    with running(stepping(engine, "m"), keys=keys, stages=[noting], most_waiting=4) as server, ThreadPoolExecutor(8) as pool:

        def ask(who: str, user: str) -> int:
            body = json.dumps({"model": "m", "messages": ASKED, "user": user})
            return send(server, "POST", "/v1/chat/completions", body, Authorization=f"Bearer {keys[who]}")[0]

        waiting = []
        for n, (who, user) in enumerate([("many", "a1"), ("many", "a2"), ("many", "a3"), ("many", "a4"), ("one", "b1")]):
            waiting.append(pool.submit(ask, who, user))
            until(lambda n=n: server.pipeline.load == (1, n))
        status, headers, content = send(server, "POST", "/v1/chat/completions", BODY, Authorization=f"Bearer {KEY}")
        assert status == 429 and float(headers["retry-after"]) >= 1 and json.loads(content)["error"]["code"] == "queue_full"
        engine.go.set()
        assert [one.result() for one in waiting] == [200] * 5
    assert order == ["a1", "a2", "b1", "a3", "a4"]


def test_whoever_gives_up_in_the_moment_in_which_a_place_is_free_takes_nobodys_place_or_turn() -> None:
    async def work() -> None:
        queue, order = FairQueue(1, 10), list[str]()

        async def waits(key: str, name: str) -> None:
            async with queue.place(key):
                order.append(name)

        async with queue.place("first"):
            waiting = [asyncio.ensure_future(waits(*one)) for one in (("a", "a1"), ("a", "a2"), ("b", "b1"))]
            while queue.waiting < 3:
                await asyncio.sleep(0)
            waiting[0].cancel()  # and before it hears of that, the place is free
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError) and done[1:] == [None, None]
        assert order == ["a2", "b1"] and (queue.running, queue.waiting) == (0, 0)

    asyncio.run(work())


# --- those who leave, and the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(stream: bool) -> None:
    engine = Stepping(at_once=2)
    with running(stepping(engine, "m")) as server:
        for n in range(10):
            made = open_stream(server, stream=stream)
            until(lambda: engine.open == 1)
            made.close()
            until(lambda n=n: engine.given_up == n + 1 and server.pipeline.load == (0, 0))
        until(lambda: len(server.log) == 10)
        assert {line["status"] for line in server.log} == {499} and engine.open == 0
        engine.go.set()


def test_the_end_lets_every_stream_finish_and_refuses_what_comes_later() -> None:
    engine = Stepping(at_once=50)
    with running(stepping(engine, "m")) as server:
        streams = [open_stream(server) for _ in range(50)]
        held = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        held.request("GET", "/healthz?ready")
        assert held.getresponse().read() == b""
        server.stop()
        until(lambda: server.service.refusing)
        held.request("GET", "/healthz?ready")
        assert held.getresponse().status == 503
        status, headers, _ = send(server, "POST", "/v1/chat/completions", BODY)
        assert status == 503 and headers["retry-after"]
        engine.go.set()
        for made in streams:
            content = b""
            while piece := made.recv(65536):
                content += piece
            assert content.rstrip().endswith(b"0") and b"data: [DONE]" in content and b'"finish_reason":"stop"' in content
            made.close()
        held.close()
    assert engine.given_up == 0


# --- the seams --------------------------------------------------------------------------------------------------------


def test_a_stage_can_choose_another_model_read_the_answer_and_ask_in_the_background(server: Running) -> None:
    heard: list[str] = []

    async def reroute(call: Call, inner: Handler) -> Answer:
        shadow = await inner(call.copy("m"))
        heard.append("".join([getattr(piece, "text", "") async for piece in shadow.pieces]))
        await shadow.close()
        call.model = "other"
        answer = await inner(call)
        answer.headers["x-tunesmith-arm"] = "b"
        return answer

    engine = Stepping()
    engine.go.set()
    with running(stepping(engine, "m", "other"), stages=[reroute]) as routed:
        _, headers, content = send(routed, "POST", "/v1/chat/completions", BODY)
    found = json.loads(content)
    assert found["choices"][0]["message"]["content"] == "other said" and found["model"].startswith("other@")
    assert heard == ["m said"] and headers["x-tunesmith-arm"] == "b"


def test_logs_and_metrics_count_requests_and_hold_neither_prompt_nor_answer(server: Running) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "secret-prompt"}]})
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    _, headers, content = send(server, "POST", "/v1/chat/completions", body, traceparent=trace, X_Request_ID="abc-1")
    assert headers["x-request-id"] == "abc-1" and json.loads(content)["id"].endswith("abc-1")
    until(lambda: any(one.get("id") == "abc-1" for one in server.log))
    line = next(one for one in server.log if one.get("id") == "abc-1")
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c" and line["completion_tokens"] == 2
    told = json.dumps(server.log) + send(server, "GET", "/metrics")[2].decode()
    assert "secret-prompt" not in told and "m said" not in told
    for name in (
        "num_requests_running",
        "generation_tokens_total",
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
    ):
        assert f"vllm:{name}" in told
