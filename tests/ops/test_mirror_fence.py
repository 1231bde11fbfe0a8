"""Mirrors send nothing anywhere that nobody named: a tracker that tries is refused and reported, however it tries."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from project_fakes import make_project

from tunesmith.api import mirror_runs, runs
from tunesmith.cli.main import main
from tunesmith.core.reporter import StageDone
from tunesmith.ops.mirrors.kernel import fence_programs
from tunesmith.ops.mirrors.mirror import MirrorReporter
from tunesmith.pipeline.sections.tracking import TRACKERS, TrackingConfig

WAYS = {
    "a socket": "import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5).sendall(b'secret')",
    "HTTP": "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}', data=b'secret', timeout=5)",
    "HTTP past the proxies": """
import http.client
call = http.client.HTTPConnection('127.0.0.1', {port}, timeout=5)
call.request('POST', '/', b'secret')
call.getresponse()""",
    "asyncio": """
import asyncio
async def go():
    _, writer = await asyncio.open_connection('127.0.0.1', {port})
    writer.write(b'secret')
    await writer.drain()
asyncio.run(go())""",
    "a thread": """
import socket, threading
thread = threading.Thread(target=lambda: socket.create_connection(('127.0.0.1', {port}), timeout=5).sendall(b'secret'))
thread.start()
thread.join()""",
    "another program": """
import subprocess, sys
code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}', data=b'secret', timeout=5)"
subprocess.run([sys.executable, '-c', code], capture_output=True)""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fenced")
    make_project(folder)
    return folder


class Canary:
    """A listener that answers anybody and counts who came."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self._came = self._own = 0
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self.server.accept()
            except OSError:
                return
            with caller:
                self._came += 1
                caller.recv(1000)
                caller.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")

    @property
    def came(self) -> int:
        """How many came until now: callers are answered in their order, and one of its own is the last of them."""
        with socket.create_connection(("127.0.0.1", self.port)) as own:
            own.sendall(b"own")
            own.recv(100)
        self._own += 1
        return self._came - self._own


@contextmanager
def canary() -> Iterator[Canary]:
    listening = Canary()
    try:
        yield listening
    finally:
        listening.server.shutdown(socket.SHUT_RDWR)
        listening.server.close()
        listening.thread.join(timeout=10)


def planted(folder: Path, code: str) -> Path:
    """A tracker in the place of Trackio that writes what it is given, and on the way does `code`, hiding what comes of it."""
    package = folder / "trackio"
    package.mkdir(parents=True)
    lines = "\n    ".join(code.strip().split("\n"))
    (package / "__init__.py").write_text(f"try:\n    {lines}\nexcept Exception:\n    pass\n")
    (package / "sqlite_storage.py").write_text(
        "class SQLiteStorage:\n"
        "    delete_run = staticmethod(lambda *a, **k: None)\n"
        "    bulk_log = staticmethod(lambda *a, **k: None)\n"
    )
    return folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr("tunesmith.ops.mirrors.mirror.importlib.util.find_spec", lambda name: True)
    yield monkeypatch


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))


@pytest.mark.parametrize("way", WAYS)
def test_a_tracker_that_calls_elsewhere_is_refused_and_reported(
    way: str, project: Path, tmp_path: Path, installed: pytest.MonkeyPatch
) -> None:
    with canary() as elsewhere:
        on_path(installed, planted(tmp_path, WAYS[way].format(port=elsewhere.port)))
        (done,) = mirror_runs(to=["trackio"], project=project)
        assert elsewhere.came == 0
        reported = (f"127.0.0.1:{elsewhere.port}",)
        assert done.refused == (() if way == "another program" else ("127.0.0.1:9",) if way == "HTTP" else reported)
        free = subprocess.run([sys.executable, "-c", "import trackio"], env={**os.environ, "no_proxy": "*"}, check=False)
        assert free.returncode == 0 and elsewhere.came == 1  # without the fence it does reach it


def test_a_name_that_nobody_named_is_not_even_looked_up(project: Path, tmp_path: Path, installed: pytest.MonkeyPatch) -> None:
    code = "import socket; socket.getaddrinfo('telemetry.example', 443)"
    on_path(installed, planted(tmp_path, code))
    (done,) = mirror_runs(to=["trackio"], project=project)
    assert done.refused == ("telemetry.example",)


def test_a_tracker_that_calls_nobody_has_nothing_refused(
    project: Path, tmp_path: Path, installed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_path(installed, planted(tmp_path, "pass"))
    main(["runs", "mirror", "--to", "trackio", "--project", str(project)])
    assert "tried to reach" not in capsys.readouterr().out


def test_while_a_pipeline_runs_it_is_a_warning(project: Path, tmp_path: Path, installed: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    on_path(installed, planted(tmp_path, "import socket; socket.getaddrinfo('telemetry.example', 443)"))
    reporter = MirrorReporter(TrackingConfig(to=["trackio"]), project, warn=said.append)
    reporter.event(StageDone(kind="run", title="train", id=runs(project).rows[0].id, path="", numbers={}, text=""))
    assert said == ["trackio tried to reach telemetry.example, which the recipe does not name: refused, nothing was sent"]


FENCED = """
import socket, sys
from tunesmith.ops.mirrors.fence import fenced
refused = fenced("http://localhost:{named}")
reached = []
for host, port in (("localhost", {named}), ("127.0.0.1", {named}), ("127.0.0.1", {other})):
    try:
        socket.create_connection((host, port), timeout=5).close()
        reached.append(port)
    except PermissionError:
        pass
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {other}))
    reached.append("a datagram")
except PermissionError:
    pass
one, other = socket.socketpair()
one.send(b"x")
print(reached, refused, other.recv(1) == b"x")
"""


def test_the_named_address_is_reached_and_another_port_of_its_host_is_not() -> None:
    with canary() as named, canary() as other:
        code = FENCED.format(named=named.port, other=other.port)
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
        assert done.stdout.strip() == f"{[named.port] * 2} {[f'127.0.0.1:{other.port}'] * 2} True", done.stderr
        assert other.came == 0


def test_proxies_of_the_environment_are_on_the_way_to_a_named_address_and_to_no_other() -> None:
    with canary() as proxy:
        environment = {**os.environ, "http_proxy": f"http://127.0.0.1:{proxy.port}"}
        for address, reaches in (("http://tracker.example", 1), ("", 0)):
            code = (
                "import socket\nfrom tunesmith.ops.mirrors.fence import fenced\n"
                f"fenced({address!r})\n"
                f"try:\n    socket.create_connection(('127.0.0.1', {proxy.port})).close()\nexcept PermissionError:\n    pass"
            )
            before = proxy.came
            assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
            assert proxy.came - before == reaches


# --- programs that trackers start, fenced by the kernel ---------------------------------------------------------------

LANDLOCK = sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 4
PROGRAM = """
import socket, subprocess, sys
from tunesmith.ops.mirrors.fence import fenced
fenced({address!r})
code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=5).close()"
for port in ({named}, {other}):
    print(subprocess.run([sys.executable, "-c", code, str(port)], capture_output=True).returncode)
print(subprocess.run([sys.executable, "-c", "import socket; a, b = socket.socketpair(); a.send(b'x')"]).returncode)
"""


@pytest.mark.skipif(not LANDLOCK, reason="needs Linux 6.7 or later with Landlock")
@pytest.mark.parametrize(("address", "reaches"), [("", 0), ("http://localhost:{named}", 1)])
def test_a_program_that_a_tracker_starts_reaches_the_port_that_was_named_and_no_other(address: str, reaches: int) -> None:
    with canary() as named, canary() as other:
        code = PROGRAM.format(address=address.format(named=named.port), named=named.port, other=other.port)
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
        assert done.stdout.split() == ["0" if reaches else "1", "1", "0"], done.stderr
        assert (named.came, other.came) == (reaches, 0)


def test_a_system_without_landlock_says_so_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.ops.mirrors.kernel.sys.platform", "darwin")
    assert fence_programs(()) is False
    monkeypatch.setattr("tunesmith.ops.mirrors.kernel.sys.platform", "linux")
    monkeypatch.setattr("tunesmith.ops.mirrors.kernel.ctypes.CDLL", lambda *a, **k: Old())
    assert fence_programs(()) is False


class Old:
    """A kernel that knows files and no network."""

    def syscall(self, *_: object) -> int:
        return 3


# --- what the system sees, programs that trackers start included -------------------------------------------------------

STRACE = shutil.which("strace") or ""
TRACED = pytest.mark.skipif(
    not STRACE or subprocess.run([STRACE, "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs strace, and a system that lets it work",
)
RAW = """
import subprocess, sys
code = "import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5).sendall(b'secret')"
subprocess.run([sys.executable, '-c', code], capture_output=True)"""


def calls_of(tracker: str, project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system calls of a mirror, and of every program that it starts, that reach for an address of the network."""
    log, program = folder / "calls.log", folder / "python"
    program.write_text(f'#!/bin/sh\nexec {STRACE} -f -qq -e trace=connect,sendto,sendmsg -o {log} {sys.executable} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    mirror_runs(to=[tracker], project=project)
    return [line for line in log.read_text(errors="replace").split("\n") if "AF_INET" in line and "sin" in line]


@TRACED
def test_a_program_of_a_tracker_that_calls_elsewhere_past_the_proxies_is_seen(
    project: Path, tmp_path: Path, installed: pytest.MonkeyPatch
) -> None:
    """The planted fault of the next test: the system's own log shows it, also where the kernel refuses it."""
    with canary() as elsewhere:
        on_path(installed, planted(tmp_path, RAW.format(port=elsewhere.port)))
        (call,) = [line for line in calls_of("trackio", project, tmp_path, installed) if " connect(" in line]
        assert f"sin_port=htons({elsewhere.port})" in call and elsewhere.came == (0 if LANDLOCK else 1)


@pytest.mark.slow
@TRACED
@pytest.mark.parametrize("tracker", TRACKERS)
def test_the_real_trackers_reach_for_no_address_whatever_program_they_start(
    tracker: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker, reason=f"needs {tracker}, which the extra {tracker} brings")
    assert calls_of(tracker, project, tmp_path, monkeypatch) == []
