"""Bear, Joplin and Standard Notes: notes with their days; no trash, clippings, conflicts or second copies. Lists of readers."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.core.errors import TunesmithError
from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."
ID = "0123456789abcdef0123456789abcde"
EVERYTHING = Policy(publication=EVERY_STATUS, today="2026-01-01")


def written(folder: Path, members: Mapping[str, str]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def bundle(name: str, text: str, **bear: Any) -> dict[str, str]:
    stated = {"creationDate": "2021-03-04T10:00:00Z", "trashed": 0, **bear}
    info = {"version": 2, "type": "net.daringfireball.markdown", "net.shinyfrog.bear": stated}
    return {f"{name}.textbundle/info.json": json.dumps(info), f"{name}.textbundle/text.markdown": text}


@pytest.mark.parametrize("zipped", [False, True])
def test_notes_of_bear_have_their_first_line_as_title_and_the_trash_stays_there(tmp_path: Path, zipped: bool) -> None:
    members = {
        **bundle("Kettle", f"# Kettle\n\n{WORDS}"),
        **bundle("Tea", f"Tea\n{WORDS} Tea."),
        **bundle("Old", f"# Old\n\n{WORDS} OLD", trashed=1),
        "tags.json": '{"tags": ["text"]}',
    }
    if zipped:
        (tmp_path / "x.bear2bk").write_bytes(packed({f"Bear Backup/{name}": text for name, text in members.items()}))
    source = tmp_path / "x.bear2bk" if zipped else written(tmp_path / "x", members)
    found = ingest(source)
    assert [(d.title, d.date) for d in found.documents] == [("Kettle", "2021-03-04"), ("Tea", "2021-03-04")]
    assert found.documents[0].text == WORDS and found.notes == ("1 deleted texts left out", "1 lists of tags left out")
    assert {d.title: d.status for d in ingest(source, EVERYTHING).documents}["Old"] == "deleted"


def test_a_locked_note_is_a_failure_and_one_bundle_alone_is_read(tmp_path: Path) -> None:
    written(tmp_path, {**bundle("Kettle", f"# \n{WORDS}"), **bundle("Secret", "x", encrypted=1)})
    found = ingest(tmp_path)
    assert [document.title for document in found.documents] == [WORDS]
    assert [failure.source for failure in found.failures] == ["Secret.textbundle/text.markdown"]
    assert [document.text for document in ingest(tmp_path / "Kettle.textbundle").documents] == [WORDS]


def joplin(number: int, title: str, kind: int = 1, **more: str) -> dict[str, str]:
    stated = {"id": f"{ID}{number}", "created_time": "2021-03-04T10:00:00.000Z", "source_url": "", "is_conflict": "0", **more}
    below = "\n".join(f"{key}: {value}" for key, value in {**stated, "type_": str(kind)}.items())
    body = f"{title}\n\n{WORDS} {title}\n\n" if kind == 1 else f"{title}\n\n"
    return {f"{ID}{number}.md": body + below}


def raw() -> dict[str, str]:
    return {
        **joplin(1, "Kettle", author="Ada Byron"),
        **joplin(2, "Notebook", kind=2),
        **joplin(3, "Clipped", source_url="https://example.org/other"),
        **joplin(4, "Conflict", is_conflict="1"),
        **joplin(5, "Old", deleted_time="1614852000000"),
    }


@pytest.mark.parametrize("archived", [False, True])
def test_notes_of_joplin_are_read_from_raw_files_and_from_the_archive(tmp_path: Path, archived: bool) -> None:
    if archived:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in {**raw(), "resources/a.txt": "PLANTED"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content.encode())
                archive.addfile(member, io.BytesIO(content.encode()))
        (tmp_path / "notes.jex").write_bytes(buffer.getvalue())
    else:
        written(tmp_path, {**raw(), "resources/a.txt": "PLANTED words in a file."})
    found = ingest(tmp_path)
    assert [(d.title, d.author, d.date) for d in found.documents] == [("Kettle", "Ada Byron", "2021-03-04")]
    assert found.documents[0].text == f"{WORDS} Kettle"
    assert found.notes == (
        "1 clippings of other people's pages left out",
        "1 copies of conflicts left out",
        "1 deleted texts left out",
        "1 files attached to notes left out",
        "1 notebooks, tags and other items without text left out",
    )


def test_what_is_encrypted_or_cut_says_what_to_do(tmp_path: Path) -> None:
    written(tmp_path, {**joplin(1, "Kettle"), **joplin(2, "Secret", encryption_applied="1")})
    (failure,) = ingest(tmp_path).failures
    assert failure.source == f"{ID}2.md" and "encryption" in failure.reason
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(f"{ID}1.md")
        member.size = 3000
        archive.addfile(member, io.BytesIO(b"x" * 3000))
    (tmp_path / "cut.jex").write_bytes(buffer.getvalue()[:1000])
    assert any("export it again" in failure.reason for failure in ingest(tmp_path).failures)


def note(title: str, text: str, **more: Any) -> dict[str, Any]:
    content = {"title": title, "text": text, **more}
    return {"uuid": title, "content_type": "Note", "created_at": "2021-03-04T10:00:00.000Z", "content": content}


def test_a_backup_of_standard_notes_is_read_once_in_the_markup_of_each_note(tmp_path: Path) -> None:
    paragraph = {"type": "paragraph", "children": [{"type": "text", "text": f"{WORDS} Super."}]}
    items = [
        note("Kettle", f"{WORDS} *Plain.*"),
        note("Super", json.dumps({"root": {"type": "root", "children": [paragraph]}}), noteType="super"),
        note("Rich", f"<p>{WORDS} Rich.</p>", noteType="rich-text"),
        note("Code", "PLANTED()", noteType="code"),
        note("Old", f"{WORDS} OLD", trashed=True),
        {"uuid": "t", "content_type": "Tag", "content": {"title": "PLANTED"}},
    ]
    backup = {"Standard Notes Backup.txt": json.dumps({"version": "004", "items": items})}
    (tmp_path / "x.zip").write_bytes(packed({**backup, "Items/Note/Kettle-1.txt": f"{WORDS} *Plain.*"}))
    found = ingest(tmp_path / "x.zip")
    assert {d.title: d.text for d in found.documents} == {name: f"{WORDS} {name}." for name in ("Super", "Rich")} | {
        "Kettle": f"{WORDS} Plain."
    }
    assert all(document.date == "2021-03-04" for document in found.documents)
    assert {"1 deleted texts left out", "1 second copies of notes left out"} <= set(found.notes)


def test_an_encrypted_backup_says_how_to_make_another(tmp_path: Path) -> None:
    items = [{"uuid": "a", "content_type": "Note", "content": "004:abc", "created_at": "2021-03-04T10:00:00.000Z"}]
    (tmp_path / "a.txt").write_text(json.dumps({"version": "004", "items": items}))
    with pytest.raises(TunesmithError, match="Decrypted"):
        ingest(tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        "email,active_subscription,expiry,created_at",
        "id,email,name,subscribed_to_emails,tiers",
        "Email Address,MEMBER_RATING,LEID",
    ],
)
def test_lists_of_readers_are_named_as_no_writing(tmp_path: Path, head: str) -> None:
    (tmp_path / "members.csv").write_text(f"{head}\nr@example.org,1,2,3,4\n")
    (tmp_path / "a.md").write_text("Words of mine.")
    found = ingest(tmp_path)
    assert not found.failures and found.notes == ("1 lists of readers, opens and deliveries (not writing) left out",)


@pytest.mark.parametrize(
    "members",
    [
        {"Novel.scriv/Novel.scrivx": "<ScrivenerProject/>", "Novel.scriv/Files/Data/1/content.md": f"{WORDS} PLANTED"},
        {"Notes.onepkg": "MSCF and more"},
    ],
)
def test_what_is_recognised_and_not_read_says_what_to_do_instead(tmp_path: Path, members: Mapping[str, str]) -> None:
    found = ingest(written(tmp_path, {**members, "a.md": "Words of mine."}))
    assert [document.source for document in found.documents] == ["a.md"]
    assert len(found.failures) == 1 and "not read yet" in found.failures[0].reason and ".docx" in found.failures[0].reason
