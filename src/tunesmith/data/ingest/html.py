"""Web pages to documents: the article, and what the page states about itself."""

from __future__ import annotations

from collections import Counter

from lxml import html

from tunesmith.core.records import Failure
from tunesmith.data.ingest.item import Facts, Reading, make_document
from tunesmith.data.ingest.licences import licence_of_page
from tunesmith.data.ingest.metadata import title_from_name
from tunesmith.data.ingest.page_body import find_article
from tunesmith.data.ingest.page_exports import export_blocks, is_export
from tunesmith.data.ingest.page_facts import page_facts, says_article
from tunesmith.data.ingest.page_lists import teasers, without_teasers
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks, without_title
from tunesmith.data.text.words import num_words

__all__ = ["read_html"]

_MAX_CHARACTERS = 8_000_000
_LIST = "it lists {} posts and is none itself; name the posts, their feed or the site instead"
_LEAST_OWN, _INTRODUCTION = 80, 30  # words around teasers: so many are a text, so few say what the list is
_LEAST_SHARE = 0.5  # of the words of a page's main part: where less is taken, the page is named


def read_html(text: str, *, name: str, url: str | None = None) -> Reading:
    """One document from one page: its article without menus, comments, data tables, code. UnreadableError if there is none."""
    tree = _parsed(text)
    notes: Counter[str] = Counter()
    facts = page_facts(tree, url=url, name=name)
    if is_export(tree):
        blocks = export_blocks(tree, facts, notes)
        if not num_words(text_from_blocks(blocks)):
            raise UnreadableError("the page holds no words")
        return _reading(blocks, facts, text, name, notes)
    listed = [] if says_article(tree) else teasers(tree, url=facts["url"])
    try:
        article = find_article(tree, notes)
    except UnreadableError:
        if listed:
            raise UnreadableError(_LIST.format(len(listed))) from None
        raise
    blocks = article.blocks
    num_taken = num_words(text_from_blocks(blocks))
    if listed:
        own = without_teasers(blocks, listed)
        num_own = num_words(text_from_blocks(own))
        if num_own < _LEAST_OWN and (2 * num_own < num_taken or num_own < _INTRODUCTION):
            raise UnreadableError(_LIST.format(len(listed)))
        if 2 * num_own < num_taken:
            notes["teasers of other pages left out"] += len(listed)
            return _reading(own, facts, text, name, notes)
    return _reading(blocks, facts, text, name, notes, _too_little(num_taken, article.num_visible, name))


def _reading(
    blocks: list[Block], facts: Facts, page: str, name: str, notes: Counter[str], failures: tuple[Failure, ...] = ()
) -> Reading:
    title, content = without_title(blocks, facts["title"])
    facts["title"] = title or title_from_name(name)
    facts["license"] = licence_of_page(page)
    document = make_document(name=name, text=text_from_blocks(content), extraction="html", **facts)
    return Reading(documents=(document,), failures=failures, notes=dict(notes))


def _too_little(num_taken: int, num_visible: int, name: str) -> tuple[Failure, ...]:
    """Names a page of which less was taken than a reader sees in its main part."""
    if num_taken >= _LEAST_SHARE * num_visible:
        return ()
    return (Failure(source=name, reason=f"{num_taken:,} of {num_visible:,} words taken; compare the document with the page"),)


def _parsed(text: str) -> html.HtmlElement:
    from trafilatura import load_html  # 0.4 s to import: only when there is a page

    if len(text) > _MAX_CHARACTERS:
        raise UnreadableError("the page is longer than 8 million characters")
    tree = load_html(text)
    if tree is None:
        tree = load_html(f"<html><body>{text}</body></html>")
    if tree is None:
        raise UnreadableError("no article was found in the page")
    return tree
