"""Conversations with a model: the person's long requests are writing, the model's answers are learned only when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.assistants import own_words
from tunesmith.data.ingest.policy import Policy

OWN = (
    "I keep two clocks in the mill, one for the wheel and one for the bread, and they never agree. I should like to write "
    "to my sister about them, since she laughed at me last winter when I said that a house needs two times to be at peace."
)
ANSWER = "MODELMARK Certainly! Here is a letter to your sister about the two clocks of your mill and the peace of a house."
WITH_ANSWERS = Policy(extras=("model-answers",), today="2026-01-01")


def chatgpt(*said: tuple[str, str]) -> list[dict[str, Any]]:
    nodes: dict[str, Any] = {"0": {"parent": None, "children": ["1"], "message": None}}
    for number, (role, text) in enumerate(said, 1):
        message = {"author": {"role": role}, "create_time": 1.7e9, "content": {"content_type": "text", "parts": [text]}}
        nodes[str(number)] = {"parent": str(number - 1), "children": [str(number + 1)], "message": message}
    return [{"title": "TITLEMARK", "mapping": nodes, "current_node": str(len(said)), "conversation_id": "c1"}]


def claude(*said: tuple[str, str]) -> list[dict[str, Any]]:
    names = {"user": "human"}
    turns = [
        {
            "sender": names.get(role, role),
            "text": text,
            "created_at": "2023-11-14T10:00:00Z",
            "attachments": [{"extracted_content": "FILEMARK"}],
        }
        for role, text in said
    ]
    return [{"uuid": "u1", "name": "TITLEMARK", "chat_messages": turns}]


@pytest.mark.parametrize("export", [chatgpt, claude])
@pytest.mark.parametrize("layout", ["file", "zip", "nested"])
def test_long_requests_are_documents_and_answers_are_never_taken_by_themselves(
    tmp_path: Path, export: Any, layout: str
) -> None:
    value = json.dumps(export(("user", OWN), ("assistant", ANSWER), ("user", "Thanks, shorter please.")))
    rest = {"users.json": '[{"uuid": "a", "full_name": "Ada"}]', "projects.json": '[{"docs": [{"content": "DOCMARK words"}]}]'}
    source = tmp_path / "conversations.json"
    if layout == "file":
        source.write_text(value)
    elif layout == "zip":
        source = tmp_path / "data.zip"
        source.write_bytes(
            packed({"conversations.json": value, **rest, "chat.html": f"<script>var jsonData = {value}</script>"})
        )
    else:
        source = tmp_path / "backup"
        (source / "ai").mkdir(parents=True)
        for name, content in {"conversations.json": value, **rest}.items():
            (source / "ai" / name).write_text(content)
    found = ingest(source)
    (document,) = found.documents
    assert document.text == OWN and document.date == "2023-11-14" and document.title is None and document.thread
    assert not found.pairs and not found.failures
    assert "1 answers of a model (taken with --include model-answers) left out" in found.notes
    assert "1 requests to a model with under 40 words of your own left out" in found.notes
    taken = ingest(source, WITH_ANSWERS)
    assert [message.role for message in taken.pairs[0].messages] == ["user", "assistant"] and not taken.documents
    assert "1 answers of a model taken: you learn the style of that model" in taken.notes


def test_the_page_of_a_half_unpacked_export_is_read_as_its_conversations(tmp_path: Path) -> None:
    value = json.dumps(chatgpt(("user", OWN), ("assistant", ANSWER)))
    (tmp_path / "chat.html").write_text(
        f"<html><body><script>\nvar jsonData = {value};\nfunction f() {{}}</script></body></html>"
    )
    assert [one.text for one in ingest(tmp_path).documents] == [OWN]
    (tmp_path / "chat.html").write_text(f"<html><body><script>\nvar jsonData = {value[:-40]}")
    (tmp_path / "a.md").write_text("Words.")
    assert "broken" in ingest(tmp_path).failures[0].reason


def test_what_was_said_aloud_counts_and_pictures_do_not(tmp_path: Path) -> None:
    value = chatgpt(("user", ""), ("assistant", ANSWER))
    said = [{"content_type": "audio_transcription", "text": OWN}, {"content_type": "image_asset_pointer", "text": "IMAGEMARK"}]
    value[0]["mapping"]["1"]["message"]["content"] = {"content_type": "multimodal_text", "parts": said}
    (tmp_path / "conversations.json").write_text(json.dumps(value))
    assert [one.text for one in ingest(tmp_path).documents] == [OWN]


def test_only_short_requests_give_nothing_and_say_why(tmp_path: Path) -> None:
    (tmp_path / "conversations.json").write_text(json.dumps(claude(("user", "How do I oil a clock?"), ("assistant", ANSWER))))
    (tmp_path / "a.md").write_text("Words.")
    found = ingest(tmp_path)
    assert [one.source for one in found.documents] == ["a.md"] and not found.failures and len(found.notes) == 2


@pytest.mark.parametrize(
    ("written", "own"),
    [
        (f"{OWN}\n\n```python\nprint('x')\n```\n\nAnd so on.", f"{OWN}\n\nAnd so on."),
        (f"{OWN}\n\n> QUOTE words\n> more", OWN),
        (f"Summarise this article for me:\n\n{ANSWER} {ANSWER}", "Summarise this article for me:"),
        (f"Translate:\n{ANSWER} {ANSWER}", "Translate:"),
        (f'{OWN}\n\n"""\n{ANSWER}\n"""', OWN),
        (f"{OWN}\n\nimport os\nx = 1;\nreturn x", OWN),
        (f'{OWN}\n\nTraceback (most recent call last):\n  File "a.py", line 3', OWN),
        (f"{OWN}\n\n```\nnever closed", OWN),
    ],
)
def test_code_quotations_and_pasted_texts_are_no_words_of_ones_own(written: str, own: str) -> None:
    assert own_words(written) == own


CELL = (
    '<div class="outer-cell mdl-cell"><div class="header-cell"><p>{}<br></p></div>'
    '<div class="content-cell mdl-cell">{}<br>{}<br><p>{}</p></div></div>'
)


@pytest.mark.parametrize("prompted", ["Prompted", "Eingegebener Prompt:"])
@pytest.mark.parametrize("is_page", [True, False])
def test_of_google_activities_only_requests_to_gemini_are_read(tmp_path: Path, prompted: str, is_page: bool) -> None:
    folder = tmp_path / "Takeout" / "Meine Aktivitäten" / "Gemini-Apps"
    folder.mkdir(parents=True)
    (tmp_path / "Takeout" / "archive_browser.html").write_text(
        f"<html><title>Google Takeout</title><body><p>INDEXMARK {OWN}</p></body></html>"
    )
    rows = [("Gemini-Apps", f"{prompted} {OWN}", ANSWER), ("YouTube", f"{OWN} angesehen", "FILMMARK")]
    if is_page:
        cells = "".join(CELL.format(product, said, "04.03.2024, 10:00:00 MEZ", answer) for product, said, answer in rows)
        style = ".mdl-card{color:red}" * 8000
        (folder / "MeineAktivitäten.html").write_text(f"<html><style>{style}</style><body>{cells}</body></html>")
    else:
        value = [
            {"header": product, "title": said, "time": "2024-03-04T10:00:00Z", "products": [product]}
            | {"safeHtmlItem": [{"html": f"<p>{answer}</p>"}]}
            for product, said, answer in rows
        ]
        (folder / "MeineAktivitäten.json").write_text(json.dumps(value))
    found = ingest(tmp_path)
    assert [one.text for one in found.documents] == [OWN] and not found.failures
    assert "1 searches, films and other activities left out" in found.notes
    (pair,) = ingest(tmp_path, WITH_ANSWERS).pairs
    assert [message.content for message in pair.messages] == [OWN, ANSWER]
