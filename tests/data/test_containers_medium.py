"""Medium: published stories alone; drafts, answers to others and the files of the account are left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."


def story(title: str, *, body: str = "", head: bool = True, footer: bool = True) -> str:
    leading = f'<h3 name="a" class="graf graf--h3 graf--leading graf--title">{title}</h3>' if head else ""
    stated = (
        '<footer><p>By <a href="https://medium.com/@ada77" class="p-author h-card">Ada Byron</a> on <a href="#">'
        '<time class="dt-published" datetime="2021-03-04T10:00:00.000Z">March 4, 2021</time></a>.</p>'
        f'<p><a href="https://medium.com/@ada77/{title}-0a1b2c3d4e5f" class="p-canonical">Canonical link</a></p>'
        '<p>Exported from <a href="https://medium.com">Medium</a> on May 1, 2022.</p></footer>'
    )
    body = body or f"<p class='graf graf--p'>{WORDS} {title}</p>"
    end = stated if footer else '<footer><p><a href="#">View original.</a></p></footer>'
    return (
        f'<!DOCTYPE html><html><head><title>{title}</title></head><body><article class="h-entry"><header><h1 class="p-name">'
        f'{title}</h1></header><section data-field="subtitle" class="p-summary">A summary.</section>'
        '<section data-field="body" class="e-content"><section name="b" class="section"><div class="section-content">'
        f'<div class="section-inner">{leading}{body}</div></div></section>'
        f"</section>{end}</article></body></html>"
    )


def export() -> dict[str, str]:
    account = "<html><body><p>Name: Ada Byron, who writes to ada@kettles.example about kettles.</p></body></html>"
    answer = story("What a fine thought.", head=False, body="<p class='graf graf--p'>What a fine thought. I agree with it.</p>")
    folders = ("profile/profile", "claps/claps-0001", "bookmarks/bookmarks-0001", "lists/read-0001", "ips/ips-0001")
    return {
        "posts/2021-03-04_Kettle-0a1b2c3d4e5f.html": story("Kettle"),
        "posts/draft_Later-1a1b2c3d4e5f.html": story("Later", footer=False),
        "posts/2021-03-05_What-a-fine-thought--2a1b2c3d4e5f.html": answer,
        "README.html": account,
        **{f"{name}.html": account for name in folders},
    }


def written(folder: Path, members: dict[str, str]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("depth", ["", "medium-export/", "a/b/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_stories_are_taken_with_what_the_export_states_and_nothing_else(tmp_path: Path, depth: str, zipped: bool) -> None:
    members = {depth + name: content for name, content in export().items()}
    if zipped:
        (tmp_path / "x.zip").write_bytes(packed(members))
    found = ingest(tmp_path / "x.zip" if zipped else written(tmp_path / "x", members))
    (document,) = found.documents
    assert (document.title, document.author, document.date) == ("Kettle", "Ada Byron", "2021-03-04")
    assert document.url == "https://medium.com/@ada77/Kettle-0a1b2c3d4e5f" and document.text == f"{WORDS} Kettle"
    assert found.notes == (
        "1 answers to other people's stories left out",
        "1 drafts left out",
        "6 files of the account (profile, claps, lists, bookmarks and others) left out",
    )


def test_drafts_and_answers_can_be_asked_for(tmp_path: Path) -> None:
    folder = written(tmp_path / "x", export())
    drafts = ingest(folder, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {document.title: document.status for document in drafts} == {"Kettle": "published", "Later": "draft"}
    answers = ingest(folder, Policy(extras=("replies",), today="2026-01-01")).documents
    assert len(answers) == 2


def test_the_folder_of_posts_alone_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    posts = {name.removeprefix("posts/"): content for name, content in export().items() if name.startswith("posts/")}
    found = ingest(written(tmp_path / "x", posts))
    assert [document.title for document in found.documents] == ["Kettle"] and "1 drafts left out" in found.notes


def test_a_short_story_with_a_title_of_its_own_is_no_answer(tmp_path: Path) -> None:
    members = {
        "posts/2021-03-04_Rain-0a1b2c3d4e5f.html": story("Rain", body=f"<p class='graf graf--p'>{WORDS}</p>", head=False)
    }
    assert len(ingest(written(tmp_path / "x", members)).documents) == 1


@pytest.mark.parametrize("name", ["Ada Byron", "@ada77"])
def test_the_author_is_called_as_the_user_calls_them(tmp_path: Path, name: str) -> None:
    found = ingest(written(tmp_path / "x", export()), Policy(me=(name,), today="2026-01-01"))
    assert [document.author for document in found.documents] == [name]


def test_embeds_and_captions_are_not_prose(tmp_path: Path) -> None:
    embed = '<div class="graf graf--mixtapeEmbed"><a><strong>PLANTED</strong></a></div>'
    planted = f"{embed}<figure><figcaption>PLANTED</figcaption></figure>"
    (tmp_path / "a.html").write_text(story("Kettle", body=f"{planted}<p class='graf graf--p'>{WORDS}</p>"))
    assert ingest(tmp_path).documents[0].text == WORDS


def test_an_export_whose_posts_were_renamed_is_still_one(tmp_path: Path) -> None:
    members = {"posts/kettle.html": story("Kettle"), "posts/later.html": story("Later", footer=False)}
    found = ingest(written(tmp_path / "x", {**members, "profile/profile.html": "<p>Email address: ada@kettles.example</p>"}))
    assert [(document.source, document.title) for document in found.documents] == [("posts/kettle.html", "Kettle")]
    assert "1 drafts left out" in found.notes and len(found.notes) == 2


def test_the_page_about_the_account_is_left_out_wherever_it_lies(tmp_path: Path) -> None:
    about = "<html><body><ul><li>Email address: a@k.example</li><li><b>Medium user ID:</b> abc</li></ul></body></html>"
    others = {f"posts/00{n}.html": f"<html><body><p>{WORDS} Another blog, {n}.</p></body></html>" for n in range(4)}
    found = ingest(written(tmp_path / "x", {**others, **export(), "about.html": about}))
    assert {document.title for document in found.documents} >= {"Kettle"} and len(found.documents) == 5
    assert "7 files of the account (profile, claps, lists, bookmarks and others) left out" in found.notes
