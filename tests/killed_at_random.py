"""Runs a `tunesmith` command, kills it with SIGKILL at random moments, again and again, and lets it end in the end.

One process imports Tunesmith once and forks: twenty kills take a few seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["contents", "kill_at_random"]

_SERVER = """
import os, random, signal, sys, time, importlib
from tunesmith.cli.main import main
module, seed, times, *words = sys.argv[1:]
importlib.import_module(module)

def run(words):
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        try:
            main(words)
        finally:
            sys.stderr.flush()
            os._exit(0)
    return pid

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
cut = words.index("--then")
first, again = words[:cut], words[cut + 1:]
begin = time.monotonic()
os.waitpid(run(first), 0)
took = time.monotonic() - begin
draw, killed = random.Random(int(seed)), 0
for _ in range(int(times)):
    pid = run(again)
    if signal.sigtimedwait({signal.SIGCHLD}, took * draw.uniform(0.05, 1.0)) is None:
        os.kill(pid, signal.SIGKILL)
        killed += 1
    os.waitpid(pid, 0)
    signal.sigtimedwait({signal.SIGCHLD}, 0)
os.waitpid(run(again), 0)
print(killed)
"""


def kill_at_random(whole: Sequence[object], killed: Sequence[object], *, module: str, times: int = 20, seed: int = 5) -> int:
    """Run `whole` undisturbed, then `killed` `times` times with a SIGKILL at a random moment, then to its end.

    `module`: what the verb imports, so that every try begins at once. Returns how many were killed before they had ended.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    words = [module, seed, times, *whole, "--then", *killed]
    done = subprocess.run([sys.executable, "-c", _SERVER, *map(str, words)], check=True, capture_output=True, text=True)
    return int(done.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
