"""Plain text as rows: nothing is dropped, every token is learned once, and documents begin and end as the tokenizer has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from tunesmith.core.texts import Text
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.labels import audit_labels, encode_row
from tunesmith.models.text_rows import cut_text, encode_text_row

END = 7  # the tokenizer's end-of-sequence token
WORDS = st.text(st.sampled_from("the rain and an old door, \n é日☕<|end|>"), max_size=400)


def rows_of(chat: Chat, text: str, most: int) -> tuple[list[tuple[str, str]], list[Encoded]]:
    parts = cut_text(chat, text, max_tokens=most)
    rows = [
        encode_text_row(chat, part, before=before, ends=number == len(parts), max_tokens=most)
        for number, (before, part) in enumerate(parts, 1)
    ]
    return parts, rows


@given(WORDS, st.integers(16, 90))
@settings(max_examples=60)
def test_parts_of_a_document_are_the_document_and_fit_their_rows(tiny_chat: Chat, text: str, most: int) -> None:
    parts, rows = rows_of(tiny_chat, text, most)
    assert "".join(part for _, part in parts) == text
    assert not any(row.dropped for row in rows)
    assert all(part and before for before, part in parts[1:])
    assert rows[-1].ids[-1] == END and all(END not in row.ids[:-1] for row in rows)  # control tokens in a text are letters


@pytest.mark.parametrize("most", [16, 50, 200])
def test_every_token_of_a_document_is_learned_once(tiny_chat: Chat, most: int) -> None:
    text = "The rain fell on the shed, and an old door stood open.\n\n" * 12
    _, rows = rows_of(tiny_chat, text, most)
    learned = [token for row in rows for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    assert learned == [*tiny_chat.encode_text(text)[1:], END]  # nothing stands before the first token
    assert len(rows) == 1 or all(len(row.ids) > most / 2 for row in rows[:-1])


def test_a_part_that_lost_a_word_would_be_noticed(tiny_chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encode_text_row
    monkeypatch.setitem(globals(), "encode_text_row", lambda chat, text, **how: real(chat, text[1:], **how))
    with pytest.raises(AssertionError):
        test_every_token_of_a_document_is_learned_once(tiny_chat, 50)


def test_a_document_begins_with_bos_where_the_tokenizer_writes_one(tiny_chat: Chat) -> None:
    from fakes import TEMPLATE, byte_tokenizer

    tokenizer: Any = byte_tokenizer(TEMPLATE)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    chat = replace(tiny_chat, tokenizer=tokenizer)
    _, rows = rows_of(chat, "The rain and the wind. " * 20, 40)
    assert len(rows) > 2 and rows[0].ids[0] == 2 and not rows[0].learned[0] and all(rows[0].learned[1:])
    assert all(2 not in row.ids for row in rows[1:])
    learned = [token for row in rows for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    assert learned == [*chat.encode_text("The rain and the wind. " * 20), END]
    _, plain = rows_of(tiny_chat, "The rain.", 40)
    assert 2 not in plain[0].ids


def test_a_row_of_text_has_no_template_and_passes_the_label_audit(tiny_chat: Chat) -> None:
    row = Text(id="t", text="No more rain today.", document_id="t", group="t", source="a.md")
    encoded = encode_row(tiny_chat, row, max_tokens=100)
    assert encoded == (encode_text_row(tiny_chat, row.text),) and row.prompt == () and row.answer == row.text
    assert tiny_chat.tokenizer.decode(encoded[0].ids[:-1]) == row.text
    found = audit_labels(tiny_chat, [row], [encoded], allow=())
    assert found.without_labels == () and found.num_learned == encoded[0].num_learned


def test_a_row_that_holds_hardly_anything_is_refused(tiny_chat: Chat) -> None:
    with pytest.raises(ValueError, match="7 tokens"):
        cut_text(tiny_chat, "word", max_tokens=7)
