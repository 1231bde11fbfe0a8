"""Promises of the count of evaluations: every one on a test set is counted once, and each makes the next one harder to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tunesmith.core.errors import EvaluationError
from tunesmith.pipeline.looks import Look, Looks, level_of

RULES = {"eval.primary": "bits_per_byte", "gates.better_margin": "auto"}


def looked(
    root: Path, rules: Mapping[str, Any] = MappingProxyType({}), *, model: str = "a", documents: Sequence[str] = ("d1", "d2")
) -> Look:
    return Looks(root).add(what={"model": model}, rules={**RULES, **rules}, documents=documents)


def test_the_chance_of_a_false_ship_over_any_number_of_evaluations_stays_below_five_percent() -> None:
    assert level_of(1) == pytest.approx(0.95)
    assert level_of(2) == pytest.approx(1 - 0.1 / 6)
    assert sum((1 - level_of(k)) / 2 for k in range(1, 10_000)) < 0.05


def test_the_first_evaluation_is_at_95_percent_and_the_next_on_the_same_documents_is_not(tmp_path: Path) -> None:
    assert looked(tmp_path).level == pytest.approx(0.95)
    second = looked(tmp_path, model="b")
    assert second.number == 2 and second.level > 0.98


def test_running_the_same_evaluation_again_is_not_another_one(tmp_path: Path) -> None:
    assert [looked(tmp_path).number, looked(tmp_path, model="b").number, looked(tmp_path).number] == [1, 2, 1]
    assert len((tmp_path / "looks.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.parametrize("change", [{"eval.primary": "rouge_l"}, {"gates.better_margin": 0.0}])
def test_another_metric_or_margin_is_another_evaluation_and_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    looked(tmp_path)
    found = looked(tmp_path, change)
    assert found.number == 2 and len(found.changed) == 1 and next(iter(change)) in found.changed[0]


def test_a_new_split_that_shares_a_document_counts_on_and_fresh_documents_start_anew(tmp_path: Path) -> None:
    looked(tmp_path)
    assert looked(tmp_path, model="b", documents=("d2", "d9")).number == 2
    assert looked(tmp_path, model="b", documents=("d5", "d6")).number == 1


def test_what_was_planned_first_stays_and_what_is_judged_otherwise_is_named(tmp_path: Path) -> None:
    Looks(tmp_path).plan(rules=RULES, documents=["d1", "d2"])
    Looks(tmp_path).plan(rules={**RULES, "eval.primary": "rouge_l"}, documents=["d1", "d2"])
    found = looked(tmp_path, {"eval.primary": "rouge_l"})
    assert found.number == 1 and found.changed == ("eval.primary was bits_per_byte, now rouge_l",)


def test_each_stage_of_a_chain_has_rules_of_its_own_that_were_fixed_first(tmp_path: Path) -> None:
    looks, documents, other = Looks(tmp_path), ["d1", "d2"], {**RULES, "eval.suites": ["general"]}
    looks.plan(rules=RULES, documents=documents, stage="form")
    looks.plan(rules=other, documents=documents, stage="sums")
    first = looks.add(what={"model": "a"}, rules=RULES, documents=documents, stage="form")
    second = looks.add(what={"model": "b"}, rules=other, documents=documents, stage="sums")
    assert (first.number, first.changed, second.number, second.changed) == (1, (), 2, ())
    third = looks.add(what={"model": "b"}, rules={**other, "eval.primary": "rouge_l"}, documents=documents, stage="sums")
    assert third.number == 3 and third.changed == ("eval.primary was bits_per_byte, now rouge_l",)


def test_several_changes_are_named_in_one_order_whatever_order_they_were_given_in(tmp_path: Path) -> None:
    names = [f"gates.{letter}" for letter in "qwertyuiop"]
    Looks(tmp_path).plan(rules=dict.fromkeys(names, 1), documents=["d1"])
    found = Looks(tmp_path).add(what={}, rules=dict.fromkeys(reversed(names), 2), documents=["d1"])
    assert [text.split(" ")[0] for text in found.changed] == sorted(names)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"event": "evaluation"}', b'{"event": 1, "key": "", "rules": 3}'])
def test_a_line_that_cannot_be_read_is_named_and_never_passed_over(tmp_path: Path, line: bytes) -> None:
    looked(tmp_path)
    file = tmp_path / "looks.jsonl"
    file.write_bytes(file.read_bytes() + line + b"\n")
    with pytest.raises(EvaluationError, match="cannot be read") as raised:
        looked(tmp_path, model="b")
    assert "line 2" in str(raised.value)


def test_a_file_whose_last_line_break_was_lost_is_still_counted(tmp_path: Path) -> None:
    looked(tmp_path)
    file = tmp_path / "looks.jsonl"
    file.write_bytes(file.read_bytes().rstrip())
    assert [looked(tmp_path, model=name).number for name in "bc"] == [2, 3]
