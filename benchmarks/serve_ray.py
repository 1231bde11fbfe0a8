"""Ray Serve with two replicas of a tiny model on one machine, one of which is killed under load: what do clients see?

python benchmarks/serve_ray.py [--clients 4] [--seconds 60] [--retries 0]

The files are those of `tunesmith deploy --to ray`. Needs an environment that has Tunesmith and `ray[serve]`; Ray must not run
yet. Half of the clients stream. After a third of the time the process of a replica is killed with SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import psutil
import ray
from ray import serve

from record import write_result
from tunesmith.api.deploying import deploy

KEY = "a-key-of-at-least-16"
BIN = Path(sys.executable).parent
START = ("start", "--head", "--port", "0", "--num-cpus", "2", "--include-dashboard", "false", "--disable-usage-stats")
URL = "http://127.0.0.1:8000"


def tiny(folder: Path) -> Path:
    """The base of the tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from fakes import make_base

    return make_base(folder)


def replicas() -> list[int]:
    """Process ids of the replicas that live."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or [""]
        if words[0].startswith("ray::ServeReplica:") and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def wait_for(what: Callable[[], Any], seconds: float) -> float:
    """How long it took, in seconds."""
    begin = time.perf_counter()
    while not what():
        if time.perf_counter() - begin > seconds:
            raise SystemExit(f"{what} did not come within {seconds:g} s")
        time.sleep(0.2)
    return time.perf_counter() - begin


def running() -> int:
    """Replicas that Ray counts as ready."""
    found = serve.status().applications.get("bench")
    server = found.deployments.get("Server") if found is not None else None
    return 0 if server is None else server.replica_states.get("RUNNING", 0)


@contextmanager
def served(root: Path) -> Iterator[float]:
    """Ray with the application; yields the seconds until both replicas were ready."""
    deploy([f"mine={tiny(root / 'tiny')}"], "ray", root / "app", name="bench")
    environment = {**os.environ, "TUNESMITH_SERVE_KEY": KEY}
    subprocess.run([BIN / "ray", *START], env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        words = [BIN / "serve", "run", "serve.yaml", "--non-blocking"]
        begin = time.perf_counter()
        subprocess.run(words, cwd=root / "app", env=environment, check=True, stdout=subprocess.DEVNULL)
        wait_for(lambda: running() == 2, 600)
        yield time.perf_counter() - begin
    finally:
        ray.shutdown()
        subprocess.run([BIN / "ray", "stop", "--force"], check=False, stdout=subprocess.DEVNULL)


class Load:
    """Clients that ask until told to stop. `seen`: time of the end, kind of request, what became of it, seconds."""

    def __init__(self, retries: int) -> None:
        self.client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=retries, timeout=60)
        self.seen: list[tuple[float, str, str, float]] = []
        self.over = threading.Event()

    def ask(self, number: int) -> None:
        """Ask again and again."""
        kind = "stream" if number % 2 else "whole"
        while not self.over.is_set():
            begin = time.perf_counter()
            try:
                outcome = self._once(kind)
            except openai.APIStatusError as error:
                outcome = f"HTTP {error.status_code}"
            except openai.APIError as error:  # within a stream, or the connection
                outcome = type(error).__name__
            except Exception as error:  # noqa: BLE001 (a stream that was cut is an error of httpx's)
                outcome = type(error).__name__
            now = time.perf_counter()
            self.seen.append((now, kind, outcome, now - begin))

    def _once(self, kind: str) -> str:
        settings: dict[str, Any] = {"model": "mine", "prompt": "The lamp", "max_tokens": 48, "temperature": 0}
        if kind == "whole":
            return "answered" if self.client.completions.create(**settings).choices[0].text else "empty"
        last = None
        for chunk in self.client.completions.create(**settings, stream=True):
            last = chunk.choices[0].finish_reason or last
        return "answered" if last else "cut without an error"


def main() -> None:
    """Measure, and record the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--retries", type=int, default=0)
    how = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, served(Path(root)) as ready_s:
        load = Load(how.retries)
        with ThreadPoolExecutor(how.clients) as pool:
            for number in range(how.clients):
                pool.submit(load.ask, number)
            time.sleep(how.seconds / 3)
            before = replicas()
            psutil.Process(before[0]).kill()
            killed = time.perf_counter()
            back_s = wait_for(lambda: len(set(replicas()) - set(before)) > 0 and running() == 2, 600)
            time.sleep(max(0.0, killed + how.seconds * 2 / 3 - time.perf_counter()))
            load.over.set()
        shares = spread(load)
    rows = [
        {
            "kind": kind,
            "asked": sum(counts.values()),
            "answered": counts["answered"],
            "not answered": json.dumps({k: n for k, n in counts.items() if k != "answered"}),
            "last failure, s after the kill": max(
                (at - killed for at, which, outcome, _ in load.seen if which == kind and outcome != "answered"), default=0.0
            ),
            "longest answer, s": max(took for _, which, _, took in load.seen if which == kind),
        }
        for kind, counts in shares.items()
    ]
    work = {"replicas": 2, "clients": how.clients, "seconds": how.seconds, "retries of the client": how.retries}
    work |= {"ready, s": round(ready_s, 1), "replaced, s": round(back_s, 1), "ray": ray.__version__}
    work |= {"load of the machine": round(os.getloadavg()[0], 1)}
    write_result(f"serve-ray-{how.retries}-retries", work, rows)


def spread(load: Load) -> dict[str, Counter[str]]:
    """How often what became of requests, by kind."""
    found: dict[str, Counter[str]] = {"whole": Counter(), "stream": Counter()}
    for _, kind, outcome, _ in load.seen:
        found[kind][outcome] += 1
    return found


if __name__ == "__main__":
    main()
