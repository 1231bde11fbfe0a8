"""Transcripts are read as chats without names, what recognisers of speech write as speech, and clippings are left out."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from shared_material import ingest

from tunesmith.core.errors import DatasetError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Extracted
from tunesmith.data.ingest.kinds import guess_kind
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.readers.transcript import is_transcript_json, is_transcript_text, read_transcript
from tunesmith.data.text.decode import UnreadableError

OTTER = """Call about the quay
Thu, Mar 4, 2021

SUMMARY KEYWORDS
quay, rain

Ada Byron  0:01
Did it rain, Tom?
I was away.

Tom Doe  0:09
All morning, Ada.

Ada Byron  1:02:03
Poor you.
"""
FORMS = [
    OTTER,
    "00:00:01 Ada Byron: Did it rain, Tom?\nI was away.\n00:00:09 Tom Doe: All morning, Ada.\n00:00:12 Ada Byron: Poor you.\n",
    "[00:01] Ada Byron: Did it rain, Tom? I was away.\n[00:09] Tom Doe: All morning, Ada.\n[00:12] Ada Byron: Poor you.\n",
    "Ada Byron [00:00:01]: Did it rain, Tom? I was away.\n"
    "Tom Doe [00:00:09]: All morning, Ada.\nAda Byron [00:01:00]: Poor you.",
    "Ada Byron (00:01):\nDid it rain, Tom? I was away.\nTom Doe (00:09):\nAll morning, Ada.\nAda Byron (00:12):\nPoor you.\n",
    "Ada Byron - 00:01\nDid it rain, Tom? I was away.\n\nTom Doe - 00:09\nAll morning, Ada.\n\nAda Byron - 00:12\nPoor you.\n",
    "09:01:11 From Ada Byron to Everyone:\n\tDid it rain, Tom? I was away.\n09:01:20 From Tom Doe to Ada Byron (Direct):\n"
    "\tAll morning, Ada.\n09:02:00\t From  Ada Byron : Poor you.",
]


def read(folder: Path, me: str | None = None) -> Extracted:
    return extract(gather([str(folder)], policy=Policy(me=(me,) if me else ())), reporter=SilentReporter())


@pytest.mark.parametrize("text", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_form_of_transcript_is_a_chat_without_names(tmp_path: Path, text: str, newline: str) -> None:
    (tmp_path / "2021-03-04 quay.txt").write_text(text, encoding="utf-8", newline=newline)
    document = read(tmp_path).documents[0]
    assert document.text == (
        "Speaker 1: Did it rain, Speaker 2? I was away.\n\nSpeaker 2: All morning, Speaker 1.\n\nSpeaker 1: Poor you."
    )
    assert (document.title, document.date) == ("Quay", "2021-03-04")
    pair = read(tmp_path, me="Tom Doe").pairs[0]
    assert [message.content for message in pair.messages] == ["Did it rain, Tom? I was away.", "All morning, Speaker 1."]


@pytest.mark.parametrize(
    "text",
    [
        "The day\n\nLunch  12:30\nTalk  13:00\nWalk  14:00\n",
        "Morning  8:30\nI woke and it rained.\n\nNoon  12:00\nIt rained.\n\nEvening  20:00\nIt stopped.\n",
        "09:15 Breakfast: eggs and tea\n12:30 Lunch: soup\n18:00 Supper: none\n",
        "We met at 12:30: it rained.\nTom Doe: it did.\nAda: 10:15 is late.\n",
        "Psalm 12:30\nWords of it.\nPsalm 11:02\nOther words.\n",
        "Ada Byron  0:01\nA title that looks like one.\n",
    ],
)
def test_a_timetable_a_diary_or_prose_with_times_is_no_transcript(text: str) -> None:
    assert not is_transcript_text(text)
    assert guess_kind("a.txt", text.encode(), alone=False) == "text"


def test_a_monologue_is_one_document_of_its_speaker() -> None:
    text = "Ada Byron  0:01\nIt rained.\n\nAda Byron  1:09\nAll day.\n"
    document = read_transcript(text, name="a.txt", policy=Policy(me=("Ada Byron",))).documents[0]
    assert (document.text, document.author) == ("It rained.\n\nAll day.", "Ada Byron")


def segment(start: float, text: str, **more: object) -> dict[str, object]:
    return {"id": 0, "start": start, "end": start + 1, "text": text, **more}


@pytest.mark.parametrize(
    "value",
    [
        {
            "text": " It rained.",
            "segments": [segment(0, " It rained"), segment(1, " all day."), segment(9, " Then no more.")],
            "language": "en",
        },
        {
            "systeminfo": "x",
            "transcription": [
                {
                    "timestamps": {"from": "00:00:00,000", "to": "00:00:01,000"},
                    "offsets": {"from": 0, "to": 1000},
                    "text": " It rained",
                },
                {"timestamps": {}, "offsets": {"from": 1000, "to": 2000}, "text": " all day."},
                {"timestamps": {}, "offsets": {"from": 9000, "to": 9900}, "text": " Then no more."},
            ],
        },
    ],
)
def test_what_whisper_writes_is_speech(tmp_path: Path, value: dict[str, object]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value), encoding="utf-8")
    document = read(tmp_path).documents[0]
    assert document.text == "It rained all day.\n\nThen no more."
    assert (document.extraction, document.language) == ("transcript", value.get("language"))


def test_speakers_that_a_recogniser_tells_apart_are_a_chat() -> None:
    segments = [segment(0, "Did it rain?", speaker="SPEAKER_00"), segment(2, "All day.", speaker="SPEAKER_01")]
    found = read_transcript(json.dumps({"segments": segments}), name="a.json", policy=Policy())
    assert found.documents[0].text == "Speaker 1: Did it rain?\n\nSpeaker 2: All day."
    utterances = [segment(0, "Did it rain?", speaker=0), segment(2, "All day.", speaker=1)]
    found = read_transcript(json.dumps({"utterances": utterances}), name="a.json", policy=Policy(me=("Voice 1",)))
    assert [message.content for message in found.pairs[0].messages] == ["Did it rain?", "All day."]


@pytest.mark.parametrize(
    "data",
    [
        b'{"segments": "two", "text": "x"}',
        b'{"segments": [{"name": "x"}]}',
        b'{"segments": [1, 2]}',
        b'{"text": "a", "segments": []}\n{"text": "b", "segments": []}',
        b'{"question": "What are \\"segments\\"?", "answer": "Parts."}',
        b'[{"segments": []}]',
    ],
)
def test_other_json_stays_rows(data: bytes) -> None:
    assert not is_transcript_json(data) and guess_kind("a.json", data, alone=False) == "rows"


def test_a_transcript_without_words_says_so() -> None:
    with pytest.raises(UnreadableError, match="no words"):
        read_transcript('{"segments": [{"start": 0, "text": " "}]}', name="a.json", policy=Policy())


@pytest.mark.parametrize(
    "piece", ["Ada  0:01\n", "0:01 Ada: x\n", "Ada " * 90 + "\n", "[0:01" * 50 + "\n", "A b c d (" * 40 + "\n"]
)
def test_hostile_transcripts_end_in_time(piece: str) -> None:
    start = time.process_time()
    text = "Ada Byron  0:01\nWords.\n" + piece * (400_000 // len(piece))
    is_transcript_text(text[:8192])
    read_transcript(text, name="a.txt", policy=Policy())
    assert time.process_time() - start < 5


CLIPPINGS = """\ufeffThe Quay (Bo Doe)
- Your Highlight on page 12 | Location 180-182 | Added on Thursday, March 4, 2021 9:00:00 AM

Words of somebody else.
==========
Der Kai (Bo Doe)
- Ihre Markierung auf Seite 9 | Position 120 | Hinzugefügt am Freitag, 5. März 2021 10:00:00

Andere Worte.
==========
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_clippings_of_a_kindle_are_left_out_and_counted(tmp_path: Path, newline: str) -> None:
    (tmp_path / "My Clippings.txt").write_text(CLIPPINGS, encoding="utf-8", newline=newline)
    with pytest.raises(DatasetError, match="2 Kindle clippings, which are not the author's writing, left out"):
        ingest(tmp_path)
    (tmp_path / "post.txt").write_text("Title\n- one | two 3 | four\n\nMine.\n\n=====\n", encoding="utf-8")
    found = ingest(tmp_path)
    assert [document.source for document in found.documents] == ["post.txt"]
    assert found.notes == ("2 Kindle clippings, which are not the author's writing, left out",)
