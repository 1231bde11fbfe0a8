"""Vaults and graphs of notes: what was written, without templates, drawings, clippings, backups and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."


def written(folder: Path, members: Mapping[str, str]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("depth", ["", "notes/", "a/b/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_vault_gives_its_notes_without_templates_drawings_and_clippings(tmp_path: Path, depth: str, zipped: bool) -> None:
    planted = [
        "Templates/Daily.md",
        "99 - Vorlagen/a.md",
        "_templates/b.md",
        "Notes/Template - Meeting.md",
        "Clippings/Other people.md",
        "Readwise/Books/c.md",
        "Draw/x.excalidraw.md",
        "copilot/copilot-conversations/a.md",
        ".trash/old.md",
    ]
    members = {
        ".obsidian/app.json": "{}",
        "Journal/2021-03-04.md": f"{WORDS} One.",
        "Essays/On templates.md": f"{WORDS} Two.",
        "Canvas.canvas": '{"nodes": [{"text": "PLANTED"}]}',
        "Base.base": "views: []",
        "Sketch.md": f"---\ntags: [a]\nexcalidraw-plugin: parsed\n---\n{WORDS} PLANTED",
        **{name: f"{WORDS} PLANTED {name}" for name in planted},
    }
    members = {depth + name: content for name, content in members.items()}
    if zipped:
        (tmp_path / "x.zip").write_bytes(packed(members))
    found = ingest(tmp_path / "x.zip" if zipped else written(tmp_path, members))
    assert sorted(document.text for document in found.documents) == [f"{WORDS} One.", f"{WORDS} Two."]
    assert [document.date for document in found.documents if "One" in document.text] == ["2021-03-04"]
    assert {"4 templates left out", "2 clippings of other people's pages left out"} <= set(found.notes)
    assert not found.failures


def test_a_folder_of_notes_that_is_no_vault_is_not_guessed_at(tmp_path: Path) -> None:
    found = ingest(written(tmp_path, {"Templates/a.md": f"{WORDS} A.", "Clippings/b.md": f"{WORDS} B."}))
    assert len(found.documents) == 2


def test_a_graph_of_logseq_gives_pages_and_journals_without_backups(tmp_path: Path) -> None:
    members = {
        "logseq/config.edn": "{}",
        "logseq/bak/pages/Rain/2021.md": f"{WORDS} OLD",
        "logseq/custom.css": "",
        "pages/Rain.md": f"{WORDS} Rain.",
        "pages/tea%2Fsalt.md": f"{WORDS} Tea.",
        "pages/work___notes.md": f"{WORDS} Work.",
        "pages/templates.md": f"{WORDS} TEMPLATE",
        "journals/2021_03_04.md": f"{WORDS} Day.",
        "whiteboards/a.edn": "{}",
        "draws/2021.excalidraw": "{}",
    }
    found = ingest(written(tmp_path, members))
    assert [(d.title, d.date, d.date_origin) for d in found.documents] == [
        ("2021-03-04", "2021-03-04", "name"),
        ("Rain", None, None),
        ("tea/salt", None, None),
        ("work/notes", None, None),
    ]
    assert {"2 drawings and whiteboards left out", "1 templates left out"} <= set(found.notes) and not found.failures


def block(string: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"string": string, "uid": "abcdefghi", "create-time": 1614852000000, "children": list(children), **more}


def roam(path: Path, *pages: dict[str, Any]) -> Path:
    path.write_text(json.dumps(pages))
    return path


def test_a_page_of_roam_becomes_paragraphs_and_lists_with_its_day_and_author(tmp_path: Path) -> None:
    blocks = [
        block(f"{WORDS} See [[Tea]] and [the pot]([[Pot]]).", block("tea"), block("salt [[of [[the]] sea]]")),
        block("Morning", heading=2),
        block("{{[[TODO]]}} ^^Rise^^ before the others do, and look at the sky for a while ((zzzzzzzzz))."),
    ]
    page = {"title": "Kettles", "children": blocks, "create-email": "ada@kettles.example", "edit-time": 1714852000000}
    (found,) = ingest(roam(tmp_path / "a.json", page)).documents
    assert found.text == (
        f"{WORDS} See Tea and the pot.\n\n- tea\n- salt of the sea\n\n## Morning\n\n"
        "Rise before the others do, and look at the sky for a while."
    )
    assert (found.title, found.date, found.author) == ("Kettles", "2021-03-04", None)


@pytest.mark.parametrize(
    "planted", ["Author:: PLANTED", "{{[[query]]: {and: [[PLANTED]]}}}", "```js\nPLANTED()```", "{{embed: PLANTED}}"]
)
def test_attributes_queries_and_code_of_roam_are_not_prose(tmp_path: Path, planted: str) -> None:
    page = {"title": "Kettles", "children": [block(planted), block(WORDS), block(planted)]}
    (found,) = ingest(roam(tmp_path / "a.json", page)).documents
    assert found.text == WORDS


def test_a_daily_note_of_roam_has_its_own_day_and_settings_are_left_out(tmp_path: Path) -> None:
    day = {"title": "March 5th, 2021", "children": [block(WORDS)]}
    settings = {"title": "roam/templates", "children": [block(f"{WORDS} PLANTED")]}
    found = ingest(roam(tmp_path / "a.json", day, settings, {"title": "Empty", "children": []}))
    assert [(d.title, d.date, d.date_origin) for d in found.documents] == [("March 5th, 2021", "2021-03-05", "name")]
    assert found.notes == ("1 pages without blocks left out", "1 settings and templates left out")


def test_a_reference_shows_the_block_that_it_leads_to_and_a_page_may_say_its_title_last(tmp_path: Path) -> None:
    blocks = [block("the copper kettle", uid="kettle-01"), block(f"{WORDS} It was ((kettle-01)).")]
    (found,) = ingest(roam(tmp_path / "a.json", {"children": [*blocks, block("x" * 70_000)], "title": "Kettles"})).documents
    assert found.title == "Kettles" and f"{WORDS} It was the copper kettle." in found.text
