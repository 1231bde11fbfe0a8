"""The article of a page: found by trafilatura, completed with lists and quotations that it lost, measured against the page."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from lxml import etree, html

from tunesmith.data.ingest.markup import tree_blocks
from tunesmith.data.ingest.markup_rules import drop_notes, lay_open, text_of
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks
from tunesmith.data.text.words import num_words, words

__all__ = ["Article", "find_article", "is_boilerplate", "link_share", "plain_words", "seen_elements", "visible_blocks"]

_TAGS = {"list": "ul", "item": "li", "quote": "blockquote", "lb": "br", "del": "span", "hi": "span", "ref": "a", "row": "tr"}
_HEADS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_MIN_WORDS = 5
_KEPT = "pages with their code and tables, which are most of them"
# What parsing libraries raise on pages that nobody foresaw: the page's fault, not ours.
_PARSER_ERRORS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, AssertionError, etree.LxmlError)
_BOILERPLATE_TAGS_TEXT = """
nav aside footer form head script style noscript template button select iframe svg
"""
_BOILERPLATE_TAGS = frozenset(_BOILERPLATE_TAGS_TEXT.split())
_BOILERPLATE = re.compile(
    r"\b(?:comments?|respond|sidebar|related|shar(?:e|ing)|social|breadcrumbs?|menu|nav(?:bar|igation)?|cookies?|newsletter|"
    r"subscribe|pagination|pager|widgets?|footer|banner|advert\w*|promo|tags?|byline|post-?meta|entry-?meta|toc|skip-link|"
    r"author-?(?:box|bio)|popup|modal)\b",
    re.IGNORECASE,
)
_ROLES = frozenset(["navigation", "complementary", "contentinfo", "banner", "search", "dialog", "menu"])
_ADDED = frozenset(["ul", "ol", "dl", "blockquote", "p"])
_LINKED = frozenset(["ul", "ol", "p", "div", "table", "header", "section"])
_MAX_LINK_SHARE = 0.5
_MAX_SEARCHES = 2_000
_MAX_ELEMENTS = 20_000  # of a page that is searched twice
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_NO_BLANKS = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_LINE_MARK = re.compile(r"^(?:[-#>]+|\d{1,9}\.) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """The blocks of an article, and the words of the page's main part: all that a reader sees but for menus and the like,
    and for the code, tables and notes that are left out by rule.
    """

    blocks: list[Block]
    num_visible: int


def find_article(tree: html.HtmlElement, notes: Counter[str]) -> Article:
    """The article of a page, whose tree is changed. UnreadableError if there is none.

    What is left out by rule is counted in `notes`. An article that is code and tables for more than half keeps them; and where
    tables were laid open and the library alone keeps a quarter more of the words, its text is taken.
    """
    original = deepcopy(tree) if tree.find(".//table") is not None and len(tree.findall(".//*")) < _MAX_ELEMENTS else None
    drop_notes(tree, notes)
    had_layout = lay_open(tree)
    for code in tree.iter("pre"):
        _mark_as_code(code)
    counts: Counter[str] = Counter()
    blocks = _article_blocks(_extracted(tree), counts)
    if had_layout and original is not None:
        other_counts: Counter[str] = Counter()
        others = _article_blocks(_extracted(original), other_counts)
        if _num_words(others) > 1.25 * _num_words(blocks):
            blocks, counts = others, other_counts
    blocks = _completed(blocks, tree)
    if not _is_enough(blocks) or _is_heap(blocks, tree):
        counts = Counter()  # nothing was found, or all texts of the page in one heap, its menus too
        blocks = visible_blocks(tree, counts)
    if not _is_enough(blocks):
        counts = Counter()  # what is called a comment or a menu is all that there is
        blocks = tree_blocks(tree, counts)
    if not _is_enough(blocks):
        raise UnreadableError("no article was found in the page")
    notes.update(counts)
    while blocks and blocks[-1].kind == "heading":  # nothing is left below it
        blocks.pop()
    seen = dict.fromkeys(visible_blocks(_main_part(tree), Counter()))  # the library takes a paragraph that comes twice once
    return Article(blocks=blocks, num_visible=_num_words(list(seen)))


def _mark_as_code(element: html.HtmlElement) -> None:
    """Trafilatura takes `<pre>` for a quotation unless it holds one `<span>`."""
    text = text_of(element)
    for child in list(element):
        element.remove(child)
    element.text = None
    etree.SubElement(element, "span").text = f"{text}\n"


def _extracted(tree: html.HtmlElement) -> Any:
    from trafilatura import bare_extraction  # 0.4 s to import: only when there is a page

    try:
        found = bare_extraction(tree, include_comments=False, include_tables=True)
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"the page cannot be parsed ({type(error).__name__})") from error
    return found.body if found is not None else None


def _article_blocks(body: Any, counts: Counter[str]) -> list[Block]:
    """The blocks of what the library found; `counts` takes what was left out by rule."""
    if body is None:
        return []
    _name_as_html(body)
    left_out: Counter[str] = Counter()
    blocks = tree_blocks(body, left_out)
    if left_out and 2 * _num_words(blocks) < num_words(" ".join(body.itertext())):
        for element in body.iter("pre", "table"):
            _make_lines(element)
        counts[_KEPT] += 1
        return tree_blocks(body, Counter())
    counts.update(left_out)
    return blocks


def _name_as_html(body: Any) -> None:
    """Trafilatura names its elements after TEI; the block reader knows HTML."""
    for element in body.iter():
        if not isinstance(element.tag, str):
            continue
        if element.tag == "head":
            rend = str(element.get("rend") or "h2")
            element.tag = rend if rend in _HEADS else "h2"
        elif element.tag == "list":
            element.tag = "ol" if element.get("rend") == "ol" else "ul"
        elif element.tag == "cell":
            element.tag = "th" if element.get("role") == "head" else "td"
        elif element.tag == "code":
            is_block = "\n" in "".join(element.itertext()) or element.getparent() is body
            element.tag = "pre" if is_block else "span"
        else:
            element.tag = _TAGS.get(element.tag, element.tag)


def _make_lines(element: Any) -> None:
    """A paragraph in place of a table or of code: a line for each row, with bars between its cells."""
    if element.tag == "table":
        rows = [[" ".join(" ".join(cell.itertext()).split()) for cell in row] for row in element.iter("tr")]
        lines = [" | ".join(cell for cell in row if cell) for row in rows]
    else:
        lines = "".join(element.itertext()).split("\n")
    for child in list(element):
        element.remove(child)
    element.tag, element.text = "p", None
    for line in filter(str.strip, lines):
        etree.SubElement(element, "br").tail = line.strip()


def _num_words(blocks: list[Block]) -> int:
    return num_words(text_from_blocks(blocks))


def _is_enough(blocks: list[Block]) -> bool:
    """Whether there is a sentence: five words, or eight letters of a script without blanks between words."""
    text = text_from_blocks(blocks)
    return num_words(text) >= _MIN_WORDS or len(_NO_BLANKS.findall(text)) >= 8


def _is_heap(blocks: list[Block], tree: html.HtmlElement) -> bool:
    """Whether the library gave all texts of the page, from the first one on, as one paragraph."""
    if len(blocks) != 1:
        return False
    body = tree.find(".//body")
    texts = (body if body is not None else tree).xpath(
        ".//text()[not(ancestor::script or ancestor::style or ancestor::noscript)]"
    )
    whole, found = plain_words(" ".join(texts)), plain_words(blocks[0].text)
    return whole[:60] == found[:60] and len(found) >= 0.7 * len(whole)


def _main_part(tree: html.HtmlElement) -> html.HtmlElement:
    """The only `<article>` (not one inside another), else the only `<main>`, else the body."""
    articles = [found for found in tree.iter("article") if next(found.iterancestors("article"), None) is None]
    if len(articles) == 1:
        return articles[0]
    mains = [
        found for found in tree.iter() if found.tag == "main" or (isinstance(found.tag, str) and found.get("role") == "main")
    ]
    if len(mains) == 1:
        return mains[0]
    body = tree.find(".//body")
    return body if body is not None else tree


def visible_blocks(root: html.HtmlElement, notes: Counter[str]) -> list[Block]:
    """What a reader sees of an element: without menus, comments, forms, hidden parts and paragraphs that are links."""
    root = deepcopy(root)
    hidden: list[html.HtmlElement] = []
    walker = etree.iterwalk(root, events=("start",))
    for _, element in walker:
        is_linked = element.tag in _LINKED and link_share(element) > _MAX_LINK_SHARE
        if element is not root and (is_linked or is_boilerplate(element)):
            hidden.append(element)
            walker.skip_subtree()
    for element in hidden:
        element.tag = "template"  # which the block reader leaves out
    return tree_blocks(root, notes)


def is_boilerplate(element: html.HtmlElement) -> bool:
    """Whether an element is a menu, a comment, a form or hidden, by its tag, role, class or style."""
    if element.tag in _BOILERPLATE_TAGS and not (element.tag == "form" and len(element.findall(".//p")) > 1):
        return True
    if (element.get("role") or "").lower() in _ROLES or "hidden" in element.attrib or element.get("aria-hidden") == "true":
        return True
    if "display:none" in (element.get("style") or "").replace(" ", "").lower():
        return True
    if element.tag in {"article", "main", "body", "html"}:
        return False
    marks = f"{element.get('class') or ''} {element.get('id') or ''}".strip()
    return bool(marks) and len(marks) < 300 and _BOILERPLATE.search(marks) is not None


def link_share(element: html.HtmlElement) -> float:
    """The share of the letters of an element that stand in links."""
    linked = sum(len(text_of(link).strip()) for link in element.iter("a") if link.get("href"))
    whole = len(text_of(element).strip()) if linked else 0
    return linked / whole if whole else 0.0


def seen_elements(tree: html.HtmlElement) -> Iterator[html.HtmlElement]:
    """All elements that are not inside of menus, comments, forms and the like, from the outermost in."""
    walker = etree.iterwalk(tree, events=("start",))
    for _, element in walker:
        if is_boilerplate(element):
            walker.skip_subtree()
        else:
            yield element


def _completed(blocks: list[Block], tree: html.HtmlElement) -> list[Block]:
    """The blocks with lists, quotations and paragraphs that the library lost although their neighbours are in the article."""
    if not blocks:
        return blocks
    taken = _Taken(blocks)
    for parent in list(seen_elements(tree)):
        children = [child for child in parent if isinstance(child.tag, str)]
        if len(children) < 2 or not any(child.tag in _ADDED for child in children):
            continue
        places = [taken.place(child) if child.tag in _ADDED or child.tag in _HEADS else None for child in children]
        if any(place is not None for place in places):
            _add_missing(taken, children, places)
    return taken.blocks


def _add_missing(taken: _Taken, children: list[html.HtmlElement], places: list[int | None]) -> None:
    known = [index for index, place in enumerate(places) if place is not None]
    for index in range(len(children)):
        child = children[index]
        if child.tag in _HEADS and index < known[-1]:
            _add_heading(taken, child, index, places)
        if places[index] is not None or child.tag not in _ADDED or is_boilerplate(child):
            continue
        is_between = known[0] < index < known[-1]
        if not is_between and (child.tag == "p" or _num_linked(child) > 2):
            continue  # at the ends stand thanks, dates, licences and lists of other pages
        if any(item.find(".//a") is not None and next(item.iter(*_HEADS), None) is not None for item in child.iter("li")):
            continue  # teasers of other pages
        if link_share(child) > _MAX_LINK_SHARE or num_words(text_of(child)) < 3 or taken.has_part_of(child):
            continue
        before = [place for place in places[:index] if place is not None]
        made = tree_blocks(deepcopy(child), Counter())
        after = [place for place in places[index + 1 :] if place is not None]
        at = before[-1] + 1 if before else after[0]
        if made:
            taken.insert(at, made)
            places[:] = [place + len(made) if place is not None and place >= at else place for place in places]
            places[index] = at + len(made) - 1


def _num_linked(element: html.HtmlElement) -> int:
    return sum(1 for item in element.iter("li") if item.find(".//a") is not None)


def _add_heading(taken: _Taken, heading: html.HtmlElement, index: int, places: list[int | None]) -> None:
    """A lost heading goes before the text that follows it, if that was taken; before the first text stands the title."""
    at = places[index + 1] if index + 1 < len(places) else None
    made = tree_blocks(deepcopy(heading), Counter()) if at else []
    if places[index] is not None or not at or not made or is_boilerplate(heading) or taken.is_spent:
        return
    taken.insert(at, made)
    places[:] = [place + 1 if place is not None and place >= at else place for place in places]
    places[index] = at


class _Taken:
    """The blocks of an article, and where in them the words of an element stand."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = list(blocks)
        self._left = _MAX_SEARCHES
        self._index()

    def _index(self) -> None:
        said = [plain_words(block.text) for block in self.blocks]
        self._known = {words: index for index, words in reversed(list(enumerate(said)))}
        self._starts = list(accumulate((len(words) - 1 for words in said), initial=0))
        self._whole = "".join(words[:-1] for words in said) + " "

    def place(self, element: html.HtmlElement) -> int | None:
        """The number of the block that holds these words; None if there is none, or after too many searches."""
        wanted = plain_words(" ".join(element.itertext()))
        if not wanted.strip():
            return None
        if (known := self._known.get(wanted)) is not None:
            return known
        at = self._search(wanted)
        return bisect_right(self._starts, at + len(wanted) - 2) - 1 if at >= 0 else None

    def _search(self, wanted: str) -> int:
        """Where the words begin, or -1. A hostile page has more elements than there is time to look for."""
        self._left -= 1
        return self._whole.find(wanted) if self._left >= 0 else -1

    def has_part_of(self, element: html.HtmlElement) -> bool:
        """Whether half of the items of a list, or of the sentences of another element, are there; or it cannot be told."""
        parts = [plain_words(" ".join(part.itertext())) for part in element.iter("li", "dd", "dt")]
        parts = [part for part in parts or map(plain_words, _SENTENCE_END.split(text_of(element))) if part.strip()]
        found = sum(1 for part in parts if part in self._known or self._search(part) >= 0)
        return self.is_spent or found * 2 >= len(parts)

    @property
    def is_spent(self) -> bool:
        """Whether there were too many searches to go on."""
        return self._left < 0

    def insert(self, at: int, blocks: list[Block]) -> None:
        """Put blocks before the one with this number."""
        self.blocks[at:at] = blocks
        self._left -= 1
        self._index()


def plain_words(text: str) -> str:
    """Words alone, in lower case, each between blanks."""
    return f" {' '.join(words(_LINE_MARK.sub('', text).casefold()))} "
