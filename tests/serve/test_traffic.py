"""Who gets which model: the same user the same arm, shares as asked, and a way back."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import urllib3
from echo_engine import Echo, chat_body, opened, registry_of
from running_server import running
from scipy.stats import binom

from tunesmith.api.traffic import ab_set, ab_status, rollback
from tunesmith.core.errors import EngineError, EvaluationError, ModelError, RecipeError
from tunesmith.serve.traffic.file import read_traffic_file
from tunesmith.serve.traffic.moves import history
from tunesmith.serve.traffic.split import arm_of
from tunesmith.serve.traffic.status import Valued, pairs_of

KEY = "a-key-of-more-than-sixteen"


def ask(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    found = urllib3.request(method, url + path, json=body, headers=headers, retries=False, timeout=30)
    return found.status, orjson.loads(found.data), found.headers


def test_users_fall_to_arms_by_weight_and_few_move_when_weights_change() -> None:
    users = [f"user-{at}" for at in range(30_000)]
    before = [arm_of("mine", {"a": 90, "b": 10}, user) for user in users]
    low, high = binom.interval(0.999, len(users), 0.1)
    assert low <= Counter(before)["b"] <= high
    after = [arm_of("mine", {"b": 30, "a": 70}, user) for user in users]  # in another order, which changes nothing
    moved = Counter(zip(before, after, strict=True))
    assert moved["b", "a"] == 0
    low, high = binom.interval(0.999, len(users), 0.2)
    assert low <= moved["a", "b"] <= high
    assert {arm_of("mine", {"a": 0, "b": 1}, user) for user in users[:100]} == {"b"}
    other = [arm_of("other", {"a": 90, "b": 10}, user) for user in users]
    assert Counter(zip(before, other, strict=True))["b", "b"] == pytest.approx(300, abs=90)  # splits are independent


def test_another_process_gives_the_same_user_the_same_arm() -> None:
    code = "from tunesmith.serve.traffic.split import arm_of\n"
    code += "print(''.join(arm_of('s', {'a': 1, 'b': 1}, str(user)) for user in range(64)))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == "".join(arm_of("s", {"a": 1, "b": 1}, str(user)) for user in range(64)) and len(set(there)) == 2


def test_a_split_over_http_is_sticky_changed_at_run_time_and_kept_over_a_restart(tmp_path: Path) -> None:
    registry = registry_of(Echo(), "tuned", "base")

    def served() -> Any:
        traffic = opened(tmp_path / "serve.db", registry=registry, ab={"mine": {"base": 50.0, "tuned": 50.0}})
        return running(registry, traffic=traffic, keys={"me": KEY})

    def arms(url: str) -> list[str]:
        met = []
        for user in range(8):
            for how, headers in (({"user": str(user)}, {}), ({}, {"X-User": str(user)})):
                head = {"Authorization": f"Bearer {KEY}", **headers}
                status, body, heads = ask(url, "POST", "/v1/chat/completions", chat_body("Tea?", "mine", **how), **head)
                assert status == 200 and body["model"].partition("@")[0] == heads["x-tunesmith-arm"]
                met.append(heads["x-tunesmith-arm"])
        assert met[::2] == met[1::2]
        return met

    with served() as server:
        first = arms(server.url)
        assert set(first) == {"tuned", "base"} and arms(server.url) == first
        assert ask(server.url, "PUT", "/v1/ab/mine", {"arms": {"base": 0, "tuned": 1}})[0] == 401
        bad: list[tuple[str, dict[str, float], int]] = [
            ("mine", {"nobody": 1}, 404),
            ("other", {"base": 1}, 404),
            ("mine", {"base": -1}, 400),
            ("mine", {"base": 0}, 400),
        ]
        for name, weights, status in bad:
            with pytest.raises(EngineError, match=str(status)):
                ab_set(name, weights, url=server.url, key=KEY)
        assert ab_set("mine", {"base": 0, "tuned": 1}, url=server.url, key=KEY) == {"base": 0, "tuned": 1}
        assert set(arms(server.url)) == {"tuned"}
    with served() as server:
        assert set(arms(server.url)) == {"tuned"}
    with pytest.raises(ModelError, match="not served"):
        opened(tmp_path / "serve.db", registry=registry, ab={"mine": {"gone": 1.0}})


def test_the_status_finds_the_better_arm_counts_each_user_once_and_is_not_fooled_by_one_user(tmp_path: Path) -> None:
    file, registry = tmp_path / "serve.db", registry_of(Echo(), "tuned", "base")
    traffic = opened(file, registry=registry, ab={"mine": {"base": 50.0, "tuned": 50.0}})
    rng = np.random.default_rng(4)
    with running(registry, traffic=traffic) as server:

        def rate(user: str, times: int = 1) -> None:
            for at in range(times):
                _, body, heads = ask(server.url, "POST", "/v1/chat/completions", chat_body("Tea?", "mine", user=user))
                good = rng.random() < (0.95 if heads["x-tunesmith-arm"] == "tuned" else 0.15)
                said = {"response_id": body["id"], "thumb": "up" if good else "down", "key": f"{user}-{at}"}
                assert ask(server.url, "POST", "/v1/feedback", said)[0] == 200

        rate("one loud user", 20)
        assert ab_status(database=file).decision is None  # planted: twenty votes that are one
        for user in range(40):
            rate(str(user))
        found = ab_status("mine", database=file).as_dict()
    assert sum(arm["n"] for arm in found["arms"]) == 41 and sum(arm["answers"] for arm in found["arms"]) == 60
    assert found["decision"] == "tuned" and found["difference"]["ci"][0] > 0
    for arm, truth in zip(found["arms"], (0.15, 0.95), strict=True):
        assert arm["ci"][0] <= truth <= arm["ci"][1]
    with pytest.raises(EvaluationError, match="no such split"):
        ab_status("other", database=file)


def test_pairs_are_made_within_a_period_and_near_in_time() -> None:
    def values(text: str, period: int = 1, a: float = 1.0) -> list[Valued]:
        return [Valued(arm, period, a if arm == "a" else 0.0) for arm in text]

    assert pairs_of(values("abba"), "a", "b") == [1.0, 1.0]
    assert pairs_of(values("aaa") + values("bbb", 2), "a", "b") == []
    assert len(pairs_of(values("a" * 200 + "b" * 200), "a", "b")) == 50
    # planted: half the day is bad and has more of b; pairs in periods see no difference, plain means do
    day = values("abbb" * 30, 1, a=0.0) + [Valued(arm, 2, 1.0) for arm in "aaab" * 30]
    assert set(pairs_of(day, "a", "b")) == {0.0}


def test_rollback_goes_to_the_version_before_and_the_alias_outlives_a_restart(tmp_path: Path) -> None:
    def served() -> Any:
        registry = registry_of(Echo(), "mine@v1", "mine@v2", "mine@v3")
        return running(registry, traffic=opened(tmp_path / "serve.db", registry=registry))

    def live(url: str) -> str:
        return str(ask(url, "POST", "/v1/chat/completions", chat_body("Tea?", "mine"))[1]["model"])

    with served() as server:
        with pytest.raises(EngineError, match="no move"):
            rollback("mine", url=server.url)
        for version in ("v2", "v3"):
            assert ask(server.url, "PUT", "/v1/models/mine/aliases/live", {"version": version})[0] == 200
        found = rollback("mine", url=server.url).as_dict()
        assert (found["from"], found["to"]) == ("v3", "v2") and found["seconds"] >= 0
        assert live(server.url) == "mine@v2"
    with served() as server:
        assert live(server.url) == "mine@v2"
        assert rollback("mine", url=server.url).after == "v1"
        with pytest.raises(EngineError, match="no move"):
            rollback("mine", url=server.url)
        with pytest.raises(EngineError, match="no model"):
            rollback("nobody", url=server.url)
    with sqlite3.connect(tmp_path / "serve.db") as connection:
        why = [row for (row,) in connection.execute("SELECT why FROM tunesmith_moves ORDER BY seq")]
    assert why == ["by 127.0.0.1", "by 127.0.0.1", "rolled back by 127.0.0.1", "rolled back by 127.0.0.1"]
    with pytest.raises(EngineError, match="no server"):
        rollback("mine", url="http://127.0.0.1:9")


def test_a_move_in_one_server_is_known_to_the_others_on_its_database(tmp_path: Path) -> None:
    registries = [registry_of(Echo(), "mine@v1", "mine@v2", "mine@v3") for _ in range(2)]
    here, there = (opened(tmp_path / "serve.db", registry=registry).moves for registry in registries)

    def live() -> list[str]:
        return [registry.resolve("mine").id for registry in registries]

    async def moved(by: int, version: str) -> None:
        before = registries[by].set_alias("mine", "live", version)
        await (here, there)[by].note("mine", "live", before, version, "")

    async def work() -> None:
        await moved(0, "v2")
        assert live() == ["v2", "v1"]
        await there.take_in()
        assert live() == ["v2", "v2"]
        await moved(1, "v3")
        registries[0].set_alias("mine", "live", "v1")  # planted: a move of its own that is on its way to the disk
        writing = asyncio.ensure_future(here.note("mine", "live", "v2", "v1", ""))
        await asyncio.sleep(0)
        await here.take_in()
        assert live() == ["v1", "v3"], "the older move of the other does not come over it"
        await writing
        for moves in (here, there):
            await moves.take_in()
        assert live() == ["v1", "v1"]

    asyncio.run(work())


def test_a_move_back_by_hand_counts_as_a_move_taken_back() -> None:
    assert history([("v1", "v2"), ("v2", "v3"), ("v3", "v2")]) == ["v1", "v2"]
    assert history([(None, "v1"), ("v1", "v2")]) == ["v1", "v2"]
    assert history([]) == []


def test_the_traffic_file_names_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "traffic.yaml"
    file.write_text("ab: {mine: {tuned: much}}\nshade: {}\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_traffic_file(file)
    assert {problem.what for problem in caught.value.problems} == {"cannot be used: ab.mine.tuned", "cannot be used: shade"}
    file.write_text("ab: {mine: {tuned: 50, base: 50}}\n", encoding="utf-8")
    assert read_traffic_file(file).ab == {"mine": {"tuned": 50.0, "base": 50.0}}
    with pytest.raises(RecipeError):
        read_traffic_file(tmp_path / "none.yaml")
