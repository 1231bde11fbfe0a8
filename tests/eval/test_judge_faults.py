"""Judges whose server fails, over real HTTP: it is counted and said, nothing is paid twice, and the same call continues."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evidence_fakes import evidence, general, parity, served
from fake_llm import Asked, Character, FakeLLM, Said, fake_llm, good
from judged_pairs import write_rows
from judging_fakes import GOOD, decided, gate
from test_judge_commands import rows_for_the_longer

from fakes import Told
from tunesmith.api.judges import JudgeCalibration, calibrate_judge
from tunesmith.core.errors import GeneratorError
from tunesmith.pipeline.judged_answers import judge_answers
from tunesmith.pipeline.sections.eval import JudgeConfig

PAIRS = 20
REQUESTS = 2 * PAIRS


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.synth.endpoint._FIRST_WAIT_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(PAIRS))


def calibrated(server: FakeLLM, file: Path, *, told: Told | None = None, **settings: Any) -> JudgeCalibration:
    named = {"judge.again": 0, **{f"judge.{name}": value for name, value in settings.items()}}
    return calibrate_judge(file, judge=server.url, model="fake-1", project=file.parent, settings=named, reporter=told or Told())


def at_first(fault: Character, count: int) -> Character:
    """Does `fault` at the first try of the first `count` requests, and judges well otherwise."""
    tried: Counter[str] = Counter()
    lock = threading.Lock()

    def play(asked: Asked) -> Said:
        with lock:
            tried[asked.headers["idempotency-key"]] += 1
            fails = tried[asked.headers["idempotency-key"]] == 1 and len(tried) <= count
        return fault(asked) if fails else good(asked)

    return play


def sleepy(over: threading.Event) -> Character:
    """Says nothing until `over`; by then nobody listens any more."""

    def play(asked: Asked) -> Said:
        over.wait(60)
        return Said(status=503)

    return play


LIMITED = Said(status=429, headers={"Retry-After": "0"})


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (LIMITED, "rate limited"),
        (Said(status=500), "server error"),
        (Said(dies=True), "connection lost"),
    ],
)
def test_tries_that_fail_are_made_again_counted_and_said(reply: Said, what: str, file: Path) -> None:
    told = Told()
    with fake_llm(at_first(lambda asked: reply, 7)) as server:
        found = calibrated(server, file, told=told)
    assert found.work is not None and found.work.failed == {what: 7} and found.work.paid == REQUESTS
    assert found.calibration.unparsed == 0 and found.calibration.kappa.value == 1.0
    assert set(server.paid.values()) == {1} and found.as_dict()["judge"]["failed"] == {what: 7}
    assert told.notes[-1] == f"tries of the judge without a reply: 7 {what}; {REQUESTS} replies are kept"


def test_a_judge_without_faults_has_none_counted(file: Path) -> None:
    told = Told()
    with fake_llm(good) as server:
        found = calibrated(server, file, told=told)
    assert found.work is not None and found.work.failed == {} and not any("without a reply" in note for note in told.notes)


def test_a_judge_that_times_out_is_asked_again_and_counted(file: Path) -> None:
    over = threading.Event()
    with fake_llm(at_first(sleepy(over), 3)) as server:
        found = calibrated(server, file, timeout_s=0.5)
        over.set()
    assert found.work is not None and found.work.failed["timed out"] >= 3 and set(found.work.failed) == {"timed out"}
    assert found.work.requests == REQUESTS and found.calibration.unparsed == 0


def dying(server_of: list[FakeLLM], after: int, end: Character) -> Character:
    """Judges well `after` times and then does what `end` does, until `server_of[0].models` is empty: it was started again."""
    lock, begun = threading.Lock(), [0]

    def play(asked: Asked) -> Said:
        with lock:
            begun[0] += 1
            lives = begun[0] <= after or not server_of[0].models
        return good(asked) if lives else end(asked)

    return play


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("times out", "the judge does not answer after 6 attempts"),
        ("dies", "the judge does not answer after 6 attempts"),
        ("asks for a day", "the judge asks for a long pause"),
    ],
)
def test_a_judge_that_ends_half_way_keeps_what_was_paid_and_the_same_call_continues(name: str, said: str, file: Path) -> None:
    over, told, held = threading.Event(), Told(), list[FakeLLM]()
    day = Said(status=429, headers={"Retry-After": "86400"})
    ends: dict[str, Character] = {
        "times out": sleepy(over),
        "dies": lambda asked: Said(dies=True),
        "asks for a day": lambda asked: day,
    }
    with fake_llm(dying(held, 15, ends[name])) as server:
        held.append(server)
        with pytest.raises(GeneratorError, match=said) as caught:
            calibrated(server, file, told=told, concurrency=1, timeout_s=0.5 if name == "times out" else 30)
        assert "cached" in caught.value.problems[0].hint and told.notes[-1].endswith("; 15 replies are kept")
        server.models = []
        found = calibrated(server, file, concurrency=1)
        over.set()
    assert found.work is not None and (found.work.requests, found.work.paid) == (REQUESTS, REQUESTS - 15)
    assert set(server.paid.values()) == {1} and sum(server.paid.values()) == REQUESTS
    assert found.calibration.kappa.value == 1.0 and found.may_gate == calibrated_alone(file).may_gate


def calibrated_alone(file: Path) -> JudgeCalibration:
    """The same by a server without faults, in a project of its own."""
    apart = file.parent / "apart"
    apart.mkdir()
    (apart / file.name).write_bytes(file.read_bytes())
    with fake_llm(good) as server:
        return calibrated(server, apart / file.name)


def test_a_judge_that_comes_back_as_another_model_may_not_gate(file: Path) -> None:
    held = list[FakeLLM]()
    with fake_llm(dying(held, 15, lambda asked: Said(dies=True))) as server:
        held.append(server)
        with pytest.raises(GeneratorError):
            calibrated(server, file, concurrency=1)
        server.models, server.answers_as = [], "fake-2"
        found = calibrated(server, file, concurrency=1)
    assert found.work is not None and found.work.models == {"fake-1": 15, "fake-2": REQUESTS - 15}
    assert not found.may_gate and "changed under way: fake-1 (15 replies), fake-2 (25 replies)" in found.why


@pytest.mark.parametrize("changes", [True, False])
def test_a_model_that_changes_while_a_run_is_judged_decides_nothing(changes: bool, tmp_path: Path) -> None:
    """Labels that the judge shares would let it decide; the change alone takes that away."""
    made = evidence(GOOD, documents=30, each=1, with_parity=parity(), with_general=general(), with_served=served())
    at = {item.id: number for number, item in enumerate(made.items)}

    def said(name: str, id: str) -> str:
        return "word " * (9 if (name == "tuned") == (at[id] % 5 > 0) else 3)  # people and judge prefer the longer answer

    systems = [
        replace(run, generations=tuple(replace(one, text=said(run.name, one.item_id)) for one in run.generations))
        for run in made.systems
    ]
    items = [replace(item, prompt=(replace(item.prompt[-1], content=f"Question {n}?"),)) for n, item in enumerate(made.items)]
    rows = [
        {"id": f"l{n}", "prompt": item.question, "a": said("tuned", item.id), "b": said("base", item.id)}
        | {"human": "A" if n % 5 else "B"}
        for n, item in enumerate(items)
    ]
    labels = write_rows(tmp_path / "labels.jsonl", rows)

    def changing(asked: Asked) -> Said:
        server.answers_as = "fake-2" if changes and len(server.asked) > 20 else "fake-1"
        return good(asked)

    with fake_llm(changing) as server:
        judge = JudgeConfig(url=server.url, model="fake-1", calibration=str(labels), again=0)
        found = judge_answers(judge, items, systems, tmp_path, reporter=Told())
    assert found is not None and bool(found.faults) == changes
    ruled = gate(decided(replace(made, judged=found)), "judge")
    assert ruled.state == ("not measured" if changes else "pass") and ("changed under way" in ruled.evidence) == changes
