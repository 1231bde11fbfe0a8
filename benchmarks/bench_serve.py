"""What `tunesmith serve` costs and gives, over real HTTP, against a mock backend, LiteLLM's proxy and llama.cpp.

python benchmarks/bench_serve.py overhead [--litellm PYTHON] [--rounds 8]      added latency, sequential and at 100 requests/s
python benchmarks/bench_serve.py clients [--litellm PYTHON] [--clients 500]    requests/s of many clients
python benchmarks/bench_serve.py adapters --base smollm2                       tokens/s, base and 8 adapters in one batch
python benchmarks/bench_serve.py prefix --base smollm2                         time to first token with a long system prompt
python benchmarks/bench_serve.py speculative --base smollm2 [--draft MODEL]    tokens per processor second, guessed or not
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from record import write_result

TEXT = "The kettle is on the stove, and the stove is cold. " * 4
KEY = "sk-bench-0123456789abcdef0123456789abcdef"  # LiteLLM does not start without one
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}


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


# --- programs --------------------------------------------------------------------------------------------------------------


@contextmanager
def started(command: Sequence[str], **environment: str) -> Iterator[str]:
    """A program that prints a JSON line with its `url` when it is ready."""
    with ready_process(command, **environment) as (url, _):
        yield url


@contextmanager
def ready_process(command: Sequence[str], **environment: str) -> Iterator[tuple[str, int]]:
    """The same with its process number."""
    with subprocess.Popen(
        list(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"this ended before it was ready: {' '.join(command)}")
        try:
            yield json.loads(line)["url"], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


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
        direct = held.enter_context(started([sys.executable, __file__, "mock"]))
        ours = [sys.executable, "-m", "tunesmith.cli", "serve", f"mock={direct}/v1#mock", "--port", "0", "--json"]
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


# --- the embedded engine ---------------------------------------------------------------------------------------------------


def make_adapters(base: str, folder: Path, count: int) -> list[Path]:
    """Random adapters of different rank and target; what they say is nonsense, what they cost is real."""
    import torch

    from tunesmith.models.adapters import attach, save_adapter
    from tunesmith.models.load import find_base, load_model

    found, made = find_base(base), []
    kinds = [("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")]
    for n in range(count):
        model, leaves = load_model(found, "float32"), kinds[n % len(kinds)]
        modules = [name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name.endswith(leaves)]
        adapted, _ = attach(model, kind="lora", rank=(8, 16)[n % 2], alpha=16.0, dropout=0.0, modules=modules, seed=n)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.02)
        made.append(folder / f"a{n}")
        save_adapter(adapted, found.address, made[-1])
    return made


async def answers(url: str, models: Sequence[str], tokens: int) -> tuple[int, float]:
    """Generated tokens and seconds of one request per entry, all at once."""

    async def one(client: aiohttp.ClientSession, number: int, model: str) -> int:
        content = f"Write a long story about item {number}."
        asked = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": tokens, "seed": number}
        async with client.post(f"{url}/v1/chat/completions", json=asked, headers=HEADERS) as response:
            found = await response.json()
            if response.status != 200:
                raise SystemExit(str(found))
            return int(found["usage"]["completion_tokens"])

    timeout = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as client:
        begin = time.perf_counter()
        counts = await asyncio.gather(*(one(client, n, model) for n, model in enumerate(models)))
        return sum(counts), time.perf_counter() - begin


def adapters(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as place, ExitStack() as held:
        made = make_adapters(arguments.base, Path(place), 8)
        references = [f"base={arguments.base}", *(f"{path.name}={arguments.base}+{path}" for path in made)]
        serve = [sys.executable, "-m", "tunesmith.cli", "serve", "--port", "0", "--json"]
        ours = held.enter_context(started([*serve, "--rows", str(arguments.clients), *references]))
        names = ["base", *(path.name for path in made)]
        asked = [names[n % len(names)] for n in range(arguments.clients)]
        rates: dict[str, list[float]] = {"all in one batch": [], "one adapter at a time": [], "one request at a time": []}
        if arguments.gguf:
            llama = held.enter_context(started([*serve, "--rows", "8", "--context", "512", f"base={arguments.gguf}"]))
            rates["llama.cpp, the base alone"] = []
        for _ in range(arguments.rounds):
            count, seconds = asyncio.run(answers(ours, asked, arguments.tokens))
            rates["all in one batch"].append(count / seconds)
            parts = [asyncio.run(answers(ours, [name] * asked.count(name), arguments.tokens)) for name in names]
            rates["one adapter at a time"].append(sum(c for c, _ in parts) / sum(s for _, s in parts))
            ones = [asyncio.run(answers(ours, [name], arguments.tokens)) for name in names[:3]]
            rates["one request at a time"].append(sum(c for c, _ in ones) / sum(s for _, s in ones))
            if arguments.gguf:
                count, seconds = asyncio.run(answers(llama, ["base"] * arguments.clients, arguments.tokens))
                rates["llama.cpp, the base alone"].append(count / seconds)
    rows = [{"way": name, "tokens/s": statistics.median(each), "rounds": each} for name, each in rates.items()]
    work = {"base": arguments.base, "clients": arguments.clients, "tokens": arguments.tokens, "load": os.getloadavg()[0]}
    write_result("serve-adapters", work, rows)


def prefix(arguments: argparse.Namespace) -> None:
    """Time to the first piece with a system prompt of about 1,000 tokens: new each time, and one that was read before."""

    def first_piece(url: str, system: str, question: str) -> float:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        asked = json.dumps({"model": "base", "messages": messages, "max_tokens": 1, "temperature": 0, "stream": True})
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=600)
        begin = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", asked, HEADERS)
        connection.getresponse().read(64)
        taken = time.perf_counter() - begin
        connection.close()
        return taken

    long = "The workshop has a bench, a lamp and a kettle, and each of them has its own place in the morning. " * 45
    serve = [sys.executable, "-m", "tunesmith.cli", "serve", "--port", "0", "--json", f"base={arguments.base}"]
    cold, warm = [], []
    with started(serve) as url:
        first_piece(url, "Be brief.", "Warm up.")
        for n in range(arguments.rounds):
            cold.append(first_piece(url, f"Rule {n}. {long}", "What is on the bench?"))
            warm.append(first_piece(url, f"Rule {n}. {long}", "Where is the kettle?"))
    rows = [
        {"way": "new prompt", "first piece s": statistics.median(cold)},
        {"way": "read before", "first piece s": statistics.median(warm)},
    ]
    write_result("serve-prefix", {"base": arguments.base, "rounds": arguments.rounds, "load": os.getloadavg()[0]}, rows)


# --- guessed tokens --------------------------------------------------------------------------------------------------------

TALK = (
    "Tell me how a kettle works.",
    "What should I think of before I buy a bicycle?",
    "Write a short letter to a neighbour about a loud dog.",
    "Why is the sky blue in the day and red in the evening?",
    "Give me advice for a first visit to a big city.",
    "Explain what a bank does with the money in an account.",
    "Write a short story about a lighthouse.",
    "How do I keep bread fresh for a week?",
)
EDIT = "Correct the spelling of this text and repeat it in full, word for word where it is right:\n\n"
QUOTE = "Quote three sentences of this text that name a thing, exactly as they are written, each in quotation marks:\n\n"


def paragraphs() -> list[str]:
    """Of the posts that come with Tunesmith: texts of 90 to 170 tokens."""
    import tunesmith

    files = sorted((Path(tunesmith.__file__).parent / "examples" / "posts").rglob("*.md"))
    return [text for file in files for text in file.read_text().split("\n\n") if 350 < len(text) < 700 and text[0].isalpha()]


def works(count: int) -> dict[str, list[dict[str, Any]]]:
    """`count` requests of each work: texts edited and quoted greedily, and talk as a model is usually asked."""
    texts = paragraphs()
    halves = [(EDIT, QUOTE)[n % 2] + texts[n % len(texts)] for n in range(count)]
    talk = [f"{TALK[n % len(TALK)]}{' Use other words than last time.' * (n // len(TALK))}" for n in range(count)]
    return {
        "editing and quoting": [{"messages": [{"role": "user", "content": text}], "temperature": 0} for text in halves],
        "talk": [{"messages": [{"role": "user", "content": text}], "temperature": 0.7, "top_p": 0.9} for text in talk],
    }


async def answered(url: str, asked: Sequence[dict[str, Any]], clients: int, tokens: int) -> tuple[list[str], int]:
    """The answers of so many clients that take turns, and how many tokens they have."""
    texts, total, places = [""] * len(asked), 0, iter(range(len(asked)))

    async def one(client: aiohttp.ClientSession) -> None:
        nonlocal total
        for at in places:
            body = {"model": "base", "max_tokens": tokens, "seed": at, **asked[at]}
            async with client.post(f"{url}/v1/chat/completions", json=body, headers=HEADERS) as response:
                found = await response.json()
                if response.status != 200:
                    raise SystemExit(str(found))
            texts[at] = found["choices"][0]["message"]["content"]
            total += found["usage"]["completion_tokens"]

    timeout = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return texts, total


def guessed(url: str) -> tuple[float, float]:
    """Tokens that were guessed so far, and those that were right."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = [line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line.startswith("vllm:spec_decode")]
    drafted, accepted = (
        sum(float(value) for name, value in lines if f"num_{what}_tokens_total" in name) for what in ("draft", "accepted")
    )
    return drafted, accepted


def speculative(arguments: argparse.Namespace) -> None:
    """Tokens per second of the server's processor time, so that other programs hardly change it; the prompts are read too."""
    import psutil

    ways = ["off", "ngram", *([arguments.draft] if arguments.draft else [])]
    serve = [sys.executable, "-m", "tunesmith.cli", "serve", "--port", "0", "--json", f"base={arguments.base}"]
    rows = []
    with ExitStack() as held:
        servers = {}
        for way in ways:
            url, pid = held.enter_context(ready_process([*serve, "--speculative", way], OMP_NUM_THREADS="1"))
            servers[way] = (url, psutil.Process(pid))
        for clients, count in ((1, 4), (4, 8), (32, 32)):
            for work, asked in works(count).items():
                spent: dict[str, list[float]] = {way: [] for way in ways}
                tokens, texts = {}, {}
                before = {way: guessed(url) for way, (url, _) in servers.items()}
                for _ in range(arguments.rounds):
                    for way, (url, process) in servers.items():
                        begin = process.cpu_times()
                        texts[way], tokens[way] = asyncio.run(answered(url, asked, clients, arguments.tokens))
                        end = process.cpu_times()
                        spent[way].append(end.user + end.system - begin.user - begin.system)
                for way, (url, _) in servers.items():
                    drafted, accepted = (now - then for now, then in zip(guessed(url), before[way], strict=True))
                    rows.append(
                        {
                            "clients": clients,
                            "work": work,
                            "guesses": way,
                            "tokens per processor second": tokens[way] / min(spent[way]),
                            "times as many as without": min(spent["off"]) * tokens[way] / tokens["off"] / min(spent[way]),
                            "guessed": drafted / arguments.rounds,
                            "right": accepted / arguments.rounds,
                            "tokens": tokens[way],
                            "equal answers": f"{sum(map(str.__eq__, texts[way], texts['off']))} of {count}",
                            "rounds s": spent[way],
                        }
                    )
                    print({name: value for name, value in rows[-1].items() if name != "rounds s"}, flush=True)
    work = {"base": arguments.base, "most tokens": arguments.tokens, "rounds": arguments.rounds, "load": os.getloadavg()[0]}
    write_result("serve-speculative", work, rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["mock", "overhead", "clients", "adapters", "prefix", "speculative"])
    parser.add_argument("--litellm", default="")
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--gguf", default="")
    parser.add_argument("--draft", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.what == "mock":
        asyncio.run(mock(arguments.port))
        return
    asked = {"overhead": overhead, "clients": many_clients, "adapters": adapters, "prefix": prefix, "speculative": speculative}
    asked[arguments.what](arguments)


if __name__ == "__main__":
    main()
