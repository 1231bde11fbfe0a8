"""The data that Facebook and Instagram send of an account: one's own posts; no comment, no message, nobody else's post."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lxml import etree, html

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import as_fragment, json_in, json_or_none, mended, objects, owner, text_of, utc_day
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_TOP_TEXT = """
your_facebook_activity your_activity_across_facebook this_profile's_activity_across_facebook your_instagram_activity
personal_information connections security_and_login_information ads_information apps_and_websites_off_of_facebook
apps_and_websites_off_of_instagram apps_and_websites preferences logged_information messages posts comments
comments_and_reactions likes_and_reactions reactions friends_and_followers followers_and_following content media
likes files groups profile_information about_you search location saved saved_items_and_collections stories
story_interactions events
pages marketplace notes other_activity past_instagram_insights subscriptions threads monetization reports contacts devices
login_and_account_creation
"""
_TOP = frozenset(_TOP_TEXT.split())
_ACTIVITY = (
    r"(?:(?:your_facebook_activity|your_activity_across_facebook|this_profile's_activity_across_facebook"
    r"|your_instagram_activity)/)?"
)
_POSTS = re.compile(
    rf"(?:{_ACTIVITY}(?:posts|content|media|notes|threads)/)?(?:your_posts(?:__[a-z_]*?)?_?\d*|profile_posts_\d+|posts_\d+"
    r"|posts|notes|reels|stories|igtv_videos|archived_posts|threads_and_replies)\.(json|html)"
)
_MARKS = (
    (b'"timestamp"', b'"data"'),
    (b'"timestamp"', b'"attachments"'),
    (b'"creation_timestamp"', b'"uri"'),
    (b'"created_timestamp"', b'"text"'),
)
_PAGE = (b"_a6-g", b"_2ph_", b"pam _3-95")


def _claimed(tree: Tree) -> Collection[str]:
    found = [name for name in tree.names if _is_posts(tree, name)]
    if not found:
        return ()
    if not any("/" in name for name in found):
        return found
    return {*found, *(name for name in tree.names if name.split("/")[0] in _TOP), *_first_pages(tree)}


def _first_pages(tree: Tree) -> list[str]:
    return [name for name in tree.files if name in ("start_here.html", "index.html", "no-data.txt")]


def _is_posts(tree: Tree, name: str) -> bool:
    match = _POSTS.fullmatch(name)
    if match is None:
        return False
    head = tree.head(name)
    if match[1] == "html":
        return any(mark in head for mark in _PAGE)
    return any(all(mark in head for mark in marks) for marks in _MARKS)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    author = owner(policy, *_names(tree))
    found = [name for name in tree.names if _is_posts(tree, name)]
    reason = "files of a Facebook or Instagram export that hold no posts left out (messages, comments, contacts)"
    yield LeftOut(reason=reason, count=len(tree.names) - len(found))
    for name in found:
        try:
            if name.endswith(".html"):
                yield from _of_page(decode(tree.read(name)), name.removesuffix(".html"), author)
                continue
            rows = _rows(json_in(tree.read(name)))
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        status: Status = "private" if "archived_posts" in name else "published"
        for number, row in enumerate(rows, 1):
            if _is_reply(row) and "replies" not in policy.extras:
                yield LeftOut(reason="replies to others left out")
                continue
            yield _post(row, f"{name.removesuffix('.json')}/{number}", author, status)


def _is_reply(row: Mapping[str, Any]) -> bool:
    """On Threads, whose posts come with those of Instagram, a post says whether it is one."""
    marks = (one.get("text_app_post") for one in (row, *objects(row.get("media"))))
    return any(isinstance(mark, Mapping) and mark.get("is_reply") is True for mark in marks)


def _rows(value: object) -> list[Mapping[str, Any]]:
    """The posts of a file: a list, or a list under a name of its own (`ig_stories`, `status_updates`)."""
    if isinstance(value, Mapping):
        lists = [objects(one) for one in value.values() if isinstance(one, list)]
        is_one = "media" in value or "data" in value  # an account with a single post is exported without a list
        return [value] if is_one or not lists else [row for rows in lists for row in rows]
    return objects(value)


def _post(row: Mapping[str, Any], name: str, author: str | None, status: Status) -> Entry:
    data = [mended(text_of(one.get("post"))) for one in objects(row.get("data"))]
    media = objects(row.get("media"))
    stamps = (row.get(key) for key in ("timestamp", "creation_timestamp", "created_timestamp"))
    stamp = next((one for one in stamps if one), None) or next((one.get("creation_timestamp") for one in media), None)
    title = ""
    if "text" in row:  # a note: it has a title that its author wrote
        texts, title = [mended(text_of(row["text"]))], mended(text_of(row.get("title")))
    elif data:
        texts = data  # the title of a post says what happened: "Ada updated her status."
    else:
        title_of_picture = text_of(row.get("title")) if "timestamp" not in row else ""
        texts = [mended(title_of_picture)] if title_of_picture else []
        texts = texts or [mended(text_of(one.get("title"))) for one in media]
    words = "\n\n".join(dict.fromkeys(text for text in texts if text.strip()))
    facts = Facts(title=" ".join(title.split()), author=author, date=utc_day(stamp), status=status)
    return Text(name=name, content=as_fragment(words), kind="fragment", facts=facts)


def _of_page(page: str, name: str, author: str | None) -> Iterator[Entry]:
    """The posts of a page: on Facebook the first part below the heading, which says what happened; on Instagram the heading
    itself, which is the caption. What was shared stands in links, pictures and later parts."""
    try:
        root = html.fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError) as error:
        raise UnreadableError("its HTML cannot be parsed") from error
    own = (
        './/*[contains(@class,"_a6-p")]//*[contains(@class,"_2pin")]' if "your_posts" in name or "profile_posts" in name else ""
    )
    for number, post in enumerate(root.xpath('//*[contains(concat(" ",@class," ")," _a6-g ")]'), 1):
        parts = post.xpath(own or './/*[contains(@class,"_a6-h")]')
        stamps = post.xpath('.//*[contains(@class,"_a72d")]') or post.xpath('.//*[contains(@class,"_a6-o")]')
        stated = [" ".join(one.text_content().split()) for one in (*stamps, *parts[1:])]
        day = next((day for one in stated if (day := iso_date(one))), None)
        is_own = bool(parts) and not parts[0].xpath(".//a | .//img | .//table") and not iso_date(parts[0].text_content())
        content = etree.tostring(parts[0], encoding="unicode", method="html", with_tail=False) if is_own else ""
        yield Text(name=f"{name}/{number}", content=content, kind="fragment", facts=Facts(title="", author=author, date=day))


def _names(tree: Tree) -> list[str]:
    for name in tree.names:
        last = name.rpartition("/")[2]
        if last == "profile_information.json" and isinstance(value := json_or_none(tree, name), Mapping):
            profile: Mapping[str, Any] = next(
                (value[key] for key in ("profile_v2", "profile") if isinstance(value.get(key), Mapping)), {}
            )
            known = profile.get("name")
            return [mended(text_of(known.get("full_name")))] if isinstance(known, Mapping) else []
        if last == "personal_information.json" and isinstance(value := json_or_none(tree, name), Mapping):
            fields = [one.get("string_map_data") for one in objects(value.get("profile_user"))]
            stated = [one.get(key) for one in fields if isinstance(one, Mapping) for key in ("Name", "Username")]
            return [mended(text_of(one.get("value"))) for one in stated if isinstance(one, Mapping)]
    return []


CONTAINER = Container(
    name="facebook",
    title="an export of a Facebook or Instagram account",
    taken="your posts, notes, captions, stories and Threads posts, from exports as JSON (spoilt letters are repaired) or as "
    "pages; with `--include replies` your replies on Threads",
    left_out="comments, messages, groups, posts of others on your page, archived posts (private)",
    folder=_claimed,
    entries=_entries,
)
