"""What is like the training texts goes to the tuned model; what is foreign, new or unsure goes to the base."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from echo_engine import Echo, opened, registry_of
from test_traffic_stages import ask

from tunesmith.api.routing import train_router
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.serve.pipeline import Pipeline
from tunesmith.serve.traffic.domain import fit_router, open_router

POSTS = Path(__file__).parents[2] / "src" / "tunesmith" / "examples" / "posts"


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": passage[:300]}], "document_id": post.name}
        for post in sorted(POSTS.rglob("*.md"))
        for passage in re.split(r"\n\s*\n", post.read_text(encoding="utf-8"))
        if len(passage) > 80
    ]
    file = tmp_path_factory.mktemp("texts") / "inside.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def router(inside: Path) -> Path:
    file = inside.parent / "mine.router"
    figures = train_router(inside, file).figures
    for name, least in (("accuracy", 0.9), ("inside_found", 0.85)):
        assert figures[name]["value"] >= least and figures[name]["ci"][0] <= figures[name]["value"] <= figures[name]["ci"][1]
    assert figures["outside_passed_for_inside"]["value"] <= 0.08 < figures["always_inside"]["value"] < 0.5
    assert figures["accuracy"]["groups"] < figures["accuracy"]["n"] and figures["brier"] < 0.1
    return file


def test_texts_of_neither_side_are_not_taken_for_inside(router: Path) -> None:
    foreign = [
        "Was ist die Hauptstadt von Italien, und wie viele Menschen leben dort?",
        "def total(rows):\n    return sum(row.price for row in rows)",
        "SELECT name FROM users WHERE age > 30 ORDER BY name;",
        "zxq vbn wrt kjh",
        "ok",
        "",
    ]
    assert "inside" not in open_router(router).places(foreign)


def test_a_router_without_anything_to_learn_is_measured_as_no_better_than_chance(inside: Path) -> None:
    texts = [orjson.loads(line)["messages"][0]["content"] for line in inside.read_bytes().splitlines()]
    sides = np.random.default_rng(1).permutation(len(texts)) % 2  # planted: both sides are the same
    halves = [[(text, text) for text, side in zip(texts, sides, strict=True) if side == one] for one in (0, 1)]
    figures = fit_router(*halves).figures
    assert figures["inside_found"]["value"] < 0.4 and figures["accuracy"]["ci"][0] < 0.6


def test_the_stage_sends_each_request_to_its_side(router: Path, inside: Path, tmp_path: Path) -> None:
    known = orjson.loads(inside.read_bytes().splitlines()[3])["messages"][0]["content"]
    registry = registry_of(Echo(), "tuned", "base")
    route = {"mine": {"router": str(router), "inside": "tuned", "outside": "base"}}
    traffic = opened(tmp_path / "serve.db", registry=registry, route=route)

    async def do() -> None:
        pipeline = Pipeline(registry, traffic.stages)
        _, answer = await ask(pipeline, "mine", known)
        assert (answer.version.name, answer.headers["x-tunesmith-route"]) == ("tuned", "inside")
        _, answer = await ask(pipeline, "mine", "What is 7 + 5? Reply with the number only.")
        assert answer.version.name == "base"
        await traffic.close()

    asyncio.run(do())


def test_a_dataset_is_inside_without_the_general_answers_mixed_into_it_and_its_forms_stay_whole(tmp_path: Path) -> None:
    own = [
        {
            "prompt": f"Ticket {number}: the kettle of form {form} leaks.",
            "group": f"row-{form}-{number}",
            "meta": {"form": str(form)},
        }
        for form in range(30)
        for number in range(4)
    ]
    marks: list[dict[str, Any]] = [{"origin": {"kind": "own_answers"}}, {"origin": None, "meta": {"mixed": "general"}}]
    general = [
        {"prompt": f"What is {number} + 1? Give the number only.", "group": f"g{number}", **marks[number % 2]}
        for number in range(60)
    ]
    store = Store(tmp_path / ".tunesmith")
    with store.create("dataset", inputs=[], settings={"split": {"by": "group", "group": "form"}}) as draft:
        for name, rows in (("train", own + general), ("val", own[:1]), ("test", own[:1])):
            (draft.path / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    figures = train_router("dataset:latest", tmp_path / "mine.router", project=tmp_path).figures
    assert sum(figures[name][0] for name in ("fitted_on", "calibrated_on")) + figures["inside_found"]["n"] == len(own)
    assert figures["inside_found"]["groups"] * 4 == figures["inside_found"]["n"]
    assert open_router(tmp_path / "mine.router").places(["What is 7 + 1? Give the number only."]) != ["inside"]


def test_columns_of_a_user_s_file_that_only_look_like_ours_are_no_fault(tmp_path: Path) -> None:
    rows = [{"text": f"Ticket {number}: the kettle leaks.", "origin": "web", "meta": "none"} for number in range(60)]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert train_router(file, tmp_path / "mine.router").figures["inside_found"]["n"] > 0


def test_too_few_texts_and_foreign_files_are_refused(inside: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_bytes(b'{"prompt": "one"}\n')
    for bad in (few, tmp_path / "none.jsonl"):
        with pytest.raises(EvaluationError):
            train_router(bad, tmp_path / "out")
    torn = [(f"{number} of one document", "one") for number in range(80)]
    with pytest.raises(EvaluationError, match="too few documents"):
        fit_router(torn, [(f"another {number}", str(number)) for number in range(80)])
    with pytest.raises(ModelError, match="not a router"):
        open_router(inside)
