"""What judging costs besides the model: 10,000 pairs, each in both orders, with a mock server that replies at once.

python benchmarks/bench_judging.py --pairs 10000 --record

Three runs of `tunesmith judge calibrate --judge` on one project, each a process of its own: one that is killed (SIGKILL)
half-way, one that continues, one that finds everything cached. `lost`: replies that were kept at the kill and asked for again
all the same; `on their way`: requests whose reply the server had sent and the killed process had not yet kept. Seconds and
processor seconds are those of the judging process, its start and the calibration included; the server shares the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from record import write_result

CONCURRENCY = 8
_KEPT = ".tunesmith/replies/judge.jsonl"


def main() -> None:
    """Run, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    busy = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), asked.pairs)
    for row in rows:
        print(row, flush=True)
    if asked.record:
        write_result(
            "judging", {"pairs": asked.pairs, "requests at a time": CONCURRENCY, "other processes running": busy}, rows
        )


def measured(folder: Path, pairs: int) -> list[dict[str, Any]]:
    """The three runs."""
    file = folder / "pairs.jsonl"
    chance = random.Random(7)
    file.write_text("".join(json.dumps(_pair(number, chance)) + "\n" for number in range(pairs)))
    port, served = multiprocessing.Value("i", 0), multiprocessing.Value("i", 0)
    log = folder / "served.log"
    server = multiprocessing.Process(target=serve, args=(port, served, log), daemon=True)
    server.start()
    while port.value == 0:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{port.value}/v1"
    rows = [_killed(folder, url, served, pairs)]
    kept = {json.loads(line)["key"] for line in (folder / _KEPT).read_text().splitlines() if line.endswith("}")}
    rows.append(_whole("continued", folder, url, pairs))
    keys = Counter(log.read_text().split())
    again = {key for key, count in keys.items() if count > 1}
    rows[1] |= {"lost": len(again & kept), "on their way": len(again - kept)}
    rows.append(_whole("all cached", folder, url, pairs))
    # what the continued run took more than one that finds everything
    alone = {name: rows[1][name] - rows[2][name] for name in ("seconds", "processor seconds")}
    rows.append({"run": "judging alone", "pairs": rows[1]["pairs"], **alone, "lost": "", "on their way": ""})
    rows[3] |= {"ms a pair": 1000 * alone["seconds"] / rows[1]["pairs"]}
    rows[3] |= {"processor ms a pair": 1000 * alone["processor seconds"] / rows[1]["pairs"]}
    rows[2] |= {"lost": len(log.read_text().split()) - sum(keys.values())}
    server.terminate()
    return rows


def _pair(number: int, chance: random.Random) -> dict[str, Any]:
    a, b = (" ".join(chance.choices(["tar", "salt", "rope", "tide", "boat", "gull", "net", "loft"], k=120)) for _ in "ab")
    return {"id": number, "prompt": f"What about {number}?", "a": a, "b": b, "human": chance.choice(["A", "B", "tie"])}


def _command(folder: Path, url: str) -> list[str]:
    words = [sys.executable, "-m", "tunesmith.cli", "judge", "calibrate", str(folder / "pairs.jsonl"), "--judge", url]
    words += ["--model", "mock", "--project", str(folder), "--json", "--set", "judge.again=0"]
    return [*words, "--set", f"judge.concurrency={CONCURRENCY}", "--set", "judge.max_tokens_total=0"]


def _killed(folder: Path, url: str, served: Synchronized[int], pairs: int) -> dict[str, Any]:
    begin = time.perf_counter()
    process = subprocess.Popen(_command(folder, url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while served.value < pairs:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"run": "killed half-way", "pairs": served.value // 2, "seconds": time.perf_counter() - begin} | dict.fromkeys(
        ("processor seconds", "ms a pair", "processor ms a pair", "lost", "on their way"), ""
    )


def _whole(name: str, folder: Path, url: str, pairs: int) -> dict[str, Any]:
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(_command(folder, url), capture_output=True, check=True, text=True)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    judged = found["judge"]["paid"] / 2 if name == "continued" else pairs
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "run": name,
        "pairs": round(judged),
        "seconds": seconds,
        "processor seconds": worked,
        "ms a pair": 1000 * seconds / judged,
        "processor ms a pair": 1000 * worked / judged,
        "lost": 0,
        "on their way": 0,
    }


def serve(port: Synchronized[int], served: Synchronized[int], log: Path) -> None:
    """A server that says which answer is longer, at once; it writes the key of each request once the reply is sent."""
    asyncio.run(_serve(port, served, log))


async def _serve(port: Synchronized[int], served: Synchronized[int], log: Path) -> None:
    with log.open("a") as written:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await _head(reader):
                length = int(next(line for line in head if line.lower().startswith("content-length")).split(":")[1])
                key = next(line for line in head if line.lower().startswith("idempotency-key")).split(":")[1].strip()
                if not await _body(reader, length):
                    break
                body = _REPLY
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
                written.write(key + "\n")
                written.flush()
                served.value += 1
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> list[str]:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return []


async def _body(reader: asyncio.StreamReader, length: int) -> bool:
    try:
        await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return False  # the client was killed
    return True


_SAID = json.dumps({"winner": "tie", "points": {"accuracy": "A", "completeness": "tie", "format": "B"}, "reason": "equal"})
_REPLY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "mock",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _SAID}}],
        "usage": {"prompt_tokens": 400, "completion_tokens": 40, "total_tokens": 440},
    }
).encode()

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
