"""The whole pipeline from a folder of posts to a verdict, on the tiny base; what is done is never done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakes import Told, copy_base, golden_rows, write_posts
from tunesmith.api import EXAMPLES, Project
from tunesmith.core.errors import BlockedError, TunesmithError
from tunesmith.core.files import MANIFEST, verify
from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import Line, StageDone
from tunesmith.data.dataset.golden import add_golden
from tunesmith.eval.files import read_items
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.stages.eval import STAGE

SETTINGS: dict[str, Any] = {
    "build": {"passage_words": 40},
    "split": {"val": 0.2, "test": 0.3},
    "method": {"rank": 4, "alpha": 8.0},
    "train": {"max_steps": 6, "evaluate_every": 3, "learning_rate": 0.01, "batch_examples": 4, "precision": "float32"},
    "eval": {"max_new_tokens": 6, "draws": 300, "suites": []},
}


def project(base: Path, posts: Path, root: Path, *overrides: str) -> Project:
    return Project(recipe_from({"base": str(base), "sources": [str(posts)], **SETTINGS}, overrides), root)


@pytest.fixture(scope="module")
def root(tiny_path: Path, posts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has run once."""
    place = tmp_path_factory.mktemp("project")
    assert project(tiny_path, posts, place).outcome.verdict.verdict
    return place


def made(root: Path) -> dict[str, int]:
    """Every manifest, and when it was written."""
    return {str(p.parent.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob(MANIFEST) if "work" not in p.parts}


def kinds(paths: set[str]) -> list[str]:
    return sorted(Path(path).parts[1] for path in paths)


@pytest.mark.usefixtures("no_network")
def test_the_road_ends_with_a_verdict_from_written_gates_without_the_network(root: Path, tiny_path: Path, posts: Path) -> None:
    outcome = project(tiny_path, posts, root).outcome
    assert outcome.verdict.verdict in {"SHIP", "DON'T SHIP", "CAN'T TELL"}
    assert {g.name for g in outcome.verdict.gates} >= {"better", "parity"}
    assert list(outcome.measurements.systems) == ["base", "prompted", "tuned", "merged"]
    names = {p.name for p in outcome.evaluation.path.iterdir()}
    assert {"report.html", "report.json", "evidence.json", "verdict.json", "predictions-tuned.jsonl"} <= names


def test_a_golden_set_is_measured_with_the_test_set_and_rules(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    lone = Example(
        id="t", messages=(Message(role="assistant", content="No question."),), document_id="t", group="t", source="g"
    )
    add_golden(tmp_path, [*golden_rows(), lone])
    outcome = project(tiny_path, posts, tmp_path).outcome
    found = outcome.measurements.golden
    assert found is not None and (found.num_items, found.num_documents) == (7, 7)
    assert next(gate for gate in outcome.verdict.gates if gate.name == "golden").required
    assert "golden set" in " ".join(
        line.text for line in STAGE.words(project(tiny_path, posts, tmp_path), outcome.evaluation).lines
    )


def test_records_give_what_the_commands_print(root: Path, tiny_path: Path, posts: Path) -> None:
    made_here = project(tiny_path, posts, root)
    outcome = made_here.outcome.as_dict()
    assert {"verdict", "gates", "report", "comparison"} <= outcome.keys() and Path(outcome["report"]).is_file()
    assert outcome["comparison"]["difference"]["ci"] and outcome["comparison"]["metric"] == "bits_per_byte"
    assert made_here.plan.as_dict().keys() == {"lines", "numbers"}
    assert made_here.dataset.as_dict()["id"] == made_here.dataset.id
    assert made_here.sources.as_dict() == {"documents": 14, "failed": [], "artifact": str(made_here.documents.path)}
    assert json.loads(json.dumps([outcome, made_here.plan.as_dict(), made_here.dataset.as_dict()]))


def test_a_run_that_never_gains_ends_in_a_verdict_and_not_in_an_error(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    made_here = project(tiny_path, posts, tmp_path, "train.learning_rate=1e-9", "gates.min_documents=2")
    outcome = made_here.outcome
    assert made_here.run.numbers["best_step"] == 0
    primary = next(gate for gate in outcome.verdict.gates if gate.name == "better")
    assert outcome.verdict.verdict != "SHIP" and primary.state != "pass"


def test_a_base_that_older_readers_would_misread_is_named_in_the_plan_and_at_the_merge(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    theta = {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}
    base, told = copy_base(tiny_path, tmp_path / "b", config=theta), Told()
    settings = {"base": str(base), "sources": [str(posts)], **SETTINGS, "merge": {"precision": "bfloat16"}}
    made_here = Project(recipe_from(settings), tmp_path / "p", reporter=told)
    line = made_here.plan.lines[-1]
    assert line.name == "older readers" and "rope_theta 500.0" in line.reason
    assert made_here.model.numbers["findings"] == [line.reason]
    assert Line(line.reason, "warning") in [told_line for e in told.events if isinstance(e, StageDone) for told_line in e.lines]
    config = json.loads((made_here.model.path / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and "rope_theta" not in config
    assert all(line.name != "older readers" for line in project(tiny_path, posts, tmp_path / "q").plan.lines)


def test_a_dataset_of_labels_keeps_its_training_split(tiny_path: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Is number {n} of the list odd or even, would you say?", "completion": ["even", "odd"][n % 2]}
        for n in range(60)
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    numbers = project(tiny_path, tmp_path / "labels.jsonl", tmp_path / "p").dataset.numbers
    assert numbers["removed_copies"] < 5 and numbers["train"] > 30


def test_the_plan_counts_rows_that_the_split_keeps_together_as_one_document(tiny_path: Path, tmp_path: Path) -> None:
    forms = "abcdefghijklmnopqrst"
    rows = [{"prompt": f"{form} {n}?", "completion": f"{form}{n} it is", "form": form} for form in forms for n in range(5)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    kept = ("split.by=group", "split.group=form", "split.test=0.4", "build.dedup=0")
    made_here = project(tiny_path, tmp_path / "rows.jsonl", tmp_path / "p", *kept)
    test = made_here.rows("test")
    num_forms = len({row.meta["form"] for row in test})
    assert 6 <= num_forms < len(test)
    power = next(line for line in made_here.plan.lines if line.name == "power")
    assert power.reason.endswith(f" on {num_forms} test documents")


def test_every_artifact_verifies_and_no_half_of_one_is_left(root: Path) -> None:
    store = root / ".tunesmith"
    folders = [p.parent for p in store.rglob(MANIFEST)]
    assert len(folders) == 6 and all(verify(folder) for folder in folders)
    assert not list(store.rglob(".tmp-*")) and not [p for p in (store / "work").glob("*/*")]


def test_a_second_run_makes_nothing_again(root: Path, tiny_path: Path, posts: Path) -> None:
    before = made(root)
    again = project(tiny_path, posts, root).outcome
    assert made(root) == before and again.verdict == project(tiny_path, posts, root).outcome.verdict


@pytest.mark.parametrize(
    ("override", "anew"),
    [
        ("gates.stop_margin=0.5", ["evals"]),
        ("eval.max_new_tokens=5", ["evals"]),
        ("use.draws=4", ["evals", "uses"]),
        ("use.temperature=0.6", ["evals", "models", "uses"]),
        ("train.learning_rate=0.02", ["evals", "models", "runs", "uses"]),
        ("split.seed=11", ["datasets", "evals", "models", "runs", "uses"]),
        ("train.checkpoint_every=7", []),
    ],
)
def test_a_changed_setting_makes_anew_only_what_depends_on_it(
    override: str, anew: list[str], root: Path, tiny_path: Path, posts: Path
) -> None:
    before = made(root)
    assert project(tiny_path, posts, root, override).outcome.verdict
    after = made(root)
    assert kinds(after.keys() - before.keys()) == anew and {k: after[k] for k in before} == before


def test_a_new_post_makes_everything_anew(root: Path, tiny_path: Path, tmp_path: Path) -> None:
    before = made(root)
    assert project(tiny_path, write_posts(tmp_path / "posts", 15), root).dataset
    assert kinds(made(root).keys() - before.keys()) == ["datasets", "documents"]


def test_a_folder_that_was_moved_is_the_same_source(root: Path, tiny_path: Path, tmp_path: Path) -> None:
    before = made(root)
    assert project(tiny_path, write_posts(tmp_path / "elsewhere"), root).dataset
    assert made(root) == before


def test_a_damaged_artifact_is_made_anew(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    dataset = project(tiny_path, posts, tmp_path).dataset
    (dataset.path / "train.jsonl").write_bytes(b"{}\n")
    again = project(tiny_path, posts, tmp_path).dataset
    assert (
        again.id == dataset.id and verify(again.path) is not None and len(project(tiny_path, posts, tmp_path).rows("train")) > 3
    )


def test_every_example_leads_back_to_its_document(root: Path, tiny_path: Path, posts: Path) -> None:
    walked = project(tiny_path, posts, root)
    rows = (walked.documents.path / "documents.jsonl").read_bytes()
    assert all(e.document_id.encode() in rows for name in ("train", "val", "test") for e in walked.rows(name))


def test_a_dataset_with_cut_answers_blocks_and_leaves_nothing(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    with pytest.raises(BlockedError) as caught:
        project(tiny_path, posts, tmp_path, "train.max_tokens=200").dataset  # noqa: B018
    assert caught.value.name == "cut" and kinds(set(made(tmp_path))) == ["documents"]
    allowed = project(tiny_path, posts, tmp_path, "train.max_tokens=200", "allow=[cut]").dataset
    assert allowed.manifest["settings"]["allow"] == ["cut"] and allowed.numbers["cut"]["num_cut"] > 0


@pytest.mark.parametrize("override", ["split.val=0", "split.test=0"])
def test_a_split_left_empty_is_told_before_training(override: str, tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    with pytest.raises(TunesmithError):
        project(tiny_path, posts, tmp_path, override).outcome  # noqa: B018
    assert "runs" not in kinds(set(made(tmp_path)))


def test_an_interrupted_stage_leaves_no_artifact_and_the_next_run_goes_on(
    tiny_path: Path, posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.pipeline.stages import model as stage

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "merge", stop)
        project(tiny_path, posts, tmp_path).model  # noqa: B018
    assert kinds(set(made(tmp_path))) == ["datasets", "documents", "runs", "uses"]
    assert not list(tmp_path.rglob(".tmp-*"))
    before = made(tmp_path)
    assert project(tiny_path, posts, tmp_path).model
    assert kinds(made(tmp_path).keys() - before.keys()) == ["models"]


def test_the_plan_trains_nothing(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    plan = project(tiny_path, posts, tmp_path).plan
    assert plan.numbers["steps"] == 6 and plan.numbers["adapted_modules"] == plan.numbers["linear_modules"] == 14
    assert kinds(set(made(tmp_path))) == ["datasets", "documents"]


def test_the_posts_and_general_texts_that_come_with_tunesmith_are_there() -> None:
    assert len(list((EXAMPLES / "posts").glob("*.md"))) >= 40
    items = read_items(EXAMPLES / "general.jsonl")
    assert len(items) >= 20 and len({i.id for i in items}) == len(items) and all(i.reference for i in items)
