"""Tokens per processor second of `tunesmith serve`, with guessed tokens and without."""

from __future__ import annotations

import argparse
import asyncio
import os
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from record import write_result
from serve_programs import HEADERS, SERVE, ready_process

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
    rows = []
    with ExitStack() as held:
        servers = {}
        for way in ways:
            url, pid = held.enter_context(
                ready_process([*SERVE, f"base={arguments.base}", "--speculative", way], OMP_NUM_THREADS="1")
            )
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
