"""The dataset's report says the main thing first and keeps every number for the one who looks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from checks_clean import clean_rows
from lxml import html
from shared_material import example

from tunesmith.core.records import Failure, Finding
from tunesmith.core.records import to_json as json_of
from tunesmith.data.dataset.report import dataset_report
from tunesmith.data.dataset.report_quality import measure_quality


def report(**changes: Any) -> tuple[dict[str, Any], str]:
    splits = {
        name: [example(f"{name} {n}?", "word " * (20 + n), id=f"{name}{n}", group=f"{name}{n // 2}") for n in range(size)]
        for name, size in (("train", 10), ("val", 2), ("test", 4))
    }
    settings: dict[str, Any] = {
        "dropped": {"passage too short": 3},
        "dropped_samples": {"passage too short": ("Tiny.",)},
        "findings": (),
        "token_lengths": {name: [30] * len(rows) for name, rows in splits.items()},
        "rendered": [[("<|user|>Why?", False), ("Because <b>.", True)]],
        "cut": {"num_cut": 0, "share": 0.0, "examples": []},
        "documents": 9,
    }
    return dataset_report(splits, quality=measure_quality(splits), **{**settings, **changes})


def test_the_verdict_says_how_much_whether_it_leaks_and_what_was_dropped() -> None:
    data, page = report()
    assert (
        data["verdict"]
        == "16 examples from 8 documents, 372 words to learn from; no leaks between the splits; 3 pieces dropped; no rows cut."
    )
    assert data["verdict"] in html.fromstring(page).text_content()


def test_a_leak_is_in_the_first_sentence_and_marked() -> None:
    finding = Finding(name="near_copies", severity="error", message="2 pairs", count=2, rows=("train:a ~ test:b",))
    data, page = report(findings=[finding])
    assert "2 leaks between the splits" in data["verdict"] and "train:a ~ test:b" in page
    assert html.fromstring(page).find_class("badge")[0].text_content() == "leaks"


def test_rows_without_a_source_are_not_called_free_of_leaks() -> None:
    data, page = report(findings=[Finding(name="no_source", severity="info", message="m", count=16)])
    assert "cannot be seen" in data["verdict"] and "no leaks found" not in page


def test_what_is_learned_is_marked_and_text_is_escaped() -> None:
    _, page = report()
    assert '<span class="learned">Because &lt;b&gt;.</span>' in page and "&lt;|user|&gt;Why?" in page


def test_the_json_twin_holds_every_number_and_is_json() -> None:
    data, _ = report(
        failures=[Failure(source="a.md", reason="it is empty"), {"source": "b.md", "reason": "binary"}],
        notes=["1 drafts skipped"],
    )
    assert orjson.loads(json_of(data)) == data
    assert data["splits"]["train"] == {
        "examples": 10,
        "documents": 5,
        "answer_words": {"total": 245, "smallest": 20, "median": 24.5, "largest": 29},
        "tokens": {"total": 300, "smallest": 30, "median": 30.0, "largest": 30},
    }
    assert [row["source"] for row in data["failures"]] == ["a.md", "b.md"] and data["dropped"]["passage too short"][
        "count"
    ] == 3


def test_what_was_not_measured_is_said_and_not_called_fine() -> None:
    data, page = report(cut=None, token_lengths=None, rendered=())
    assert "cut" not in data["verdict"] and "was not measured" in page and data["splits"]["train"]["tokens"] is None


@pytest.mark.parametrize("entry", ["abc123", ["abc123", "Title", 1904]])
def test_examples_that_were_cut_are_named(entry: object) -> None:
    _, page = report(cut={"num_cut": 1, "share": 0.02, "examples": [entry]})
    assert "1 example cut for length: 2.00% of the tokens to learn." in page and "abc123" in page


def test_the_page_needs_no_network_and_no_script() -> None:
    _, page = report()
    assert not any(mark in page for mark in ("<script", "http://", "https://", "@import", "url("))


def test_the_page_says_at_a_glance_how_much_how_good_and_what_the_checks_found() -> None:
    rows = [example(f"What is case {n}?", f"It is a pin of brass, number {n}, and holds.", id=f"r{n}") for n in range(60)]
    rows[7] = example("What is case 7?", "[TODO]", id="r7")
    splits = {"train": rows}
    data, page = dataset_report(
        splits, quality=measure_quality(splits), dropped={"empty answer": 2}, dropped_samples={}, findings=()
    )
    tree = html.fromstring(page)
    figures = [node.text_content() for node in tree.find_class("figure")]
    assert figures[0] == "60" and figures[1] != "clean" and figures[3:] == ["2", "not measured"]
    assert "placeholders (1)" in data["quality_sentence"] and data["quality_sentence"] in tree.text_content()
    assert data["quality"]["findings"][0]["rows"] == ["r7"] and data["quality"]["summary"]["rows"] == 60


def test_a_clean_set_is_called_clean_and_further_sections_stand_on_the_page() -> None:
    splits = {"train": clean_rows(80)}
    further = ["<section><h2>Mix</h2></section>"]
    data, page = dataset_report(
        splits, quality=measure_quality(splits), dropped={}, dropped_samples={}, findings=(), sections=further
    )
    assert data["quality_sentence"] == "The checks found no errors." and "<h2>Mix</h2>" in page
    assert html.fromstring(page).find_class("figure")[1].text_content() == "clean" and data["quality"]["summary"]["topics"]
