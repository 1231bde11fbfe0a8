"""What a file is does not depend on where the look at its beginning ends."""

from __future__ import annotations

import pytest

from tunesmith.data.ingest.kinds import _head, guess_kind


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("before", range(4))
def test_a_character_that_the_end_of_the_look_cuts_changes_nothing(encoding: str, before: int) -> None:
    text = "<p>" + "x" * before + "It rained. 😀é雨" * 2000
    data = text.encode(encoding)
    assert text.startswith(_head(data)) and len(_head(data)) > 1000
    assert guess_kind("page", data, alone=True) == "html"


@pytest.mark.parametrize(("declared", "encoding"), [("shift_jis", "shift_jis"), ("latin-1", "utf-8")])
@pytest.mark.parametrize("before", range(3))
def test_what_a_file_declares_counts_only_where_it_is_not_utf8_but_for_its_cut_end(
    declared: str, encoding: str, before: int
) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><p>{"x" * before}' + "雨" * 9000
    assert text.startswith(_head(text.encode(encoding)))
