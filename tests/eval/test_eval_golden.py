"""Promises of the golden set in the verdict: a loss on it stops a release, and few items do not decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evidence_fakes import evidence, general, items, likelihood, parity, suite_answers
from judging_fakes import GOOD, decided, gate

from tunesmith.core.records import Example, Message, Origin
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.probes import GOLDEN
from tunesmith.eval.results import Evidence


def with_golden(gain: float, *, documents: int = 10, noise: float = 0.01) -> Evidence:
    """Evidence of a good model whose bits per byte on the golden set are `gain` lower than the base's."""
    made = evidence(GOOD, with_parity=parity(), with_general=general())
    of = tuple(replace(one, id=f"golden {one.id}") for one in items(documents, 2))
    rng = np.random.default_rng(3)
    base = tuple(likelihood(one.id, 1.4 + noise * rng.normal()) for one in of)
    tuned = tuple(
        likelihood(one.id, (row.bits_per_byte or 0) - gain + noise * rng.normal()) for one, row in zip(of, base, strict=True)
    )
    return replace(made, golden=of, suites=(suite_answers(),), probes={**made.probes, GOLDEN: {"base": base, "tuned": tuned}})


@pytest.mark.parametrize(
    ("gain", "documents", "state", "required", "verdict"),
    [
        (0.2, 10, "pass", True, "SHIP"),
        (-0.2, 10, "fail", True, "DON'T SHIP"),
        (-0.2, 4, "fail", False, "SHIP"),  # with four documents it is shown, and does not decide
    ],
)
def test_a_loss_on_the_golden_set_stops_a_release(
    gain: float, documents: int, state: str, required: bool, verdict: str
) -> None:
    found = decided(with_golden(gain, documents=documents))
    ruled = gate(found, "golden")
    assert (ruled.state, ruled.required, found.verdict) == (state, required, verdict)
    assert f"of {documents} documents" in ruled.evidence and ruled.value == pytest.approx(gain, abs=0.02)


def test_a_change_that_could_be_a_loss_or_not_is_not_measured() -> None:
    found = decided(with_golden(-0.02, noise=0.1))
    assert gate(found, "golden").state == "not measured" and found.verdict == "CAN'T TELL"


def test_without_a_golden_set_there_is_no_such_gate() -> None:
    made = evidence(GOOD, with_parity=parity(), with_general=general())
    assert all(one.name != "golden" for one in decided(made).gates)


def example(number: int, *, origin: Origin | None = None) -> Example:
    said = (Message(role="user", content=f"Number {number}?"), Message(role="assistant", content=f"It is {number}."))
    return Example(id=f"e{number}", messages=said, document_id=f"d{number}", group=f"d{number}", source="s", origin=origin)


def test_answers_that_people_and_a_model_wrote_are_told_apart_where_there_are_both() -> None:
    asked = Origin(kind="qa", model="m", prompt_sha256="0", date="2026-01-02", generated="prompt")
    whole = replace(asked, generated="both")
    people = [example(n, origin=asked if n % 2 else None) for n in range(4)]
    assert all("answer" not in one.about for one in choose_items(people, 0))
    mixed = choose_items([*people, example(9, origin=whole)], 0)
    written = {one.id: one.about["answer"] for one in mixed}
    assert written.pop("e9") == "written by a model" and set(written.values()) == {"written by a person"}
