"""Subtitles become speech: no timing, no tags, speakers kept, rolling captions said once."""

from __future__ import annotations

import time

import pytest
from shared_material import ingest, material

from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.readers.subtitles import read_subtitles
from tunesmith.data.text.decode import UnreadableError, decode


def speech(text: str) -> str:
    return read_subtitles(text, name="x.srt").documents[0].text


def cue(start: str, end: str, *lines: str) -> str:
    return f"00:00:{start},000 --> 00:00:{end},000\n" + "\n".join(lines) + "\n\n"


def test_cues_are_joined_and_a_silence_begins_a_paragraph() -> None:
    text = "1\n" + cue("01", "02", "It rained", "all <i>morning</i>,") + "2\n" + cue("02", "03", "{\\an8}and &amp; all.")
    assert speech(text + "3\n" + cue("09", "10", "Then it stopped.")) == "It rained all morning, and & all.\n\nThen it stopped."


def test_people_who_are_named_in_most_lines_are_a_conversation_without_their_names() -> None:
    vtt = (
        "WEBVTT\n\nNOTE no speech\n\nSTYLE\n::cue {}\n\n"
        + cue("01", "02", "<v Ada Byron>One, Tom.</v>")
        + cue("02", "03", "<v Ada Byron>Two.")
    )
    assert speech(vtt + cue("03", "04", "<v.loud Tom>Three.")) == "Speaker 1: One, Speaker 2. Two.\n\nSpeaker 2: Three."
    zoom = "WEBVTT\n\n1\n" + cue("01", "02", "Ada Byron: Did it rain?") + "2\n" + cue("03", "04", "Tom Doe: All day, Ada.")
    assert speech(zoom) == "Speaker 1: Did it rain?\n\nSpeaker 2: All day, Speaker 1."
    pair = read_subtitles(zoom, name="x.vtt", policy=Policy(me=("Tom Doe",))).pairs[0]
    assert [message.content for message in pair.messages] == ["Did it rain?", "All day, Speaker 1."]


def test_a_speaker_who_is_named_now_and_then_is_kept_and_one_alone_is_the_author() -> None:
    unknown = "".join(cue(f"{n:02}", f"{n + 1:02}", f"- Line {n}.") for n in range(3, 9))
    srt = cue("01", "02", "ADA: One.") + cue("02", "03", "Tom Doe: Three.") + unknown
    assert speech(srt).startswith("ADA: One.\n\nTom Doe: Three.\n\nLine 3.")
    assert speech(cue("01", "02", "- One?", "- Two.") + cue("02", "03", ">> Three.")) == "One?\n\nTwo.\n\nThree."
    alone = read_subtitles(cue("01", "02", "Ada: One.") + cue("02", "03", "Ada: Two."), name="2021-03-04 talk.srt").documents[0]
    assert (alone.text, alone.author, alone.date, alone.date_origin) == ("One. Two.", "Ada", "2021-03-04", "name")


def test_sounds_and_music_are_dropped_and_words_in_brackets_of_a_sentence_are_kept() -> None:
    text = (
        cue("01", "02", "[Applause]", "(door closes)")
        + cue("02", "03", "♪ la la ♪")
        + cue("03", "04", "He said (twice) no. (LAUGHS)")
    )
    assert speech(text) == "He said (twice) no."


def test_rolling_captions_are_said_once() -> None:
    text = (
        cue("01", "02", "it rained") + cue("02", "03", "it rained", "all morning") + cue("03", "04", "all morning", "and all")
    )
    assert speech(text + cue("04", "05", "and all", "day long")) == "it rained all morning and all day long"


def test_a_repeated_line_of_ordinary_subtitles_is_kept() -> None:
    text = (
        cue("01", "02", "No.")
        + cue("02", "03", "No.")
        + "".join(cue(f"{n:02}", f"{n + 1:02}", f"Line {n}.") for n in range(3, 12))
    )
    assert speech(text).startswith("No. No. Line 3.")


def test_missing_numbers_blank_lines_and_short_stamps_do_no_harm() -> None:
    assert speech("WEBVTT\n00:01.000 --> 00:02.000 align:start\nOne.\n2\n00:02.000 --> 00:03.000\nTwo.") == "One. Two."
    assert speech("0:00:01.000,0:00:02.000\nOne.\n\n0:00:02.000,0:00:03.000\nTwo.") == "One. Two."
    assert (
        speech("1\r\n00:00:01,000 --> 00:00:02,000\r\n\r\nOne.\r\n\r\n\r\n2\r\n00:00:02,000 --> 00:00:03,000\r\nTwo.\r\n")
        == "One. Two."
    )


@pytest.mark.parametrize("text", ["WEBVTT\n", "words without times", cue("01", "02", "♪♪"), "1\n00:00 -> 00:01\nx"])
def test_a_file_without_speech_says_so(text: str) -> None:
    with pytest.raises(UnreadableError, match=r"no timed cue|no words"):
        speech(text)


def test_giant_lines_and_many_cues_take_no_time() -> None:
    start = time.process_time()
    speech(cue("01", "02", "<" * 200_000) + cue("02", "03", "word " * 40_000 + "[" * 50_000))
    speech(
        "".join(
            f"00:{n // 60 % 60:02}:{n % 60:02}.000 --> 00:{n // 60 % 60:02}:{n % 60:02}.900\nLine {n}\n\n"
            for n in range(20_000)
        )
    )
    with pytest.raises(UnreadableError):
        speech(" " * 2_000_000)
    assert time.process_time() - start < 5


def test_every_encoding_of_a_real_file_gives_the_same_speech() -> None:
    folder = material("files/srt")
    texts = {speech(decode(path.read_bytes())) for path in folder.glob("bom-*.srt")}
    assert len(texts) == 1 and "comment section of YouTube" in texts.pop()


def test_real_subtitles_are_read_or_named_and_hold_no_mark() -> None:
    for folder, least in (("files/vtt", 15), ("files/srt", 4)):  # nine of the files say the same in other encodings
        found = ingest(material(folder))
        assert len(found.documents) >= least
        for document in found.documents:
            assert not any(mark in document.text for mark in ("-->", "<c", "</", "WEBVTT", "{\\", "00:0"))
