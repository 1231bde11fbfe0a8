"""Chats of every export: names replaced, one's own turns as answers, and nothing that was only passed on, sent or repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

TALK = [("Ada Byron", "Tom, did it rain?"), ("Tom Doe", "Ask Mia Roe, Ada."), ("Mia Roe", "It did, Tom Doe.")]
ME = Policy(me=("Tom Doe",), today="2026-01-01")
Files = dict[str, str]


def telegram_message(number: int, name: str, text: str, *, inside: str = "") -> str:
    named = f'<div class="from_name">\n{name}\n</div>' if name else ""
    kind = "message default clearfix" + ("" if name else " joined")
    stamp = f'<div class="pull_right date details" title="12.03.2023 09:0{number}:00 UTC+01:00">09:0{number}</div>'
    said = f'<div class="text">\n{text}\n</div>' if text else ""
    return f'<div class="{kind}" id="message{number}"><div class="body">{stamp}{named}{said}{inside}</div></div>'


def telegram_page(*messages: str) -> str:
    head = '<div class="page_header"><div class="content"><div class="text bold">Mia Roe</div></div></div>'
    notice = '<div class="message service"><div class="body details">NOTICEMARK</div></div>'
    return (
        f'<html><body><div class="page_wrap">{head}<div class="history">{notice}{"".join(messages)}</div></div></body></html>'
    )


def telegram_html() -> Files:
    forwarded = '<div class="forwarded body"><div class="from_name">X</div><div class="text">FORWARDMARK words</div></div>'
    first = telegram_page(telegram_message(0, *TALK[0]), telegram_message(1, "Tom Doe", "Ask Mia Roe,"))
    second = telegram_page(
        telegram_message(2, "", "Ada."), telegram_message(3, *TALK[2]), telegram_message(4, "Mia Roe", "", inside=forwarded)
    )
    return {
        "messages.html": first,
        "messages2.html": second,
        "css/style.css": "CSSMARK",
        "files/x.txt": "FILEMARK words of a file",
    }


def telegram_account() -> Files:
    pages = {f"chats/chat_001/{name}": text for name, text in telegram_html().items()}
    return {**pages, "export_results.html": "<html>INDEXMARK</html>", "lists/contacts.html": "<html>CONTACTMARK words</html>"}


def telegram_json() -> Files:
    said = [{"type": "message", "from": who, "text": text, "date_unixtime": f"16786{n}"} for n, (who, text) in enumerate(TALK)]
    said[0]["text"] = ["Tom, ", {"type": "bold", "text": "did it rain?"}]  # type: ignore[assignment]
    contacts = [{"first_name": "x" * 50, "phone_number": "y" * 50}] * 4000  # the chats begin beyond what is looked at
    whole = {
        "about": "x",
        "personal_information": {},
        "contacts": contacts,
        "chats": {"list": [{"name": "Mia Roe", "messages": said}]},
    }
    return {"result.json": json.dumps(whole), **telegram_account()}


def signal_export() -> Files:
    rows = [
        {"date": f"2023-03-12 09:0{n}:00", "sender": who, "body": text, "quote": "> QUOTEMARK"}
        for n, (who, text) in enumerate(TALK)
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    chat = "".join(f"[2023-03-12 09:0{n}] {who}: {text}  \n" for n, (who, text) in enumerate(TALK))
    return {"Mia Roe/data.json": lines, "Mia Roe/chat.md": chat, "Mia Roe/index.html": f"<html>{chat} PAGEMARK</html>"}


def signal_markdown() -> Files:
    return {"Mia Roe/chat.md": signal_export()["Mia Roe/chat.md"].replace("Tom, did", "\n> QUOTEMARK\nTom, did")}


def signal_cli() -> Files:
    def row(n: int, who: str, text: str) -> dict[str, Any]:
        group, stamp = {"groupId": "g"}, 1678611600000 + n * 1000
        if who == "Tom Doe":
            sent = {"message": text, "timestamp": stamp, "groupInfo": group}
            return {"envelope": {"source": "+1", "sourceName": who, "timestamp": stamp, "syncMessage": {"sentMessage": sent}}}
        data = {"message": text, "timestamp": stamp, "groupInfo": group}
        return {"envelope": {"source": f"+{n}5", "sourceName": who, "timestamp": stamp, "dataMessage": data}}

    return {"signal.jsonl": "\n".join(json.dumps(row(n, *one)) for n, one in enumerate(TALK))}


def signal_backup() -> Files:
    people = [
        {"recipient": {"id": "0", "contact": {"profileGivenName": "Ada", "profileFamilyName": "Byron"}}},
        {"recipient": {"id": "1", "self": {}}},
        {"recipient": {"id": "2", "contact": {"systemGivenName": "Mia", "systemFamilyName": "Roe"}}},
    ]
    items = [
        {
            "chatItem": {
                "chatId": "7",
                "authorId": str(n),
                "dateSent": str(1678611600000 + n),
                "standardMessage": {"text": {"body": text}},
            }
        }
        for n, (_, text) in enumerate(TALK)
    ]
    return {"main.jsonl": "\n".join(map(json.dumps, [{"version": "1", "backupTimeMs": "1"}, *people, *items]))}


def discord_csv() -> Files:
    head = '"AuthorID","Author","Date","Content","Attachments","Reactions"\n'
    rows = [f'"9{n}","{who}","2023-03-12T09:0{n}:00.1234567+00:00","{text}","",""\n' for n, (who, text) in enumerate(TALK)]
    return {"general.csv": head + "".join(rows)}


def discord_html() -> Files:
    def group(who: str, text: str, *, tag: str = "") -> str:
        name = f'<span class=chatlog__author title="{who.lower()}" data-user-id=77>{who}</span>{tag}'
        said = f'<div class="chatlog__content chatlog__markdown"><span class=chatlog__markdown-preserve>{text}</span></div>'
        head = f"<div class=chatlog__header>{name}</div>"
        quoted = "<div class=chatlog__reply><div class=chatlog__reply-content>QUOTEMARK</div></div>"
        return f"<div class=chatlog__message-group><div class=chatlog__message>{quoted}{head}{said}</div></div>"

    bot = group("Bot", "BOTMARK", tag='<span class="chatlog__author-tag">BOT</span>')
    return {"general.html": f"<html><body><div class=chatlog>{''.join(group(*one) for one in TALK)}{bot}</div></body></html>"}


def discord_text() -> Files:
    rule = "=" * 62
    said = "".join(f"[3/12/2023 9:0{n} AM] {who}\n{text}\n\n" for n, (who, text) in enumerate(TALK))
    attached = "[3/12/2023 9:05 AM] Mia Roe\n\n{Attachments}\nhttps://x.example/LINKMARK\n\n"
    head = f"{rule}\nGuild: x\nChannel: general\n{rule}\n\n"
    return {"general.txt": f"{head}{said}{attached}{rule}\nExported 4 message(s)\n{rule}\n"}


def signal_page() -> Files:
    def message(n: int, who: str, text: str) -> str:
        stamp = f"<span class=date>2023-03-12</span><span class=time>09:0{n}</span><span class=sender>{who}</span>"
        quoted = "<span class=quote>QUOTEMARK</span>"
        return f"<div class='msg {who.lower()}'>{stamp}{quoted}<span class=body><p>{text}</p></span></div>"

    return {"Mia Roe/index.html": f"<html><body>{''.join(message(n, *one) for n, one in enumerate(TALK))}</body></html>"}


def whatsapp() -> Files:
    lines = "".join(f"[12.03.23, 09:0{n}:00] {who}: {text}\n" for n, (who, text) in enumerate(TALK))
    chat = lines + "[12.03.23, 09:05:00] Mia Roe: \u200e<attached: Contract.txt>\n"
    return {"_chat.txt": chat, "00000012-DOC.txt": "SENTMARK words of a file", "Contract.txt": "SENTMARK words of a contract"}


EXPORTS = [
    telegram_html, telegram_account, telegram_json, signal_export, signal_markdown, signal_cli, signal_backup, discord_csv,
    discord_html, whatsapp, discord_text, signal_page,
]  # fmt: skip


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("layout", ["folder", "nested", "zip"])
def test_a_chat_is_one_document_without_names_and_with_me_a_pair(
    tmp_path: Path, export: Callable[[], Files], layout: str
) -> None:
    if layout == "zip":
        source = tmp_path / "export.zip"
        source.write_bytes(packed(export()))
    else:
        source = write(tmp_path / "x", {f"a/b/{name}" if layout == "nested" else name: text for name, text in export().items()})
    found = ingest(source)
    (thread,) = found.documents
    said = thread.text.replace("\n\n", "\n").replace("Speaker 3,\nSpeaker 1.", "Speaker 3, Speaker 1.").split("\n")
    number = {"Tom": "Speaker 2"}
    assert said[0] == "Speaker 1: Tom, did it rain?" or said[0] == f"Speaker 1: {number['Tom']}, did it rain?"
    assert said[1] == "Speaker 2: Ask Speaker 3, Speaker 1." and len(said) == 3
    assert not found.failures and "MARK" not in thread.text and thread.title is None
    for name in ("Ada", "Byron", "Mia", "Roe"):
        assert name not in thread.text
    (pair,) = ingest(source, ME).pairs
    assert [message.role for message in pair.messages] == ["user", "assistant"]
    assert " ".join(pair.messages[-1].content.split()) in ("Ask Speaker 2, Speaker 1.",)


def test_the_page_that_lists_the_chats_of_a_signal_export_is_no_text(tmp_path: Path) -> None:
    listed = '<html><body><h1>Chats</h1><a href="Mia%20Roe/index.html">Mia Roe</a></body></html>'
    own = {
        "index.html": "<html><body><p>The miller kept two clocks, one for the wheel and one for the bread.</p></body></html>"
    }
    found = ingest(write(tmp_path / "a", {**signal_export(), "index.html": listed}))
    assert len(found.documents) == 1 and not found.failures
    assert len(ingest(write(tmp_path / "b", {**signal_export(), **own})).documents) == 2


def test_a_page_of_telegram_that_is_broken_is_named_and_other_chats_are_read(tmp_path: Path) -> None:
    empty = telegram_page(telegram_message(1, "Tom Doe", ""))
    write(tmp_path, {"chats/chat_1/messages.html": empty, **telegram_account()})
    found = ingest(tmp_path)
    assert len(found.documents) == 1 and [one.source for one in found.failures] == ["chats/chat_1/messages.html"]


@pytest.mark.parametrize(
    "notice",
    [
        "<Medien ausgeschlossen>",
        "<Médias omis>",
        "<Media omitted>",
        "Bild weggelassen",
        "imagen omitida",
        "Diese Nachricht wurde gelöscht.",
        "Ce message a été supprimé",
        "IMG-1.jpg (Datei angehängt)",
        "Verpasster Sprachanruf",
        "Questo messaggio è stato eliminato",
    ],
)
def test_what_an_app_writes_in_place_of_a_message_is_no_message(tmp_path: Path, notice: str) -> None:
    lines = [
        f"12.03.23, 09:00 - Ada Byron: {notice}",
        "12.03.23, 09:01 - Ada Byron: Es regnet <Diese Nachricht wurde bearbeitet.>",
    ]
    write(tmp_path, {"WhatsApp Chat mit Ada Byron.txt": "\n".join([*lines, "12.03.23, 09:02 - Tom Doe: Ja, <3 ich weiß."])})
    (document,) = ingest(tmp_path).documents
    assert document.text == "Speaker 1: Es regnet\n\nSpeaker 2: Ja, <3 ich weiß."


def test_older_exports_with_fewer_fields_are_read(tmp_path: Path) -> None:
    said = [
        {"id": n, "type": "message", "date": f"2023-03-12T09:0{n}:00", "from": who, "from_id": f"user{n}", "text": text}
        for n, (who, text) in enumerate(TALK)
    ]
    telegram = {"name": "Mia Roe", "type": "private_group", "id": 1, "messages": said}
    rows = [{"date": f"2023-03-12 09:0{n}:00", "sender": who, "body": text} for n, (who, text) in enumerate(TALK)]
    write(tmp_path, {"t/result.json": json.dumps(telegram), "s/data.json": json.dumps(rows)})
    found = ingest(tmp_path)
    assert [(one.source, one.date) for one in found.documents] == [("s/data.json", "2023-03-12")] and not found.failures
    assert "1 documents that are copies of another left out" in found.notes  # the two exports hold the same chat
    assert [one.source for one in ingest(tmp_path / "t").documents] == ["result.json"]


def test_a_page_about_messages_is_a_page(tmp_path: Path) -> None:
    (tmp_path / "messages.html").write_text(
        "<html><body><article><p>" + "On sending messages by post. " * 20 + "</p></article></body></html>"
    )
    assert [one.extraction for one in ingest(tmp_path).documents] == ["html"]


PACKAGE = {
    "README.txt": "READMEMARK words",
    "account/user.json": json.dumps({"username": "ada", "global_name": "Ada Byron", "email": "ada@x.example"}),
    "messages/index.json": json.dumps({"1": "INDEXMARK"}),
    "messages/c111111111111111111/channel.json": json.dumps({"id": "1", "type": "GUILD_TEXT", "name": "mills"}),
    "messages/c111111111111111111/messages.json": json.dumps(
        [
            {"ID": 2, "Timestamp": "2023-03-12 09:01:00", "Contents": "And it stopped <@123> later.", "Attachments": ""},
            {"ID": 1, "Timestamp": "2023-03-12 09:00:00", "Contents": "It rained on the mill.", "Attachments": ""},
        ]
    ),
    "messages/c222222222222222222/channel.json": json.dumps({"id": "2", "type": "DM", "recipients": ["1", "2"]}),
    "messages/c222222222222222222/messages.csv": "ID,Timestamp,Contents\n1,2023-03-12 09:00:00+00:00,DMMARK words\n",
}


@pytest.mark.parametrize("folder", ["messages", "Nachrichten"])
def test_the_package_of_discord_gives_ones_own_messages_and_no_private_ones(tmp_path: Path, folder: str) -> None:
    found = ingest(write(tmp_path, {name.replace("messages/", f"{folder}/", 1): text for name, text in PACKAGE.items()}))
    (one,) = found.documents
    assert one.text == "It rained on the mill.\n\nAnd it stopped later." and one.date == "2023-03-12"
    assert one.author == "Ada Byron" and "1 private texts left out" in found.notes and not found.failures
    everything = ingest(tmp_path, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert sorted(document.status for document in everything) == ["private", "published"]
