"""Promises of the scriptable comparison of two prediction files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.compare import compare_files
from tunesmith.eval.metrics.text import word_overlap
from tunesmith.eval.predictions import read_predictions

REFERENCE = "the kettle would not stop and the switch was tired"
Row = dict[str, Any]


def row(number: int, prediction: str, **more: object) -> Row:
    return {"id": f"q{number}", "prompt": "Why?", "reference": f"{REFERENCE} {number}.", "prediction": prediction, **more}


def write(path: Path, rows: list[Row]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    a = [row(i, f"the kettle {i}") for i in range(12)]
    b = [row(i, f"the kettle would not stop {i}.") for i in range(12)]
    return write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl", b)


def test_the_contract_has_exactly_the_promised_keys(files: tuple[Path, Path]) -> None:
    result = compare_files(files, metric="word_overlap", draws=500, seed=1)
    assert {"metric", "n", "a", "b", "difference", "relative", "cut", "length_matched"} <= result.keys()
    assert list(result["a"]) == list(result["b"]) == ["mean", "median", "std", "min", "max", "ci"]
    assert next(iter(result)) == "warnings"
    assert list(result["difference"]) == list(result["length_matched"]["difference"]) == ["mean", "ci", "p"]
    assert list(result["cut"]) == ["a", "b"]
    assert (result["metric"], result["n"]) == ("word_overlap", 12)
    assert orjson.loads(orjson.dumps(result)) == result


def test_the_difference_is_b_minus_a_and_agrees_with_scoring_by_hand(files: tuple[Path, Path]) -> None:
    result = compare_files(files, draws=500)
    a = [word_overlap(f"the kettle {i}", f"{REFERENCE} {i}.") for i in range(12)]
    b = [word_overlap(f"the kettle would not stop {i}.", f"{REFERENCE} {i}.") for i in range(12)]
    assert result["a"]["mean"] == pytest.approx(sum(a) / 12)
    assert result["difference"]["mean"] == pytest.approx((sum(b) - sum(a)) / 12)
    assert result["relative"] == pytest.approx((sum(b) - sum(a)) / sum(a))
    low, high = result["difference"]["ci"]
    assert low <= result["difference"]["mean"] <= high
    assert result["difference"]["p"] < 0.01


def test_a_system_compared_with_itself_differs_by_nothing_and_says_so(files: tuple[Path, Path]) -> None:
    result = compare_files([files[0], files[0]])
    assert (result["difference"]["mean"], result["difference"]["p"]) == (0.0, 1.0)
    assert any("itself" in warning for warning in result["warnings"])
    assert not any("itself" in warning for warning in compare_files(files)["warnings"])


def test_cut_follows_the_finish_reason_and_falls_back_to_the_last_character(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [row(0, "Ended.", finish_reason="length"), row(1, "no stop", finish_reason="stop")])
    b = write(tmp_path / "b.jsonl", [row(0, "no stop"), row(1, "Ended.")])
    assert compare_files([a, b])["cut"] == {"a": 0.5, "b": 0.5}


def test_a_gain_that_is_only_length_is_gone_at_equal_length(tmp_path: Path) -> None:
    rows = [(i, f"alpha beta gamma {i}") for i in range(8)]
    short = [{"id": i, "prompt": "", "reference": text, "prediction": "alpha beta x y"} for i, text in rows]
    padded = [{"id": i, "prompt": "", "reference": text, "prediction": f"alpha beta x y gamma {i}"} for i, text in rows]
    result = compare_files([write(tmp_path / "a.jsonl", short), write(tmp_path / "b.jsonl", padded)])
    assert result["difference"]["mean"] > 0.2
    assert result["length_matched"]["difference"]["mean"] == 0.0


def test_rows_are_paired_by_id_whatever_their_order(files: tuple[Path, Path], tmp_path: Path) -> None:
    lines = files[1].read_bytes().splitlines(keepends=True)
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_bytes(b"".join(reversed(lines)))
    one, other = compare_files([files[0], shuffled]), compare_files(files)
    assert {key: one[key] for key in ("a", "b", "difference")} == {key: other[key] for key in ("a", "b", "difference")}


def test_groups_are_what_the_interval_is_clustered_by(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [row(i, "the", group=f"post{i // 4}") for i in range(12)])
    b = write(tmp_path / "b.jsonl", [row(i, "the kettle") for i in range(12)])
    result = compare_files([a, b])
    assert (result["n"], result["num_groups"], result["smallest_p"]) == (12, 3, 0.25)
    assert any("too few" in warning for warning in result["warnings"])


@settings(max_examples=50)
@given(text=st.text(min_size=1))
def test_lines_end_at_the_line_feed_alone(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    write(path, [row(0, f"one\u2028two\u0085three {text}"), row(1, "x")])
    assert read_predictions(path)["q0"].prediction == f"one\u2028two\u0085three {text}"


def test_windows_line_ends_blank_lines_and_a_byte_order_mark_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + orjson.dumps(row(0, "x")) + b"\r\n\r\n" + orjson.dumps(row(1, "y")))
    assert list(read_predictions(path)) == ["q0", "q1"]


BAD: dict[str, tuple[bytes, str]] = {
    "not json": (b'{"id": 1,\n', "not JSON"),
    "a list": (b"[1]\n", "not a JSON object"),
    "missing fields": (b'{"id": "q", "prediction": "x"}\n', "missing prompt, reference"),
    "a null prediction": (b'{"id": "q", "prompt": "p", "reference": "r", "prediction": null}\n', "missing prediction"),
    "no reference": (b'{"id": "q", "prompt": "p", "prediction": "x"}\n', "missing reference"),
    "a number for a text": (b'{"id": "q", "prompt": "p", "reference": "r", "prediction": 3}\n', "not text"),
    "a strange id": (b'{"id": [1], "prompt": "p", "reference": "r", "prediction": "x"}\n', "neither text"),
    "an id twice": (b'{"id": "q", "prompt": "p", "reference": "r", "prediction": "x"}\n' * 2, "already on line 1"),
    "nothing": (b"\n\n", "empty"),
    "bytes": (b"\xff\xfe\x00", "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_prediction_file_is_refused_by_line(name: str, tmp_path: Path) -> None:
    content, expected = BAD[name]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match=expected) as caught:
        read_predictions(path)
    problem = caught.value.problems[0]
    assert "bad.jsonl" in str(caught.value)
    assert problem.expected and problem.hint


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"nowhere\.jsonl"):
        read_predictions(tmp_path / "nowhere.jsonl")


def test_files_with_other_items_are_refused_with_count_and_ids(files: tuple[Path, Path], tmp_path: Path) -> None:
    fewer = write(tmp_path / "fewer.jsonl", [row(i, "x") for i in range(10)])
    with pytest.raises(EvaluationError, match=r"2 items of .*a\.jsonl are not in .*fewer\.jsonl.*q10"):
        compare_files([files[0], fewer])
    with pytest.raises(EvaluationError, match="2 items"):
        compare_files([fewer, files[0]])


def test_another_reference_for_the_same_item_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [row(i, "x") for i in range(12)]
    rows[4]["reference"] = "something else"
    with pytest.raises(EvaluationError, match=r"other\.jsonl:5: the reference of 'q4' differs"):
        compare_files([files[0], write(tmp_path / "other.jsonl", rows)])


def test_an_unknown_metric_is_refused_with_the_known_ones(files: tuple[Path, Path]) -> None:
    with pytest.raises(EvaluationError, match="word_overlap"):
        compare_files(files, metric="magic")


def test_unscored_items_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [row(i, "the kettle") for i in range(4)]
    rows[0]["reference"] = "…"
    path = write(tmp_path / "a.jsonl", rows)
    result = compare_files([path, path], metric="rouge_l")
    assert (result["n"], result["unscored"]) == (3, 1)
