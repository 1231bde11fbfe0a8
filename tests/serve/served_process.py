"""`tunesmith serve` as a process of its own, before a server of a test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

__all__ = ["COMMAND", "ask", "echo", "served"]

COMMAND = [sys.executable, "-m", "tunesmith.cli", "serve", "--port", "0", "--json"]


@contextmanager
def served(project: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address, and the process, which has ended after the block."""
    command = [*COMMAND, "--project", str(project), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"], process
        finally:
            process.terminate()
            process.wait(60)


def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON; a `bytes` body as it is."""
    how: dict[str, Any] = {"body": body} if isinstance(body, bytes) else {"json": body}
    found = urllib3.request(method, url + path, retries=False, timeout=60, **how)
    return found.status, json.loads(found.data)


def echo(path: str, body: bytes) -> tuple[int, dict[str, str], Sequence[bytes], bool]:
    """A script for `upstream`: two models that answer with one word."""
    if path == "/v1/models":
        return 200, {}, [b'{"data": [{"id": "small"}, {"id": "large"}]}'], True
    message = {"role": "assistant", "content": "Tea."}
    return 200, {}, [json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()], True
