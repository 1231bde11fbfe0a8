"""The pipeline passes the checks: rows that must not be learned stop it, and there are two ways to continue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tunesmith
from fakes import write_posts
from tunesmith.api import EventLog, Project
from tunesmith.api.pipeline import follow
from tunesmith.cli.main import main
from tunesmith.core.errors import BlockedError, RecipeError
from tunesmith.core.reporter import FindingReported
from tunesmith.pipeline.recipe_file import recipe_from

KEY = "AKIA" + "Q7RT2MZ5XW8LK3VN"
CARD = "4111 1111 1111 1111"
SPLIT = ("--set", "split.val=0.2", "--set", "split.test=0.3")


def rows(folder: Path, secret: str, *, count: int = 80) -> Path:
    """A file of rows, each with a different question and answer and one private string."""
    path = folder / "rows.jsonl"
    said = ["deploys", "bridges", "kettles", "lanterns", "harbours", "ladders", "violins", "gardens"]
    lines = [
        {
            "id": f"r{n}",
            "prompt": f"How do the {said[n % 8]} of week {n} work?",
            "completion": f"In week {n} the {said[n % 8]} were set up with {secret}, and {said[(n * 3 + 1) % 8]} came later.",
        }
        for n in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def project(base: Path, source: Path, root: Path, *overrides: str) -> Project:
    data = {"base": str(base), "sources": [str(source)], "split": {"by": "row", "val": 0.2, "test": 0.2}}
    return Project(recipe_from(data, ["build.dedup=0", "allow=[leak]", *overrides]), root)


@pytest.mark.parametrize(("secret", "name"), [(KEY, "secrets"), (CARD, "card_numbers")])
def test_private_rows_stop_the_build_and_can_be_redacted_or_allowed(
    tiny_path: Path, tmp_path: Path, secret: str, name: str
) -> None:
    source = rows(tmp_path, secret)
    with pytest.raises(BlockedError) as caught:
        project(tiny_path, source, tmp_path).dataset  # noqa: B018
    assert name in caught.value.names and "80 of 80" in str(caught.value)
    assert len((tmp_path / ".tunesmith" / "blocked.jsonl").read_text().splitlines()) >= 80
    assert not list((tmp_path / ".tunesmith" / "datasets").glob("*/manifest.json"))
    allowed = project(tiny_path, source, tmp_path, f"allow=[leak,{name}]").dataset
    assert (name, "error", 80) in [(f["name"], f["severity"], f["count"]) for f in allowed.numbers["findings"]]
    assert not (tmp_path / ".tunesmith" / "blocked.jsonl").exists()
    redacted = project(tiny_path, source, tmp_path, "build.redact=true")
    assert sum(redacted.dataset.numbers["redacted"].values()) == 80
    assert secret not in "".join(row.answer for part in ("train", "val", "test") for row in redacted.rows(part))


def test_the_page_shows_what_the_stage_found_and_nothing_else_runs_the_checks(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    data = {"base": str(tiny_path), "sources": [str(posts)], "split": {"val": 0.2, "test": 0.3}}
    made = Project(recipe_from(data), tmp_path).dataset
    report = json.loads((made.path / "report.json").read_bytes())
    shown = {(f["name"], f["count"]) for f in (*report["quality"]["findings"], *report["findings"])}
    assert shown == {(f["name"], f["count"]) for f in made.numbers["findings"]}


def test_a_dataset_made_without_redaction_keeps_its_id(tiny_path: Path, tmp_path: Path) -> None:
    data = {"base": str(tiny_path), "sources": [str(write_posts(tmp_path / "posts", 12))], "split": {"val": 0.2, "test": 0.3}}
    assert "redact" not in Project(recipe_from(data), tmp_path).dataset.manifest["settings"]["build"]


def test_an_unknown_name_in_allow_is_an_error_before_anything_is_read(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean secrets"):
        project(tiny_path, tmp_path / "nowhere", tmp_path, "allow=[secretes]")


def text_of(folder: Path) -> str:
    """Everything that an artifact holds."""
    return "".join(path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file())


def test_redaction_reaches_titles_general_rows_further_columns_and_the_system_prompt(tiny_path: Path, tmp_path: Path) -> None:
    source = rows(tmp_path, "a lamp")
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    source.write_text("\n".join(json.dumps(line | {"title": f"To {KEY}", "note": "bob@corp.org"}) for line in lines))
    general = tmp_path / "general.jsonl"
    general.write_text(
        "\n".join(json.dumps({"prompt": f"What is {n}?", "completion": f"Ask jane{n}@corp.org."}) for n in range(40))
    )
    made = project(
        tiny_path,
        source,
        tmp_path,
        "build.redact=true",
        "build.system_prompt='Write to sue@corp.org'",
        f"mix.general=[{general}]",
    )
    held = text_of(made.dataset.path)
    assert (
        KEY not in held
        and "bob@corp.org" not in held
        and "@corp.org"
        not in "".join(row.answer + row.messages[0].content for part in ("train", "val", "test") for row in made.rows(part))
    )
    assert made.dataset.numbers["redacted"]["AWS_KEY"] == 80


def test_a_sample_of_what_was_dropped_never_shows_a_secret(tiny_path: Path, tmp_path: Path) -> None:
    source = rows(tmp_path, "a lamp")
    source.write_text(source.read_text() + "\n" + json.dumps({"prompt": "", "completion": f"The key is {KEY} and it works."}))
    made = project(tiny_path, source, tmp_path).dataset
    assert sum(made.numbers["dropped"].values()) == 1 and KEY not in text_of(made.path)


def test_findings_are_reported_also_by_a_run_that_finds_the_dataset_made(tiny_path: Path, tmp_path: Path) -> None:
    source = rows(tmp_path, CARD)
    for _ in range(2):
        log = EventLog()
        made = Project(project(tiny_path, source, tmp_path, "allow=[leak,card_numbers]").recipe, tmp_path, reporter=log)
        assert made.dataset.numbers["findings"]
        assert "card_numbers" in [event.name for event in log.events if isinstance(event, FindingReported)]


def test_the_findings_of_a_build_that_stops_are_reported_too(tiny_path: Path, tmp_path: Path) -> None:
    log = EventLog()
    made = Project(project(tiny_path, rows(tmp_path, CARD), tmp_path).recipe, tmp_path, reporter=log)
    with pytest.raises(BlockedError):
        _ = made.dataset
    assert "card_numbers" in [event.name for event in log.events if isinstance(event, FindingReported)]


@pytest.mark.parametrize(("option", "near"), [("setings", "settings"), ("offine", "offline"), ("objective", "")])
def test_a_misspelt_option_of_the_python_face_is_an_error(tmp_path: Path, option: str, near: str) -> None:
    wrong: dict[str, Any] = {option: {"train.epochs": 1}}
    with pytest.raises(RecipeError, match=f"did you mean {near}" if near else "unknown option"):
        tunesmith.build(tmp_path, project=tmp_path, **wrong)


def test_a_folder_with_a_foreign_manifest_is_not_an_artifact(tmp_path: Path) -> None:
    folder = tmp_path / ".tunesmith" / "5s" / "aa"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"kind": 5, "id": 7, "created": "", "files": {}}')
    assert tunesmith.artifacts(project=tmp_path) == ()


def test_redaction_keeps_the_groups_of_a_private_column_apart(tiny_path: Path, tmp_path: Path) -> None:
    source = rows(tmp_path, "a lamp")
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    customers = [line | {"customer": f"person{n % 12}@corp.org"} for n, line in enumerate(lines)]
    source.write_text("\n".join(map(json.dumps, customers)))
    by_customer = {"by": "group", "group": "customer", "val": 0.2, "test": 0.2}
    data = {"base": str(tiny_path), "sources": [str(source)], "split": by_customer}
    made = Project(recipe_from(data, ["build.dedup=0", "allow=[leak]", "build.redact=true"]), tmp_path)
    parts = {part: {row.meta["customer"] for row in made.rows(part)} for part in ("train", "val", "test")}
    assert len(set().union(*parts.values())) == 12 and sum(map(len, parts.values())) == 12
    assert "@corp.org" not in text_of(made.dataset.path)


@pytest.mark.usefixtures("no_network")
def test_the_plan_alone_reports_what_it_reads_and_an_unknown_stage_runs_nothing(
    tiny_path: Path, posts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", "--source", str(posts), "--base", str(tiny_path), "--project", str(tmp_path), *SPLIT])
    said = capsys.readouterr()
    assert "1 documents" in said.err and "2 dataset" in said.err and "3 plan" not in said.err and "time" in said.out
    with pytest.raises(KeyError, match="releases"):
        follow(Project(recipe_from({"base": str(tiny_path), "sources": [str(posts)]}), tmp_path / "new"), until="releases")
    assert not (tmp_path / "new").exists()
