"""Tools for agents, asked by the SDK's own client over standard input and output: the same guards as the commands have."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from judged_runs import add_judged_run
from project_fakes import SECRET, add_export, make_project

import tunesmith
from fakes import write_posts
from tunesmith.cli.main import main
from tunesmith.core.errors import ArtifactError, BlockedError, RecipeError, SourceError, TrainingError
from tunesmith.ops.agents.orders import Desk
from tunesmith.ops.agents.server import tools_of

pytest.importorskip("mcp", reason="needs the MCP SDK, which the extra mcp brings")
Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


def asked(project: Path, conversation: Callable[[Call], Awaitable[None]]) -> list[str]:
    """Hold a conversation with `tunesmith mcp` in a process of its own; the names of its tools."""
    from mcp.client.session import ClientSession
    from mcp.client.stdio import StdioServerParameters, stdio_client

    names: list[str] = []

    async def whole() -> None:
        words = ["-m", "tunesmith.cli", "mcp", "--project", str(project)]
        server = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
        async with stdio_client(server) as streams, ClientSession(*streams) as session:
            await session.initialize()
            names.extend(tool.name for tool in (await session.list_tools()).tools)

            async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
                found = await session.call_tool(tool, arguments)
                text = "".join(getattr(part, "text", "") for part in found.content)
                return {"error": text} if found.is_error else json.loads(text)

            await conversation(call)

    anyio.run(whole)
    return names


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("agents")
    store = make_project(folder)
    first = store.resolve("run:latest").id
    add_export(store, verdict="")  # whose file was not judged
    return folder, first, add_judged_run(store, None, rank=32, trained=640)


@pytest.mark.slow
def test_a_client_reads_runs_artifacts_comparisons_and_verdicts(finished: tuple[Path, str, str]) -> None:
    folder, first, second = finished

    async def conversation(call: Call) -> None:
        table = await call("runs", {"filter": "rank>8"})
        assert [row["id"] for row in table["runs"]] == [second] and table["num_runs"] == 2
        shown = await call("show", {"id": "dataset:latest"})
        assert shown["numbers"]["train"] == 2 and SECRET not in json.dumps(shown)
        compared = await call("compare", {"a": first[:8], "b": second[:8]})
        assert compared["settings"] == [{"name": "method.rank", "a": 8, "b": 32}] and compared["paired"]["reason"]
        found = await call("verdict", {})
        assert found["verdict"] == "SHIP" and len(found["gates"]) > 5
        unjudged = await call("verdict", {"id": "export:latest"})
        assert "there is no verdict in this artifact: it was not judged" in unjudged["error"] and "hint:" in unjudged["error"]
        assert "holds no verdict" in (await call("verdict", {"id": "dataset:latest"}))["error"]
        assert "there is no verdict" in (await call("verdict", {"id": "export:latest", "verify": True}))["error"]
        answered: list[str] = []

        async def ask(number: int) -> None:
            told = await call("verdict", {"id": "eval:latest" if number % 2 else "export:latest"})
            answered.append(told.get("verdict", "no verdict" if "there is no verdict" in told.get("error", "") else "?"))

        async with anyio.create_task_group() as together:
            for number in range(8):
                together.start_soon(ask, number)
        assert sorted(answered) == ["SHIP"] * 4 + ["no verdict"] * 4  # several at once, and errors between
        wrong = await call("show", {"id": "zz"})
        assert "no such artifact" in wrong["error"] and "hint:" in wrong["error"]
        refused = await call("run", {"confirmation": "guessed"})
        assert "no recipe" in refused["error"] or "cannot read the recipe" in refused["error"]

    tools = asked(folder, conversation)
    assert set(tools) == {"plan", "run", "audit", "status", "runs", "show", "compare", "verdict"}


@pytest.mark.slow
def test_a_run_needs_a_confirmation_that_works_once_and_a_loosened_gate_is_marked(tmp_path: Path, tiny_path: Path) -> None:
    write_posts(tmp_path / "posts")
    recipe = {
        "sources": [str(tmp_path / "posts")],
        "base": str(tiny_path),
        "build": {"passage_words": 40},
        "split": {"val": 0.2, "test": 0.3},
        "train": {"batch_examples": 4, "max_steps": 3, "precision": "float32"},
        "eval": {"max_new_tokens": 6, "draws": 300, "suites": [], "baselines": []},
    }
    (tmp_path / "tunesmith.yaml").write_text(yaml.safe_dump(recipe))
    settings = {"gates.stop_margin": 0.9, "method.rank": 4}

    async def conversation(call: Call) -> None:
        planned = await call("plan", {"settings": settings})
        assert "gates.stop_margin is 0.9" in planned["loosened"]["stop"] and planned["lines"]
        other = await call("run", {"settings": {"method.rank": 8}, "confirmation": planned["confirmation"]})
        assert "does not hold" in other["error"]  # for other settings; and it is used up
        used = await call("run", {"settings": settings, "confirmation": planned["confirmation"]})
        assert "does not hold" in used["error"]
        planned = await call("plan", {"settings": settings})
        job = await call("run", {"settings": settings, "confirmation": planned["confirmation"]})
        assert job["state"] == "running"
        while (state := await call("status", {}))["state"] == "running":
            await anyio.sleep(0.2)
        assert state["exit_code"] in (0, 2, 3), state["messages"]
        found = await call("verdict", {})
        (stop,) = (gate for gate in found["gates"] if gate["name"] == "stop")
        assert "gates.stop_margin is 0.9" in stop["loosened"] and found["verdict"] == state["result"]["verdict"]
        table = await call("runs", {})
        assert table["runs"][0]["loosened"] == ["stop"]
        again = await call("run", {"settings": settings, "confirmation": planned["confirmation"]})
        assert "does not hold" in again["error"]

    asked(tmp_path, conversation)
    report = next(tmp_path.glob(".tunesmith/evals/*/report.html")).read_text()
    assert "gates.stop_margin is 0.9" in report
    assert_marked(tunesmith.card(project=tmp_path, out=tmp_path / "README.md").text)
    assert_a_missing_mark_is_found(tmp_path / "README.md", tmp_path)


MARK = "> **Checks made easier to pass than by default:** stop"
HOW = "gates.stop\\_margin is 0.9, by default 0.1"


def assert_marked(card: str) -> None:
    """At the top, before the verdict, and in the row of the gate."""
    assert card.index(MARK) < card.index("## Verdict: ") < card.index(HOW)


def assert_a_missing_mark_is_found(card: Path, project: Path) -> None:
    """Either mark taken out of the card, which then no longer follows from its artifacts."""
    text = card.read_text()
    assert tunesmith.verify_card(card, project=project).ok
    note = f". **Note: {HOW}.**"
    for without, missing in ((text.replace(MARK, "> Checked: stop"), MARK), (text.replace(note, ""), note)):
        with pytest.raises((AssertionError, ValueError)):
            assert_marked(without)
        card.write_text(without)
        found = tunesmith.verify_card(card, project=project)
        assert not found.ok and any(missing in one["expected"] for one in found.drift), found.texts


def test_the_card_marks_a_gate_that_an_agent_loosened_and_one_without_the_mark_is_found(tmp_path: Path) -> None:
    gates = desk(tmp_path).recipe({"gates.stop_margin": 0.9}).gates
    store = make_project(tmp_path, gates=gates)
    card = tmp_path / "README.md"
    assert_marked(tunesmith.card(project=tmp_path, out=card).text)
    assert_a_missing_mark_is_found(card, tmp_path)
    assert "stop_margin" not in (tmp_path / "tunesmith.yaml").read_text()  # the person's own recipe is as it was
    verdict = store.resolve("eval:latest").path / "verdict.json"
    whole = verdict.read_bytes()
    verdict.write_bytes(whole.replace(b"gates.stop_margin is 0.9, by default 0.1", b""))
    assert verdict.read_bytes() != whole
    with pytest.raises(ArtifactError, match="damaged"):
        tunesmith.card(project=tmp_path, out=tmp_path / "other.md")  # a verdict whose mark was taken out gives no card


# --- guards, without a client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"sources": ["/etc"]},
        {" sources": ["/etc"]},
        {"sources ": ["/etc"]},
        {"allow": ["leaks"]},
        {"base": "smollm2"},
        {"tracking.to": ["mlflow"]},
        {"bigger.url": "http://127.0.0.1:9/v1", "bigger.model": "x"},
        {"generator": {"url": "http://127.0.0.1:9/v1"}},
        {"judge.url": "http://127.0.0.1:9/v1", "judge.model": "x"},
        {"judge.calibration": "labels.jsonl"},
        {"fetch.max_pages": 3},
        {"eval.suites": []},
        {"eval": {"suites": ["mine"]}},
        {"method.from": "run"},
        {"method": {"from": "run"}},
        {"mix": {"general": ["/etc"]}},
        {"build.semantic": "/models/embedder"},
        {"objective.kind": "gkd", "objective.teacher": "other"},
        {"objective.kind": "grpo", "objective.rewards": [{"file": "mine.py"}]},
    ],
)
def test_what_belongs_to_a_person_is_refused_however_it_is_spelt(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="an agent cannot change this setting"):
        desk(tmp_path).recipe({"train.epochs": 3, **settings})


def test_an_agent_may_name_a_setting_of_a_person_as_it_is_and_change_its_own(tmp_path: Path) -> None:
    found = desk(tmp_path).recipe({"sources": ["./posts"], "gates": {"stop_margin": 0.9}, "objective.kind": "grpo"})
    assert found.gates.stop_margin == 0.9 and "stop" in found.gates.loosened


def desk(folder: Path) -> Desk:
    (folder / "tunesmith.yaml").write_text("sources: [./posts]\n")
    return Desk(folder)


@pytest.mark.parametrize("named", [{}, {"adapter": "a", "model": "b"}, {"model": ""}, {"model": "../"}, {"model": "/etc"}])
def test_an_audit_is_confirmed_for_one_folder_of_the_project_alone(tmp_path: Path, named: dict[str, str]) -> None:
    of = desk(tmp_path)
    (audit,) = (tool for tool in tools_of(of) if tool.__name__ == "audit")
    with pytest.raises(SourceError):
        audit(**named)
    (tmp_path / "model").mkdir()
    token = audit(model="model")["confirmation"]
    with pytest.raises(BlockedError, match="does not hold"):
        of.start(["run"], token)
    assert not of.jobs


def test_a_confirmation_ends_with_the_recipe_and_with_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = desk(tmp_path)
    words = ["selftest"]
    for token in ("", "guessed"):
        with pytest.raises(BlockedError, match="confirmation"):
            of.start(words, token)
    token = of.confirm(words)
    (tmp_path / "tunesmith.yaml").write_text("sources: [./elsewhere]\n")
    with pytest.raises(BlockedError, match="does not hold"):
        of.start(words, token)
    token = of.confirm(words)
    monkeypatch.setattr("tunesmith.ops.agents.orders._LASTS_S", -1.0)
    with pytest.raises(BlockedError, match="does not hold"):
        of.start(words, token)
    assert not of.jobs and not of.confirmations


def test_jobs_run_one_at_a_time_and_say_how_they_ended(tmp_path: Path) -> None:
    of = desk(tmp_path)
    with pytest.raises(TrainingError, match="no such job"):
        of.job("")
    job = of.start(["runs"], of.confirm(["runs"]))
    assert job.process is not None
    if job.runs:
        with pytest.raises(TrainingError, match="another job is running"):
            of.start(["runs"], of.confirm(["runs"]))
    job.process.wait(60)
    found = of.job("").as_dict()
    assert found["state"] == "finished" and found["exit_code"] == 0 and found["result"]["num_runs"] == 0


def test_a_job_that_outlives_its_server_is_still_the_one_job_that_runs(tmp_path: Path) -> None:
    first = desk(tmp_path)
    job = first.start(["mcp"], first.confirm(["mcp"]))  # any command; what matters is whose process the job names
    assert job.process is not None
    job.process.kill()
    job.process.wait()
    (job.folder / "holder").write_text(str(os.getpid()))  # as long as this test, it runs
    second = Desk(tmp_path)
    with pytest.raises(TrainingError, match="another job is running"):
        second.start(["runs"], second.confirm(["runs"]))
    assert second.job("").as_dict()["state"] == second.job(job.id).as_dict()["state"] == "running"
    (job.folder / "holder").write_text("999999999")
    ended = Desk(tmp_path).job(job.id).as_dict()
    assert ended["state"] == "finished" and ended["exit_code"] is None


def test_the_skill_names_every_tool_and_a_folder_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["mcp", "--skill"])
    text = capsys.readouterr().out
    assert all(f"`{name}`" in text for name in ("plan", "run", "status", "verdict", "runs", "compare", "show"))
    with pytest.raises(SystemExit):
        main(["mcp", "--project", str(tmp_path / "nowhere")])
    assert "hint:" in capsys.readouterr().err
