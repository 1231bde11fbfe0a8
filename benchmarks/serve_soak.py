"""A server asked for an hour over real HTTP: does its memory grow, is feedback lost, does anything stay open?

python benchmarks/serve_soak.py [--seconds 3600] [--per-s 20] [--warm-s 300]

`tunesmith serve` has a mock backend behind an address, the tiny model of the tests in its process, and a split of both. One in
ten clients leaves early, one backend in twenty breaks off, some requests are wrong; most answers get feedback. Prompts and
answers are captured, and all prompts differ. In the warm-up some come in bursts that fill the server's queue, so that the
memory that many requests at once need is there before the measurement: what grows afterwards is a leak. A line a minute goes to
stdout, so that a run that is stopped is not lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from record import write_result
from serve_backend import backend

MIB = 2**20
PREFIX_MIB = 4  # so that the cache of prompts is full before the measurement begins
EVERY_S = 2.0
BURSTS, BURST = 4, 1000  # of requests at once, spread over the warm-up: more than the server's queue holds
NOUNS = [
    "kettle",
    "lamp",
    "hinge",
    "bench",
    "saw",
    "plane",
    "chisel",
    "stove",
    "shed",
    "door",
    "window",
    "ladder",
    "rope",
    "anvil",
]
TRAFFIC = "ab: {mine: {mock: 50, tiny: 50}}\nfallback: {safe: [{model: mock, seconds: 5}, {model: tiny, seconds: 20}]}\n"


@dataclass
class Soak:
    """What happened. `samples`: second, resident bytes, private bytes, open files and threads of the server."""

    url: str
    draw: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    samples: list[tuple[float, int, int, int, int]] = field(default_factory=list)

    async def one(self, client: aiohttp.ClientSession, number: str) -> None:
        """A request, and what follows from it."""
        try:
            await self._asked(client, number)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.counts[f"failed: {type(error).__name__}"] += 1

    async def _asked(self, client: aiohttp.ClientSession, number: str) -> None:
        kind = self.draw.random()
        model = "nobody" if kind < 0.01 else self.draw.choice(["mock", "mock", "tiny", "mine", "mine", "safe"])
        breaks, leaves, stream = self.draw.random() < 0.05, self.draw.random() < 0.1, self.draw.random() < 0.5
        words = " ".join(self.draw.choices(NOUNS, k=self.draw.randint(4, 24)))
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": f"Number {number}: {words}?"}],
            "max_tokens": self.draw.randint(4, 20),
            "stream": stream,
            "user": json.dumps({"pieces": 4, "pause_s": 0.02} | ({"breaks": 1} if breaks else {})),
        }
        if 0.01 <= kind < 0.02:
            body["n"] = 1_000_000
        headers = {"X-User": f"user {self.draw.randrange(2000)}"}
        limit = aiohttp.ClientTimeout(total=self.draw.uniform(0.005, 0.06) if leaves and not stream else 120)
        try:
            async with client.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=limit) as response:
                if leaves and stream and response.status == 200:
                    await response.content.readany()
                    response.close()
                    self.counts["left"] += 1
                    return
                content = await response.read()
        except TimeoutError:
            if not leaves:
                raise
            self.counts["left"] += 1
            return
        self._count(response.status, content, stream, may_break=breaks, is_wrong=kind < 0.02)
        id = _id_of(content, stream) if response.status == 200 else ""
        if id and self.draw.random() < 0.8:
            await self._feedback(client, id, f"key-{number}")

    def _count(self, status: int, content: bytes, stream: bool, *, may_break: bool, is_wrong: bool) -> None:
        broke = status >= 500 or (stream and b'data: {"error"' in content)
        if status == 429:
            self.counts["queue full"] += 1
        elif is_wrong:
            self.counts["refused" if status in (400, 404) else f"unexpected: {status} for a wrong request"] += 1
        elif broke and may_break:
            self.counts["backend broke off"] += 1
        elif broke or status != 200:
            self.counts[f"unexpected: {status}"] += 1
        else:
            self.counts["answered"] += 1

    async def _feedback(self, client: aiohttp.ClientSession, id: str, key: str) -> None:
        said: dict[str, Any] = {"response_id": id, "key": key, "score": round(self.draw.random(), 3)}
        if self.draw.random() < 0.3:
            said["correction"] = " ".join(self.draw.choices(NOUNS, k=12))
        async with client.post(f"{self.url}/v1/feedback", json=said) as response:
            if response.status == 200:
                self.acknowledged.add(key)
            else:
                self.counts[f"feedback: {response.status}"] += 1

    async def watch(self, server: psutil.Process, begin: float, client: aiohttp.ClientSession) -> None:
        """Sample the server, and read what people read of it, until cancelled."""
        at = 0
        while True:
            memory = server.memory_info()
            self.samples.append(
                (time.monotonic() - begin, memory.rss, memory.rss - memory.shared, server.num_fds(), server.num_threads())
            )
            if at % 5 == 0:
                for path in ("/metrics", "/v1/models", "/v1/ab/mine"):
                    await self._read(client, path)
            if at % int(60 / EVERY_S) == 0:
                now = {"s": round(self.samples[-1][0]), "MiB": round(memory.rss / MIB, 2), "files": self.samples[-1][3]}
                print(json.dumps({**now, "load": round(os.getloadavg()[0], 1), **self.counts}), flush=True)
            at += 1
            await asyncio.sleep(EVERY_S)

    async def _read(self, client: aiohttp.ClientSession, path: str) -> None:
        try:
            async with client.get(self.url + path, timeout=aiohttp.ClientTimeout(total=30)) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.counts[f"failed: {type(error).__name__} of {path}"] += 1


def _id_of(content: bytes, stream: bool) -> str:
    first = content.partition(b"\n")[0].removeprefix(b"data: ") if stream else content
    return str(json.loads(first).get("id", ""))


async def run(soak: Soak, server: psutil.Process, warm_s: float, seconds: float, per_s: float) -> None:
    """Requests that come evenly, whether earlier ones are done or not; then until nothing is in work."""
    begin, open_ones = time.monotonic(), set[asyncio.Task[None]]()
    bursts = {int(per_s * warm_s * (at + 1) / (BURSTS + 1)) for at in range(BURSTS)}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        watching = asyncio.ensure_future(soak.watch(server, begin, client))
        for number in range(int((warm_s + seconds) * per_s)):
            await asyncio.sleep(max(0.0, begin + number / per_s - time.monotonic()))
            if watching.done():
                break
            for which in range(BURST if number in bursts else 1):
                task = asyncio.ensure_future(soak.one(client, f"{number}-{which}"))
                open_ones.add(task)
                task.add_done_callback(open_ones.discard)
        await asyncio.gather(*open_ones)
        if watching.done():
            watching.result()
        watching.cancel()
        async with client.get(f"{soak.url}/metrics") as response:
            lines = (await response.text()).splitlines()
    for name in ("running", "waiting"):
        soak.counts[f"still {name}"] = int(
            next(float(line.split()[1]) for line in lines if line.startswith(f"vllm:num_requests_{name} "))
        )


def report(soak: Soak, warm_s: float, log: Path, database: Path, load: float) -> dict[str, Any]:
    """The row of the table."""
    warm = [sample for sample in soak.samples if sample[0] >= warm_s]
    times, resident, private = [one[0] for one in warm], [one[1] for one in warm], [one[2] for one in warm]
    slope = statistics.linear_regression(times, [one / MIB for one in resident]).slope
    with sqlite3.connect(database) as connection:
        kept = {key for (key,) in connection.execute("SELECT key FROM tunesmith_feedback")}
    unexplained = sum(not line.startswith(b"{") for line in log.read_bytes().splitlines())
    strange = {name: count for name, count in soak.counts.items() if name.startswith(("unexpected", "failed", "feedback"))}
    return {
        "hours after warm-up": (times[-1] - times[0]) / 3600,
        "RSS MiB": statistics.median(resident) / MIB,
        "growth MiB": growth(resident) / MIB,
        "private growth MiB": growth(private) / MIB,
        "slope MiB/h": 3600 * slope,
        "answered": soak.counts["answered"],
        "left": soak.counts["left"],
        "backend broke off": soak.counts["backend broke off"],
        "refused": soak.counts["refused"],
        "queue full": soak.counts["queue full"],
        "unexpected": sum(strange.values()),
        "still in work": soak.counts["still running"] + soak.counts["still waiting"],
        "feedback": len(soak.acknowledged),
        "feedback lost": len(soak.acknowledged - kept),
        "log lines not JSON": unexplained,
        "open files": f"{warm[0][3]} → {warm[-1][3]}, most {max(sample[3] for sample in warm)}",
        "threads": f"{warm[0][4]} → {warm[-1][4]}",
        "load": round(load, 1),
        "RSS MiB by minute": [round(one / MIB, 2) for one in resident[:: int(60 / EVERY_S)]],
        "unexpected, by kind": [f"{name}: {count}" for name, count in strange.items()],
    }


def growth(values: Sequence[int]) -> float:
    """The median of the last tenth less that of the first."""
    tenth = max(1, len(values) // 10)
    return statistics.median(values[-tenth:]) - statistics.median(values[:tenth])


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("seconds", 3600.0), ("per-s", 20.0), ("warm-s", 300.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    arguments = parser.parse_args()
    tests = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(tests), str(tests / "serve")]
    from fakes import make_base

    with tempfile.TemporaryDirectory() as place, backend() as (behind, _):
        folder = Path(place)
        (folder / "traffic.yaml").write_text(TRAFFIC)
        command = [
            sys.executable,
            "-m",
            "tunesmith.cli",
            "serve",
            f"mock={behind}/v1#mock",
            f"tiny={make_base(folder / 'tiny')}",
        ]
        command += ["--port", "0", "--json", "--project", place, "--capture", "--prefix-mib", str(PREFIX_MIB)]
        command += ["--traffic", str(folder / "traffic.yaml")]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            assert process.stdout is not None
            try:
                soak = Soak(json.loads(process.stdout.readline())["url"], random.Random(7))
                asyncio.run(run(soak, psutil.Process(process.pid), arguments.warm_s, arguments.seconds, arguments.per_s))
                load = os.getloadavg()[2]
            finally:
                process.terminate()
                process.wait(90)
        row = report(soak, arguments.warm_s, folder / "log", folder / ".tunesmith" / "serve.db", load)
    work = {
        "requests/s": arguments.per_s,
        "warm-up s": arguments.warm_s,
        "bursts in it": f"{BURSTS} of {BURST}",
        "leave": "10 %",
        "backends that break off": "5 %",
    }
    write_result("serve-soak", {**work, "model in the process": "tiny, of the tests"}, [row])


if __name__ == "__main__":
    main()
