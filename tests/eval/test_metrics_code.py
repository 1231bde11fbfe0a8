"""Promises of running answers: what passes the tests passes, and what misbehaves is ended and named. Real processes."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from tunesmith.eval.metrics.code import Limits, code_of, network_namespace, pass_at_k, run_tests
from tunesmith.eval.metrics.metric import Expected
from tunesmith.eval.metrics.registry import metric_named, score_answers

TESTS = "assert add(2, 3) == 5"
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this limit is one of Linux")


def test_right_code_passes_and_wrong_code_fails_with_its_error() -> None:
    assert run_tests("def add(a, b): return a + b", TESTS).state == "passed"
    failed = run_tests("def add(a, b): return a - b", TESTS)
    assert (failed.state, failed.detail) == ("failed", "AssertionError: ")
    assert run_tests("def add(a, b) return", TESTS).detail.startswith("SyntaxError")


def test_the_standard_library_can_be_imported() -> None:
    assert run_tests("import json, re, math, random, itertools, unittest, dataclasses, decimal", "").state == "passed"


def test_tests_that_are_not_python_leave_the_answer_unscored_and_wrong_answers_do_not() -> None:
    items = [Expected(tests="assert add(2, 3) == 5\nassert add(1,"), Expected(tests=TESTS), Expected(tests=TESTS)]
    said = ["def add(a, b): return a + b", "def add(a, b): return a + b", "def add(a, b) return"]
    found = score_answers(metric_named("code_passes"), said, items, run_code=True)
    assert found.values == (None, 1.0, 0.0)
    (reason,) = found.reasons
    assert reason.startswith("the item's tests are not Python: ") and reason.endswith("in line 2: assert add(1,")


def test_an_endless_loop_is_ended() -> None:
    assert run_tests("while True: pass", "", Limits(seconds=1.5)).state == "timed_out"
    assert run_tests("import time\ntime.sleep(60)", "", Limits(seconds=1.5)).state == "timed_out"


@LINUX
@pytest.mark.parametrize("bomb", ["x = bytearray(10**10)", "x = []\nwhile True: x.append('y' * 10**6)"])
def test_a_memory_bomb_is_ended(bomb: str) -> None:
    assert run_tests(bomb, "").state == "out_of_memory"


@pytest.mark.parametrize(
    ("attempt", "what"),
    [
        ("open('notes.txt', 'w')", "writing notes.txt"),
        ("import os\nos.open('x', os.O_CREAT | os.O_WRONLY)", "writing x"),
        ("import os\nos.mkdir('folder')", "os.mkdir"),
        ("import pathlib\npathlib.Path('answer.py').unlink()", "os.remove"),
        ("import tempfile\ntempfile.mkdtemp()", "writing "),
        ("open('/etc/hostname').read()", "reading /etc/hostname"),
        ("import os\nos.listdir('/')", "reading /"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "socket"),
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')", "socket"),
        ("import subprocess\nsubprocess.run(['true'])", "subprocess"),
        ("import os\nos.system('true')", "os.system"),
        ("import os\nos.fork()", "os.fork"),
    ],
)
def test_what_is_not_allowed_is_refused_and_named(attempt: str, what: str) -> None:
    outcome = run_tests(attempt, "")
    assert outcome.state == "refused" and what in outcome.detail, outcome


def test_catching_the_refusal_does_not_make_it_pass(tmp_path: Path) -> None:
    target = tmp_path / "written.txt"
    outcome = run_tests(f"try:\n    open({str(target)!r}, 'w')\nexcept Exception:\n    pass", "")
    assert outcome.state == "refused" and not target.exists()


@pytest.mark.parametrize(
    "way", ["raise SystemExit(0)", "import os\nos._exit(0)", 'print(\'{"state": "passed"}\')\nimport os\nos._exit(0)']
)
def test_ending_before_the_tests_is_not_passing(way: str) -> None:
    assert run_tests(way, "assert False").state == "ended_early"


def test_the_environment_and_the_libraries_for_native_calls_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    assert run_tests("import os", "assert 'MY_TOKEN' not in os.environ").state == "passed"
    assert run_tests("import ctypes", "").detail.startswith("ImportError")


@LINUX
def test_the_process_has_no_network_of_its_own_where_the_system_allows_that() -> None:
    if not network_namespace():
        pytest.skip("this system allows no network namespace; the guard inside the process is tested above")
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=10)"
        outside = subprocess.run([sys.executable, "-c", connect], capture_output=True, check=False)
        inside = subprocess.run([*network_namespace(), sys.executable, "-c", connect], capture_output=True, check=False)
    assert outside.returncode == 0
    assert inside.returncode != 0 and b"unreachable" in inside.stderr.lower()


def test_the_code_of_an_answer_is_what_is_between_its_fences() -> None:
    assert code_of("Here:\n```python\nx = 1\n```\nand\n```\ny = 2\n```") == "x = 1\n\n\ny = 2\n"
    assert code_of("x = 1") == "x = 1"


def test_pass_at_k_is_the_share_of_draws_of_k_with_a_passing_answer() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([True] * c + [False] * (n - c), k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
                assert pass_at_k(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))
    assert pass_at_k(3, 1, 4) is None
    assert pass_at_k(100_000, 1, 1) == pytest.approx(1e-5)


def test_the_metric_runs_the_tests_of_each_item_once_that_is_asked_for() -> None:
    answers = ["```python\ndef add(a, b): return a + b\n```", "def add(a, b): return 0", "x"]
    expected = [Expected(tests=TESTS), Expected(tests=TESTS), Expected()]
    scored = score_answers(metric_named("code_passes"), answers, expected, run_code=True)
    assert scored.values == (1.0, 0.0, None)
    assert scored.reasons == {"the item has no tests": 1}
