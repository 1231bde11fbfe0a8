"""Shadows that nobody notices, chains that answer all the same, canaries that grow and go back by rule."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_engine import Echo, chat_body, opened, registry_of

from tunesmith.api.feedback import export_feedback
from tunesmith.core.errors import EngineError, ModelError, RecipeError
from tunesmith.serve.ask import Limits, read_chat
from tunesmith.serve.engine import Delta
from tunesmith.serve.errors import ApiError
from tunesmith.serve.pipeline import Answer, Call, Pipeline
from tunesmith.serve.registry import Registry
from tunesmith.serve.traffic import shadow as shadowing
from tunesmith.serve.traffic.canary import Counted, Rule, judged
from tunesmith.serve.traffic.setup import Traffic

Do = Callable[[Pipeline, Traffic], Awaitable[None]]
NUMBERS = itertools.count()


def served(tmp_path: Path, registry: Registry, do: Do, log: list[dict[str, Any]] | None = None, **how: Any) -> None:
    """Run `do` against the stages and engines, as the server runs them."""

    async def work() -> None:
        traffic = opened(tmp_path / "serve.db", log, registry=registry, **how)
        pipeline = Pipeline(registry, traffic.stages)
        traffic.start(pipeline)
        try:
            await do(pipeline, traffic)
        finally:
            await traffic.close()

    asyncio.run(work())


async def ask(pipeline: Pipeline, model: str, text: str = "Tea?", **how: Any) -> tuple[str, Answer]:
    call = Call(ask=read_chat(chat_body(text, model, **how), Limits()), model=model)
    answer = await pipeline(call)
    words = "".join([piece.text async for piece in answer.pieces if isinstance(piece, Delta)])
    await answer.close()
    return words, answer


def only(model: str, does: Callable[[], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
    async def before(target: str) -> None:
        if target == model:
            await does()

    return before


async def hang() -> None:
    await asyncio.Event().wait()


async def crash() -> None:
    raise RuntimeError("the engine's own fault")


async def die() -> None:
    raise EngineError("the engine ended", value=1, expected="an engine", hint="start it")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("fault", [crash, die])
def test_a_shadow_that_fails_is_counted_and_seen_by_no_client(tmp_path: Path, fault: Callable[[], Awaitable[None]]) -> None:
    async def do(pipeline: Pipeline, traffic: Traffic) -> None:
        for _ in range(3):
            words, answer = await ask(pipeline, "tuned")
            assert words == "tuned heard: Tea?" and answer.version.name == "tuned" and not answer.headers
        await until(lambda: traffic.shadow.counts["failed"] == 3)

    registry = registry_of(Echo(only("base", fault)), "tuned", "base")
    served(tmp_path, registry, do, shadow={"tuned": "base"}, capture=True)


def test_the_answers_of_a_shadow_are_kept_with_those_that_were_shown(tmp_path: Path) -> None:
    async def do(pipeline: Pipeline, traffic: Traffic) -> None:
        await ask(pipeline, "tuned", "A hinge?")
        await ask(pipeline, "base", "not shadowed")
        await until(lambda: traffic.shadow.counts["answered"] == 1)

    served(tmp_path, registry_of(Echo(), "tuned", "base"), do, shadow={"tuned": "base"}, capture=True)
    assert export_feedback("shadows", tmp_path / "out.jsonl", database=tmp_path / "serve.db").rows == 1
    row = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert "tuned heard: A hinge?" in row and "base heard: A hinge?" in row and "tuned@v1" in row
    assert export_feedback("preference", tmp_path / "none.jsonl", database=tmp_path / "serve.db").rows == 0
    with pytest.raises(RecipeError, match="thrown away"):
        opened(tmp_path / "other.db", registry=registry_of(Echo(), "tuned", "base"), shadow={"tuned": "base"})


@pytest.mark.parametrize("polite", [True, False], ids=["gives way", "planted"])
def test_a_hanging_shadow_leaves_its_place_to_the_next_request(
    tmp_path: Path, polite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not polite:
        monkeypatch.setattr(shadowing, "_is_waited_for", lambda *_: False)
    engine = Echo(only("base", hang), at_once=1)

    async def do(pipeline: Pipeline, traffic: Traffic) -> None:
        await ask(pipeline, "tuned")
        await until(lambda: engine.running == 1)
        if polite:
            assert (await ask(pipeline, "tuned"))[0] == "tuned heard: Tea?" and traffic.shadow.counts["dropped"] == 1
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(pipeline, "tuned"), 0.5)

    served(tmp_path, registry_of(engine, "tuned", "base"), do, shadow={"tuned": "base"}, capture=True)


@pytest.mark.parametrize("fault", [hang, die])
def test_a_chain_goes_to_the_next_model_in_time_and_frees_the_place(
    tmp_path: Path, fault: Callable[[], Awaitable[None]]
) -> None:
    engine = Echo(only("tuned", fault))

    async def do(pipeline: Pipeline, _: Traffic) -> None:
        words, answer = await ask(pipeline, "mine")
        assert words == "base heard: Tea?" and answer.headers["x-tunesmith-fallback"] == "tuned" and engine.running == 0
        with pytest.raises(ApiError, match="frequency_penalty"):
            await ask(pipeline, "mine", frequency_penalty=1.0)
        assert engine.asked == ["tuned", "base"]  # a request at fault is not sent around
        engine.before = only("base", die)
        with pytest.raises(EngineError):
            await ask(pipeline, "short")

    chains = {
        "mine": [{"model": "tuned", "seconds": 0.05}, {"model": "base", "seconds": 5.0}],
        "short": [{"model": "base"}],
    }
    served(tmp_path, registry_of(engine, "tuned", "base"), do, fallback=chains)
    with pytest.raises(ModelError, match="not served"):
        opened(tmp_path / "x.db", registry=registry_of(Echo(), "base"), fallback={"mine": [{"model": "gone"}]})


CANARY = {"mine": {"stable": "old", "canary": "new", "steps": [20.0, 100.0], "answers": 10}}


def test_a_canary_grows_by_its_answers_and_goes_back_by_its_failures(tmp_path: Path) -> None:
    engine, log, databases = Echo(), list[dict[str, Any]](), list[Any]()

    async def many(pipeline: Pipeline, count: int) -> None:
        for _ in range(count):
            try:
                await ask(pipeline, "mine", user=str(next(NUMBERS)))
            except EngineError:
                continue
        await asyncio.wrap_future(databases[-1].write(lambda _: None))  # all before it is written then

    async def grows(pipeline: Pipeline, traffic: Traffic) -> None:
        databases.append(traffic.database)
        await traffic.canaries.step()
        assert traffic.splits.now["mine"].arms == {"old": 80, "new": 20}
        await many(pipeline, 120)
        await asyncio.gather(traffic.canaries.step(), traffic.canaries.step())  # two servers take one step
        assert traffic.splits.now["mine"].arms == {"old": 0, "new": 100}
        engine.before = only("new", die)
        await many(pipeline, 30)
        await traffic.canaries.step()
        assert traffic.splits.now["mine"].arms == {"old": 100, "new": 0}

    async def stays_back(pipeline: Pipeline, traffic: Traffic) -> None:
        databases.append(traffic.database)
        await many(pipeline, 20)
        await traffic.canaries.step()
        assert traffic.splits.now["mine"].arms == {"old": 100, "new": 0}

    registry = registry_of(engine, "old", "new")
    served(tmp_path, registry, grows, log, canary=CANARY)
    served(tmp_path, registry, stays_back, log, canary=CANARY)
    assert [line["step"] for line in log if line["event"] == "canary"] == ["on", "back"]
    assert "answers failed" in log[-1].get("why", "") or any("answers failed" in line.get("why", "") for line in log)


def test_the_rule_of_a_canary_seldom_goes_back_on_one_that_keeps_to_its_share() -> None:
    rule = Rule(stable="old", canary="new", steps=[10.0], answers=10**9, most_failed=0.05)
    rng = np.random.default_rng(2)

    def went_back(share: float) -> float:
        failures = (rng.random((100, 400)) < share).cumsum(axis=1)
        looks = range(20, 401, 20)
        return float(
            np.mean([any(judged(rule, Counted(0, n, int(f[n - 1]), False))[0] == "back" for n in looks) for f in failures])
        )

    assert went_back(0.05) <= 0.05 and went_back(0.15) > 0.9
    assert judged(rule, Counted(0, 50, 0, worse=True))[0] == "back"
    assert judged(replace(rule, answers=5), Counted(5, 5, 0, worse=False))[0] == "on"
