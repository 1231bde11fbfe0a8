"""A server process: it dies, is too slow, keeps its port from others, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import sys
from itertools import count
from threading import Event

import psutil
import pytest

from tunesmith.core.errors import EngineError
from tunesmith.engines.log_tail import MOST_BYTES
from tunesmith.engines.process import ServerProcess, free_port, needs_free_port

WAITS = "import sys; sys.stdin.read()"


def started(code: str, **about: object) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code], engine="the engine", hint="type this", **about)  # type: ignore[arg-type]


def test_the_end_of_the_log_is_in_the_error_of_a_process_that_dies() -> None:
    process = started("import sys; sys.stderr.write('no such tensor: blk.0\\n'); sys.exit(3)")
    with pytest.raises(EngineError) as caught:
        process.wait_for(lambda: None, what="starting", timeout_s=1e9)
    problem = caught.value.problems[0]
    assert "no such tensor: blk.0" in problem.what and problem.value == 3 and problem.hint == "type this"


def test_a_server_that_never_becomes_ready_is_killed_when_its_time_is_over() -> None:
    clock = count(0, 100)
    process = started(WAITS, clock=lambda: float(next(clock)))
    with pytest.raises(EngineError, match="loading the model took too long"):
        process.wait_for(lambda: None, what="loading the model", timeout_s=150)
    assert not psutil.pid_exists(process.pid)


def test_a_start_that_is_given_up_kills_the_process() -> None:
    process, given_up = started(WAITS), Event()
    given_up.set()
    with pytest.raises(EngineError, match="the start of the engine was given up"):
        process.wait_for(lambda: None, what="loading the model", timeout_s=1e9, given_up=given_up)
    assert not psutil.pid_exists(process.pid)


def test_what_was_waited_for_is_returned() -> None:
    process = started("import sys; print('ready', flush=True); sys.stdin.read()")
    assert process.wait_for(lambda: process.log() or None, what="starting", timeout_s=1e9) == "ready\n"
    process.stop()


def test_stopping_kills_the_children_of_a_server_too_and_may_be_repeated() -> None:
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {WAITS!r}], stdin=subprocess.PIPE)\n"
    process = started(code + "print(p.pid, flush=True); sys.stdin.read()")
    child = int(process.wait_for(lambda: process.log().strip() or None, what="starting", timeout_s=1e9))
    assert psutil.pid_exists(child) and process.peak_memory_bytes() > 2**20
    process.stop()
    process.stop()
    assert not psutil.pid_exists(process.pid)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_of_a_server_that_writes_without_end_only_the_end_is_kept() -> None:
    code = "for n in range(200_000): print(f'line {n} of very many, each of which says a little')\nprint('over', flush=True)\n"
    process = started(code + WAITS)
    process.wait_for(lambda: process.log().endswith("over\n") or None, what="writing", timeout_s=1e9)
    assert process._log.size_bytes <= 2 * MOST_BYTES < 200_000 * len("line 199999 of very many, each of which says a little")
    assert process.tail().splitlines()[-2:] == ["line 199999 of very many, each of which says a little", "over"]
    process.stop()
    assert process.tail().endswith("over")


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="sessions of POSIX")
def test_children_of_a_server_that_died_by_itself_are_killed_too() -> None:
    process = started(f"import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); {WAITS}")
    child = psutil.Process(int(process.wait_for(lambda: process.log().strip() or None, what="starting", timeout_s=1e9)))
    psutil.Process(process.pid).kill()
    with pytest.raises(EngineError):
        process.check_alive(patience_s=30.0)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError) as caught:
        ServerProcess(["/nowhere/python"], engine="the engine", hint="type this")
    assert caught.value.problems[0].value == "/nowhere/python"


def test_a_port_in_use_is_refused_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EngineError, match="cannot listen on this port"):
            needs_free_port(other.getsockname()[1], "the engine")
    needs_free_port(free_port(), "the engine")
