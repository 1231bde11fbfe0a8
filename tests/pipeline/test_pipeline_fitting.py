"""The fit of the questions is measured by every method that was asked for, on rows of documents alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.pipeline import fitting
from tunesmith.pipeline.fitting import measure_fits


def row(number: int, *, shuffled: bool) -> Example:
    asked = Message(role="user", content=f"What about {(number + shuffled) % 9}?")
    said = Message(role="assistant", content=f"It is {number}.")
    id = str(number)
    return Example(id=id, messages=(asked, said), document_id=id, group=id, source="a.md", title=None)


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.eye(9, dtype=np.float32)[[int(next(sign for sign in text if sign.isdigit())) for text in texts]]


@pytest.mark.parametrize("shuffled", [False, True])
def test_vectors_are_asked_where_an_encoder_is_named_and_see_shuffled_questions(
    monkeypatch: pytest.MonkeyPatch, shuffled: bool
) -> None:
    monkeypatch.setattr(fitting, "open_encoder", lambda name: SimpleNamespace(encode=encode))
    rows = {"train": [row(number, shuffled=shuffled) for number in range(9)]}
    options: dict[str, Any] = {"chat": None, "base": None, "reporter": SilentReporter()}
    documents = {str(number) for number in range(9)}
    by_words, by_vectors = measure_fits(rows, documents=documents, encoder="embeddings", **options)
    assert (by_vectors.method, by_vectors.right, by_vectors.n) == ("vectors of embeddings", 0 if shuffled else 9, 9)
    assert measure_fits(rows, documents=documents, encoder="", **options) == [by_words]
    assert measure_fits(rows, documents=set(), encoder="embeddings", **options) == []
