"""Runs a `tunesmith` command, kills it with SIGKILL at random moments, again and again, and lets it end in the end.

One process imports Tunesmith once and forks: twenty kills take a few seconds. Writing is so short that random moments may all
miss it, so that two more kills come where the manifest is written and where the folder gets its name.
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
from tunesmith.core.disk import Disk
modules, seed, times, *words = sys.argv[1:]
for module in ["tunesmith.cli.render", *modules.split(",")]:
    importlib.import_module(module)

def run(words, killed_at=None):
    pid = os.fork()
    if pid == 0:
        if killed_at:
            setattr(Disk, killed_at, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
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
for moment in ("write", "rename"):
    assert os.WIFSIGNALED(os.waitpid(run(again, moment), 0)[1]), f"nothing is written with Disk.{moment}"
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


def kill_at_random(
    whole: Sequence[object], killed: Sequence[object], *, modules: Sequence[str], times: int = 20, seed: int = 5
) -> int:
    """Run `whole` undisturbed, then `killed` `times` times with a SIGKILL at a random moment, then to its end.

    `modules`: what the verb imports, so that every try begins at once and a kill meets its work, not the imports. Returns how
    many were killed before they had ended.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    words = [",".join(modules), seed, times, *whole, "--then", *killed]
    done = subprocess.run([sys.executable, "-c", _SERVER, *map(str, words)], check=True, capture_output=True, text=True)
    return int(done.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
