"""What the engine in the process gives: many adapters in one batch, and prompts that were read before."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import aiohttp

from record import write_result
from serve_programs import HEADERS, SERVE, started


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


def written(base: str, folder: Path) -> Path:
    """The base as a GGUF file of F16."""
    from tunesmith.models.load import find_base
    from tunesmith.ship.gguf.write import write_gguf

    write_gguf(find_base(base), folder / "base-f16.gguf", quant="f16")
    return folder / "base-f16.gguf"


async def answers(url: str, models: Sequence[str], tokens: int) -> tuple[int, float]:
    """Generated tokens and seconds of one request per entry, all at once."""

    async def one(client: aiohttp.ClientSession, number: int, model: str) -> int:
        content = f"Write a long story about item {number}."
        asked = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0}
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
    """All servers have as many threads, as many answers at once as there are clients, and answer greedily."""
    limit = {"OMP_NUM_THREADS": str(arguments.threads)}
    with tempfile.TemporaryDirectory() as place, ExitStack() as held:
        made = make_adapters(arguments.base, Path(place), 8)
        references = [f"base={arguments.base}", *(f"{path.name}={arguments.base}+{path}" for path in made)]
        serve = [*SERVE, "--rows", str(arguments.clients)]
        ours = held.enter_context(started([*serve, *references], **limit))
        names = ["base", *(path.name for path in made)]
        asked = [names[n % len(names)] for n in range(arguments.clients)]
        urls = {"all in one batch": ours, "one adapter at a time": ours, "one request at a time": ours}
        groups = {  # what is asked at once, one group after the other
            "all in one batch": [asked],
            "one adapter at a time": [[name] * asked.count(name) for name in names],
            "one request at a time": [[name] for name in names[:3]],
        }
        if arguments.gguf:  # a slot has room for prompt and answer
            file = written(arguments.base, Path(place)) if arguments.gguf == "f16" else arguments.gguf
            context = ["--context", str(256 + arguments.tokens)]
            way = "llama.cpp, the base alone"
            urls[way] = held.enter_context(started([*serve, *context, f"base={file}"], **limit))
            groups[way] = [["base"] * arguments.clients]
        rates: dict[str, list[float]] = {way: [] for way in urls}
        tokens = dict.fromkeys(urls, 0)
        for url in dict.fromkeys(urls.values()):
            asyncio.run(answers(url, ["base"] * arguments.clients, 4))
        for _ in range(arguments.rounds):
            for way, url in urls.items():
                found = [asyncio.run(answers(url, group, arguments.tokens)) for group in groups[way]]
                tokens[way] = sum(count for count, _ in found)
                rates[way].append(tokens[way] / sum(seconds for _, seconds in found))
    rows = [
        {"way": way, "tokens/s": statistics.median(each), "tokens a round": tokens[way], "rounds": each}
        for way, each in rates.items()
    ]
    work = {"base": arguments.base, "clients": arguments.clients, "threads": arguments.threads, "tokens": arguments.tokens}
    write_result("serve-adapters", {**work, "load": os.getloadavg()[0]}, rows)


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
    cold, warm = [], []
    with started([*SERVE, f"base={arguments.base}"]) as url:
        first_piece(url, "Be brief.", "Warm up.")
        for n in range(arguments.rounds):
            cold.append(first_piece(url, f"Rule {n}. {long}", "What is on the bench?"))
            warm.append(first_piece(url, f"Rule {n}. {long}", "Where is the kettle?"))
    rows = [
        {"way": "new prompt", "first piece s": statistics.median(cold)},
        {"way": "read before", "first piece s": statistics.median(warm)},
    ]
    write_result("serve-prefix", {"base": arguments.base, "rounds": arguments.rounds, "load": os.getloadavg()[0]}, rows)
