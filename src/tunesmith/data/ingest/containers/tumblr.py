"""The export of a Tumblr blog: posts.xml, or a page for each post; reblogs, quotations and questions are of others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from lxml import etree, html

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.package import read_large_xml
from tunesmith.data.ingest.personal import owner
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_XML = re.compile(r"(?:posts/)?posts\.xml")
_PAGE = re.compile(r"(?:posts/)?html/(?:(drafts|queued|submissions|asks|private)/)?\d+\.html")
_REST = re.compile(
    r"(?:posts/)?style\.css|media/.*|(?:posts|messaging|likes|payload)[\w-]*\.(?:json|xml)|(?:posts/)?posts_index\.html|activity/.*"
)
_STATUS: dict[str, Status] = {
    "draft": "draft",
    "queued": "scheduled",
    "queue": "scheduled",
    "private": "private",
    "drafts": "draft",
}
_OTHERS = frozenset(["quote", "conversation", "chat", "submission"])
_FIELDS = {
    "regular": ("regular-body",),
    "text": ("regular-body", "body"),
    "link": ("link-description",),
    "photo": ("photo-caption",),
    "video": ("video-caption",),
    "audio": ("audio-caption",),
    "answer": ("answer",),
}
_REBLOGGED = re.compile(r'<p[^<>]*>\s*<a\b[^<>]*class="tumblr_blog"[^<>]*>.*?</a>\s*:?\s*</p>\s*(?=<blockquote)', re.DOTALL)
_FOOTER = '//*[@id="footer"]'


def _claimed(tree: Tree) -> Collection[str]:
    found = [name for name in tree.names if _is_posts(tree, name)]
    return {*found, *(name for name in tree.names if _REST.fullmatch(name))} if found else ()


def _is_posts(tree: Tree, name: str) -> bool:
    if _XML.fullmatch(name):
        return b"<tumblr" in tree.head(name, 2000)
    return _PAGE.fullmatch(name) is not None and b'id="footer"' in (head := tree.head(name)) and b'id="timestamp"' in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    lists = [name for name in tree.names if _XML.fullmatch(name)]
    pages = [name for name in tree.names if _PAGE.fullmatch(name)]
    if lists and pages:
        yield LeftOut(reason="pages of Tumblr that repeat a post left out", count=len(pages))
        pages = []
    for name in lists:
        yield from _of_list(tree.read(name), policy)
    for name in pages:
        try:
            yield _of_page(decode(tree.read(name)), name, policy)
        except (UnreadableError, etree.LxmlError, ValueError) as error:
            yield Broken(name=name, reason=f"its HTML cannot be read ({error})")


def _of_list(data: bytes, policy: Policy) -> Iterator[Entry]:
    blog: str | None = None
    for post in read_large_xml(data, ("tumblelog", "post")):
        if post.tag == "tumblelog":
            blog = post.get("name") or blog
            continue
        kind = str(post.get("type") or "regular")
        if kind in _OTHERS:
            yield LeftOut(reason="quotations and conversations left out")
            continue
        fields = {str(child.tag): child.text or "" for child in post if isinstance(child.tag, str)}
        content = next((fields[key] for key in _FIELDS.get(kind, ()) if fields.get(key)), "")
        facts = Facts(
            title=" ".join(fields.get("regular-title", "").split()),
            author=owner(policy, blog),
            date=iso_date(post.get("date-gmt")) or iso_date(post.get("date")),
            url=post.get("url-with-slug") or post.get("url"),
            status="private" if post.get("private") == "true" else _STATUS.get(str(post.get("state")), "published"),
        )
        yield _entry(str(post.get("id") or ""), content, facts, is_shared=bool(post.get("reblogged-from-name")))


def _of_page(page: str, name: str, policy: Policy) -> Entry:
    match = _PAGE.fullmatch(name)
    folder = match[1] if match else None
    if folder in ("submissions", "asks"):
        return LeftOut(reason="questions and texts of others left out")
    body = html.fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    body = body.find("body") if body.find("body") is not None else body
    heading = body.find("h1")
    stamps = body.xpath('//*[@id="timestamp"]')
    facts = Facts(
        title=" ".join(heading.text_content().split()) if heading is not None else "",
        author=owner(policy),
        date=iso_date(" ".join(stamps[0].text_content().split())) if stamps else None,
        status=_STATUS.get(folder or "", "published"),
    )
    for extra in (*([heading] if heading is not None else []), *body.xpath(_FOOTER)):
        extra.drop_tree()
    content = etree.tostring(body, encoding="unicode", method="html")
    return _entry(name, content, facts, is_shared="tumblr_blog" in content)


def _entry(name: str, content: str, facts: Facts, *, is_shared: bool) -> Entry:
    """A post without what was shared in it: each part that names another blog is followed by the words of that blog."""
    if is_shared or "tumblr_blog" in content:
        content = _without_shared(content)
        if not re.sub(r"<[^<>]*>|\s", "", content):
            return LeftOut(reason="posts of others that were shared left out")
    return Text(name=name, content=content, kind="fragment", facts=facts)


def _without_shared(content: str) -> str:
    root = html.fromstring(f"<div>{_REBLOGGED.sub('', content)}</div>")
    for quotation in root.xpath(".//blockquote"):
        quotation.drop_tree()
    return str(etree.tostring(root, encoding="unicode", method="html"))


CONTAINER = Container(
    name="tumblr",
    title="an export of a Tumblr blog",
    taken="your posts, captions and answers, with title, date and address; your words below what you shared",
    left_out="shared posts, quotations, conversations, questions and texts of others, drafts, queued and private posts",
    folder=_claimed,
    entries=_entries,
)
