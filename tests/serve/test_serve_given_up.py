"""A server that is asked to end while it starts: soon, without an error, and without an engine that is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from served_process import COMMAND

from fakes import TEMPLATE, make_base
from gguf_files import write_gguf
from tunesmith.core.artifacts import Store
from tunesmith.engines.vllm import PYTHON
from tunesmith.serve.loading.asked import Loading, named
from tunesmith.serve.loading.load import load_all
from tunesmith.serve.registry import Registry
from tunesmith.serve.running import NotStarted, Stop

POSIX = pytest.mark.skipif(os.name != "posix", reason="a shell script stands for an engine")


def never_ready(folder: Path) -> Path:
    """A program in place of an engine, which writes down its process and never answers."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\necho $$ > "{folder}/pid.new"\nmv "{folder}/pid.new" "{folder}/pid"\nexec sleep 1000\n')
    program.chmod(0o755)
    return program


def given_up(reference: Path, pid: Path, **how: Any) -> int:
    """Give the start up once the engine's process is there; its id."""

    async def work() -> None:
        loading = asyncio.ensure_future(
            load_all([named(str(reference))], Loading(store=Store(pid.parent / ".tunesmith"), context=256, **how), Registry())
        )
        while not pid.exists():
            await asyncio.sleep(0.01)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(work())
    return int(pid.read_text())


@POSIX
def test_a_start_of_vllm_that_is_given_up_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, str(never_ready(tmp_path)))
    assert not psutil.pid_exists(given_up(make_base(tmp_path / "tiny"), tmp_path / "pid", engine="vllm"))


@POSIX
def test_a_start_of_llama_cpp_that_is_given_up_while_it_reads_the_file_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.engines.llama_cpp.installed_version", lambda: "0")
    monkeypatch.setattr("tunesmith.engines.llama_cpp.sys", SimpleNamespace(executable=str(never_ready(tmp_path))))
    file = write_gguf(make_base(tmp_path / "tiny"), tmp_path / "tiny.gguf", template=TEMPLATE)
    assert not psutil.pid_exists(given_up(file, tmp_path / "pid"))


@contextmanager
def starting(project: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`tunesmith serve`, which has ended after the block."""
    piped: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*COMMAND, *arguments, "--project", str(project)]
    with subprocess.Popen(command, env={**os.environ, **environment}, **piped) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], number: int) -> None:
    """Ask it to end: no line for scripts, no error, nothing left of what it started."""
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "") and said.strip().endswith("stopped before it was ready")
    assert started and not any(psutil.pid_exists(one.pid) for one in started)


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_at_once_while_vllm_starts(tmp_path: Path, number: int) -> None:
    base, pause = str(make_base(tmp_path / "tiny")), threading.Event()
    with starting(tmp_path, base, "--engine", "vllm", **{PYTHON: str(never_ready(tmp_path))}) as process:
        while not (tmp_path / "pid").exists():
            assert process.poll() is None
            pause.wait(0.01)
        ended(process, number)


@POSIX
@pytest.mark.slow
def test_the_command_ends_at_once_while_llama_cpp_reads_the_file(tmp_path: Path) -> None:
    """It is held there: the file of this test is read faster than a test can ask."""
    pytest.importorskip("xllamacpp", reason="needs tunesmith[llama-cpp]")
    file, pause = write_gguf(make_base(tmp_path / "tiny"), tmp_path / "tiny.gguf", template=TEMPLATE), threading.Event()
    with starting(tmp_path, str(file)) as process:
        while not (engine := llama_cpp_of(process)):
            assert process.poll() is None
            pause.wait(0.001)
        engine.suspend()
        ended(process, signal.SIGTERM)


def llama_cpp_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    """Its process, once it runs the program of its own."""
    found = psutil.Process(process.pid).children(recursive=True)
    return next((one for one in found if "tunesmith.engines.llama_cpp_server" in one.cmdline()), None)


def test_work_without_a_pause_is_broken_off_and_handlers_are_then_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(NotStarted), Stop().on_signals():
            signal.raise_signal(number)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_server_that_is_ready_hears_the_wish_and_a_second_one_is_for_an_end_at_once() -> None:
    async def work() -> list[bool]:
        stop = Stop()
        heard = []
        with stop.on_signals():
            stop.in_order()
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
                await asyncio.sleep(0)
                await stop.asked.wait()
                heard.append(stop.at_once)
        return heard

    assert asyncio.run(work()) == [False, True]
