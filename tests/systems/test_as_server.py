"""A model of this machine in the place of a server: many requests in one batch, each answered as if it were alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import numpy as np
import orjson
import pytest
from judged_pairs import labelled_rows, write_rows

from fakes import TEMPLATE, Told, conversation
from gguf_files import write_gguf
from tunesmith.api.judges import calibrate_judge
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ModelError
from tunesmith.data.synth.request import Reply, Request
from tunesmith.engines.engine import Engine, EngineAnswer, EngineRequest
from tunesmith.eval.judge.rows import read_pairs
from tunesmith.models.chat import Chat
from tunesmith.models.continuous.generator import Continuous
from tunesmith.systems.as_server import BatchServer, EngineServer, LocalServer, SystemAsServer, as_server
from tunesmith.systems.engine_system import EngineSystem
from tunesmith.systems.opening import Opening, open_system

SCHEMA = orjson.dumps(
    {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 20}, "winner": {"type": "string", "enum": ["A", "B", "tie"]}},
        "required": ["reason", "winner"],
        "additionalProperties": False,
    }
).decode()


def asked(number: int, *, schema: str = "", temperature: float = 0.0, max_tokens: int = 60) -> Request:
    messages = conversation(f"Which is better, {'x' * number} or {number}?", system="You compare two answers. " * 4)
    about: dict[str, Any] = {"temperature": temperature, "seed": 7, "max_tokens": max_tokens, "schema": schema}
    return Request(url="local", model="m", messages=tuple(messages), **about)


@contextmanager
def served(reference: Path, make: Callable[[Any], LocalServer]) -> Iterator[LocalServer]:
    with (
        open_system(str(reference), Opening(store=Store(reference / "none"))) as opened,
        closing(make(opened.system)) as server,
    ):
        yield server


def all_at_once(server: LocalServer, requests: list[Request]) -> list[Reply]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(server.ask, requests))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows in work at each pass of a batch."""
    found: list[int] = []
    step = Continuous.step

    def counted(self: Continuous) -> None:
        step(self)
        found.append(len(self.rows))

    monkeypatch.setattr(Continuous, "step", counted)
    return found


@pytest.mark.parametrize("adapted", [False, True])
def test_requests_that_come_together_share_passes_and_get_the_replies_that_they_get_alone(
    adapted: bool, tiny_path: Path, trained_adapter: Path, passes: list[int], tmp_path: Path
) -> None:
    model = shutil.copytree(trained_adapter, tmp_path / "adapter") if adapted else tiny_path
    requests = [asked(number, temperature=heat) for number in range(6) for heat in (0.0, 0.9)]
    with served(model, SystemAsServer) as server:
        alone = [server.ask(one) for one in requests]
    with served(model, lambda system: as_server(system, at_once=8)) as server:
        assert isinstance(server, BatchServer) and server.at_once == 8
        together = all_at_once(server, requests)
    assert [one.text for one in together] == [one.text for one in alone]
    assert [(one.stop, one.completion_tokens) for one in together] == [(one.stop, one.completion_tokens) for one in alone]
    assert all(one.counted and one.prompt_tokens > 0 and one.fingerprint == alone[0].fingerprint for one in together)
    assert max(passes) > 1 and len(passes) < sum(one.completion_tokens for one in together)


def test_an_untrained_model_that_is_held_to_a_form_gives_it_and_one_that_is_not_does_not(tiny_path: Path) -> None:
    with served(tiny_path, lambda system: as_server(system, at_once=4)) as server:
        assert server.takes_schema
        held = all_at_once(server, [asked(number, schema=SCHEMA, max_tokens=100) for number in range(5)])
        free = server.ask(asked(1))
    found = [json.loads(one.text) for one in held]
    assert all(one["winner"] in ("A", "B", "tie") and len(one["reason"]) <= 20 for one in found)
    with pytest.raises(json.JSONDecodeError):
        json.loads(free.text)


def test_without_the_library_no_form_is_promised(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.systems.as_server.importlib.util.find_spec", lambda name: None)
    with served(tiny_path, lambda system: as_server(system, at_once=2)) as server:
        assert not server.takes_schema
        assert server.ask(asked(1, schema=SCHEMA)).text == server.ask(asked(1)).text


def test_a_prompt_that_fills_the_context_is_not_taken_and_a_schema_that_cannot_be_held_to_is_an_error(tiny_path: Path) -> None:
    with served(tiny_path, lambda system: as_server(system, at_once=2)) as server:
        assert server.ask(asked(3000)).stop == "not_taken"
        with pytest.raises(ModelError, match="cannot be enforced"):
            server.ask(asked(1, schema='{"type": "colour"}'))
        assert server.ask(asked(1)).text  # and goes on


def test_a_pass_that_fails_ends_all_that_wait_and_not_the_server(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tiny_path, lambda system: as_server(system, at_once=4)) as server:
        before, real = server.ask(asked(1)).text, Continuous.step

        def burst(self: Continuous) -> None:
            monkeypatch.setattr(Continuous, "step", real)
            raise RuntimeError("out of memory")

        monkeypatch.setattr(Continuous, "step", burst)
        with pytest.raises(RuntimeError, match="out of memory"):
            server.ask(asked(2))
        assert server.ask(asked(1)).text == before


def test_what_cannot_share_a_batch_is_asked_one_by_one(tiny_path: Path) -> None:
    with open_system(str(tiny_path), Opening(store=Store(tiny_path / "none"))) as opened:
        base_alone = replace(opened.system, adapter=False)  # type: ignore[type-var]
        assert isinstance(as_server(base_alone, at_once=8), SystemAsServer)
        assert as_server(base_alone, at_once=8).at_once == 1


# --- a model in an engine ---------------------------------------------------------------------------------------------


class Form:
    """An engine of four places that answers only when four requests are in them, with the schema that each came with."""

    name, version, model, fingerprint, takes_ids, slots = "form", "1", "m", "f" * 64, True, 4

    def __init__(self) -> None:
        self.full = Barrier(4)

    def answer(self, requests: Sequence[EngineRequest], **_: object) -> list[EngineAnswer]:
        self.full.wait(timeout=60)
        (one,) = requests
        about: dict[str, Any] = {"ids": None, "finish_reason": "stop", "ended_by": "eos", "prompt_tokens": 7, "seconds": 0.1}
        return [EngineAnswer(text=one.json_schema or "free", num_tokens=3, **about)]


def test_an_engine_with_several_places_gets_as_many_requests_at_once_each_with_its_schema(tiny_chat: Chat) -> None:
    system = EngineSystem(name="m", label="m", engine=cast("Engine", Form()), chat=tiny_chat, context=512)
    server = as_server(system, at_once=9)
    assert isinstance(server, EngineServer) and (server.at_once, server.takes_schema) == (4, True)
    replies = all_at_once(server, [asked(1, schema=SCHEMA), asked(2), asked(3, schema=SCHEMA), asked(4)])
    assert [one.text for one in replies] == [SCHEMA, "free", SCHEMA, "free"]
    assert all((one.stop, one.prompt_tokens, one.counted) == ("stop", 7, True) for one in replies)
    assert server.ask(asked(3000)).stop == "not_taken" and server.failed == {}


def gguf_of(tiny_path: Path, folder: Path) -> Path:
    """The tiny base with room for the prompts of a judge, as a GGUF file."""
    base = shutil.copytree(tiny_path, folder / "base")
    config = orjson.loads((base / "config.json").read_bytes())
    (base / "config.json").write_bytes(orjson.dumps(config | {"max_position_embeddings": 4096}))
    return write_gguf(base, folder / "tiny.gguf", dtype=np.float32, pre="gpt-2", template=TEMPLATE)


def test_llama_cpp_answers_several_at_once_and_holds_each_to_its_schema(tiny_path: Path, tmp_path: Path) -> None:
    how = Opening(store=Store(tmp_path / "none"), at_once=3)
    with open_system(str(gguf_of(tiny_path, tmp_path)), how) as opened:
        server = as_server(opened.system, at_once=8)
        assert isinstance(server, EngineServer) and server.at_once == 3
        held = all_at_once(server, [asked(number, schema=SCHEMA, max_tokens=100) for number in range(5)])
        free = server.ask(asked(1))
        assert server.ask(asked(9000)).stop == "not_taken" and server.ask(asked(1)).text == free.text
    found = [json.loads(one.text) for one in held]
    assert all(one["winner"] in ("A", "B", "tie") and len(one["reason"]) <= 20 for one in found)
    with pytest.raises(json.JSONDecodeError):
        json.loads(free.text)


@pytest.mark.slow
def test_a_gguf_judge_is_held_to_the_form_of_a_verdict_and_asked_several_at_once(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.pipeline.open_judge._REASON_CHARS", 8)
    file = write_rows(tmp_path / "rows.jsonl", labelled_rows(2, per_prompt=1))
    judge, told = str(gguf_of(tiny_path, tmp_path)), Told()
    done = calibrate_judge(file, judge=judge, project=tmp_path, settings={"judge.concurrency": 3}, reporter=told)
    assert done.work is not None and done.work.weak and done.calibration.unparsed == 0 and not done.may_gate
    assert "the judge answers 3 requests at once, held to the form of a verdict" in told.notes


# --- as a judge -------------------------------------------------------------------------------------------------------


def test_a_local_judge_gives_the_same_verdicts_at_once_as_one_by_one_and_all_of_them_can_be_read(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.pipeline.open_judge._REASON_CHARS", 8)
    rows = [dict(row, a=f"one {n}", b="two " * (n % 4 + 1)) for n, row in enumerate(labelled_rows(4, per_prompt=1))]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    base = shutil.copytree(tiny_path, tmp_path / "base")
    config = orjson.loads((base / "config.json").read_bytes())
    (base / "config.json").write_bytes(orjson.dumps(config | {"max_position_embeddings": 4096}))
    found, told = {}, Told()
    for at_once in (1, 8):
        project = tmp_path / f"at-once-{at_once}"
        out = tmp_path / f"judged-{at_once}.jsonl"
        settings = {"judge.again": 0, "judge.concurrency": at_once}
        done = calibrate_judge(file, judge=str(base), project=project, settings=settings, out=out, reporter=told)
        assert done.work is not None and done.work.weak and done.calibration.unparsed == 0 and not done.may_gate
        found[at_once] = [(pair.judge, pair.judge_swapped, pair.points) for pair in read_pairs(out)]
    assert found[1] == found[8] and all(one and other for one, other, _ in found[1])
    assert "the judge answers 8 requests at once, held to the form of a verdict" in told.notes
    settings = {"judge.json_schema": False, "judge.max_reply_tokens": 40}
    free = calibrate_judge(file, judge=str(base), project=tmp_path / "free", settings=settings)
    assert free.calibration.unparsed == 4
