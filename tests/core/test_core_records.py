"""Records as JSON lines: what is written comes back, whatever the strings hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import ArtifactError
from tunesmith.core.records import (
    Document,
    Example,
    Finding,
    Message,
    canonical_json,
    digest,
    read_jsonl,
    write_jsonl,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\u2029\x85\x0b\x0c\r\n\0"), max_size=40)


def conversation(*texts: str) -> Example:
    messages = tuple(Message(role="user", content=text) for text in texts)
    return Example(id="e", messages=messages, document_id="d", group="d", source="s", title=None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=4))
def test_examples_come_back_as_they_were_written(tmp_path: Path, texts: list[list[str]]) -> None:
    rows = [conversation(*row) for row in texts]
    assert write_jsonl(tmp_path / "rows.jsonl", rows) == len(rows)
    assert list(read_jsonl(tmp_path / "rows.jsonl", Example)) == rows


def test_a_line_separator_inside_a_string_does_not_split_the_row(tmp_path: Path) -> None:
    row = conversation("before\u2028after\u2029end\x85")
    write_jsonl(tmp_path / "rows.jsonl", [row, row])
    assert list(read_jsonl(tmp_path / "rows.jsonl", Example)) == [row, row]
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) > 2  # what a careless reader would see


def test_documents_and_findings_come_back_and_unknown_keys_are_left_out(tmp_path: Path) -> None:
    document = Document(id="i", text="t", source="s", sha256="h", extraction="markdown")
    finding = Finding(name="n", severity="info", message="m", count=2, rows=("a", "b"))
    for row in (document, finding):
        write_jsonl(tmp_path / "rows.jsonl", [row])
        assert list(read_jsonl(tmp_path / "rows.jsonl", type(row))) == [row]
    (tmp_path / "rows.jsonl").write_bytes(b'{"role": "user", "content": "c", "new": 1}\n\n')
    assert list(read_jsonl(tmp_path / "rows.jsonl", Message)) == [Message(role="user", content="c")]


@pytest.mark.parametrize("bad", [b"{", b"[]", b"3", b"null", b'{"role": "user"}', b"\xff\xfe", b'"text"'])
def test_a_bad_line_is_named_by_number(tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"role": "user", "content": "c"}\n' + bad + b"\n")
    with pytest.raises(ArtifactError, match=r"line 2 of rows\.jsonl is not a Message") as caught:
        list(read_jsonl(tmp_path / "rows.jsonl", Message))
    assert "hint: " in str(caught.value)


def test_a_digest_knows_where_its_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc") and digest("ab") == digest(b"ab")


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": {"y": 1, "x": 2}, "a": 3}) == canonical_json({"a": 3, "b": {"x": 2, "y": 1}})
