"""The servers of `bench_serve.py`, each a process of its own that prints a JSON line with its `url` when it is ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

KEY = "sk-bench-0123456789abcdef0123456789abcdef"  # LiteLLM does not start without one
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
SERVE = [sys.executable, "-m", "tunesmith.cli", "serve", "--port", "0", "--json"]


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
