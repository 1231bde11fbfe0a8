"""The data that LinkedIn sends of an account: one's own posts and articles; no message, no contact."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from lxml import etree, html

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import as_fragment, owner
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

# Columns by which a table is known as LinkedIn's.
_TOLD = {
    "shares.csv": (b"sharelink", b"sharecommentary"),
    "messages.csv": (b"conversation id", b"from"),
    "connections.csv": (b"first name", b"connected on"),
    "profile.csv": (b"first name", b"headline"),
    "comments.csv": (b"date", b"link", b"message"),
    "invitations.csv": (b"from", b"to", b"direction"),
}
_ARTICLE = re.compile(r"Articles?/(?:Articles?/)?[^/]+\.html?", re.IGNORECASE)
_TABLE_TEXT = """
ad targeting|ads clicked|causes you care about|certifications|comments|connections|contacts|courses|education|email addresses
|endorsement given info|endorsement received info|events|guide messages|hashtag follows|honors|imported contacts
|inferences about you|instantreposts|invitations|job applicant saved answers|job seeker preferences|languages|learning
|learning coach messages|logins|member follows|messages|company follows|organizations|patents|phone numbers|positions|profile
|profile summary|projects|publications|private identity asset|reactions|receipts|receipts v2|recommendations given
|recommendations received|registration|rich media|saved items|savedjobalerts|search queries|searchqueries
|security challenges|shares|skills|test scores|verifications|volunteering|votes|whatsapp phone numbers
"""
_TABLES = frozenset(" ".join(name.split()) for name in _TABLE_TEXT.split("|"))
_QUOTES = re.compile(r'"\s*\n\s*"')  # each line of a post stands in quotes of its own


def _claimed(tree: Tree) -> Collection[str]:
    if not any(_is_told(tree, name) for name in tree.files if name.lower() in _TOLD):
        return ()
    tables = [name for name in tree.files if name.lower().endswith(".csv") and _is_theirs(name)]
    folders = ("Articles/", "Article/", "Jobs/", "Verifications/", "learning/")
    return {*tables, *(name for name in tree.names if name.startswith(folders))}


def _is_theirs(name: str) -> bool:
    words = re.sub(r"[_\s-]+", " ", name.lower().removesuffix(".csv")).strip()
    return words in _TABLES


def _is_told(tree: Tree, name: str) -> bool:
    head = tree.head(name, 2000).lower()  # some tables begin with notes
    return all(column in head for column in _TOLD[name.lower()])


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    by_name = {name.lower(): name for name in tree.names}
    author = owner(policy, _person(tree, by_name.get("profile.csv")))
    used = 0
    for name in tree.names:
        if name.lower() == "shares.csv":
            used += 1
            for place, row, problem in table_rows(tree.read(name), name=name):
                yield Broken(name=name, reason=f"{place}: {problem}") if problem else _share(row, place, author)
        elif name.lower() == "comments.csv" and "replies" in policy.extras:
            used += 1
            for place, row, problem in table_rows(tree.read(name), name=name):
                yield Broken(name=name, reason=f"{place}: {problem}") if problem else _comment(row, place, author)
        elif _ARTICLE.fullmatch(name):
            used += 1
            try:
                yield _article(decode(tree.read(name)), name, author)
            except (UnreadableError, etree.LxmlError, ValueError) as error:
                yield Broken(name=name, reason=f"its HTML cannot be read ({error})")
    reason = "files of a LinkedIn export that hold no posts left out (messages, comments, contacts, settings)"
    yield LeftOut(reason=reason, count=len(tree.names) - used)


def _share(row: Mapping[str, str], place: str, author: str | None) -> Text:
    link = row.get("sharelink", "")
    status: Status = "private" if row.get("visibility", "").upper() in ("CONNECTIONS", "CONNECTIONS_ONLY") else "published"
    facts = Facts(title="", author=author, date=iso_date(row.get("date")), url=link, status=status)
    text = _QUOTES.sub("\n", row.get("sharecommentary", "").replace("\r\n", "\n")).strip('"')
    return Text(name=f"shares/{place.removeprefix('row ')}", content=as_fragment(text), kind="fragment", facts=facts)


def _comment(row: Mapping[str, str], place: str, author: str | None) -> Text:
    facts = Facts(title="", author=author, date=iso_date(row.get("date")), url=row.get("link"), thread=row.get("link"))
    text = _QUOTES.sub("\n", row.get("message", "").replace("\r\n", "\n")).strip('"')
    return Text(name=f"comments/{place.removeprefix('row ')}", content=as_fragment(text), kind="fragment", facts=facts)


def _article(page: str, name: str, author: str | None) -> Text:
    """The page of an article: a heading, when it was written and published, and the text."""
    body = html.fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    body = body.find("body") if body.find("body") is not None else body
    heading = body.find(".//h1")
    link = heading.find(".//a") if heading is not None else None
    dates = {str(one.get("class")): one for one in body.iter("p") if one.get("class") in ("created", "published")}
    stated = dates.get("published")
    day = re.search(r"\d{4}-\d{2}-\d{2}", stated.text_content()) if stated is not None else None
    facts = Facts(
        title=" ".join(heading.text_content().split()) if heading is not None else None,
        author=author,
        date=day[0] if day else None,
        url=link.get("href") if link is not None else None,
        status="published" if stated is not None or not dates else "draft",
    )
    for extra in (heading, *dates.values()):
        if extra is not None:
            extra.drop_tree()
    return Text(name=name, content=etree.tostring(body, encoding="unicode", method="html"), kind="fragment", facts=facts)


def _person(tree: Tree, name: str | None) -> str | None:
    if name is None:
        return None
    row: Mapping[str, str] = next((row for _, row, problem in table_rows(tree.read(name), name=name) if not problem), {})
    return " ".join(filter(None, (row.get("first name"), row.get("last name")))) or None


CONTAINER = Container(
    name="linkedin",
    title="an export of a LinkedIn account",
    taken="your posts and articles, with date and address; with `--include replies` your comments",
    left_out="messages, your comments, contacts, drafts, posts for your contacts alone (private)",
    folder=_claimed,
    entries=_entries,
)
