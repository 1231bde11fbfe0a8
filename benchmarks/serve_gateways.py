"""What a gateway adds to a request: `tunesmith serve` and LiteLLM before a mock backend that costs almost nothing."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from record import write_result
from serve_programs import HEADERS, KEY, SERVE, started

TEXT = "The kettle is on the stove, and the stove is cold. " * 4
MOCK = str(Path(__file__).with_name("bench_serve.py"))


# --- the mock backend: answers at once, with a body of the usual size ----------------------------------------------------


async def mock(port: int) -> None:
    """A server that costs almost nothing: raw bytes over asyncio."""
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "mock", "choices": [choice]}
    body = json.dumps({**whole, "usage": {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60}}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    models = json.dumps({"object": "list", "data": [{"id": "mock", "object": "model"}]}).encode()
    listed = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(models) + models

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                low = head.lower()
                if b"content-length:" in low:
                    await reader.readexactly(int(low.split(b"content-length:")[1].split(b"\r\n")[0]))
                writer.write(listed if head.startswith(b"GET") else answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", port, backlog=1024)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


# --- gateways -----------------------------------------------------------------------------------------------------------------


@contextmanager
def litellm(python: str, backend: str, port: int = 4010) -> Iterator[str]:
    """LiteLLM's proxy before the backend, with its own recommendation for speed (no debug, no database)."""
    folder = Path(tempfile.mkdtemp())
    model = {
        "model_name": "mock",
        "litellm_params": {"model": "openai/mock", "api_base": f"{backend}/v1", "api_key": "none"},
    }
    (folder / "config.yaml").write_text(json.dumps({"model_list": [model]}))
    command = [str(Path(python).parent / "litellm"), "--config", str(folder / "config.yaml"), "--port", str(port)]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": "", "LITELLM_MASTER_KEY": KEY}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **quiet}
    ) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                sequential(url, 1)
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("LiteLLM ended while it started") from None
                time.sleep(0.5)
        else:
            raise SystemExit("LiteLLM did not start")
        try:
            yield url
        finally:
            process.terminate()


@contextmanager
def systems(arguments: argparse.Namespace) -> Iterator[dict[str, str]]:
    """The backend alone and behind each gateway."""
    with ExitStack() as held:
        direct = held.enter_context(started([sys.executable, MOCK, "mock"]))
        ours = [*SERVE, f"mock={direct}/v1#mock"]
        found = {"direct": direct, "tunesmith": held.enter_context(started([*ours, "--max-waiting", "2000"]))}
        if arguments.litellm:
            found["litellm"] = held.enter_context(litellm(arguments.litellm, direct))
        yield found


# --- requests ----------------------------------------------------------------------------------------------------------------


def body_of(**how: Any) -> dict[str, Any]:
    return {"model": "mock", "messages": [{"role": "user", "content": "Tell me about the kettle."}], **how}


def sequential(url: str, count: int) -> list[float]:
    """Milliseconds of each request on one connection."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    content, taken = json.dumps(body_of()), []
    for _ in range(count):
        begin = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", content, HEADERS)
        response = connection.getresponse()
        read = response.read()
        taken.append(1000 * (time.perf_counter() - begin))
        if response.status != 200:
            raise SystemExit(f"{url}: HTTP {response.status} {read[:200]!r}")
    connection.close()
    return taken


async def at_rate(url: str, per_s: float, seconds: float) -> list[float]:
    """Milliseconds of each request when they come evenly, whether earlier ones are done or not."""
    taken: list[float] = []

    async def one(client: aiohttp.ClientSession) -> None:
        begin = time.perf_counter()
        async with client.post(f"{url}/v1/chat/completions", json=body_of(), headers=HEADERS) as response:
            await response.read()
            if response.status != 200:
                raise SystemExit(f"{url}: HTTP {response.status}")
        taken.append(1000 * (time.perf_counter() - begin))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(one(client) for _ in range(10)))
        taken.clear()
        begin, tasks = time.perf_counter(), []
        for n in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, begin + n / per_s - time.perf_counter()))
            tasks.append(asyncio.create_task(one(client)))
        await asyncio.gather(*tasks)
    return taken


async def closed_loop(url: str, clients: int, seconds: float) -> tuple[int, int]:
    """Answered and failed requests of so many clients that each ask again as soon as they are answered."""
    counts, end = {True: 0, False: 0}, time.perf_counter() + seconds

    async def one(client: aiohttp.ClientSession) -> None:
        while time.perf_counter() < end:
            try:
                async with client.post(f"{url}/v1/chat/completions", json=body_of(), headers=HEADERS) as response:
                    await response.read()
                    counts[response.status == 200] += 1
            except aiohttp.ClientError:
                counts[False] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return counts[True], counts[False]


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# --- what is measured ---------------------------------------------------------------------------------------------------------


def overhead(arguments: argparse.Namespace) -> None:
    with systems(arguments) as urls:
        alone: dict[str, list[float]] = {name: [] for name in urls}
        rated: dict[str, list[float]] = {name: [] for name in urls}
        for url in urls.values():
            sequential(url, 50)
        for _ in range(arguments.rounds):
            for name, url in urls.items():
                alone[name] += sequential(url, 100)
            for name, url in urls.items():
                rated[name] += asyncio.run(at_rate(url, 100, 3))
    rows = [
        {
            "system": name,
            "sequential p50 ms": statistics.median(alone[name]),
            "added p50 ms": statistics.median(alone[name]) - statistics.median(alone["direct"]),
            "sequential p99 ms": quantile(alone[name], 0.99),
            "100/s p50 ms": statistics.median(rated[name]),
            "100/s p99 ms": quantile(rated[name], 0.99),
        }
        for name in urls
    ]
    write_result("serve-overhead", {"rounds": arguments.rounds, "requests a round": 100, "load": os.getloadavg()[0]}, rows)


def many_clients(arguments: argparse.Namespace) -> None:
    rows = []
    with systems(arguments) as urls:
        for name, url in urls.items():
            answered, failed = asyncio.run(closed_loop(url, arguments.clients, arguments.seconds))
            rows.append({"system": name, "requests/s": answered / arguments.seconds, "answered": answered, "failed": failed})
    work = {"clients": arguments.clients, "seconds": arguments.seconds, "load": os.getloadavg()[0]}
    write_result("serve-clients", work, rows)
