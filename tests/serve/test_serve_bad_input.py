"""What goes wrong around a server: full disks, clocks that are set, bodies made to hurt, two servers on one database.

Taken ports are in test_serve_command, files that go in test_serve_adapters, engines that die in test_serve_llama_cpp.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from echo_engine import Echo, chat_body, opened, registry_of
from postgres_cluster import postgres
from running_server import Running, running
from served_process import COMMAND, ask, echo, served
from test_serve_care import until
from upstream import upstream

from tunesmith.api.traffic import ab_set, ab_status, rollback

YEAR_S = 365 * 86400.0
CHAT, FEEDBACK = "/v1/chat/completions", "/v1/feedback"


# --- two servers on one database ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_servers_on_one_database_know_each_others_answers_and_one_outlives_the_other(kind: str, tmp_path: Path) -> None:
    (tmp_path / "traffic.yaml").write_text("ab: {mine: {small: 50, large: 50}}\n")

    def work(database: str) -> None:
        how = ["--database", database, "--traffic", str(tmp_path / "traffic.yaml")]
        with upstream(echo) as behind:
            both = [f"small={behind}/v1#small", f"large={behind}/v1#large"]
            with served(tmp_path, *both, *how) as (first, process), served(tmp_path, *both, *how) as (second, _):
                id = ask(first, "POST", CHAT, chat_body("Tea?", "mine"))[1]["id"]
                said = {"response_id": id, "key": "k1", "thumb": "up"}
                until(lambda: ask(second, "POST", FEEDBACK, said)[0] == 200)  # the answer's row is written after the answer
                ab_set("mine", {"small": 0, "large": 1}, url=first)
                until(lambda: ask(second, "GET", "/v1/ab/mine")[1]["arms"] == {"small": 0, "large": 1})
                process.kill()
                process.wait(60)
                assert ask(second, "POST", FEEDBACK, said)[1]["again"] is True
                status, found = ask(second, "POST", CHAT, chat_body("Tea?", "mine"))
                assert status == 200 and found["model"].startswith("large@")
                until(lambda: ask(second, "POST", FEEDBACK, {"response_id": found["id"], "thumb": "up"})[0] == 200)
        assert sum(arm.answers for arm in ab_status(database=database).status.arms) == 2

    if kind == "sqlite":
        work(str(tmp_path / "serve.db"))
    else:
        with postgres() as address:
            work(address)


# --- a full disk ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_a_disk_that_fills_up_under_a_server_costs_no_acknowledged_feedback_and_no_answer(tmp_path: Path) -> None:
    """The limit on the size of files stands for the disk; it holds for the server's process alone."""
    file = tmp_path / "serve.db"
    with upstream(echo) as behind, served(tmp_path, f"small={behind}/v1#small", "--database", str(file)) as (url, process):
        id = ask(url, "POST", CHAT, chat_body("Tea?", "small"))[1]["id"]

        def give(key: str, text: str) -> int:
            return ask(url, "POST", FEEDBACK, {"response_id": id, "key": key, "text": text})[0]

        until(lambda: give("before", "good") == 200)
        size = max(one.stat().st_size for one in tmp_path.glob("serve.db*"))
        no_limit = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, no_limit[1]))
        status, body = ask(url, "POST", FEEDBACK, {"response_id": id, "key": "full", "text": "long " * 3000})
        assert (status, body["error"]["code"]) == (503, "storage_failed") and str(tmp_path) not in str(body)
        status, unrecorded = ask(url, "POST", CHAT, chat_body("Tea?", "small"))
        assert status == 200
        late = {"response_id": unrecorded["id"], "key": "late", "text": "long " * 3000}
        assert ask(url, "POST", FEEDBACK, late)[0] == 503  # not 404: the answer was given
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, no_limit)
        assert give("full", "long " * 3000) == 200 and ask(url, "POST", FEEDBACK, late)[0] == 200
    with sqlite3.connect(file) as connection:
        assert {key for (key,) in connection.execute("SELECT key FROM tunesmith_feedback")} == {"before", "full", "late"}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_disk_that_is_full_at_the_start_is_said_in_four_parts(tmp_path: Path) -> None:
    with upstream(echo) as behind:
        command = ["bash", "-c", 'ulimit -f 0; exec "$@"', "serve", *COMMAND, f"small={behind}/v1#small"]
        command += ["--database", str(tmp_path / "serve.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert "the database does not work" in done.stderr and "expected" in done.stderr and "hint:" in done.stderr


# --- a clock that is set ------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_ten_years_back_or_forth_loses_and_mixes_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, real = registry_of(Echo(), "mine@v1", "mine@v2", "mine@v3"), time.time
    traffic = opened(tmp_path / "serve.db", registry=registry, ab={"ours": {"mine@v1": 1.0}}, capture=True)
    with running(registry, traffic=traffic, per_minute=600) as server:
        for at, jump in enumerate((0.0, -10 * YEAR_S, 10 * YEAR_S, 0.0)):
            monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
            status, found = ask(server.url, "POST", CHAT, chat_body("Tea?", "ours", user=f"user {at}"))
            assert status == 200
            said = {"response_id": found["id"], "score": 0.5}
            assert [ask(server.url, "POST", FEEDBACK, said)[1]["again"] for _ in range(2)] == [False, True]
            if at in (1, 2):
                assert ask(server.url, "PUT", "/v1/models/mine/aliases/live", {"version": f"v{at + 1}"})[0] == 200
        assert rollback("mine", url=server.url).after == "v2"  # the last move, though its time is not the latest
        assert ab_status(database=tmp_path / "serve.db").status.arms[0].n == 4


def test_texts_are_not_erased_by_a_clock_that_jumped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, real, file = list[dict[str, Any]](), time.time, tmp_path / "serve.db"
    registry = registry_of(Echo(), "words")
    traffic = opened(file, log, registry=registry, capture=True, keep_days=30.0)
    with running(registry, traffic=traffic) as server:
        ask(server.url, "POST", CHAT, chat_body("zanzibar-4711"))
        until(lambda: b"words heard" in (tmp_path / "serve.db-wal").read_bytes())
        set_off = traffic.drop_old(real() - time.monotonic())
        monkeypatch.setattr(time, "time", lambda: real() + YEAR_S)
        set_off = traffic.drop_old(set_off)
        assert "the clock jumped" in log[-1]["skipped"]
        kept = [_prompts(file)]
        traffic.drop_old(set_off)  # it is still that late: now it counts
        kept.append(_prompts(file))
    assert kept == [1, 0]


def _prompts(file: Path) -> int:
    with sqlite3.connect(file) as connection:
        return int(connection.execute("SELECT count(prompt) FROM tunesmith_answers").fetchone()[0])


# --- bodies made to hurt, on every route that takes one -------------------------------------------------------------------

ROUTES = [
    ("POST", CHAT, {"model": "words", "messages": [{"role": "user", "content": "?"}]}),
    ("POST", "/v1/completions", {"model": "words", "prompt": "?"}),
    ("POST", "/v1/embeddings", {"model": "words", "input": "?"}),
    ("POST", FEEDBACK, {"response_id": "chatcmpl-1", "text": "?"}),
    ("PUT", "/v1/ab/mine", {"arms": {"words": 1}, "why": "?"}),
    ("PUT", "/v1/models/words/aliases/live", {"version": "?"}),
    ("POST", "/v1/models/words/rollback", {"alias": "?"}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    registry = registry_of(Echo(), "words")
    traffic = opened(tmp_path_factory.mktemp("bad") / "serve.db", registry=registry, ab={"mine": {"words": 1.0}})
    with running(registry, traffic=traffic) as found:
        yield found


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[path for _, path, _ in ROUTES])
def test_bodies_made_to_hurt_are_refused_on_every_route_and_the_next_request_is_answered(
    server: Running, method: str, path: str, body: dict[str, Any]
) -> None:
    whole = json.dumps(body).encode()
    hostile: list[tuple[bytes, int, str]] = [
        (b"[" * 5_000_000 + b"]" * 5_000_000, 413, "body_too_large"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "invalid_json"),
        (b'{"a":' * 80 + b"1" + b"}" * 80, 400, "invalid_json"),
        (whole.replace(b"?", b"a\0b"), 400, "invalid_json"),
        (b"\0" * 1000, 400, "invalid_json"),
        (b'"' + b"\xf0\x9f" * 10 + b'"', 400, "invalid_json"),
        (b"NaN", 400, "invalid_json"),
        (b"[]", 400, ""),
        (json.dumps({**body, "wish": 1}).encode(), 400, ""),
        (json.dumps({**body, "n": 1_000_000}).encode(), 400, ""),
        (whole.replace(b"?", b"a\\u0000b"), 0, ""),
        (whole.replace(b'"?"', b"1" * 400), 400, ""),
    ]
    for content, status, code in hostile:
        found, answer = ask(server.url, method, path, content)
        error = answer["error"]
        assert 400 <= found < 500 and found == (status or found) and error["code"] == (code or error["code"]), content[:50]
        assert error["message"] and error["type"]
    assert ask(server.url, "POST", CHAT, chat_body("Tea?"))[0] == 200


@pytest.mark.parametrize("name", ["nobody", "words%00", "..%2f..%2fetc%2fpasswd", "words@%00", "w" * 5000])
def test_a_name_that_is_not_here_is_404_on_every_route_that_takes_one(server: Running, name: str) -> None:
    for method, path, body in (
        ("GET", f"/v1/models/{name}", None),
        ("PUT", f"/v1/models/{name}/aliases/live", {"version": "v1"}),
        ("POST", f"/v1/models/{name}/rollback", {}),
        ("GET", f"/v1/ab/{name}", None),
        ("PUT", f"/v1/ab/{name}", {"arms": {"words": 1}}),
    ):
        status, found = ask(server.url, method, path, body)
        assert status == 404 and found["error"]["message"], (method, path)
