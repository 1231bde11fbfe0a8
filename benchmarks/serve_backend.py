"""A backend for the conformance run: an OpenAI-compatible server over raw bytes that does what the `user` field says.

`user` is JSON: `pieces` and `pause_s` between them; `cuts`: a seed, by which the bytes of a stream are sent in random parts;
`breaks`: the connection is closed instead of an answer.
It notes when a connection went away while it worked: `left`, on the clock of time.perf_counter.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WORDS = "Größe 😀 and\nlines, twice: 日本語 {} data: [DONE] "


class Backend:
    """`open`: requests in work; `left`: when clients went away, by the request's number (`user.number`)."""

    def __init__(self) -> None:
        self.open = 0
        self.left: dict[int, float] = {}

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0)
                body = await reader.readexactly(size)
                if head.startswith(b"GET"):
                    _send(writer, 200, {"object": "list", "data": [{"id": "mock", "object": "model"}]})
                elif not await self._answer(json.loads(body), reader, writer):
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        how = json.loads(asked.get("user") or "{}")
        gone = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self._work(asked, how, writer))
        self.open += 1
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        self.open -= 1
        if work.done():
            gone.cancel()
            await asyncio.wait({gone})
            return work.exception() is None
        gone.exception()  # that it was reset is no news
        self.left[int(how.get("number", -1))] = time.perf_counter()
        work.cancel()
        return False

    async def _work(self, asked: dict[str, Any], how: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        words = [WORDS] * int(how.get("pieces", 1))
        if how.get("breaks"):
            raise ConnectionError
        if not asked.get("stream"):
            await asyncio.sleep(float(how.get("pause_s", 0.0)) * len(words))
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            _send(writer, 200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": len(words)}})
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if "cuts" in how:
            await _in_parts(events(words, random.Random(how["cuts"])), random.Random(how["cuts"] + 1), writer)
        else:
            for n, word in enumerate(words):
                await asyncio.sleep(float(how.get("pause_s", 0.0)) if n else 0.0)
                _chunk(writer, _event({"index": 0, "delta": {"content": word}, "finish_reason": None}, "\n"))
                await writer.drain()
            _chunk(writer, _event({"index": 0, "delta": {}, "finish_reason": "stop"}, "\n") + b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")


def events(words: list[str], rng: random.Random) -> bytes:
    """A stream of these words, a letter in each event, with random line ends, comments and names of events."""
    made = b""
    for letter in "".join(words):
        end = rng.choice(["\n", "\r\n", "\r"])
        made += f": wait{end}".encode() * (rng.random() < 0.1) + f"event: x{end}".encode() * (rng.random() < 0.1)
        made += _event({"index": 0, "delta": {"content": letter}, "finish_reason": None}, end)
    made += _event({"index": 0, "delta": {}, "finish_reason": "stop"}, "\n")
    return made + b"data: [DONE]\n\n"


def _event(choice: dict[str, Any], end: str) -> bytes:
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + 2 * end.encode()


async def _in_parts(content: bytes, rng: random.Random, writer: asyncio.StreamWriter) -> None:
    cuts = sorted(rng.sample(range(1, len(content)), rng.randint(1, 12)))
    for begin, stop in zip([0, *cuts], [*cuts, len(content)], strict=True):
        _chunk(writer, content[begin:stop])
        await writer.drain()
        await asyncio.sleep(0.001)  # so that the parts arrive as parts


def _chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n" % len(content) + content + b"\r\n")


def _send(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    content = json.dumps(body).encode()
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(content))
    writer.write(head + content)


@contextmanager
def backend() -> Iterator[tuple[str, Backend]]:
    """Its address, while a thread runs it."""
    made, ready, address = Backend(), threading.Event(), list[str]()
    loop = asyncio.new_event_loop()

    async def work() -> None:
        server = await asyncio.start_server(made.client, "127.0.0.1", 0, backlog=1024)
        address.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(work())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield address[0], made
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _cancel_all() -> None:
    own = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not own]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
