"""X (Twitter): the posts of the account, threads whole, and no word of anybody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

LONG = "The miller kept two clocks, one for the wheel and one for the bread, and they never agreed on the hour of anything."


def tweet(id: int, text: str, **more: Any) -> dict[str, Any]:
    said = {"id_str": str(id), "full_text": text, "created_at": "Sat Mar 05 10:00:00 +0000 2022", "lang": "en"}
    return {"tweet": {**said, **more}}


def script(name: str, rows: list[Any]) -> str:
    return f"window.YTD.{name}.part0 = {json.dumps(rows)}"


ACCOUNT = script("account", [{"account": {"accountId": "7", "username": "ada", "accountDisplayName": "Ada Byron"}}])
TWEETS = [
    tweet(10, "Mills &amp; clocks, a thread: https://t.co/aaaa"),
    tweet(11, "Second part.", in_reply_to_status_id_str="10", in_reply_to_user_id_str="7"),
    tweet(12, "@ada Third part.", in_reply_to_status_id_str="11", in_reply_to_user_id_str="7"),
    tweet(13, "RT @carol: SHAREDMARK words of another"),
    tweet(14, "@bob REPLYMARK no", in_reply_to_status_id_str="5", in_reply_to_user_id_str="9"),
    tweet(15, "@ada and more of REPLYMARK", in_reply_to_status_id_str="14", in_reply_to_user_id_str="7"),
    tweet(16, "So true RT @dora: OLDSHAREMARK words"),
    tweet(17, "“@dora: QUOTEMARK words” ha"),
    tweet(18, LONG[:80] + "… https://t.co/bbbb"),
]
ARCHIVE = {
    "Ihr Archiv.html": '<html><script src="data/manifest.js"></script>PAGEMARK</html>',
    "assets/x.json": "{}",
    "data/account.js": ACCOUNT,
    "data/tweets.js": script("tweets", TWEETS),
    "data/tweets-part1.js": script("tweets", [tweet(20, "From the second part of the file.", lang="und")]),
    "data/deleted-tweets.js": script("deleted_tweets", [tweet(21, "GONEMARK words")]),
    "data/like.js": script("like", [{"like": {"fullText": "LIKEMARK words"}}]),
    "data/direct-messages.js": script("direct_messages", [{"dmConversation": {"messages": [{"text": "DMMARK words"}]}}]),
    "data/README.txt": "READMEMARK how to use the archive",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_own_posts_are_documents_and_threads_are_joined(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed(ARCHIVE))
    found = {document.source: document for document in ingest(tmp_path / "x.zip").documents}
    thread = found["x.zip/10"]
    assert thread.text == "Mills & clocks, a thread:\n\nSecond part.\n\nThird part."
    assert (thread.author, thread.date, thread.language, thread.thread) == ("Ada Byron", "2022-03-05", "en", "10")
    assert thread.url == "https://x.com/ada/status/10" and found["x.zip/20"].language is None
    assert found["x.zip/16"].text == "So true" and len(found) == 4


@pytest.mark.parametrize("layout", ["whole", "nested", "data folder alone"])
def test_nothing_that_others_wrote_is_taken_wherever_the_archive_lies(tmp_path: Path, layout: str) -> None:
    if layout == "data folder alone":
        write(tmp_path, {name.removeprefix("data/"): text for name, text in ARCHIVE.items() if name.startswith("data/")})
    else:
        write(tmp_path / "old/stuff" if layout == "nested" else tmp_path, ARCHIVE)
    found = ingest(tmp_path)
    assert not [document for document in found.documents if "MARK" in document.text] and len(found.documents) == 4
    assert "2 posts of others that were shared left out" in found.notes and "1 replies to others left out" in found.notes
    assert "1 deleted texts left out" in found.notes


def test_replies_and_deleted_posts_are_taken_when_asked_for(tmp_path: Path) -> None:
    policy = Policy(extras=("replies",), publication=EVERY_STATUS, today="2026-01-01")
    texts = {document.text for document in ingest(write(tmp_path, ARCHIVE), policy).documents}
    assert {"REPLYMARK no\n\nand more of REPLYMARK", "GONEMARK words"} <= texts


def test_a_long_post_is_whole_and_one_without_its_beginning_stands_alone(tmp_path: Path) -> None:
    long = f"{LONG} {LONG}"
    notes = [
        {"noteTweet": {"noteTweetId": "1", "createdAt": "2022-03-05T10:00:00.000Z", "core": {"text": long}}},
        {"noteTweet": {"noteTweetId": "2", "createdAt": "2023-03-05T10:00:00.000Z", "core": {"text": "Another note."}}},
    ]
    files = {
        "tweets.js": script("tweets", [tweet(18, long[:130] + "… https://t.co/b")]),
        "note-tweet.js": script("note_tweet", notes),
    }
    found = ingest(write(tmp_path, files)).documents
    assert [(one.text, one.date) for one in found] == [(long, "2022-03-05"), ("Another note.", "2023-03-05")]


def test_archives_of_before_2018_are_read(tmp_path: Path) -> None:
    rows = [
        {"id_str": "1", "text": "From an old archive.", "created_at": "2012-03-04 10:00:00 +0000"},
        {"id_str": "2", "text": "Shared.", "created_at": "2012-03-04 10:00:00 +0000", "retweeted_status": {"text": "OTHER"}},
    ]
    table = (
        '"tweet_id","in_reply_to_status_id","in_reply_to_user_id","timestamp","source","text","retweeted_status_id"\n'
        '"1","","","2012-03-04 10:00:00 +0000","web","From an old archive.",""\n'
        '"2","","","2012-03-04 10:00:00 +0000","web","OTHER","77"\n'
    )
    scripts = {"data/js/tweets/2012_03.js": f"Grailbird.data.tweets_2012_03 = {json.dumps(rows)}", "tweets.csv": table}
    for number, files in enumerate([scripts, {"tweets.csv": table}]):
        (found,) = ingest(write(tmp_path / str(number), files)).documents
        assert (found.text, found.date) == ("From an old archive.", "2012-03-04")


def test_a_broken_part_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    files = {**ARCHIVE, "data/tweets-part1.js": ARCHIVE["data/tweets-part1.js"][:-9]}
    found = ingest(write(tmp_path, files))
    assert len(found.documents) == 3 and [failure.source for failure in found.failures] == ["data/tweets-part1.js"]


def test_an_archive_without_posts_says_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, {"x/data/like.js": ARCHIVE["data/like.js"], "a.md": "Words."})
    found = ingest(tmp_path)
    assert [one.source for one in found.documents] == ["a.md"] and "tweets.js" in found.failures[0].reason


def test_what_is_asked_for_by_another_name_than_the_handle_stays_own(tmp_path: Path) -> None:
    found = ingest(write(tmp_path, ARCHIVE), Policy(me=("Augusta",), today="2026-01-01"))
    assert len(found.documents) == 4 and {one.author for one in found.documents} == {None}


BLOCKS = [
    {"text": "Why clocks", "type": "header-two"},
    {"text": LONG, "type": "unstyled"},
    {"text": "wheel", "type": "unordered-list-item"},
    {"text": "bread", "type": "unordered-list-item"},
    {"text": " ", "type": "atomic"},
]


@pytest.mark.parametrize("where", ["content_state", "text in text"])
def test_articles_have_their_title_and_their_blocks(tmp_path: Path, where: str) -> None:
    state: Any = {"blocks": BLOCKS, "entityMap": {}}
    body = {"content_state": state} if where == "content_state" else {"data": json.dumps(state)}
    rows = [
        {"article": {"id": "9", "title": "Two clocks &amp; a mill", "created_at": "2024-03-05T10:00:00.000Z", **body}},
        {"article": {"id": "8", "title": "Half", "status": "Draft", "plain_text": f"DRAFTMARK {LONG}"}},
    ]
    found = ingest(write(tmp_path, {**ARCHIVE, "data/article.js": script("article", rows)}))
    (one,) = [document for document in found.documents if document.title]
    assert (one.title, one.text, one.date) == (
        "Two clocks & a mill",
        f"## Why clocks\n\n{LONG}\n\n- wheel\n- bread",
        "2024-03-05",
    )
    assert "2 deleted texts left out" not in found.notes and "1 drafts left out" in found.notes


def test_articles_in_an_unknown_form_are_named_and_the_posts_are_read(tmp_path: Path) -> None:
    found = ingest(write(tmp_path, {**ARCHIVE, "data/article.js": script("article", [{"article": {"id": "9", "body": 7}}])}))
    assert len(found.documents) == 4 and "save each as a page" in found.failures[0].reason
