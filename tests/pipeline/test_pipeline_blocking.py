"""The pipeline passes the checks: rows that must not be learned stop it, and there are two ways to continue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import write_posts
from tunesmith.api import Project
from tunesmith.core.errors import BlockedError, RecipeError
from tunesmith.pipeline.recipe_file import recipe_from

KEY = "AKIA" + "Q7RT2MZ5XW8LK3VN"
CARD = "4111 1111 1111 1111"


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
    assert {"name": name, "severity": "error", "count": 80} in allowed.numbers["findings"]
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
