"""Encodings that nothing states are guessed by the letters that come out, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ingest_containers import ingest

from tunesmith.data.text.decode import UnreadableError, decode_noted

WRITTEN = {
    "cp1252": "“It rained all morning,” she said: the kettle’s fault, naïve as it was.",
    "cp1250": "Příliš žluťoučký kůň úpěl ďábelské ódy a děti se dívaly.",
    "cp1251": "Чайник свистел, когда дверь открылась и вошла соседка.",
    "cp1253": "Ο βραστήρας σφύριξε όταν άνοιξε η πόρτα.",
    "koi8_r": "Чайник свистел, когда дверь открылась и вошла соседка.",
    "shift_jis": "雨が朝からずっと降っていて、やかんが鳴った。彼女は黙っていた。",
    "gb18030": "早上一直在下雨，水壶响了，她没有说话。",
}


@pytest.mark.parametrize("encoding", WRITTEN)
@pytest.mark.parametrize("times", [1, 30])
def test_a_text_in_an_old_encoding_is_read_as_it_was_written(encoding: str, times: int) -> None:
    written = (WRITTEN[encoding] + "\n") * times
    assert decode_noted(written.encode(encoding)) == (written, encoding)


@pytest.mark.parametrize(
    "written",
    [
        "Le matin, l’été était déjà là et la fenêtre s’ouvrait sur le café.",
        "Der Kessel pfiff, als die Tür aufging: schöne Grüße aus Köln.",
        "A plain text with one café in it.",
        "caf\u00e9",
    ],
)
def test_where_several_encodings_fit_the_most_frequent_one_is_taken(written: str) -> None:
    assert decode_noted(written.encode("cp1252")) == (written, "cp1252")


def test_what_is_stated_is_no_guess() -> None:
    assert decode_noted("café".encode()) == ("café", None)
    assert decode_noted("café".encode("latin-1"), charset="latin-1") == ("café", None)
    assert decode_noted("café".encode("utf-16")) == ("café", None)


def test_bytes_without_sense_are_refused() -> None:
    with pytest.raises(UnreadableError, match="no other character set fits"):
        decode_noted(bytes(range(128, 256)) * 3 + bytes(range(1, 32)) * 9)


def test_a_guess_is_counted_among_the_notes(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(WRITTEN["cp1252"].encode("cp1252"))
    assert ingest(tmp_path).notes == ("1 files that are not UTF-8 taken as cp1252",)
