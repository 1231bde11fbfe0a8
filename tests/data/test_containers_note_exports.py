"""Tumblr, Stack Exchange, Google Keep, Evernote, Gemini and Copilot: one's own words, without what others wrote in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The miller kept two clocks, one for the wheel and one for the bread."
EVERYTHING = Policy(publication=EVERY_STATUS, today="2026-01-01")
LONG = f"I should like to write to my sister about it. {WORDS} {WORDS} {WORDS} And so I ask you for help with it."


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def tumblr_post(id: int, kind: str, fields: str, **more: str) -> str:
    given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    stamp = f'date-gmt="2020-01-0{id} 10:00:00 GMT"'
    return f'<post id="{id}" url="https://a.example/post/{id}" type="{kind}" {stamp}{given}>{fields}</post>'


SHARED = '&lt;p&gt;&lt;a class="tumblr_blog" href="x"&gt;bob&lt;/a&gt;:&lt;/p&gt;&lt;blockquote&gt;SHAREMARK&lt;/blockquote&gt;'
TUMBLR = "".join(
    [
        '<?xml version="1.0"?><tumblr version="1.0"><tumblelog name="millblog" title="x"/><posts>',
        tumblr_post(
            1, "regular", f"<regular-title>On Mills</regular-title><regular-body>&lt;p&gt;{WORDS}&lt;/p&gt;</regular-body>"
        ),
        tumblr_post(2, "quote", "<quote-text>QUOTEMARK</quote-text>"),
        tumblr_post(3, "answer", "<question>ASKMARK</question><answer>&lt;p&gt;An answer of mine.&lt;/p&gt;</answer>"),
        tumblr_post(
            4, "regular", f"<regular-body>{SHARED}&lt;p&gt;My own words.&lt;/p&gt;</regular-body>", reblogged_from_name="bob"
        ),
        tumblr_post(5, "regular", f"<regular-body>{SHARED}</regular-body>", reblogged_from_name="bob"),
        tumblr_post(6, "regular", "<regular-body>DRAFTMARK words</regular-body>", state="draft"),
        tumblr_post(7, "photo", "<photo-caption>&lt;p&gt;A caption.&lt;/p&gt;</photo-caption>", private="true"),
        "</posts></tumblr>",
    ]
)


@pytest.mark.parametrize("name", ["posts.xml", "posts/posts.xml", "deep/posts/posts.xml"])
def test_a_blog_of_tumblr_gives_its_own_words(tmp_path: Path, name: str) -> None:
    write(
        tmp_path, {name: TUMBLR, "deep/posts/html/1.html" if "deep" in name else "posts/html/1.html": "<html>COPYMARK</html>"}
    )
    found = ingest(tmp_path)
    texts = {one.text: one for one in found.documents if "COPYMARK" not in one.text}
    assert set(texts) == {WORDS, "An answer of mine.", "My own words."}
    post = texts[WORDS]
    assert (post.title, post.date, post.author, post.url) == ("On Mills", "2020-01-01", "millblog", "https://a.example/post/1")
    assert {"1 drafts left out", "1 private texts left out", "1 posts of others that were shared left out"} <= set(found.notes)


def test_the_pages_of_tumblr_are_read_where_the_list_is_missing(tmp_path: Path) -> None:
    def page(body: str) -> str:
        foot = '<div id="footer"><span id="timestamp"> February 5th, 2019 5:11pm </span><span class="tag">TAGMARK</span></div>'
        return f"<!DOCTYPE HTML><html><head><title></title></head><body>{body}{foot}</body></html>"

    share = '<p><a class="tumblr_blog" href="x">bob</a>:</p><blockquote><p>SHAREMARK</p></blockquote>'
    files = {
        "posts/html/1.html": page(f"<h1>On Mills</h1><p>{WORDS}</p>"),
        "posts/html/2.html": page(f"{share}<p>My own words.</p>"),
        "posts/html/3.html": page(share),
        "posts/html/drafts/4.html": page("<p>DRAFTMARK words</p>"),
        "posts/html/submissions/5.html": page("<p>OTHERMARK words</p>"),
        "posts/style.css": "x",
    }
    found = ingest(write(tmp_path, files))
    assert [(one.title, one.text, one.date) for one in found.documents] == [
        ("On Mills", WORDS, "2019-02-05"),
        (None, "My own words.", "2019-02-05"),
    ]


STACK = f"""<?xml version="1.0" encoding="utf-8"?><posts>
<row Id="1" PostTypeId="1" CreationDate="2020-01-01T10:00:00.1" Body="&lt;p&gt;OTHERMARK" OwnerUserId="8" Title="Why mills?" />
<row Id="2" PostTypeId="2" ParentId="1" CreationDate="2020-01-02T10:00:00.1" OwnerUserId="7" ContentLicense="CC BY-SA 4.0"
 Body="&lt;p&gt;{WORDS}&lt;/p&gt;&lt;pre&gt;&lt;code&gt;CODEMARK&lt;/code&gt;&lt;/pre&gt;" />
<row Id="3" PostTypeId="5" Body="&lt;p&gt;WIKIMARK&lt;/p&gt;" OwnerUserId="7" /></posts>"""
USERS = '<users><row Id="7" DisplayName="Ada Byron" AboutMe="ABOUTMARK" /><row Id="8" DisplayName="Bob" /></users>'


@pytest.mark.parametrize("me", ["Ada Byron", "7"])
def test_a_dump_of_stack_exchange_gives_the_posts_of_the_people_asked_for(tmp_path: Path, me: str) -> None:
    write(
        tmp_path, {"Posts.xml": STACK, "Users.xml": USERS, "Comments.xml": "<comments/>", "a.md": "---\nauthor: x\n---\nWords."}
    )
    (one,) = [one for one in ingest(tmp_path, Policy(me=(me,), today="2026-01-01")).documents if one.source != "a.md"]
    assert (one.text, one.title, one.date, one.thread, one.license) == (WORDS, "Why mills?", "2020-01-02", "1", "CC BY-SA 4.0")
    everybody = ingest(tmp_path)
    assert [one.source for one in everybody.documents] == ["a.md"] and "--set me=" in everybody.failures[0].reason


def keep(**more: Any) -> str:
    stamps = {"createdTimestampUsec": 1678525200000000, "userEditedTimestampUsec": 1678529900000000}
    return json.dumps(
        {"isTrashed": False, "isPinned": False, "isArchived": False, "title": "", "textContent": "", **stamps, **more}
    )


def test_notes_of_keep_are_read_once_and_deleted_ones_are_left_out(tmp_path: Path) -> None:
    page = '<html><body><div class="note"><div class="heading">Mar 5, 2022, 9:00 AM</div><div class="title">Half</div>'
    files = {
        "Takeout/Keep/a.json": keep(title="Mills", textContent=f"{WORDS}\nA second line."),
        "Takeout/Keep/a.html": f'{page}<div class="content">COPYMARK</div></div></body></html>',
        "Takeout/Keep/b.json": keep(title="Bread", listContent=[{"text": "Flour", "isChecked": True}, {"text": "Salt"}]),
        "Takeout/Keep/c.json": keep(textContent="TRASHMARK words", isTrashed=True),
        "Takeout/Keep/d.html": f'{page}<div class="content">Only<br>a page.</div></div></body></html>',
        "Takeout/Keep/Labels.txt": "LABELMARK\n",
    }
    found = ingest(write(tmp_path, files))
    assert [(one.title, one.text, one.date) for one in found.documents] == [
        ("Mills", f"{WORDS}\nA second line.", "2023-03-11"),
        ("Bread", "- Flour\n- Salt", "2023-03-11"),
        ("Half", "Only\na page.", "2022-03-05"),
    ]
    assert "1 deleted texts left out" in found.notes and "1 pages of Keep that repeat a note left out" in found.notes
    assert "TRASHMARK" in "".join(one.text for one in ingest(tmp_path, EVERYTHING).documents)


@pytest.mark.parametrize(
    "icons",
    [
        '<span class="archived" title="Note archived"></span><span class="trashed" title="Note trashed"></span>',
        '<span class="icon" title="Im Papierkorb"></span>',
    ],
)
def test_a_page_of_keep_says_by_its_icons_that_its_note_was_deleted(tmp_path: Path, icons: str) -> None:
    def page(head: str, text: str) -> str:
        heading = f'<div class="heading"><div class="meta-icons">{head}</div> Mar 5, 2022, 9:00 AM</div>'
        return f'<html><body><div class="note DEFAULT">{heading}<div class="content">{text}</div></div></body></html>'

    files = {
        "Keep/a.html": page("", f'{WORDS} The <b class="trashed">trash</b> stays.'),
        "Keep/b.html": page(icons, "GONEMARK"),
    }
    found = ingest(write(tmp_path, files))
    assert [one.text for one in found.documents] == [f"{WORDS} The trash stays."] and "1 deleted texts left out" in found.notes


def test_a_shared_note_of_keep_is_its_owners(tmp_path: Path) -> None:
    sharees = [{"email": "bob@x.example", "isOwner": True}, {"email": "ada@x.example", "isOwner": False}]
    write(tmp_path, {"a.json": keep(textContent="OTHERMARK words", sharees=sharees), "b.json": keep(textContent=WORDS)})
    found = ingest(tmp_path, Policy(me=("ada@x.example",), today="2026-01-01"))
    assert [one.text for one in found.documents] == [WORDS]


def enex_note(title: str, content: str, attributes: str = "") -> str:
    head = '<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE en-note SYSTEM "http://xml.evernote.com/pub/enml2.dtd">'
    return (
        f"<note><title>{title}</title><created>20230311T051614Z</created><note-attributes>{attributes}</note-attributes>"
        f"<content><![CDATA[{head}<en-note>{content}</en-note>]]></content><resource><data>QkFTRTY0</data></resource></note>"
    )


def test_notes_of_evernote_are_read_without_clippings(tmp_path: Path) -> None:
    body = f"<div>{WORDS}</div><div><br/></div><div>And more.</div><en-crypt>SECRETMARK</en-crypt><en-media type='image/png'/>"
    notes = [
        enex_note("Mills", body, "<author>Ada Byron</author>"),
        enex_note("Clip", "<div>CLIPMARK words</div>", "<source>web.clip7</source><source-url>https://x.example</source-url>"),
    ]
    head = '<?xml version="1.0"?><!DOCTYPE en-export SYSTEM "http://xml.evernote.com/pub/evernote-export3.dtd">'
    (tmp_path / "My notes.enex").write_text(f'{head}<en-export export-date="20230312T000000Z">{"".join(notes)}</en-export>')
    found = ingest(tmp_path)
    assert [(one.title, one.text, one.author, one.date) for one in found.documents] == [
        ("Mills", f"{WORDS}\n\nAnd more.", "Ada Byron", "2023-03-11")
    ]
    assert found.notes == ("1 clippings of pages and mails left out",)


@pytest.mark.parametrize("verb", ["Prompted\u00a0", "Prompted ", "Eingegebener Prompt: "])
def test_what_one_asked_gemini_is_read_and_its_answers_are_not(tmp_path: Path, verb: str) -> None:
    answer = [{"html": "<p>MODELMARK of course.</p>"}]
    rows = [
        {
            "header": "Gemini Apps",
            "title": f"{verb}{LONG}",
            "time": "2025-01-15T10:30:00.000Z",
            "products": ["Gemini Apps"],
            "safeHtmlItem": answer,
        },
        {"header": "Gemini Apps", "title": f"{verb}Why?", "time": "2025-01-15T10:30:00.000Z", "products": ["Gemini Apps"]},
    ]
    write(tmp_path, {"Takeout/My Activity/Gemini Apps/MyActivity.json": json.dumps(rows)})
    found = ingest(tmp_path)
    assert [(one.text, one.date) for one in found.documents] == [(LONG, "2025-01-15")] and not found.pairs
    (pair,) = ingest(tmp_path, Policy(extras=("model-answers",), today="2026-01-01")).pairs
    assert [message.content for message in pair.messages] == [LONG, "MODELMARK of course."]


def test_what_one_asked_copilot_is_read_the_same(tmp_path: Path) -> None:
    table = (
        f'Conversation,Time,Author,Message\nC,2025-01-15T10:00:01,AI,MODELMARK words\nC,2025-01-15T10:00:00,Human,"{LONG}"\n'
    )
    write(tmp_path, {"copilot-activity-history.csv": table})
    assert [one.text for one in ingest(tmp_path).documents] == [LONG]


@pytest.mark.parametrize("deleted", ["Recently Deleted", "Zuletzt gelöscht"])
def test_notes_of_apple_are_read_without_those_that_were_deleted(tmp_path: Path, deleted: str) -> None:
    files = {
        "iCloud Notes/Notes/On Mills/On Mills.txt": f"On Mills\n\n{WORDS}",
        "iCloud Notes/Notes/On Mills/scan.txt.png": "x",
        "iCloud Notes/Notes/Bread/Bread.txt": "Flour and salt, nothing else.",
        f"iCloud Notes/{deleted}/Old/Old.txt": "TRASHMARK words",
    }
    found = ingest(write(tmp_path, files))
    assert [(one.title, "TRASHMARK" in one.text) for one in found.documents] == [("Bread", False), ("On Mills", False)]
    assert "1 deleted texts left out" in found.notes and "1 attachments of notes left out" in found.notes


def test_texts_in_folders_of_other_names_are_no_notes_of_apple(tmp_path: Path) -> None:
    found = ingest(write(tmp_path, {"a/a.txt": "Words one.", "a/b.txt": "Words two.", "c/d.txt": "Words three."}))
    assert len(found.documents) == 3 and not found.notes


def test_the_page_that_lists_a_takeout_is_no_writing(tmp_path: Path) -> None:
    page = (
        "<html><head><title>Google Takeout</title></head><body><p>" + "LISTMARK words of a page. " * 30 + "</p></body></html>"
    )
    files = {"Takeout/archive_browser.html": page, "Takeout/Keep/a.json": keep(textContent=WORDS)}
    found = ingest(write(tmp_path, files))
    assert [one.text for one in found.documents] == [WORDS] and "1 pages that list an archive left out" in found.notes
