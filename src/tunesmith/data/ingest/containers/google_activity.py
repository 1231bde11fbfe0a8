"""My Activity of a Google Takeout: what was asked of Gemini; never its answers, searches, watched films or the index page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from lxml import html

from tunesmith.data.ingest.assistants import Turn, read_turns
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Ready
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import json_in, objects, text_of
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import parsed_html
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import decode

__all__ = ["CONTAINER"]

_STYLED_BYTES = 500_000
_CELL = b"outer-cell mdl-cell"
_ROW = re.compile(rb"\"header\"\s*:.{0,5000}?\"(?:products|titleUrl|activityControls)\"\s*:", re.DOTALL)
_ASSISTANT = re.compile(r"\b(?:Gemini|Bard)\b")
# `Prompted …` is put before the request in the language of the account.
_PROMPTED = re.compile(
    r"^(?:Prompted|Asked|Said|Prompt eingegeben|Eingegebener Prompt|Eingegeben|Gefragt|Requête|Prompt saisi|Invite|Demandé"
    r"|Petición|Instrucción|Prompt inserito|Comando)\s*(?::|\u00a0)?\s+"
)
_MONTHS_STAMP = re.compile(r"\d{1,2}[:.]\d{2}[:.]\d{2}|\d{4}年")


def _claimed(tree: Tree) -> Collection[str]:
    return [name for name in tree.files if _is_activity(tree, name)]


def _is_activity(tree: Tree, name: str) -> bool:
    suffix = PurePosixPath(name.lower()).suffix
    if suffix not in {".html", ".json"}:
        return False
    head = tree.head(name)
    if suffix == ".json":
        return head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[") and _ROW.search(head) is not None
    if b"mdl-" in head and _CELL not in head:  # the styles of the page come first, and are long
        head = tree.head(name, _STYLED_BYTES)
    return _CELL in head and b"content-cell" in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    for name in tree.names:
        of_page = name.lower().endswith(".html")
        found = _of_page(decode(tree.read(name))) if of_page else _of_json(json_in(tree.read(name)))
        asked = []
        other = 0
        for number, (product, turns) in enumerate(found, 1):
            if _ASSISTANT.search(product):
                asked.append((str(number), None, turns))
            else:
                other += 1
        yield LeftOut(reason="searches, films and other activities left out", count=other)
        if asked:
            yield Ready(name=name, reading=read_turns(asked, name=name, policy=policy))


def _of_json(value: object) -> Iterator[tuple[str, list[Turn]]]:
    for row in objects(value):
        day = iso_date(row.get("time"))
        turns = [Turn("user", _request(text_of(row.get("title"))), day)]
        answers = (text_of(part.get("html")) for part in objects(row.get("safeHtmlItem")))
        turns += [Turn("assistant", text, day) for part in answers if (text := _plain(parsed_html(part)))]
        yield text_of(row.get("header")), [turn for turn in turns if turn.text]


def _of_page(page: str) -> Iterator[tuple[str, list[Turn]]]:
    """A cell holds the request, then a line with the time, then the answer, in one element with breaks between them."""
    for cell in parsed_html(page).xpath("//div[contains(@class, 'outer-cell')]"):
        head = cell.xpath(".//div[contains(@class, 'header-cell')]")
        product = _plain(head[0]) if head else ""
        body = next(iter(cell.xpath(".//div[contains(@class, 'content-cell')]")), None)
        if body is None:
            continue
        lines = [line for line in _plain(body).split("\n") if line.strip()]
        at = next((n for n, line in enumerate(lines) if _MONTHS_STAMP.search(line) and len(line) < 60), len(lines))
        day = iso_date(lines[at]) if at < len(lines) else None
        turns = [Turn("user", _request("\n".join(lines[:at])), day), Turn("assistant", "\n\n".join(lines[at + 1 :]), day)]
        yield product, [turn for turn in turns if turn.text]


def _plain(element: html.HtmlElement) -> str:
    for one in element.iter("br", "p", "li", "div", "h1", "h2", "h3", "h4"):
        if one is not element:
            one.tail = "\n" + (one.tail or "") if one.tag == "br" else one.tail
            one.text = "\n" + (one.text or "") if one.tag != "br" else one.text
    return str(element.text_content()).strip()


def _request(title: str) -> str:
    return _PROMPTED.sub("", title.strip())


CONTAINER = Container(
    name="google_activity",
    title="My Activity of a Google Takeout",
    taken="your own requests to Gemini of at least 40 words; with `--include model-answers` whole conversations as pairs",
    left_out="the answers of Gemini; searches, films and all other activities",
    folder=_claimed,
    entries=_entries,
)
