"""The fit of a dataset's questions: by words without a model, by the base's own likelihood where it is asked for."""

from __future__ import annotations

from typing import Any

from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base
from tunesmith.pipeline.fitting import measure_fits


def row(n: int, asked: str, said: str) -> Example:
    messages = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return Example(id=str(n), messages=messages, document_id=str(n), group=str(n), source="test")


THINGS = ("kettle", "harbour", "violin", "glacier", "bakery", "tractor", "library", "orchard")
ROWS = [row(n, f"Continue from here: “The {thing}”", f"The {thing} and the {thing}.") for n, thing in enumerate(THINGS)]


def test_a_base_recognises_questions_that_hold_the_words_of_the_answer() -> None:
    base = find_base("apprentice")
    ids = {one.document_id for one in ROWS}
    by_words, by_base = measure_fits(
        {"train": ROWS}, documents=ids, chat=open_chat(base), base=base, encoder="", reporter=SilentReporter()
    )
    assert (by_words.right, by_words.n) == (8, 8)
    assert by_base.n == 8 and by_base.right >= 5 and "apprentice" in by_base.method


def test_rows_that_come_from_no_document_are_not_measured() -> None:
    base = find_base("apprentice")
    given: Any = {"chat": open_chat(base), "base": None, "encoder": "", "reporter": SilentReporter()}
    assert measure_fits({"train": ROWS}, documents=set(), **given) == []
