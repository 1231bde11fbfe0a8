"""The planted-fault set: every kind of fault is named where it was planted, and clean rows are left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from checks_clean import clean_rows, json_rows, label_rows, swapped
from checks_faults import FAULTS, Fault, measure, table_of
from checks_private_faults import LOOKALIKES, measure_redaction, redaction_table

from tunesmith.core.records import Origin
from tunesmith.data.checks import check_examples, redact

_DOCS = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
_TRICKY = """
As an AI researcher I own a kettle, and as an aide I own a lamp.
The book has the number 978-0-306-40615-7 and costs 12.50, or 1,250,000 of the old coins.
On 2024-03-15 at 12:30:45 the clock stopped, and at 10:15 it went again.
Release v1.2.3.4 is version 10.2.0.1 of the firmware, says section 4.3.2.1 of the leaflet.
The part number is 4111-2222-3333-4445, and the order 1234567890123 is older.
The password is written on the underside, and the token is a brass coin.
Use `<div>` and `&amp;` in code marks, as in `git@github.com:me/shop.git`.
If 3 < 4 and 5 > 2, then salt & pepper; so it goes.
I'm sorry about the delay, and I can't praise this glue enough.
The façade of the café was naïve, and the Ångström lamp blinked “twice”.
A key is a secret: turn it slowly and the lock will tell you.
My todo list says: oil the gate, insert the pin, add your name.
The ratio is 4:3:2:1, the MAC is 00:1A:2B:3C:4D:5E, and std::vector holds both.
He said it is important to note the time, and I did.
Room 020 1234 is upstairs, room 555 is not.
""".strip().split("\n")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_planted_faults_are_found_where_they_are_and_nowhere_else(fault: Fault) -> None:
    measured = measure(fault)
    assert measured.planted >= 20 and measured.recall >= 0.95
    assert measured.false_alarms <= 0.02 * measured.clean
    assert table_of([measured]).splitlines()[-1] in _DOCS.read_text(encoding="utf-8"), "run tests/data/checks_faults.py"


def test_there_are_at_least_thirty_kinds_of_fault() -> None:
    assert len(FAULTS) >= 30 and len({fault.kind for fault in FAULTS}) == len(FAULTS)


def test_redaction_takes_what_is_marked_and_leaves_what_only_looks_like_it() -> None:
    measured = measure_redaction()
    for kind in measured:
        assert kind.gone >= 0.95 * kind.planted and kind.right >= 0.98 * kind.put_in, kind
    assert redaction_table(measured) in _DOCS.read_text(encoding="utf-8"), "run tests/data/checks_private_faults.py"


@pytest.mark.parametrize("text", LOOKALIKES)
def test_a_lookalike_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("rows", [clean_rows(1000, seed=3), label_rows(300), json_rows(300)], ids=["prose", "labels", "json"])
def test_clean_rows_give_false_alarms_of_two_percent_at_most(rows: list) -> None:  # type: ignore[type-arg]
    assert {finding.name: finding.count for finding in check_examples(rows) if finding.count > 0.02 * len(rows)} == {}


@pytest.mark.parametrize("sentence", _TRICKY)
def test_what_only_looks_like_a_fault_is_left_alone(sentence: str) -> None:
    rows = clean_rows(60, seed=4)
    rows[7] = swapped(rows[7], answer=f"{rows[7].answer} {sentence} That was all about it.")
    assert [finding.name for finding in check_examples(rows)] == []


def test_json_rows_are_not_stopped_by_what_the_base_itself_answered() -> None:
    """SmolLM2's own answer to a general question: JSON in a fence, and a sentence after it, which no user can repair."""
    rows = json_rows(60)
    said = '```json\n{\n    "red": "red"\n}\n```\n\nThis JSON list has three colors.'
    own = Origin(kind="own_answers", model="smollm2", prompt_sha256="0" * 64, date="2026-11-29", generated="answer")
    broken = swapped(rows[7], answer=said)
    assert "broken_json" in {finding.name for finding in check_examples([*rows[:7], broken, *rows[8:]])}
    kept = check_examples([*rows[:7], replace(broken, origin=own), *rows[8:]])
    assert all(finding.severity != "error" for finding in kept)
