"""The data dump of a Stack Exchange site: the questions and answers of the people who are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.package import read_large_xml
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_TABLES = frozenset(
    f"{name}.xml"
    for name in ("Posts", "Users", "Comments", "Badges", "PostHistory", "PostLinks", "Tags", "Votes", "Sites", "PostTypes")
)


def _claimed(tree: Tree) -> Collection[str]:
    if "Posts.xml" not in tree or b"PostTypeId=" not in tree.head("Posts.xml"):
        return ()
    return [name for name in tree.files if name in _TABLES]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    if not policy.own:
        raise UnreadableError(
            "its posts are those of all people of the site; say whose you want, by name or user id: --set me='Ada Byron'"
        )
    names: dict[str, str] = {}
    if "Users.xml" in tree:
        names = {
            str(row.get("Id")): str(row.get("DisplayName") or "") for row in read_large_xml(tree.read("Users.xml"), ("row",))
        }
    others = 0
    titles: dict[str, str] = {}
    for row in read_large_xml(tree.read("Posts.xml"), ("row",)):
        if row.get("PostTypeId") == "1":
            titles[str(row.get("Id"))] = str(row.get("Title") or "")
        if row.get("PostTypeId") not in ("1", "2"):
            continue
        id = str(row.get("OwnerUserId") or "")
        known = [names.get(id) or row.get("OwnerDisplayName"), id]
        if not any(known) or not policy.is_own(*known):
            others += 1
            continue
        facts = Facts(
            title=titles.get(str(row.get("ParentId") or row.get("Id"))),
            author=policy.named(*known),
            date=iso_date(row.get("CreationDate")),
            license=row.get("ContentLicense"),
            thread=str(row.get("ParentId") or row.get("Id")),
        )
        yield Text(name=str(row.get("Id")), content=str(row.get("Body") or ""), kind="fragment", facts=facts)
    yield LeftOut(reason="texts of other authors left out", count=others)


CONTAINER = Container(
    name="stack_exchange",
    title="the data dump of a Stack Exchange site",
    taken="questions and answers of the people named in `me` or `authors` (name or user id), with title, date, "
    "licence and thread",
    left_out="posts of everybody else, comments, code, tags, wikis, earlier versions",
    folder=_claimed,
    entries=_entries,
)
