"""Words of published text that a dataset keeps: what a reader of the source sees, against the answers of the rows made of it.

    python benchmarks/bench_words_kept.py ../shared/data/writing/mtlynch ../shared/data/writing/18f --base smollm2
    python benchmarks/bench_words_kept.py --feeds ../shared/data/feeds

Visible words are counted without Tunesmith's readers: Markdown is rendered by markdown-it (CommonMark with tables) once front
matter, shortcodes and template tags are out, and each word of the HTML is classified by its element. It is
then counted once: left out by a stated rule (code, tables, footnotes, …), a heading (asked by, not answered), lost in
reading, dropped while passages were cut (by reason), dropped between splits, or in a row of train, val or test. Counts are
those of words as a multiset, a file at a time. With `--feeds`, the entries of the feeds below a folder are compared with the
documents that are read from them; nothing is built.

*Kept*: words in rows, of those that no stated rule leaves out. *Strictly*: of all in paragraphs, lists and quotations.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import feedparser
import orjson
from lxml import etree, html
from markdown_it import MarkdownIt

import tunesmith
from record import write_result
from tunesmith.core.errors import TunesmithError
from tunesmith.core.records import Document, Example, read_jsonl
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.text.decode import decode
from tunesmith.data.text.prose import blocks_from_text
from tunesmith.data.text.words import fold, words

BY_RULE = (  # reasons of `build` that are stated rules, and not losses
    "exact copy of another passage",
    "more than a third is quoted text",
    "footnote, thanks, sign-off or navigation",
    "points at code, a table or a picture that is not there",
    "points back at something left out",  # which is always code, a table or a picture
    "lead-in to something left out",
    "mostly addresses, figures or repetitions",
    "document too short",
)
CODE, TABLE, FIGURE, NOTE, HEADING = "code", "tables", "captions and embeds", "footnotes", "headings"
ELEMENTS = {
    **dict.fromkeys(["pre", "script", "style", "svg", "math"], CODE),
    **dict.fromkeys(["table"], TABLE),
    **dict.fromkeys(["figcaption", "figure", "iframe", "video", "audio", "object", "button", "form", "select"], FIGURE),
    **dict.fromkeys(["h1", "h2", "h3", "h4", "h5", "h6"], HEADING),
}
_FRONT = re.compile(r"\A---\s*\n.*?\n---\s*\n", re.DOTALL)
_TEMPLATE = re.compile(r"\{\{<.*?>\}\}|\{\{%.*?%\}\}|\{\{.*?\}\}|\{%.*?%\}|\{:[^{}\n]*\}|\{[.#][^{}\n]*\}", re.DOTALL)
_PAIRED = re.compile(
    r"\{\{<\s*(?P<a>gallery|revenue-graph|annual-updates|project-metrics)\b.*?\{\{<\s*/\s*(?P=a)\s*>\}\}"
    r"|\{%-?\s*(?P<b>comment|highlight)\b.*?\{%-?\s*end(?P=b)\s*-?%\}",
    re.DOTALL,
)
_ESM = re.compile(r"^(?:import|export) .*$", re.MULTILINE)
_DEFINED = re.compile(r"\s*\[\^[^\]\s]+\]:")

Words = Counter[str]


def main() -> None:
    """Measure every set and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=Path, help="folders of Markdown")
    parser.add_argument("--feeds", type=Path, help="a folder of feeds")
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--show", type=int, default=0, help="files with most words lost in reading to show")
    parser.add_argument("--dry", action="store_true", help="write no result")
    asked = parser.parse_args()
    table = [line for source in asked.sources for line in of_markdown(source, asked.base, asked.show)]
    table += of_feeds(asked.feeds, asked.show) if asked.feeds else []
    if asked.dry:
        print("\n".join(map(str, table)))
    else:
        write_result("words-kept", {"base": asked.base, "what": "words, by what became of them"}, table)


def of_markdown(source: Path, base: str, show: int) -> list[dict[str, Any]]:
    """What became of the words of a folder of Markdown files."""
    with tempfile.TemporaryDirectory() as project:
        settings = {"mix.own_answers": False}
        opened = tunesmith.open_project(source, project=project, base=base, settings=settings, offline=True)
        documents = list(read_jsonl(opened.documents.path / "documents.jsonl", Document))
        dataset = opened.dataset
        rows = [row for name in ("train", "val", "test") for row in read_jsonl(dataset.path / f"{name}.jsonl", Example)]
        numbers = dataset.numbers
    fates: Counter[str] = Counter()
    lost = []
    read: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        read[document.source].append(document)
    for path in sorted(source.rglob("*.md*")):
        seen = visible(markdown_page(path))
        name = path.relative_to(source).as_posix()
        if name not in read:
            fates["files that are no documents (drafts, copies, no prose)"] += sum(part.total() for part in seen.values())
            continue
        found = counted("\n\n".join(one.text for one in read[name]) + "\n" + (read[name][0].title or ""))
        fates += Counter({kind: seen[kind].total() for kind in (CODE, TABLE, FIGURE, NOTE)})
        missing = seen["prose"] + seen[HEADING] - found
        fates["lost in reading"] += missing.total()
        lost.append((missing.total(), name, " ".join(missing)))
    for document in documents:
        fates[HEADING] += sum(len(words(one.text)) for one in blocks_from_text(document.text) if one.kind == "heading")
    fates["in rows"] = sum(len(words(row.answer)) for row in rows)
    fates += Counter({f"dropped: {why}": count for why, count in numbers["dropped_words"].items()})
    inside = sum(len(words(document.text)) for document in documents)
    fates["dropped: near copies, and copies between splits"] += (
        inside - fates[HEADING] - fates["in rows"] - sum(numbers["dropped_words"].values())
    )
    for number, name, what in sorted(lost, reverse=True)[:show]:
        print(f"{number:5} {name}: {what[:300]}")
    return as_table(source.name, fates)


def as_table(name: str, fates: Counter[str]) -> list[dict[str, Any]]:
    """A line for each fate, with the two shares at the head."""
    prose = fates["in rows"] + fates["lost in reading"] + sum(n for fate, n in fates.items() if fate.startswith("dropped"))
    ruled = sum(n for fate, n in fates.items() if fate.removeprefix("dropped: ") in (*BY_RULE, COPIES))
    total = fates.total()
    kept = {"kept, of what no rule leaves out": prose - ruled, "strictly, of all prose": prose}
    head = [{"set": name, "what": what, "words": of, "share": fates["in rows"] / of} for what, of in kept.items()]
    lines = [{"set": name, "what": fate, "words": count, "share": count / total} for fate, count in fates.most_common()]
    return [{**line, "share": round(line["share"], 4)} for line in [*head, *lines]]


COPIES = "near copies, and copies between splits"


def markdown_page(path: Path) -> str:
    """A file rendered as CommonMark with tables, without front matter, shortcodes and template tags."""
    body = _FRONT.sub("", decode(path.read_bytes()).replace("\r\n", "\n"), count=1)
    body = _TEMPLATE.sub("", _PAIRED.sub("", body))
    if path.suffix == ".mdx":
        body = _ESM.sub("", body)
    return str(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(body))


def visible(page: str) -> dict[str, Words]:
    """The words of HTML that a reader sees, by the element they stand in."""
    found: dict[str, Words] = {kind: Counter() for kind in ("prose", CODE, TABLE, FIGURE, NOTE, HEADING)}
    if not page.strip():
        return found
    root = html.fromstring(f"<div>{page}</div>".encode("utf-8", "replace"), parser=html.HTMLParser(encoding="utf-8"))
    for kind, text in _parts(root, "prose"):
        found[kind] += counted(text)
    return found


def _parts(root: html.HtmlElement, kind: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of runs of text, a block at a time."""
    stack = [kind]
    buffer: list[str] = []
    for event, element in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "start":
            if tag in _BLOCKS:
                yield from _flushed(stack[-1], buffer)
            stack.append(stack[-1] if stack[-1] != "prose" else ELEMENTS.get(tag, "prose"))
            if stack[-1] != stack[-2]:
                yield from _flushed(stack[-2], buffer)
            buffer.append(element.text or "")
        elif event == "end":
            if tag in _BLOCKS or stack[-1] != stack[-2]:
                yield from _flushed(stack[-1], buffer)
            stack.pop()
            buffer.append(" " if tag == "br" else "")
            buffer.append((element.tail or "") if element is not root else "")
        else:
            buffer.append(element.tail or "")


_BLOCK_TAGS = """
address article aside blockquote dd div dl dt footer header hr li ol p section table td th tr ul
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split()) | ELEMENTS.keys()


def _flushed(kind: str, buffer: list[str]) -> Iterator[tuple[str, str]]:
    text = "".join(buffer)
    buffer.clear()
    if text.strip():
        yield (NOTE if kind == "prose" and _DEFINED.match(text) else kind), text


def counted(text: str) -> Words:
    """The words of a text, with how often each stands there."""
    return Counter(fold(word) for word in words(text))


def of_feeds(folder: Path, show: int) -> list[dict[str, Any]]:
    """Words of the entries of feeds, as feedparser or the JSON gives them, against those of the documents read from them."""
    fates: Counter[str] = Counter()
    lost = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        seen: dict[str, Words] = defaultdict(Counter)
        for content in feed_entries(path.read_bytes()):
            for kind, found in visible(content).items():
                seen[kind] += found
        total = sum(part.total() for part in seen.values())
        if not total:
            continue
        try:
            read = extract(gather([str(path)]), reporter=SilentReporter()).documents
        except TunesmithError:
            fates["feeds that are not read"] += total
            lost.append((total, path.name, "not read"))
            continue
        fates += Counter({kind: seen[kind].total() for kind in (CODE, TABLE, FIGURE, NOTE)})
        missing = seen["prose"] + seen[HEADING] - counted("\n\n".join(f"{one.title}\n{one.text}" for one in read))
        fates["lost in reading"] += missing.total()
        fates["in documents"] += seen["prose"].total() + seen[HEADING].total() - missing.total()
        lost.append((missing.total(), path.name, " ".join(missing)))
    for number, name, what in sorted(lost, reverse=True)[:show]:
        print(f"{number:5} {name}: {what[:300]}")
    all_words = fates.total()
    read_share = fates["in documents"] / (fates["in documents"] + fates["lost in reading"] + fates["feeds that are not read"])
    head = {"set": folder.name, "what": "kept, of what no rule leaves out", "words": all_words, "share": round(read_share, 4)}
    lines = [{"set": folder.name, "what": w, "words": n, "share": round(n / all_words, 4)} for w, n in fates.most_common()]
    return [head, *lines]


def feed_entries(data: bytes) -> Iterator[str]:
    """The HTML of each entry of a feed: its longest content, else its summary."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        for item in value.get("items") or ():
            if isinstance(item, dict):
                yield str(item.get("content_html") or item.get("content_text") or item.get("summary") or "")
        return
    for entry in feedparser.parse(io.BytesIO(data)).get("entries", ()):
        contents = [str(content.get("value") or "") for content in entry.get("content", ())]
        yield max(contents, key=len, default="") or str(entry.get("summary") or "")


if __name__ == "__main__":
    main()
