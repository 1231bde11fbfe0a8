"""Feedback over real HTTP: what is acknowledged is on disk, once, and goes without a trace when it is forgotten."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
import urllib3
from echo_engine import Echo, chat_body, opened, registry_of
from postgres_cluster import postgres
from running_server import running
from sqlalchemy import func, select, text

from tunesmith.api.feedback import export_feedback, forget_feedback
from tunesmith.api.judges import calibrate_judge
from tunesmith.core.errors import StorageError
from tunesmith.serve.feedback import forgetting
from tunesmith.serve.feedback.database import Database, open_database
from tunesmith.serve.feedback.forgetting import drop_texts, forget
from tunesmith.serve.feedback.tables import feedback
from tunesmith.serve.pipeline import Call, Pipeline

SECRET = "zanzibar-4711"
MAIL = "ada.lovelace@analytical-engines.org"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path_factory.mktemp("database") / "serve.db")
    else:
        with postgres() as found:
            yield found


class Client:
    """Requests over HTTP, with status and JSON of what comes back."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        found = urllib3.request("POST", self.url + path, json=body, retries=False, timeout=30)
        return found.status, orjson.loads(found.data)


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    traffic = opened(address, capture=True)
    with running(registry_of(Echo(), "words", "others"), traffic=traffic) as server:
        yield Client(server.url)


def answer(client: Client, words: str, model: str = "words", **how: Any) -> dict[str, Any]:
    status, found = client.post("/v1/chat/completions", chat_body(words, model, **how))
    assert status == 200, found
    return dict(found)


def give(client: Client, response_id: str, **said: Any) -> tuple[int, Any]:
    return client.post("/v1/feedback", {"response_id": response_id, **said})


def files_hold(file: Path, words: str) -> bool:
    return any(words.encode() in one.read_bytes() for one in file.parent.glob(file.name + "*"))


def test_feedback_is_kept_once_however_often_it_is_sent(client: Client, address: str) -> None:
    id = answer(client, "A kettle?")["id"]
    assert give(client, id, key="k1", thumb="up")[1]["again"] is False
    assert give(client, id, key="k1", thumb="up")[1]["again"] is True
    status, other = give(client, id, key="k1", thumb="down")
    assert (status, other["error"]["param"]) == (409, "key")
    assert give(client, id, score=0.25, tag="tone")[1]["key"] == give(client, id, score=0.25, tag="tone")[1]["key"]
    database = open_database(address)
    with database.read() as connection:
        kept = connection.execute(select(func.count()).where(feedback.c.answer_id == id.partition("-")[2])).scalar()
    database.close()
    assert kept == 2


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"response_id": "chatcmpl-0000", "thumb": "up"}, 404, "response_id"),
        ({"thumb": "sideways"}, 400, "thumb"),
        ({"score": 1.5}, 400, "score"),
        ({"score": "0.5"}, 400, "score"),
        ({"text": "a\0b"}, 400, "text"),
        ({"key": "k"}, 400, "thumb"),
        ({"thumb": "up", "stars": 5}, 400, "stars"),
        ({"correction": ""}, 400, "correction"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused_by_the_name_of_its_field(
    client: Client, body: dict[str, Any], status: int, param: str
) -> None:
    found = client.post("/v1/feedback", {"response_id": answer(client, "Hm?")["id"], **body})
    assert (found[0], found[1]["error"]["param"]) == (status, param)


def test_corrections_and_preferences_become_rows_that_the_other_verbs_read(
    client: Client, address: str, tmp_path: Path
) -> None:
    mine, theirs = answer(client, "Which lamp?"), answer(client, "Which lamp?", "others")
    give(client, mine["id"], thumb="down", correction="The green lamp.")
    give(client, theirs["id"], thumb="up")
    hinge = answer(client, "A hinge?"), answer(client, "A hinge?", "others")
    for one in hinge:
        give(client, one["id"], score=0.5)
    for form in ("sft", "preference", "labels"):
        export_feedback(form, tmp_path / form, database=address)
    sft, preference = [lines(tmp_path / form) for form in ("sft", "preference")]
    question = {"role": "user", "content": "Which lamp?"}
    assert [question, {"role": "assistant", "content": "The green lamp."}] in [row["messages"] for row in sft]
    pairs = {(row["prompt"], row["chosen"], row["rejected"]) for row in preference}
    heard, others = "words heard: Which lamp?", "others heard: Which lamp?"
    assert {("Which lamp?", "The green lamp.", heard), ("Which lamp?", others, heard)} <= pairs
    labels = [row for row in lines(tmp_path / "labels") if row["prompt"] in ("Which lamp?", "A hinge?")]
    assert sorted(row["human"] == "tie" for row in labels) == [False, False, True]
    for row in labels:
        if row["human"] != "tie":
            assert row["a" if row["human"] == "B" else "b"] == heard
        row["judge"] = row["human"]
    judged = tmp_path / "judged.jsonl"
    judged.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in labels))
    assert calibrate_judge(judged).as_dict()["agreement"] == 1.0


def lines(file: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def test_a_choice_of_several_or_a_prompt_that_was_scored_has_no_text_that_feedback_could_mean(
    client: Client, address: str, tmp_path: Path
) -> None:
    def left_out() -> int:
        return export_feedback("sft", tmp_path / "out", database=address).left_out["correction without a captured prompt"]

    give(client, answer(client, "Two?", n=2)["id"], correction="One.")
    before = left_out()
    asked = {"model": "words", "prompt": "Three?", "max_tokens": 0, "echo": True}
    give(client, client.post("/v1/completions", asked)[1]["id"], correction="One.")
    assert left_out() == before + 1 >= 2


def test_forgetting_a_user_while_the_server_runs_takes_that_user_alone(client: Client, address: str) -> None:
    ada, bob = answer(client, "I am Ada", user="ada"), answer(client, "I am Bob", user="bob")
    for one in (ada, bob):
        give(client, one["id"], text="good")
    erased = forget_feedback(user="ada", database=address)
    assert (erased.answers, erased.feedback) == (1, 1)
    assert give(client, ada["id"], thumb="up")[0] == 404 and give(client, bob["id"], thumb="up")[0] == 200


def test_no_byte_of_a_forgotten_user_is_left_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "serve.db"
    with running(registry_of(Echo(), "words"), traffic=opened(file, capture=True)) as server:
        client = Client(server.url)
        for at in range(12):
            who = "ada" if at % 2 else "bob"
            one = answer(client, f"{who}: " + (SECRET if who == "ada" else "tea") * 300, user=who)
            give(client, one["id"], key=str(at), correction=f"{SECRET} for {who}" if who == "ada" else "coffee")
        assert files_hold(file, SECRET)
        with monkeypatch.context() as patch:  # planted: rows deleted, bytes left
            patch.setattr(forgetting, "erase_bytes", lambda database: None)
            other = open_database(file)
            other.write(lambda connection: connection.execute(text("PRAGMA secure_delete=OFF"))).result()
            forget(other, user="ada", since=time.time() + 60)
            other.close()
        assert files_hold(file, SECRET)
        assert forget_feedback(user="ada", database=file).answers == 6
        assert not files_hold(file, SECRET) and files_hold(file, "coffee")


def test_texts_are_kept_only_if_wanted_and_without_personal_data(tmp_path: Path) -> None:
    kept: dict[str, dict[str, Any]] = {"off": {}, "on": {"capture": True}, "raw": {"capture": True, "redact": False}}
    for name, how in kept.items():
        file = tmp_path / f"{name}.db"
        with running(registry_of(Echo(), "words"), traffic=opened(file, **how)) as server:
            client = Client(server.url)
            give(client, answer(client, f"Write to {MAIL} about the kettle", user="ada")["id"], correction=f"Dear {MAIL}")
            assert files_hold(file, "kettle") == (name != "off")
            assert files_hold(file, MAIL) == (name == "raw") and files_hold(file, "Dear [EMAIL]") == (name != "raw")
    assert export_feedback("sft", tmp_path / "off.jsonl", database=tmp_path / "off.db").rows == 0


def test_texts_older_than_the_days_to_keep_are_erased_and_scores_stay(tmp_path: Path) -> None:
    file = tmp_path / "serve.db"
    with running(registry_of(Echo(), "words"), traffic=opened(file, capture=True)) as server:
        client = Client(server.url)
        give(client, answer(client, SECRET)["id"], score=0.5, text=f"{SECRET} again")
        database = open_database(file)
        assert drop_texts(database, days=1) == 0 and files_hold(file, SECRET)
        assert drop_texts(database, days=-1) == 2 and not files_hold(file, SECRET)
        with database.read() as connection:
            assert connection.execute(select(feedback.c.score)).scalars().all() == [0.5]
        database.close()


@pytest.mark.parametrize("early", [False, True], ids=["committed", "planted"])
def test_acknowledged_feedback_survives_sigkill(tmp_path: Path, early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    if early:  # planted: acknowledged before it is committed
        commit, held = Database._commit, list[Any]()

        def late(self: Database, works: list[Any]) -> None:
            for work, future in works:
                if future.set_running_or_notify_cancel():
                    future.set_result("kept" if work.__name__ == "<lambda>" else None)
                held.append((work, Future()))
            if len(held) > 20:
                commit(self, held[:])
                held.clear()

        monkeypatch.setattr(Database, "_commit", late)
    file, lost, acknowledged = tmp_path / "serve.db", 0, 0
    draw = random.Random(7)
    for kill in range(4 if early else 10):
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            _serve_and_be_asked(file, tell, kill)
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            first = pipe.readline()
            threading.Timer(draw.uniform(0.02, 0.2), os.kill, (child, signal.SIGKILL)).start()
            keys = {line.strip().decode() for line in [first, *pipe] if line.endswith(b"\n")}
        os.waitpid(child, 0)
        with sqlite3.connect(file) as connection:
            kept = {key for (key,) in connection.execute("SELECT key FROM tunesmith_feedback")}
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        lost += len(keys - kept)
        acknowledged += len(keys)
    assert acknowledged >= 8 and (lost > 0) == early


def _serve_and_be_asked(file: Path, tell: int, kill: int) -> None:
    """A server and its clients in one process; the key of each acknowledged feedback goes down the pipe."""
    try:
        with running(registry_of(Echo(), "words"), traffic=opened(file)) as server, ThreadPoolExecutor(4) as pool:
            client = Client(server.url)

            def ask(at: int) -> None:
                id = answer(client, "Tea?")["id"]
                if give(client, id, key=f"{kill}-{at}", thumb="up")[0] == 200:
                    os.write(tell, f"{kill}-{at}\n".encode())

            list(pool.map(ask, range(2000)))
    finally:
        os._exit(1)


def test_a_full_disk_is_answered_with_503_and_what_was_acknowledged_stays(tmp_path: Path) -> None:
    file = tmp_path / "serve.db"
    log: list[dict[str, Any]] = []
    traffic = opened(file, log, capture=True)
    with running(registry_of(Echo(), "words"), traffic=traffic) as server:
        client = Client(server.url)
        id = answer(client, "Tea?")["id"]
        assert give(client, id, key="before", thumb="up")[0] == 200
        with traffic.database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        status, body = give(client, id, key="after", text="long " * 3000)
        assert (status, body["error"]["code"]) == (503, "storage_failed") and str(tmp_path) not in str(body)
        missed = answer(client, "long " * 3000)["id"]
        status, body = give(client, missed, key="missed", thumb="down")  # 404 would let a client give it up
        assert (status, body["error"]["code"]) == (503, "storage_failed")
        assert give(client, id, key="before", thumb="up")[1]["again"] is True
        with traffic.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=100000")
        assert give(client, missed, key="missed", thumb="down")[0] == 200
    assert any(line["event"] == "not recorded" for line in log)


def test_a_database_of_another_program_or_a_newer_version_is_refused(tmp_path: Path) -> None:
    foreign, newer, broken = tmp_path / "foreign.db", tmp_path / "newer.db", tmp_path / "broken.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    open_database(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE tunesmith_about SET value='99' WHERE name='schema'")
    broken.write_bytes(b"not a database, but long enough to be taken for one " * 100)
    said = {foreign: "another program", newer: "newer version", broken: "does not work"}
    for where, what in said.items():
        with pytest.raises(StorageError, match=what):
            open_database(where)
    for missing in (str(tmp_path / "none.db"), "mysql://localhost/x", "nonsense://x"):
        with pytest.raises(StorageError):
            open_database(missing, make=False)


@pytest.mark.parametrize(
    "where",
    ["n" * 252, "a\0b.db", "x.db?mode=ro", "sqlite://", "sqlite:///:memory:", "postgresql://u@localhost:port/x", "mysql://h/x"],
)
def test_a_place_that_can_be_no_database_is_named(where: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(where if "://" in where else tmp_path / where)
    assert caught.value.problems[0].hint and not list(tmp_path.iterdir())


@pytest.mark.parametrize("trial", range(10))
def test_several_servers_make_and_use_one_database(tmp_path: Path, trial: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(open_database, [tmp_path / f"serve{trial}.db"] * 8))
    assert len({one.user_hash("ada") for one in found}) == 1
    for one in found:
        one.close()


def test_an_answer_that_is_never_read_frees_its_place(tmp_path: Path) -> None:
    engine, traffic = Echo(), opened(tmp_path / "serve.db")
    pipeline = Pipeline(registry_of(engine, "words"), traffic.stages)

    async def ask_and_leave() -> int:
        from tunesmith.serve.ask import Limits, read_chat

        found = await pipeline(Call(ask=read_chat(chat_body("Tea?"), Limits()), model="words"))
        assert engine.running == 1
        await found.close()
        await traffic.close()
        return engine.running

    assert asyncio.run(ask_and_leave()) == 0
