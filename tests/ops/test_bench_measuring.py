"""`bench serve`: what is asked, in which order, and what a fault leaves."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench_stand_in import Fault, stand_in

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError, SourceError
from tunesmith.core.records import Message
from tunesmith.ops.bench.asking import Window, ask_window
from tunesmith.ops.bench.measuring import Measured, Work, measure
from tunesmith.ops.bench.options import Judged, Option
from tunesmith.ops.bench.prompts import Prompts, find_prompts
from tunesmith.ops.bench.running import running

PROMPTS = Prompts(conversations=tuple((Message(role="user", content=f"Question {n}?"),) for n in range(40)), source="here")


def work(**how: Any) -> Work:
    return Work(**{"clients": (1, 2), "tokens": 8, "requests": 3, "rounds": 2, "seconds": 0.0, **how})


def asked(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_options_come_in_turn_and_get_the_same_prompts_in_the_same_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found, ended = measure([stand_in("a", log), stand_in("b", log)], PROMPTS, work(clients=(1,)))
    order = [name for name, _ in itertools.groupby(one["server"] for one in asked(log))]
    assert order == ["a", "b", "a", "b"] and ended == ""
    texts = {n: [m["messages"][-1]["content"] for m in asked(log) if m["server"] == n] for n in "ab"}
    assert texts["a"] == texts["b"] and len(texts["a"]) == 2 * (1 + 3)  # a warm-up and three requests in each round
    assert len(set(texts["a"])) == 4  # a new server is asked them again, one server never
    assert {(m["stream"], m["max_tokens"], m["model"]) for m in asked(log)} == {(True, 2, "bench"), (True, 8, "bench")}
    assert not any("temperature" in m for m in asked(log))  # answers as in use
    assert [(w.round, w.clients, len(w.requests)) for w in found[0].windows] == [(0, 1, 3), (1, 1, 3)]
    assert len(found[0].start_s) == 2 and (found[0].memory_bytes or 0) > 2**20 and found[0].problem == ""
    assert all(one.tokens == 8 and one.first_s is not None for w in found[0].windows for one in w.requests)


def test_each_client_asks_again_as_soon_as_it_is_answered_and_two_times_at_least(tmp_path: Path) -> None:
    (found,), _ = measure([stand_in("a", tmp_path / "log")], PROMPTS, work(clients=(2, 5), rounds=1))
    assert [(w.clients, len(w.requests)) for w in found.windows] == [(2, 4), (5, 10)]
    assert not any(w.failures for w in found.windows)


@pytest.mark.parametrize(
    ("fault", "problem", "windows"),
    [
        ("no start", "the server ended: the port is taken", 0),
        ("left out", "the model is not served: bench is not served: it reads its prompts otherwise", 0),
        ("dies", "the server ended: out of memory", 1),
        ("refuses", "no request was answered: server: no room", 1),
        ("breaks off", "no request was answered: server at", 1),
    ],
)
def test_a_fault_of_one_option_is_its_problem_and_the_others_are_measured(
    tmp_path: Path, fault: Fault, problem: str, windows: int
) -> None:
    log = tmp_path / "log"
    found, ended = measure([stand_in("bad", log, fault=fault), stand_in("good", log)], PROMPTS, work())
    assert found[0].problem.removeprefix("in round 1: ").startswith(problem) and ended == ""
    assert len(found[0].windows) == windows  # and it is not started again
    assert len(found[1].windows) == 4 and not found[1].problem
    if fault == "dies":
        assert sum(bool(one.failed) for one in found[0].windows[0].requests) == 1


def test_fewer_tokens_are_counted_as_they_are_and_none_where_a_server_does_not_count(tmp_path: Path) -> None:
    options = [
        stand_in("few", tmp_path / "log", fault="few tokens"),
        stand_in("mute", tmp_path / "log", fault="counts nothing"),
    ]
    (few, mute), _ = measure(options, PROMPTS, work(clients=(1,), rounds=1))
    assert [one.tokens for one in few.windows[0].requests] == [2, 2, 2]
    assert few.windows[0].tokens_per_s == pytest.approx(6 / few.windows[0].seconds)
    assert [one.tokens for one in mute.windows[0].requests] == [None] * 3 and mute.windows[0].tokens_per_s is None
    assert not mute.windows[0].failures


def test_times_are_from_the_request_to_its_first_piece_and_to_its_end(tmp_path: Path) -> None:
    ticks = itertools.count()
    with running(stand_in("a", tmp_path / "log"), ready_s=60) as server:
        window = ask_window(server.url, server.model, PROMPTS.part(0, 2), clients=1, tokens=8, clock=lambda: float(next(ticks)))
    # a tick at each reading: window, then begin, first piece and end of each request, then window
    assert [(one.first_s, one.seconds) for one in window.requests] == [(1.0, 2.0), (1.0, 2.0)]
    assert window.seconds == 7.0 and window.tokens_per_s == pytest.approx(16 / 7)
    assert window.requests[0].tokens_per_s == 7.0  # seven tokens after the first, in one second


def test_what_was_measured_is_kept_when_it_is_stopped_or_the_time_is_over(tmp_path: Path) -> None:
    def stop(_: Sequence[Measured]) -> None:
        raise KeyboardInterrupt

    options = [stand_in("a", tmp_path / "log")]
    (found,), ended = measure(options, PROMPTS, work(), on_round=stop)
    assert ended == "it was stopped" and len(found.windows) == 2
    clock = iter([0.0, 50.0, 101.0])
    (found,), ended = measure(options, PROMPTS, work(rounds=9, seconds=100.0), clock=lambda: next(clock))
    assert ended == "the 100 s were over after 2 of 9 rounds" and len(found.windows) == 4


def test_an_address_is_asked_under_its_one_model_and_has_neither_start_nor_memory(tmp_path: Path) -> None:
    with running(stand_in("a", tmp_path / "log"), ready_s=60) as server:
        there = Option(name="there", label="", judged=Judged(state="not measured", why=""), model="m", url=server.url)
        (found,), _ = measure([there], PROMPTS, work(rounds=1))
    assert (found.start_s, found.memory_bytes, found.problem) == ([], None, "")
    assert {one["model"] for one in asked(tmp_path / "log")} == {"m"}
    (gone,), _ = measure([there], PROMPTS, work(rounds=1))
    assert gone.problem.startswith("no request was answered: server at")


def test_a_server_ends_with_the_process_that_started_it() -> None:
    words = ["serve", "m=http://127.0.0.1:9/v1#m", "--port", "0", "--json"]
    command = [sys.executable, "-m", "tunesmith.ops.bench.served", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.communicate(timeout=120)  # closes its input, as the system does if we are killed
        assert process.returncode == 1


def test_prompts_used_up_come_again_with_a_number_so_that_no_server_has_read_them() -> None:
    few = Prompts(conversations=PROMPTS.conversations[:2], source="here")
    texts = [one[-1].content for one in few.part(1, 4)]
    assert texts == ["Question 1?", "(2) Question 0?", "(2) Question 1?", "(3) Question 0?"]


def test_prompts_come_from_a_file_or_with_tunesmith(tmp_path: Path) -> None:
    store = Store(tmp_path / ".tunesmith")
    (tmp_path / "p.txt").write_text("One?\n\n  Two?\n", encoding="utf-8")
    assert [one[0].content for one in find_prompts("x", store, tmp_path / "p.txt").conversations] == ["One?", "Two?"]
    rows = [{"messages": [{"role": "user", "content": f"Q{n}?"}, {"role": "assistant", "content": "A."}]} for n in range(3)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = find_prompts("x", store, tmp_path / "p.jsonl")
    assert sorted(one[-1].content for one in found.conversations) == ["Q0?", "Q1?", "Q2?"] and found.source == "p.jsonl"
    own = find_prompts("http://127.0.0.1:9/v1", store)
    assert len(set(own.conversations)) == len(own.conversations) > 60 and own.source == "prompts that come with Tunesmith"
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="there is no prompt in this file"):
        find_prompts("x", store, tmp_path / "empty.txt")
    with pytest.raises(SourceError):
        find_prompts("x", store, tmp_path / "gone.txt")


def test_a_window_with_a_failed_request_gives_no_rate() -> None:
    whole = Window(round=0, clients=1, seconds=2.0, requests=())
    assert whole.tokens_per_s is None
