"""Mastodon, Bluesky, LinkedIn, Facebook, Instagram: one's own public posts; no message, no comment, nothing that was shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

OWN = "The miller kept two clocks, and the größte of them was wrong."
REPLIES = Policy(extras=("replies",), publication=EVERY_STATUS, today="2026-01-01")
Files = dict[str, str]
AS = "https://www.w3.org/ns/activitystreams#Public"


def mastodon() -> Files:
    base = "https://m.example/users/ada"

    def toot(id: int, content: str, *, to: str = AS, answers: str | None = None) -> dict[str, Any]:
        note = {
            "id": f"{base}/statuses/{id}", "type": "Note", "summary": None, "inReplyTo": answers,
            "published": f"2023-03-1{id}T09:00:00Z",
            "url": f"https://m.example/@ada/{id}", "to": [to], "cc": [], "content": content, "contentMap": {"de": content},
        }  # fmt: skip
        return {"type": "Create", "to": [to], "object": note}

    mention = '<span class="h-card" translate="no"><a href="https://x/@bob" class="u-url mention">@<span>bob</span></a></span>'
    link = (
        '<a href="https://x.example/LINKMARK" rel="nofollow"><span class="invisible">https://</span><span>x.example</span></a>'
    )
    items = [
        toot(1, f"<p>{OWN} {link}</p>"),
        toot(2, "<p>And it rang.</p>", answers=f"{base}/statuses/1"),
        toot(3, f"<p>{mention} REPLYMARK words</p>", answers="https://other.example/9"),
        toot(4, "<p>FOLLOWERMARK words</p>", to=f"{base}/followers"),
        toot(5, f"<p>{mention} DIRECTMARK words</p>", to="https://x/users/bob"),
        {"type": "Announce", "to": [AS], "object": "https://other.example/SHAREMARK"},
    ]
    actor = {"type": "Person", "name": "Ada Byron", "preferredUsername": "ada"}
    outbox = {"type": "OrderedCollection", "totalItems": 6, "orderedItems": items}
    likes = {"orderedItems": ["https://x.example/LIKEMARK"]}
    return {"outbox.json": json.dumps(outbox), "actor.json": json.dumps(actor), "likes.json": json.dumps(likes)}


def bluesky_record(key: str, text: str, *, parent: str = "") -> dict[str, Any]:
    reply = {"reply": {"parent": {"uri": parent}, "root": {"uri": parent}}} if parent else {}
    value = {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2023-03-11T09:00:00Z", "langs": ["de"], **reply}
    return {"uri": f"at://did:plc:ada/app.bsky.feed.post/{key}", "value": value}


def bluesky() -> Files:
    records = [
        bluesky_record("3k1", OWN),
        bluesky_record("3k2", "And it rang.", parent="at://did:plc:ada/app.bsky.feed.post/3k1"),
        bluesky_record("3k3", "REPLYMARK words", parent="at://did:plc:bob/app.bsky.feed.post/3j0"),
    ]
    return {"posts.json": json.dumps({"records": records})}


def bluesky_unpacked() -> Files:
    records = json.loads(bluesky()["posts.json"])["records"]
    files = {
        f"did:plc:ada/app.bsky.feed.post/{one['uri'].rpartition('/')[2]}.json": json.dumps(one["value"]) for one in records
    }
    return {
        **files,
        "did:plc:ada/app.bsky.feed.like/3k9.json": json.dumps({"$type": "app.bsky.feed.like", "subject": "LIKEMARK"}),
    }


def linkedin() -> Files:
    article = (
        '<html><head><title>x</title></head><body><h1><a href="https://l.example/a">On Mills</a></h1>'
        '<p class="created">Created on 2019-02-01 10:00</p><p class="published">Published on 2019-02-02 10:00</p>'
        "<div><p>Words of an article.</p></div></body></html>"
    )
    return {
        "Shares.csv": "Date,ShareLink,ShareCommentary,SharedUrl,MediaUrl,Visibility\n"
        f'2023-03-11 09:00:00,https://l.example/1,"{OWN}""\n""And it rang.",,,MEMBER_NETWORK\n'
        "2023-03-12 09:00:00,https://l.example/2,FOLLOWERMARK words,,,CONNECTIONS\n",
        "Profile.csv": "First Name,Last Name,Headline\nAda,Byron,HEADLINEMARK\n",
        "messages.csv": "CONVERSATION ID,CONVERSATION TITLE,FROM,TO,CONTENT\n1,x,Bob,Ada,DIRECTMARK words\n",
        "Comments.csv": "Date,Link,Message\n2023-03-11 09:00:00,https://l.example/3,REPLYMARK words\n",
        "Recommendations_Received.csv": "First Name,Text\nBob,OTHERMARK words\n",
        "Articles/Articles/on-mills.html": article,
        "Articles/Articles/draft.html": article.replace('class="published"', 'class="x"').replace(
            "Words of", "FOLLOWERMARK of"
        ),
    }


def spoilt(value: Any) -> str:
    def spoil(one: Any) -> Any:
        if isinstance(one, str):
            return one.encode().decode("latin-1")
        if isinstance(one, list):
            return [spoil(part) for part in one]
        return {key: spoil(part) for key, part in one.items()} if isinstance(one, dict) else one

    return json.dumps(spoil(value))


def facebook() -> Files:
    posts = [
        {
            "timestamp": 1678525200,
            "data": [{"post": f"{OWN}\nAnd it rang."}, {"update_timestamp": 1}],
            "title": "TITLEMARK updated",
        },
        {"timestamp": 1678525201, "attachments": [{"data": [{"name": "OTHERMARK"}]}], "title": "TITLEMARK shared a link."},
    ]
    top = "your_facebook_activity"
    return {
        f"{top}/posts/your_posts__check_ins__photos_and_videos_1.json": spoilt(posts),
        f"{top}/posts/other_people's_posts_to_your_timeline.json": spoilt([{"timestamp": 1, "data": [{"post": "OTHERMARK"}]}]),
        f"{top}/comments_and_reactions/comments.json": spoilt(
            {"comments_v2": [{"data": [{"comment": {"comment": "COMMENTMARK"}}]}]}
        ),
        f"{top}/messages/inbox/bob_1/message_1.json": spoilt(
            {"messages": [{"sender_name": "Bob", "timestamp_ms": 1, "content": "DIRECTMARK"}]}
        ),
        "personal_information/profile_information/profile_information.json": spoilt(
            {"profile_v2": {"name": {"full_name": "Ada Byron"}}}
        ),
        "start_here.html": "<html>PAGEMARK words</html>",
    }


def instagram() -> Files:
    posts = [{"media": [{"uri": "media/1.jpg", "creation_timestamp": 1678525200, "title": f"{OWN}\nAnd it rang."}]}]
    archived = {
        "ig_archived_post_media": [{"media": [{"uri": "x", "creation_timestamp": 1678525200, "title": "FOLLOWERMARK words"}]}]
    }
    answer = {"uri": "", "creation_timestamp": 1678525200, "title": "REPLYMARK words", "text_app_post": {"is_reply": True}}
    return {
        "your_instagram_activity/threads/threads_and_replies.json": spoilt({"text_post_app_text_posts": [{"media": [answer]}]}),
        "your_instagram_activity/content/posts_1.json": spoilt(posts),
        "your_instagram_activity/content/archived_posts.json": spoilt(archived),
        "your_instagram_activity/comments/post_comments_1.json": spoilt(
            [{"string_map_data": {"Comment": {"value": "COMMENTMARK"}}}]
        ),
        "personal_information/personal_information.json": spoilt(
            {"profile_user": [{"string_map_data": {"Name": {"value": "Ada Byron"}}}]}
        ),
    }


EXPORTS = [mastodon, bluesky, bluesky_unpacked, linkedin, facebook, instagram]


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("layout", ["folder", "nested", "zip"])
def test_own_public_posts_alone_are_taken(tmp_path: Path, export: Callable[[], Files], layout: str) -> None:
    source = tmp_path / ("x.zip" if layout == "zip" else "x")
    if layout == "zip":
        source.write_bytes(packed(export()))
    else:
        write(source / "deep/er" if layout == "nested" else source, export())
    found = ingest(source)
    posts = {one.text.replace("\n\n", "\n"): one for one in found.documents}
    post = posts.pop(f"{OWN}\nAnd it rang.")
    assert post.date == "2023-03-11" and post.title is None and post.status == "published"
    assert post.author == (None if "bluesky" in export.__name__ else "Ada Byron")
    assert list(posts) == (["Words of an article."] if export is linkedin else []) and not found.failures
    if export is linkedin:
        article = posts["Words of an article."]
        assert (article.title, article.date, article.url) == ("On Mills", "2019-02-02", "https://l.example/a")


@pytest.mark.parametrize("export", [mastodon, bluesky, linkedin, instagram])
def test_replies_and_private_posts_are_taken_when_asked_for_and_messages_never(
    tmp_path: Path, export: Callable[[], Files]
) -> None:
    text = " ".join(one.text for one in ingest(write(tmp_path, export()), REPLIES).documents)
    assert "REPLYMARK words" in text and ("FOLLOWERMARK" in text) == (export is not bluesky)
    for mark in ("DIRECTMARK", "COMMENTMARK", "OTHERMARK", "LIKEMARK", "@bob", "LINKMARK"):
        assert mark not in text


def test_one_file_of_facebook_alone_is_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "your_posts_1.json").write_text(
        facebook()["your_facebook_activity/posts/your_posts__check_ins__photos_and_videos_1.json"]
    )
    assert [one.text for one in ingest(tmp_path).documents] == [f"{OWN}\nAnd it rang."]


def facebook_block(heading: str, *parts: str) -> str:
    pins = "".join(f'<div class="_2pin">{part}</div>' for part in parts)
    foot = '<footer class="_3-94 _a6-o"><a href="x"><div class="_a72d">Mar 11, 2023 9:00:00 am</div></a></footer>'
    head = f'<h2 class="_2ph_ _a6-h">{heading}</h2>'
    return f'<div class="_3-95 _a6-g">{head}<div class="_2ph_ _a6-p"><div>{pins}</div></div>{foot}</div>'


def test_the_pages_of_facebook_and_instagram_hold_the_same_posts(tmp_path: Path) -> None:
    link = '<a href="https://x.example">OTHERMARK</a>'
    facebook = [
        facebook_block("TITLEMARK updated her status.", f"<div>{OWN}<br>And it rang.</div>", "Updated Mar 11, 2023 9:00:00 am"),
        facebook_block("TITLEMARK shared a link.", link, "OTHERMARK words of a page"),
        facebook_block("TITLEMARK was at the mill.", "", "OTHERMARK the place"),
    ]
    picture = '<div class="_3-95 _a6-p"><img src="x.jpg"></div><div class="_3-94 _a6-o">Mar 12, 2023, 9:00 AM</div>'
    instagram = f'<div class="pam _3-95 _a6-g"><div class="_2pim _a6-h">A caption of mine.</div>{picture}</div>'
    files = {
        "f/your_facebook_activity/posts/your_posts__check_ins__photos_and_videos_1.html": "".join(facebook),
        "f/your_facebook_activity/messages/inbox/x/message_1.html": "<html>DIRECTMARK</html>",
        "i/your_instagram_activity/content/posts_1.html": instagram,
    }
    found = ingest(write(tmp_path, {name: f"<html><body>{text}</body></html>" for name, text in files.items()}))
    assert [(one.text, one.date) for one in found.documents] == [
        (f"{OWN}\nAnd it rang.", "2023-03-11"),
        ("A caption of mine.", "2023-03-12"),
    ]
    assert not found.failures


def test_the_repository_of_bluesky_says_how_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "repo.car").write_bytes(b"\x3a\xa2eroots\x81\xd8*X%\x00gversion\x01" + b"\0" * 50)
    (tmp_path / "a.md").write_text("Words.")
    assert "goat repo unpack" in ingest(tmp_path).failures[0].reason
    (tmp_path / "b.car").write_bytes(b"something else")


def test_tables_of_other_people_are_no_export_of_linkedin(tmp_path: Path) -> None:
    (tmp_path / "comments.csv").write_text("title,text\nRain,It rained all day long here.\n")
    assert [one.extraction for one in ingest(tmp_path).documents] == ["rows"]
