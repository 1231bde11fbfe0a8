"""Reddit: one's own posts and comments, without what is quoted, deleted or a message."""

from __future__ import annotations

from pathlib import Path

from test_ingest_containers import ingest

from tunesmith.data.ingest.policy import EVERY_STATUS, Policy

COMMENTS = """id,permalink,date,ip,subreddit,gildings,link,parent,body,media
hqab,https://www.reddit.com/r/m/comments/aa/t/hqab/,2022-01-02 10:00:00 UTC,,mills,0,x,,"&gt; QUOTEMARK words

The wheel turns &amp; the bread rises, whatever the *hour*.",
hqac,https://www.reddit.com/r/m/comments/aa/t/hqac/,2022-01-03 10:00:00 UTC,,mills,0,x,,[deleted],
hqad,https://www.reddit.com/r/m/comments/aa/t/hqad/,2022-01-03 10:00:00 UTC,,mills,0,x,,[ Removed by Reddit ],
"""
POSTS = """id,permalink,date,ip,subreddit,gildings,title,url,body
p1,https://www.reddit.com/r/m/comments/p1/,2022-01-05 10:00:00 UTC,,mills,0,A Mill &amp; Two Clocks,,"A miller kept two clocks."
p2,https://www.reddit.com/r/m/comments/p2/,2022-01-06 10:00:00 UTC,,mills,0,Only a link,https://x.example,
"""
EXPORT = {
    "comments.csv": COMMENTS,
    "posts.csv": POSTS,
    "drafts.csv": "id,title,body\nd1,Later,DRAFTMARK words of a draft\n",
    "messages.csv": "id,permalink,thread_id,date,ip,from,to,subject,body\nm1,,,2022-01-05,,bob,me,hi,MESSAGEMARK words\n",
    "saved_posts.csv": "id,permalink\nzz,x\n",
    "statistics.csv": "statistic,value\naccount name,miller77\n",
}


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or EXPORT:
        (folder / name).write_text(EXPORT[name])
    return folder


def test_posts_and_comments_carry_their_facts_and_no_words_of_others(tmp_path: Path) -> None:
    write(tmp_path / "reddit")
    found = ingest(tmp_path)
    comment, post = found.documents
    assert comment.text == "The wheel turns & the bread rises, whatever the hour." and comment.title is None
    assert (comment.source, comment.date, comment.thread) == ("reddit/comments/hqab", "2022-01-02", "aa")
    assert (post.title, post.text, post.author) == ("A Mill & Two Clocks", "A miller kept two clocks.", "miller77")
    assert comment.url == "https://www.reddit.com/r/m/comments/aa/t/hqab/"
    assert {"2 deleted texts left out", "1 drafts left out", "1 texts without words left out"} <= set(found.notes)
    assert "3 tables of a Reddit export that hold no posts left out (messages, votes, settings)" in found.notes


def test_quotations_and_drafts_are_taken_when_asked_for(tmp_path: Path) -> None:
    policy = Policy(extras=("quotations",), publication=EVERY_STATUS, today="2026-01-01")
    text = "".join(one.text for one in ingest(write(tmp_path), policy).documents)
    assert "QUOTEMARK" in text and "DRAFTMARK" in text and "MESSAGEMARK" not in text


def test_one_table_alone_is_read_the_same_and_other_tables_are_no_export(tmp_path: Path) -> None:
    assert len(ingest(write(tmp_path, "comments.csv") / "comments.csv").documents) == 1
    (tmp_path / "posts.csv").write_text("title,text\nRain,It rained all day long here.\n")
    (tmp_path / "comments.csv").unlink()
    assert [one.extraction for one in ingest(tmp_path).documents] == ["rows"]


def test_messages_alone_are_never_writing(tmp_path: Path) -> None:
    write(tmp_path / "reddit", "messages.csv")
    (tmp_path / "a.md").write_text("Words.")
    assert [one.source for one in ingest(tmp_path).documents] == ["a.md"]
