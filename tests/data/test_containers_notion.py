"""Notion: pages with the title, day and state that their properties say; no ids, tables of databases or lists of pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.notion_page import markdown_page
from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
ID, OTHER = "1590080aa5a3802488c2e857dea7aa7d", "15f0080aa5a380c6b16cfed449a03a8b"
CREATED = (
    '<tr class="property-row property-row-created_time"><th><span class="icon"></span>{}</th>'
    "<td><time>@March 4, 2021 11:24 PM</time></td></tr>"
)


def row(key: str, value: str, kind: str = "text") -> str:
    return f'<tr class="property-row property-row-{kind}"><th>{key}</th><td>{value}</td></tr>'


def page(title: str, body: str = f"<p>{WORDS}</p>", rows: str = "") -> str:
    table = f'<table class="properties"><tbody>{rows}</tbody></table>' if rows else ""
    return (
        f"<html><head><title>{title}</title><style>body{{}}</style></head><body>"
        f'<article id="1590080a-a5a3-8024-88c2-e857dea7aa7d" class="page sans"><header><h1 class="page-title">{title}</h1>'
        f'<p class="page-description"></p>{table}</header><div class="page-body">{body}</div></article></body></html>'
    )


def export(**members: str) -> dict[str, str]:
    return {
        f"Kettles {ID}.html": page("Kettles"),
        f"Kettles {ID}/Rain {OTHER}.html": page("Rain", f"<p>{WORDS} Rain.</p>", CREATED.format("Created")),
        "index.html": f"<html><body><p>{WORDS}</p><a href='Kettles%20{ID}.html'>Kettles</a></body></html>",
        f"Kettles {ID}/List {OTHER}.csv": "Name,Status\nRain,Draft\n",
        **members,
    }


def written(folder: Path, members: dict[str, str]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_pages_lose_their_ids_and_keep_the_day_of_their_properties_alone(tmp_path: Path) -> None:
    found = ingest(written(tmp_path / "x", export()))
    assert [(d.source, d.title, d.date) for d in found.documents] == [
        ("Kettles.html", "Kettles", None),
        ("Kettles/Rain.html", "Rain", "2021-03-04"),
    ]
    assert [document.text for document in found.documents] == [WORDS, f"{WORDS} Rain."]
    assert found.notes == ("1 lists of pages left out", "1 tables of databases left out")


def test_the_zip_in_the_zip_is_opened(tmp_path: Path) -> None:
    inner = packed({f"Export-1/{name}": content for name, content in export().items()})
    (tmp_path / "x.zip").write_bytes(packed({"Export-1-Part-1.zip": inner}))
    assert [document.title for document in ingest(tmp_path / "x.zip").documents] == ["Kettles", "Rain"]


@pytest.mark.parametrize("label", ["Created", "Erstellt am", "作成日時"])
def test_the_day_of_creation_is_known_in_every_language(tmp_path: Path, label: str) -> None:
    (tmp_path / f"Rain {ID}.html").write_text(page("Rain", rows=CREATED.format(label)))
    assert ingest(tmp_path).documents[0].date == "2021-03-04"


@pytest.mark.parametrize(
    ("rows", "means"),
    [
        ("", "published"),
        (row("Status", "Published", "status"), "published"),
        (row("Status", "Draft", "select"), "draft"),
        (row("Status", "In progress", "status"), "draft"),
        (row("Estado", "Borrador", "status"), "draft"),
        (row("Draft", '<div class="checkbox checkbox-on"></div>', "checkbox"), "draft"),
        (row("Mood", "Draft"), "published"),
    ],
)
def test_the_state_of_a_page_is_that_of_its_property(tmp_path: Path, rows: str, means: str) -> None:
    written(tmp_path, {f"Rain {ID}.html": page("Rain", rows=rows), f"Tea {ID}.html": page("Tea", f"<p>{WORDS} Tea.</p>")})
    assert len(ingest(tmp_path).documents) == (2 if means == "published" else 1)
    everything = ingest(tmp_path, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {document.title: document.status for document in everything}["Rain"] == means


@pytest.mark.parametrize(
    "planted",
    [
        '<nav class="block-color-gray table_of_contents"><div class="table_of_contents-item"><a>PLANTED</a></div></nav>',
        '<figure><a class="bookmark source"><div class="bookmark-text">PLANTED</div></a></figure>',
        '<figure class="link-to-page"><a>PLANTED</a></figure>',
        '<table class="collection-content"><tbody><tr><td><p>PLANTED</p></td></tr></tbody></table>',
        '<div class="source">PLANTED</div>',
        '<figure class="equation"><span class="katex">PLANTED</span></figure>',
    ],
)
def test_contents_bookmarks_links_tables_and_formulas_are_not_prose(tmp_path: Path, planted: str) -> None:
    (tmp_path / f"Rain {ID}.html").write_text(page("Rain", f"{planted}<p>{WORDS}</p>{planted}"))
    assert ingest(tmp_path).documents[0].text == WORDS


def test_callouts_are_text_and_items_of_one_kind_are_one_list(tmp_path: Path) -> None:
    callout = f'<figure class="callout"><div><span class="icon">💡</span></div><div><p>{WORDS}</p></div></figure>'
    items = "".join(f'<ul class="bulleted-list"><li>{word}</li></ul>' for word in ("tea", "salt"))
    (tmp_path / f"Rain {ID}.html").write_text(page("Rain", callout + items))
    assert ingest(tmp_path).documents[0].text == f"{WORDS}\n\n- tea\n- salt"


def test_the_head_of_a_page_in_markdown_is_metadata_and_its_dialogue_is_prose(tmp_path: Path) -> None:
    head = "Created: March 4, 2021 11:24 PM\nMood: bright\nStatus: Published\nCreated by: Ada Byron"
    talk = "Ada: It rains and rains, and the kettle sings.\nBob: Then we shall stay inside."
    members = {
        f"Writing {ID}.csv": "\ufeffName,Created,Created by,Mood,Status\nRain,,,,\n",
        f"Writing {ID}/Rain {OTHER}.md": f"# Rain\n\n{head}\n\n{WORDS}\n",
        f"Writing {ID}/Talk {OTHER}.md": f"# Talk\n\n{talk}\n\n{WORDS}\n",
        f"Alone {ID}.md": f"# Alone\n\nCreated: March 5, 2021\nTags: tea\n\n{WORDS} Alone.\n",
    }
    found = {document.title: document for document in ingest(written(tmp_path, members)).documents}
    assert (found["Rain"].text, found["Rain"].date, found["Rain"].author) == (WORDS, "2021-03-04", "Ada Byron")
    assert "kettle sings" in found["Talk"].text and found["Talk"].date is None
    assert (found["Alone"].text, found["Alone"].date) == (f"{WORDS} Alone.", "2021-03-05")
    assert found["Rain"].source == "Writing/Rain.md"


def test_one_page_of_an_export_is_known_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "rain.html").write_text(page("Rain", rows=row("Status", "Draft")))
    (tmp_path / "tea.html").write_text(page("Tea", f"<p>{WORDS} Tea.</p>"))
    assert [document.title for document in ingest(tmp_path).documents] == ["Tea"]


def test_pages_of_one_title_keep_their_ids_and_other_files_are_read_as_ever(tmp_path: Path) -> None:
    members = {f"Rain {ID}.md": f"# Rain\n\n{WORDS}", f"Rain {OTHER}.md": f"# Rain\n\n{WORDS} Again.", "a.md": "Words of mine."}
    found = ingest(written(tmp_path, members))
    assert [document.source for document in found.documents] == [f"Rain {ID}.md", f"Rain {OTHER}.md", "a.md"]


def test_pages_below_a_folder_of_a_space_are_found_by_the_list_that_names_them(tmp_path: Path) -> None:
    listed = f"<html><body><p>{WORDS}</p><a href='Private/Rain%20{ID}.html'>Rain</a></body></html>"
    found = ingest(written(tmp_path, {"index.html": listed, f"Private/Rain {ID}.html": page("Rain")}))
    assert [(document.source, document.title) for document in found.documents] == [("Private/Rain.html", "Rain")]


def test_an_export_without_ids_is_known_by_the_two_tables_of_its_database(tmp_path: Path) -> None:
    head = "Name,Created,State of mind\n"
    members = {
        "Writing.csv": head,
        "Writing_all.csv": head,
        "Writing/Rain.md": f"# Rain\n\nCreated: March 4, 2021\nState of mind: calm\n\n{WORDS}",
    }
    (found,) = ingest(written(tmp_path, members)).documents
    assert (found.title, found.date, found.text) == ("Rain", "2021-03-04", WORDS)


def test_other_pages_beside_an_export_are_read_as_ever(tmp_path: Path) -> None:
    article = f"<html><head><title>Tea</title></head><body><article><p>{WORDS} Tea.</p><p>{WORDS}</p></article></body></html>"
    found = ingest(
        written(tmp_path, {f"Rain {ID}.html": page("Rain"), "essays/tea.html": article, "index.html": article + " "})
    )
    assert {document.title for document in found.documents} == {"Rain", "Tea"} and not found.failures


def test_a_column_that_only_the_table_of_all_columns_names_is_a_property_too(tmp_path: Path) -> None:
    members = {
        f"Habits {ID}.csv": "Date,Ran\n",
        f"Habits {ID}_all.csv": "Date,Ran,Full date\n",
        f"Habits {ID}/Monday {OTHER}.md": "# Monday\n\nFull date: March 4, 2021 6:05 AM\nRan: No",
        f"Rain {ID}.md": f"# Rain\n\n{WORDS}",
    }
    found = ingest(written(tmp_path, members))
    assert [document.title for document in found.documents] == ["Rain"] and "1 texts without words left out" in found.notes


def test_a_property_that_the_table_hides_is_no_text_either() -> None:
    page = markdown_page(
        "# Row\n\nStage: mill\nErstellt: March 4, 2021 10:00 AM\n\nThe mill turned.", columns={"name", "stage"}
    )
    assert (page.content.strip(), page.date) == ("The mill turned.", "2021-03-04")
    prose = markdown_page("# Row\n\nStage: mill\nMind: you\n\nThe mill turned.", columns={"name", "stage"})
    assert "Mind: you" in prose.content
