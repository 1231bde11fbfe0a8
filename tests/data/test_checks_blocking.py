"""Findings of severity error stop a build under a name that `--allow` takes; a planted fault of every kind proves it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from checks_clean import clean_rows, swapped
from checks_faults import FAULTS, Fault

from tunesmith.core.errors import BlockedError, RecipeError
from tunesmith.core.records import Example, Finding
from tunesmith.data.checks import check_examples
from tunesmith.pipeline.blocking import LABEL_FAULTS, UNFIT_REWARD, allowed_name, check_allowed, names_to_allow, stop_at_errors

CLEAN = 200


def planted(fault: Fault) -> list[Example]:
    import random

    draw = random.Random(fault.kind)
    rows = fault.base(CLEAN)
    return [fault.plant(row, draw, n) if n >= CLEAN - 24 else row for n, row in enumerate(rows)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_a_fault_of_severity_error_stops_and_its_name_lets_it_pass(fault: Fault, tmp_path: Path) -> None:
    rows = planted(fault)
    findings = check_examples(rows)
    errors = {allowed_name(finding.name) for finding in findings if finding.severity == "error"}
    assert errors <= set(names_to_allow())
    stop_at_errors(findings, rows, allow=sorted(errors), rows_file=tmp_path / "rows.jsonl")
    assert not (tmp_path / "rows.jsonl").exists()
    if errors:
        with pytest.raises(BlockedError) as caught:
            stop_at_errors(findings, rows, allow=(), rows_file=tmp_path / "rows.jsonl")
        assert set(caught.value.names) == errors
        assert all(f"--allow {name}" in str(caught.value) for name in errors)


def test_every_name_that_can_be_allowed_is_a_fault_that_was_planted_or_an_audit_of_labels_and_leaks() -> None:
    seen = {f.name for fault in FAULTS for f in check_examples(planted(fault)) if f.severity == "error"}
    from_files = {"same_answers"}  # preferences, which are checked where a file is read
    assert set(names_to_allow()) - seen == {*LABEL_FAULTS, "leak", UNFIT_REWARD} | from_files


def test_clean_rows_are_not_stopped(tmp_path: Path) -> None:
    rows = clean_rows(CLEAN)
    stop_at_errors(check_examples(rows), rows, allow=(), rows_file=tmp_path / "rows.jsonl")


def test_all_faults_are_reported_at_once_with_their_rows_in_a_file(tmp_path: Path) -> None:
    rows = clean_rows(40)
    rows[3] = swapped(rows[3], answer="")
    rows[5] = swapped(rows[5], answer="Pay with 4111 1111 1111 1111, he said.")
    with pytest.raises(BlockedError) as caught:
        stop_at_errors(check_examples(rows), rows, allow=(), rows_file=tmp_path / "rows.jsonl")
    assert set(caught.value.names) == {"card_numbers", "empty_answers"} and len(caught.value.problems) == 2
    assert "--set build.redact=true" in str(caught.value)
    written = [orjson.loads(line) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    assert {(row["finding"], row["id"]) for row in written} == {("card_numbers", rows[5].id), ("empty_answers", rows[3].id)}


def test_a_finding_without_rows_blocks_too(tmp_path: Path) -> None:
    finding = Finding(name="roles", severity="error", message="turns Fix: order them", count=1)
    with pytest.raises(BlockedError, match="order them"):
        stop_at_errors([finding], (), allow=(), rows_file=tmp_path / "rows.jsonl")


@pytest.mark.parametrize(("name", "near"), [("secret", "secrets"), ("leaks", "leak"), ("cards", "card_numbers")])
def test_a_name_that_allows_nothing_is_an_error_with_the_nearest_one(name: str, near: str) -> None:
    with pytest.raises(RecipeError, match=f"did you mean {near}"):
        check_allowed([name])
