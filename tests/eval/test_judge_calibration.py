"""A judge is believed only as far as people confirm it: each fault is planted, and what was planted is found."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from judged_pairs import LABELS, Planted, labelled_rows, planted, write_rows
from sklearn.metrics import cohen_kappa_score

from tunesmith.api.judges import calibrate_judge
from tunesmith.cli.main import main
from tunesmith.core.errors import EvaluationError
from tunesmith.eval.judge.kappa import kappa
from tunesmith.eval.judge.rows import majority

ROWS = labelled_rows(400)
KEYS = [
    "n",
    "prompts",
    "agreement",
    "kappa",
    "kappa_decided",
    "ceiling",
    "changed",
    "reversed",
    "length_preference",
    "unparsed",
]


def calibrated(folder: Path, judge: Planted, rows: list[dict[str, Any]] = ROWS) -> dict[str, Any]:
    return calibrate_judge(write_rows(folder / "rows.jsonl", rows, judge)).as_dict()


@pytest.mark.parametrize("name", ["random", "longer", "first", "constant"])
def test_a_judge_that_does_not_read_the_answers_may_not_gate(name: str, tmp_path: Path) -> None:
    found = calibrated(tmp_path, planted(name))
    assert not found["may_gate"] and found["kappa"]["ci"][1] < 0.4
    assert "the lower end of κ" in found["why"]


def test_a_judge_that_agrees_with_people_may_gate(tmp_path: Path) -> None:
    found = calibrated(tmp_path, planted("good"))
    assert found["may_gate"], found["why"]
    assert found["reversed"] == 0 and 0.8 < found["ceiling"]["value"] < 0.9


def test_a_person_may_gate_when_scored_against_the_majority_of_the_others(tmp_path: Path) -> None:
    rows = [dict(row, annotators=row["annotators"][1:], mine=row["annotators"][0]) for row in ROWS]
    found = calibrated(tmp_path, lambda row, chance: (row["mine"], row["mine"]), rows)
    assert found["may_gate"], found["why"]


def test_the_command_prints_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_rows(tmp_path / "rows.jsonl", ROWS, planted("good"))
    main(["judge", "calibrate", str(file), "--json"])
    found = orjson.loads(capsys.readouterr().out)
    assert {*KEYS, "may_gate", "why"} <= found.keys() and {"value", "ci"} <= found["kappa"].keys()
    assert (found["n"], found["prompts"], found["unparsed"]) == (400, 200, 0)
    main(["judge", "calibrate", str(file)])
    assert "MAY GATE: κ is at least" in capsys.readouterr().err


def test_kappa_is_that_of_another_implementation_and_its_interval_follows_the_clusters() -> None:
    chance = random.Random(1)
    people = [chance.choice(LABELS) for _ in range(100)]
    judge = [label if chance.random() < 0.6 else chance.choice(LABELS) for label in people]
    alone = kappa(people, judge, [str(n) for n in range(100)])
    assert alone.value == pytest.approx(cohen_kappa_score(people, judge), abs=1e-12)
    copied = kappa(people * 4, judge * 4, [str(n) for n in range(100)] * 4)
    assert copied.value == pytest.approx(alone.value) and copied.ci == pytest.approx(alone.ci, abs=0.02)
    assert alone.ci is not None and copied.ci is not None
    apart = kappa(people * 4, judge * 4, [str(n) for n in range(400)])
    assert apart.ci is not None and apart.ci[1] - apart.ci[0] < 0.6 * (alone.ci[1] - alone.ci[0])


@pytest.mark.parametrize(("accuracy", "clusters"), [(0.7, 30), (0.95, 50)])
def test_the_interval_of_kappa_covers_the_truth(accuracy: float, clusters: int) -> None:
    """Independent raters' truth in a large sample; the recorded simulation is larger (benchmarks/bench_judges.py)."""
    random_ = np.random.default_rng(2)
    truth = 1 - (1 - accuracy) / (1 - 1 / 3)
    hits = 0
    for _ in range(200):
        people = random_.integers(0, 3, clusters)
        off = (people + random_.integers(1, 3, clusters)) % 3
        judge = np.where(random_.random(clusters) < accuracy, people, off)
        found = kappa(people.astype(str).tolist(), judge.astype(str).tolist(), [str(n) for n in range(clusters)], draws=500)
        hits += found.ci is not None and found.ci[0] <= truth <= found.ci[1]
    assert hits >= 184


def biased(tenths: int, to: str) -> Planted:
    """What the first annotator says, but in so many tenths of the pairs the longer answer, the first, or that of a family."""

    def judge(row: dict[str, Any], chance: random.Random) -> tuple[str | None, str | None]:
        if row["id"] % 10 >= tenths:
            return (row["annotators"][0],) * 2
        if to == "family":
            return ("A" if row["system_a"] == "mine" else "B",) * 2
        return planted(to)(row, chance)

    return judge


@pytest.mark.parametrize(("bias", "key"), [("longer", "length_preference"), ("family", "family_preference")])
def test_a_planted_preference_is_recovered_within_two_points(bias: str, key: str, tmp_path: Path) -> None:
    sides = (("mine", "other"), ("other", "mine"))
    rows = [dict(row, system_a=sides[n % 2][0], system_b=sides[n % 2][1]) for n, row in enumerate(labelled_rows(2000))]
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows, biased(3, bias)), family=["mine"]).as_dict()
    value: dict[str | None, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}

    def to_the_meant(row: dict[str, Any]) -> float:
        is_a = len(row["a"]) > len(row["b"]) if bias == "longer" else row["system_a"] == "mine"
        return value[majority(row["annotators"])] if is_a else 1 - value[majority(row["annotators"])]

    people = [to_the_meant(row) for row in rows if bias == "family" or len(row["a"]) != len(row["b"])]
    assert found[key] == pytest.approx(0.3 * (1 - sum(people) / len(people)), abs=0.02)  # less what people prefer too
    assert found["position_preference"] == 0


def test_a_planted_preference_for_the_first_answer_is_recovered_and_blocks(tmp_path: Path) -> None:
    found = calibrated(tmp_path, biased(3, "first"))
    assert found["position_preference"] == pytest.approx(0.3) and found["reversed"] == pytest.approx(0.3)
    assert "reversed by the order" in found["why"]


def test_replies_that_are_no_verdict_are_counted_and_count_against_the_judge(tmp_path: Path) -> None:
    silent = planted("good")
    found = calibrated(tmp_path, lambda row, chance: ("both are fine", None) if row["id"] % 2 else silent(row, chance))
    assert found["unparsed"] == 200 and found["kappa"]["n"] == 200
    assert not found["may_gate"] and found["kappa"]["ci"][0] > 0.4


def test_without_the_swapped_order_nothing_is_said_about_it_and_the_judge_may_not_gate(tmp_path: Path) -> None:
    rows = [dict(row, judge=row["annotators"][0]) for row in ROWS]
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows)).as_dict()
    assert found["changed"] is None and found["reversed"] is None and not found["may_gate"]
    rows[0]["judge_swapped"] = None
    rows[1:] = [dict(row, judge_swapped=row["judge"]) for row in rows[1:]]
    found = calibrate_judge(write_rows(tmp_path / "rows.jsonl", rows)).as_dict()
    assert not found["may_gate"] and "1 pair has no verdict in the swapped order" in found["why"]


def test_a_swapped_verdict_may_name_the_place(tmp_path: Path) -> None:
    found = calibrated(tmp_path, lambda row, chance: ("first", "first"))
    assert found["reversed"] == 1.0 and found["position_preference"] == 1.0


def test_three_labels_are_too_few_and_that_is_said(tmp_path: Path) -> None:
    found = calibrated(tmp_path, planted("good"), labelled_rows(3, per_prompt=1))
    assert found["kappa"]["ci"] is None and not found["may_gate"]
    assert "too few" in found["why"] and found["learning_curve"]["sentence"].startswith(
        "what more labels would bring is not measured"
    )


def test_equal_labels_throughout_are_no_certainty(tmp_path: Path) -> None:
    found = calibrated(
        tmp_path, lambda row, chance: (majority(row["annotators"]),) * 2, labelled_rows(30, noise=0, per_prompt=1)
    )
    assert found["kappa"]["value"] == 1.0 and found["kappa"]["ci"][0] < 0.85


def test_the_outlook_on_more_labels_is_an_interval_that_narrows(tmp_path: Path) -> None:
    curve = calibrated(tmp_path, planted("good"), labelled_rows(60))["learning_curve"]
    widths = [high - low for low, high in (point["ci"] for point in curve["points"])]
    assert [point["labels"] for point in curve["points"]] == [10, 20, 50, 60] and widths == sorted(widths, reverse=True)
    assert "20 more labels would narrow it to" in curve["sentence"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"human": 1}, "this is not a label in human"),
        ({"human": "A", "a": 3}, "a is not text"),
        ({"annotators": "A"}, "annotators is not a list"),
        ({"human": "A", "b": None}, "missing b"),
        ({}, "no pair has a human label"),
        ({"human": "A"}, "no pair has a verdict of a judge"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [{"id": 1, "prompt": "?", "a": "x", "b": "y", **row}])
    with pytest.raises(EvaluationError, match=said):
        calibrate_judge(file)
