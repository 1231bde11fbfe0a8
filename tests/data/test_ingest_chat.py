"""Chats become threads without names, or pairs in which the writer answers; exports of assistants become pairs."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from shared_material import material

from tunesmith.core.records import Example
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.chat_json import is_chat_json, read_chat_json
from tunesmith.data.ingest.chat_text import is_chat_text, read_chat_text
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.text.decode import UnreadableError

WHATSAPP = """12/03/2023, 09:00 - Messages are end-to-end encrypted.
12/03/2023, 09:00 - Ada Byron: Did it rain, Tom?
12/03/2023, 09:01 - Tom Doe: All morning, Ada.
And all night.
12/03/2023, 09:02 - Tom Doe: <Media omitted>
12/03/2023, 09:03 - Ada Byron: @Tom Doe poor you.
13/03/2023, 09:03 - Ada Byron: Good morning!
13/03/2023, 09:05 - Tom Doe: Morning.
"""


def turns(example: Example) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in example.messages]


def exported(value: object, me: str | None = None, *, answers: bool = False) -> Reading:
    data = json.dumps(value).encode()
    assert is_chat_json(data)
    found = read_chat_json(
        data, name="chat.json", policy=Policy(me=(me,) if me else (), extras=("model-answers",) if answers else ())
    )
    assert found is not None
    return found


def test_without_me_every_name_is_replaced_also_where_it_is_said() -> None:
    one = read_chat_text(WHATSAPP, name="chat.txt", policy=Policy()).documents[0]
    assert one.text == (
        "Speaker 1: Did it rain, Speaker 2?\n\nSpeaker 2: All morning, Speaker 1.\nAnd all night.\n\n"
        "Speaker 1: Speaker 2 poor you.\nGood morning!\n\nSpeaker 2: Morning."
    )
    assert one.date == "2023-03-12" and one.author is None


def test_with_me_own_turns_answer_and_a_silence_divides_the_pairs() -> None:
    found = read_chat_text(WHATSAPP, name="chat.txt", policy=Policy(me=("tom doe",)))
    assert [turns(pair) for pair in found.pairs] == [
        [("user", "Did it rain, Tom?"), ("assistant", "All morning, Speaker 1.\nAnd all night.")],
        [("user", "Good morning!"), ("assistant", "Morning.")],
    ]
    assert not found.documents and len({pair.group for pair in found.pairs}) == 1


def test_a_chat_without_me_stays_documents_and_is_noted() -> None:
    found = read_chat_text(WHATSAPP, name="chat.txt", policy=Policy(me=("Nobody",)))
    assert found.documents and found.notes == {"chats without a message of the person named as `me`": 1}


def test_several_others_are_told_apart_by_number() -> None:
    text = "".join(
        f"[2023-03-12, 09:0{n}] {who}: {said}\n" for n, (who, said) in enumerate([("A B", "x?"), ("C D", "y?"), ("Me", "z")])
    )
    assert turns(read_chat_text(text, name="c.txt", policy=Policy(me=("Me",))).pairs[0]) == [
        ("user", "Speaker 1: x?\n\nSpeaker 2: y?"),
        ("assistant", "z"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "date"),
    [
        ("13/03/23, 09:00 - ", "14/03/23, 09:00 - ", "2023-03-13"),
        ("3/13/23, 9:00 PM - ", "3/14/23, 9:00\u202fAM - ", "2023-03-13"),
        ("[13.03.23, 09:00:01] ", "[14.03.23, 09:00:02] ", "2023-03-13"),
        ("\u200e[2023-03-13, 09:00] ", "[2023-03-14, 09:00] ", "2023-03-13"),
        ("2023/03/13, 09:00 - ", "2023/03/14, 09:00 - ", "2023-03-13"),
        ("01/03/2023, 09:00 - ", "02/02/2023, 09:00 - ", "2023-01-03"),
        ("03/03/2023, 09:00 - ", "04/04/2023, 09:00 - ", None),
    ],
)
def test_dates_of_every_style_are_read_or_left_open(first: str, second: str, date: str | None) -> None:
    text = f"{first}Ada: One.\n{second}Tom: Two.\n"
    assert is_chat_text(text) and not is_chat_text(f"A post.\n{text}") and not is_chat_text("2023-03-13 was a day: fine.")
    assert read_chat_text(text, name="c.txt", policy=Policy()).documents[0].date == date


def test_telegram_parts_and_services_are_read() -> None:
    messages = [
        {"type": "service", "from": "Ada", "text": "joined", "date_unixtime": "1"},
        {
            "type": "message",
            "from": "Ada",
            "from_id": "user1",
            "text": ["See ", {"type": "link", "text": "x.org"}],
            "date_unixtime": "1678611600",
        },
        {"type": "message", "from": "Tom", "text": "Seen.", "date_unixtime": "1678611700"},
    ]
    found = exported({"name": "Ada", "messages": messages})
    assert (found.documents[0].text, found.documents[0].title) == ("Speaker 1: See x.org\n\nSpeaker 2: Seen.", None)
    assert (
        turns(exported({"chats": {"list": [{"name": "x", "messages": messages[::-1][:2][::-1]}]}}, me="Tom").pairs[0])[0][0]
        == "user"
    )


def test_instagram_bytes_are_mended_and_the_order_is_that_of_time() -> None:
    spoilt = "Größe".encode().decode("latin-1")
    messages = [
        {"sender_name": "Tom", "timestamp_ms": 2000, "content": "Two."},
        {"sender_name": "Ada", "timestamp_ms": 1000, "content": spoilt},
    ]
    assert exported({"messages": messages, "title": "T"}).documents[0].text == "Speaker 1: Größe\n\nSpeaker 2: Two."


def test_slack_threads_are_documents_of_their_own() -> None:
    def said(user: str, text: str, ts: str, **more: Any) -> dict[str, Any]:
        return {"type": "message", "user": user, "text": text, "ts": ts, **more}

    day = [
        said("U1", "Who &amp; <@U2> <https://x.org|there>?", "1678611600.1", thread_ts="1678611600.1"),
        said("U3", "Else.", "1678611601.1"),
        said("U2", "Me.", "1678611700.1", thread_ts="1678611600.1", user_profile={"real_name": "Tom Doe"}),
        said("U9", "joined", "1678611800.1", subtype="channel_join"),
    ]
    assert [d.text for d in exported(day).documents] == [
        "Speaker 1: Else.",
        "Speaker 1: Who & Speaker 2 there?\n\nSpeaker 2: Me.",
    ]
    assert turns(exported(day, me="Tom Doe").pairs[0]) == [("user", "Who & @U2 there?"), ("assistant", "Me.")]


def test_discord_nicknames_are_replaced_and_bots_left_out() -> None:
    def said(name: str, text: str, minute: int, **more: Any) -> dict[str, Any]:
        return {
            "type": "Default",
            "timestamp": f"2023-03-12T09:0{minute}:00+00:00",
            "content": text,
            "author": {"name": name, **more},
        }

    messages = [said("ada_b", "hi tom_d", 1, nickname="Ada"), said("bot", "beep", 2, isBot=True), said("tom_d", "hi Ada", 3)]
    found = exported({"guild": {}, "channel": {"name": "general"}, "messages": messages})
    assert (found.documents[0].title, found.documents[0].text) == (
        "general",
        "Speaker 1: hi Speaker 2\n\nSpeaker 2: hi Speaker 1",
    )


def node(parent: str | None, role: str, text: str, kind: str = "text") -> dict[str, Any]:
    return {
        "parent": parent,
        "children": [],
        "message": {"author": {"role": role}, "content": {"content_type": kind, "parts": [text]}},
    }


def test_a_chatgpt_conversation_is_the_branch_that_was_open_last() -> None:
    nodes = {
        "0": {"parent": None, "children": ["1"], "message": None},
        "1": node("0", "system", "hidden"),
        "2": node("1", "user", "Why?"),
        "3": node("2", "assistant", "Old."),
        "4": node("2", "assistant", "import x", kind="code"),
        "5": node("4", "assistant", "- one\n- two"),
    }
    found = exported(
        [{"title": "T", "mapping": nodes, "current_node": "5", "conversation_id": "c"}, {"title": "U", "mapping": {}}],
        answers=True,
    )
    assert turns(found.pairs[0]) == [("user", "Why?"), ("assistant", "- one\n- two")] and found.pairs[0].title == "T"
    assert found.failures[0].reason == "conversation 2: it has no question with an answer"
    looped = {"a": node("b", "user", "x"), "b": node("a", "assistant", "y")}
    assert len(exported([{"mapping": looped, "current_node": "b"}], answers=True).pairs) == 1


def test_a_claude_conversation_is_a_pair_of_its_text_parts() -> None:
    said = [
        {"sender": "human", "text": "Why?", "content": []},
        {
            "sender": "assistant",
            "text": "",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "So."}],
        },
        {"sender": "human", "text": "Left open"},
    ]
    assert turns(exported([{"uuid": "u", "name": "N", "chat_messages": said}], answers=True).pairs[0]) == [
        ("user", "Why?"),
        ("assistant", "So."),
    ]


def test_me_travels_from_gather_or_extract_to_the_chats(tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(WHATSAPP)
    assert len(extract(gather([str(tmp_path)], policy=Policy(me=("Tom Doe",))), reporter=SilentReporter()).pairs) == 2
    assert extract(gather([str(tmp_path)]), reporter=SilentReporter(), policy=Policy(me=("Tom Doe",))).pairs
    assert extract(gather([str(tmp_path)]), reporter=SilentReporter()).documents


def test_json_that_only_looks_like_a_chat_is_read_as_rows(tmp_path: Path) -> None:
    row = {
        "messages": [{"role": "user", "content": "a?", "author": "x", "timestamp": 1}, {"role": "assistant", "content": "b"}]
    }
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row).replace('a?', 'c?')}\n")
    assert len(extract(gather([str(tmp_path)]), reporter=SilentReporter()).pairs) == 2


def test_a_chat_of_notices_alone_and_a_hostile_one_are_named_in_time() -> None:
    with pytest.raises(UnreadableError, match="no message"):
        read_chat_text("12/03/2023, 09:00 - Tom was added\n", name="c.txt", policy=Policy())
    start = time.process_time()
    many = "".join(f"12/03/2023, 09:00 - Person {n} Doe: hello Person {n - 1}\n" for n in range(3000))
    read_chat_text(many + "12/03/2023, 09:00 - A: " + "x" * 3_000_000, name="c.txt", policy=Policy())
    assert time.process_time() - start < 5


def test_real_exports_give_the_messages_that_their_makers_expect() -> None:
    for folder, count in (("whatsapp", 5), ("signal", 1)):
        paths = sorted(material(f"files/chat/{folder}").glob("test_*.txt"))
        texts = [read_chat_text(path.read_text(), name=path.name, policy=Policy()).documents[0] for path in paths]
        assert len(texts) == count and len({(one.text, one.date) for one in texts}) == 1
    for path in [*material("files/chat/telegram").glob("test_*"), *material("files/chat/instagram").glob("test_*")]:
        found = read_chat_json(path.read_bytes(), name=path.name, policy=Policy())
        assert found is not None and found.documents[0].text.startswith("Speaker 1: ")


TALK = [("Ada Byron", "Tom, did it rain?"), ("Tom Doe", "Ask Mia Roe, Ada."), ("Mia Roe", "It did, Tom Doe.")]


def whatsapp() -> bytes:
    return "\n".join(f"12/03/2023, 09:0{n} - {who}: {text}" for n, (who, text) in enumerate(TALK)).encode()


def signal() -> bytes:
    return "\n".join(f"[2023-03-12, 09:0{n}] {who}: {text}" for n, (who, text) in enumerate(TALK)).encode()


def telegram() -> bytes:
    said = [{"type": "message", "from": who, "text": text, "date_unixtime": str(n)} for n, (who, text) in enumerate(TALK)]
    return json.dumps({"name": "Mia Roe", "messages": said}).encode()


def instagram() -> bytes:
    said = [{"sender_name": who, "content": text, "timestamp_ms": n} for n, (who, text) in enumerate(TALK)]
    return json.dumps({"title": "Mia Roe", "messages": said}).encode()


def slack() -> bytes:
    said = [
        {"type": "message", "user": f"U{n}", "user_profile": {"real_name": who}, "text": text, "ts": f"16786116{n:02d}.1"}
        for n, (who, text) in enumerate(TALK)
    ]
    return json.dumps(said).encode()


def discord() -> bytes:
    said = [
        {
            "type": "Default",
            "author": {"name": who.lower().replace(" ", "_"), "nickname": who},
            "content": text,
            "timestamp": "x",
        }
        for who, text in TALK
    ]
    return json.dumps({"channel": {"name": "general"}, "messages": said}).encode()


@pytest.mark.parametrize("export", [whatsapp, signal, telegram, instagram, slack, discord])
def test_in_every_export_ones_own_messages_answer_and_the_names_of_others_are_gone(tmp_path: Path, export: Any) -> None:
    (tmp_path / "chat.json" if export().startswith((b"{", b"[{")) else tmp_path / "chat.txt").write_bytes(export())
    gathered = gather([str(tmp_path)], policy=Policy(me=("Tom Doe",)))
    assert [item.kind for item in gathered.items] == ["chat"]
    (pair,) = extract(gathered, reporter=SilentReporter()).pairs
    assert pair.messages[-1].role == "assistant" and pair.messages[-1].content == "Ask Speaker 2, Speaker 1."
    (thread,) = extract(gather([str(tmp_path)]), reporter=SilentReporter()).documents
    for text in ("".join(message.content for message in pair.messages), thread.text + (thread.title or "")):
        assert not [name for name in ("Ada", "Byron", "Mia", "Roe") if name in text]
    assert "Tom" not in thread.text and thread.text.count("Speaker 2") >= 3


def test_the_archive_of_a_slack_workspace_knows_its_members_by_name(tmp_path: Path) -> None:
    users = [{"id": f"U{n}", "name": who.split()[0].lower(), "profile": {"real_name": who}} for n, (who, _) in enumerate(TALK)]
    day = [{"type": "message", "user": f"U{n}", "text": text, "ts": f"16786116{n:02d}.1"} for n, (_, text) in enumerate(TALK)]
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for name, value in (("users.json", users), ("channels.json", [{"id": "C1"}]), ("general/2023-03-12.json", day)):
            archive.writestr(name, json.dumps(value))
    gathered = gather([str(tmp_path / "export.zip")], policy=Policy(me=("Tom Doe",)))
    found = extract(gathered, reporter=SilentReporter())
    assert found.pairs[0].messages[-1].content == "Ask Speaker 2, Speaker 1." and not found.failures
    assert found.notes == ("2 lists of members and channels left out",)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("users.json", json.dumps([{"text": "It rained."}]))
    other = extract(gather([str(tmp_path / "other.zip")]), reporter=SilentReporter())
    assert [document.text for document in other.documents] == ["It rained."]


def test_a_part_of_a_name_is_replaced_as_a_name_and_not_as_the_common_word() -> None:
    chat = (
        "12/03/2023, 09:00 - Rose Work: Hello there.\n"
        "12/03/2023, 09:01 - Tom Doe: She rose early and went to work, @rose, Rose, ROSE and rose work.\n"
    )
    (document,) = read_chat_text(chat, name="chat.txt", policy=Policy()).documents
    said = "She rose early and went to work, Speaker 1, Speaker 1, Speaker 1 and Speaker 1."
    assert document.text == f"Speaker 1: Hello there.\n\nSpeaker 2: {said}"


def test_a_short_form_of_a_name_is_replaced_where_it_can_be_nobody_else() -> None:
    lines = [
        ("Zebulon Roe", "Hello there, Tim, is the mill open?"),
        ("Timothy Doe", "Zeb, it is. Ask Zebulon, or ZEB himself. Tim knows, and Stella does."),
        ("Markus Lee", "Mark the day. A mark is a mark. Will Zebra stripes do?"),
        ("Willow May", "Will they? See you on Mon, says Stel. Christ!"),
        ("Christa Poe", "Chris and Chri agree."),
        ("Christian Vo", "Chris does not."),
        ("Stella Hay", "Hay is dear."),
    ]
    chat = "".join(f"12/03/2023, 09:0{n} - {who}: {said}\n" for n, (who, said) in enumerate(lines))
    (document,) = read_chat_text(chat, name="chat.txt", policy=Policy()).documents
    said = document.text.split("\n\n")
    assert said[0] == "Speaker 1: Hello there, Speaker 2, is the mill open?"
    assert said[1].startswith(
        "Speaker 2: Speaker 1, it is. Ask Speaker 1, or Speaker 1 himself. Speaker 2 knows, and Speaker 7"
    )
    assert said[2] == "Speaker 3: Mark the day. A mark is a mark. Will Zebra stripes do?"
    assert said[3].startswith("Speaker 4: Will they? See you on Mon, says Speaker 7.")
    assert said[4].startswith("Speaker 5: Chris and Chri")  # of two people: left as it is


@pytest.mark.parametrize(
    "lines",
    [
        ["[04.03.22, 10:02:00] Ada: \u200eBild weggelassen"],
        ["[04.03.22, 10:02:00] Ada: \u200eImagen omitida", "[04.03.22, 10:02:01] Ada: \u200eENCUESTA:", "\u200eOPCIÓN: uno"],
        ["04.03.22, 10:02 - Ada: <Medien ausgeschlossen>", "04.03.22, 10:02 - Ada: Diese Nachricht wurde gelöscht."],
        ["04/03/22, 10:02 - Ada: <Mídia oculta>", "04/03/22, 10:02 - Ada: IMG-20220304-WA0001.jpg (arquivo anexado)"],
        ["04/03/2022 à 10:02 - Ada: <Médias omis>", "04/03/2022 à 10:03 - Ada: Ce message a été supprimé"],
    ],
)
def test_what_the_program_says_itself_is_no_message_in_any_language(lines: list[str]) -> None:
    stamp = lines[0].split("Ada")[0]
    text = f"{stamp}Tom: How is the mill?\n{stamp}Ada: It turns <Diese Nachricht wurde bearbeitet.>\n" + "\n".join(lines)
    (found,) = read_chat_text(text, name="a.txt", policy=Policy()).documents
    assert found.text == "Speaker 1: How is the mill?\n\nSpeaker 2: It turns"


def test_who_is_called_and_says_nothing_is_not_named() -> None:
    text = (
        "04.03.22, 10:00 - +49 171 1234567: How is the mill?\n"
        "04.03.22, 10:01 - Ada: Ask \u2068@\u2068Mia Roe\u2069 or @491701112223, not @491711234567 <3\n"
    )
    (found,) = read_chat_text(text, name="a.txt", policy=Policy()).documents
    assert found.text == "Speaker 1: How is the mill?\n\nSpeaker 2: Ask @Somebody or @Somebody, not Speaker 1 <3"
