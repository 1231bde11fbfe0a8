"""A server attacked over real HTTP: OpenAI's client, other clients, random requests, moves, ends and departures, in numbers.

python benchmarks/serve_conformance.py [PART …] [--llm LLM] [--litellm PYTHON] [--schemathesis ST]

PART: client, refusals, errors, others, routes, chunkings, swaps, sigterm, disconnects; without any, all, which takes half an
hour on two busy cores. The parts that were run are in the name of the result. `llm`, `litellm` and
`schemathesis` are in environments of their own, because they bring many packages; without them their rows are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai

from record import write_result
from serve_backend import WORDS, Backend, backend
from serve_checks import ASKED, Asking, Check, answers, failure, refusals
from serve_routes import openapi
from serve_tool_checks import tool_answers

SERVE = [sys.executable, "-m", "tunesmith.cli", "serve", "--port", "0", "--json"]
KEY = "a-key-of-at-least-16"
Row = dict[str, Any]


@contextmanager
def served(*references: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of `tunesmith serve`, and its process."""
    with (
        tempfile.TemporaryDirectory() as project,
        subprocess.Popen(
            [*SERVE, "--project", project, *references],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"], process
        finally:
            process.terminate()
            process.wait(60)


def counted(what: str, checks: Iterable[Check]) -> Row:
    """How many checks failed, with the first failures in words."""
    failed, tried = [], 0
    for name, check in checks:
        tried += 1
        try:
            check()
        except Exception as error:  # noqa: BLE001 (any failure is a finding)
            failed.append(f"{name}: {type(error).__name__} {str(error)[:200]}")
            print("FAILED", failed[-1], flush=True)
    return {"what": what, "tried": tried, "failed": len(failed), "note": "; ".join(failed[:3])}


# --- clients -----------------------------------------------------------------------------------------------------------


def errors(_: argparse.Namespace, url: str) -> Iterator[Check]:
    """Every class of error of a server with keys, a rate and an end, as OpenAI's client raises it."""
    with backend() as (behind, _state), served(f"m={behind}/v1#mock", "--rate", "6", TUNESMITH_SERVE_KEY=KEY) as (url, process):
        asked = {"model": "m", "messages": ASKED}

        def wrong_key() -> None:
            for waits in (False, True):
                error = failure(Asking(url, waits=waits, streams=False, key="wrong"), openai.AuthenticationError, asked)
                assert error.code == "invalid_api_key"

        def rate() -> None:
            way = Asking(url, waits=False, streams=False, key=KEY)
            way("chat", **asked)
            for _ in range(8):
                try:
                    way("chat", **asked)
                except openai.RateLimitError as error:
                    assert float(error.response.headers["retry-after"]) >= 1 and error.code == "rate_limit_exceeded"
                    return
            raise AssertionError("no limit")

        def foreign() -> None:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
            for header, kind in (
                ({"Origin": "https://evil.example"}, openai.PermissionDeniedError),
                ({"Host": "x"}, openai.APIStatusError),
            ):
                try:
                    client.with_options(default_headers=header).models.list()
                except kind:
                    continue
                raise AssertionError(header)

        def ending() -> None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

        yield from (("401", wrong_key), ("429", rate), ("403 and 421", foreign), ("SIGTERM", ending))


def others(arguments: argparse.Namespace, url: str) -> Iterator[Check]:
    """The `llm` command line and the litellm package as clients."""
    if arguments.llm:
        with tempfile.TemporaryDirectory() as place:
            entry = {"model_id": "mine", "model_name": "base", "api_base": f"{url}/v1"}
            (Path(place) / "extra-openai-models.yaml").write_text(json.dumps([entry]))
            for options in ([], ["--no-stream"], ["-o", "max_tokens", "5"], ["-s", "Be brief."]):
                command = [arguments.llm, "-m", "mine", "--key", "none", *options, "Tell me about the kettle."]
                yield f"llm {options}", lambda command=command: _prints(command, LLM_USER_PATH=place)
    if arguments.litellm:
        for how in ("{}", "{'stream': True}", "{'n': 2}", "{'stop': ['x']}", "{'logprobs': True, 'top_logprobs': 2}"):
            code = (
                "import litellm\n"
                f"found = litellm.completion(model='openai/base', api_base='{url}/v1', api_key='none', max_tokens=8, "
                f"messages=[{{'role': 'user', 'content': 'Tell me.'}}], **{how})\n"
                "print(list(found) if hasattr(found, '__next__') else found.choices[0].message.content)"
            )
            yield f"litellm {how}", lambda code=code: _prints([arguments.litellm, "-c", code])
        code = "import litellm\ntry:\n litellm.completion(model='openai/nobody', messages=[], "
        code += f"api_base='{url}/v1', api_key='none')\n"
        code += "except (litellm.NotFoundError, litellm.BadRequestError) as error: print(error)"
        yield "litellm, unknown model", lambda: _prints([arguments.litellm, "-c", code])


def _prints(command: Sequence[str], **environment: str) -> None:
    done = subprocess.run(
        list(command), capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "", **environment}
    )
    assert done.returncode == 0 and done.stdout.strip(), done.stderr[-300:]


def routes(arguments: argparse.Namespace, url: str) -> Iterator[Check]:
    """Schemathesis over all routes: valid and invalid requests by the schema of the bodies."""
    if not arguments.schemathesis:
        return
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "openapi.json"
        file.write_text(json.dumps(openapi()))
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        checks += ",negative_data_rejection"
        for mode in ("positive", "negative"):
            command = [
                arguments.schemathesis,
                "run",
                str(file),
                "--url",
                url,
                "--mode",
                mode,
                "--checks",
                checks,
                "--seed",
                "1",
                "--request-timeout",
                "120",
            ]
            command += [
                "--max-examples",
                str(arguments.examples),
                "--generation-database",
                "none",
                "--no-color",
                "--continue-on-failure",
            ]

            def run(command: list[str] = command, mode: str = mode) -> None:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""}, cwd=place
                )
                print(f"schemathesis {mode}:", *[line for line in done.stdout.splitlines() if "generated" in line], flush=True)
                if done.returncode:
                    print(done.stdout[-6000:], flush=True)
                assert done.returncode == 0, done.stdout[-300:]

            yield f"schemathesis {mode}", run


# --- numbers -----------------------------------------------------------------------------------------------------------


def chunkings(arguments: argparse.Namespace) -> Row:
    """Streams whose bytes come in random parts with random line ends: what the client hears is the text."""

    async def work(url: str) -> int:
        wrong, places = 0, asyncio.Semaphore(16)

        async def one(client: openai.AsyncOpenAI, seed: int) -> None:
            nonlocal wrong
            async with places:
                stream: Any = await client.chat.completions.create(
                    model="m", messages=ASKED, stream=True, user=json.dumps({"cuts": seed})
                )
                heard = [one.choices[0] async for one in stream]
            text = "".join(choice.delta.content or "" for choice in heard)
            wrong += text != WORDS or heard[-1].finish_reason != "stop"

        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            await asyncio.gather(*(one(client, seed) for seed in range(arguments.chunkings)))
        return wrong

    with backend() as (behind, _), served(f"m={behind}/v1#mock") as (url, _process):
        return {"what": "random chunkings", "tried": arguments.chunkings, "failed": asyncio.run(work(url)), "note": ""}


def swaps(arguments: argparse.Namespace, base: Path, adapters: dict[str, Path]) -> Row:
    """Moves of an alias while four clients ask: each answer must be whole and that of the version that it names."""
    references = [f"mine={base}+{adapters['a']}", f"mine@next={base}+{adapters['b']}"]
    with served(*references) as (url, _process), openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        def ask(model: str) -> tuple[str, str]:
            found = client.chat.completions.create(model=model, messages=ASKED, max_tokens=8, temperature=0)
            return found.model, found.choices[0].message.content or ""

        wanted = dict([ask("mine@live"), ask("mine@next")])
        assert len(set(wanted.values())) == 2
        ids, over = [name.partition("@")[2] for name in wanted], threading.Event()
        heard: list[tuple[str, str]] = []

        def load() -> int:
            failed = 0
            while not over.is_set():
                try:
                    heard.append(ask("mine"))
                except openai.OpenAIError:
                    failed += 1
            return failed

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load) for _ in range(4)]
            for n in range(arguments.swaps):
                client.put("/models/mine/aliases/live", body={"version": ids[(n + 1) % 2]}, cast_to=object)
            over.set()
            failed = sum(one.result() for one in loads)
    failed += sum(wanted.get(model) != text for model, text in heard)
    return {"what": "moves of an alias", "tried": arguments.swaps, "failed": failed, "note": f"{len(heard)} answers meanwhile"}


def sigterm(arguments: argparse.Namespace) -> Row:
    """SIGTERM with 50 open streams, again and again: all of them must come to their end, and the process end with 0."""

    async def streams(url: str, process: subprocess.Popen[str]) -> int:
        first = asyncio.Semaphore(0)

        async def one(client: openai.AsyncOpenAI) -> bool:
            user = json.dumps({"pieces": 20, "pause_s": 0.05})
            stream: Any = await client.chat.completions.create(model="m", messages=ASKED, stream=True, user=user)
            heard = []
            async for piece in stream:
                heard.append(piece.choices[0])
                if len(heard) == 1:
                    first.release()
            return "".join(c.delta.content or "" for c in heard) == WORDS * 20 and bool(heard[-1].finish_reason == "stop")

        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            tasks = [asyncio.ensure_future(one(client)) for _ in range(50)]
            for _ in tasks:
                await first.acquire()
            process.send_signal(signal.SIGTERM)
            return sum(found is not True for found in await asyncio.gather(*tasks, return_exceptions=True))

    cut = 0
    with backend() as (behind, _):
        for _ in range(arguments.ends):
            with served(f"m={behind}/v1#mock") as (url, process):
                cut += asyncio.run(streams(url, process)) + (process.wait(60) != 0)
    return {"what": "SIGTERM with 50 streams", "tried": arguments.ends * 50, "failed": cut, "note": f"{arguments.ends} ends"}


def disconnects(arguments: argparse.Namespace, base: Path) -> list[Row]:
    """Clients that go away, streaming and not: how long until the backend, and the engine in the process, hear of it."""
    rows = []
    with backend() as (behind, state), served(f"m={behind}/v1#mock", f"base={base}") as (url, _process):
        for stream in (True, False):
            waits = asyncio.run(_leave(url, state, stream, arguments.leaves))
            rows.append(_left(f"disconnects, {'streaming' if stream else 'whole'}, server behind", waits))
        for stream in (True, False):
            waits = asyncio.run(_leave(url, None, stream, arguments.leaves))
            rows.append(_left(f"disconnects, {'streaming' if stream else 'whole'}, engine in the process", waits))
    return rows


def _left(what: str, waits: list[float]) -> Row:
    ordered = sorted(waits)
    note = f"until free: median {1000 * statistics.median(waits):.0f} ms, longest {1000 * ordered[-1]:.0f} ms"
    return {"what": what, "tried": len(waits), "failed": sum(one > 0.25 for one in waits), "note": note}


async def _leave(url: str, state: Backend | None, stream: bool, count: int) -> list[float]:
    host, _, port = url.removeprefix("http://").partition(":")
    waits = []
    async with aiohttp.ClientSession() as client:
        for number in range(count):
            how = {"pieces": 1000, "pause_s": 0.05, "number": number}
            body: dict[str, Any] = {"messages": ASKED, "stream": stream}
            body |= {"model": "m", "user": json.dumps(how)} if state else {"model": "base", "max_tokens": 700}
            if state is None:
                body["stop"] = []
            content = json.dumps(body).encode()
            reader, writer = await asyncio.open_connection(host, int(port))
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content)
            writer.write(head + content)
            if stream:
                await reader.readuntil(b"data: ")
            while not (state.open if state else await _running(client, url)):
                await asyncio.sleep(0.001)
            await asyncio.sleep(random.uniform(0, 0.02))
            writer.transport.abort()
            begin = time.perf_counter()
            if state is None:
                while await _running(client, url):
                    await asyncio.sleep(0.001)
                waits.append(time.perf_counter() - begin)
            else:
                while number not in state.left:
                    await asyncio.sleep(0.001)
                waits.append(max(0.0, state.left.pop(number) - begin))
    return waits


async def _running(client: aiohttp.ClientSession, url: str) -> float:
    async with client.get(f"{url}/metrics") as response:
        text = await response.text()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("vllm:num_requests_running "))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*")
    for name in ("llm", "litellm", "schemathesis"):
        parser.add_argument(f"--{name}", default="")
    for name, count in (("examples", 100), ("chunkings", 2000), ("swaps", 1000), ("ends", 30), ("leaves", 200)):
        parser.add_argument(f"--{name}", type=int, default=count)
    arguments = parser.parse_args()
    tests = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(tests), str(tests / "serve")]
    from tiny_models import make_adapters

    from fakes import make_base
    from tool_templates import TAGGED

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        base, adapters = make_adapters(Path(place))
        tools = make_base(Path(place) / "tools", template=TAGGED)
        references = [f"base={base}", f"tools={tools}", *(f"{name}={base}+{folder}" for name, folder in adapters.items())]

        def wanted(part: str) -> bool:
            return not arguments.parts or part in arguments.parts

        if any(map(wanted, ("client", "refusals", "errors", "others", "routes"))):
            with served(*references) as (url, _):
                checks = {
                    "client": itertools.chain(answers(url, ["base", "a", "b"]), tool_answers(url, "tools")),
                    "refusals": refusals(url, "base"),
                    "errors": errors(arguments, url),
                    "others": others(arguments, url),
                    "routes": routes(arguments, url),
                }
                rows += [counted(part, found) for part, found in checks.items() if wanted(part)]
                with urllib.request.urlopen(f"{url}/healthz") as response:
                    assert response.status == 200
        rows += [chunkings(arguments)] if wanted("chunkings") else []
        rows += [swaps(arguments, base, adapters)] if wanted("swaps") else []
        rows += [sigterm(arguments)] if wanted("sigterm") else []
        rows += disconnects(arguments, base) if wanted("disconnects") else []
    rows = [row for row in rows if row["tried"]]
    for row in rows:
        row["load"] = round(os.getloadavg()[0], 1)
    write_result("-".join(["serve-conformance", *arguments.parts]), {"model": "tiny, of the tests"}, rows)


if __name__ == "__main__":
    main()
