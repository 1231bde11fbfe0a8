"""Articles about law and rules out of a collection of public texts: the documents of this recipe.

    python recipes/domain/texts.py ARTICLES.jsonl[.xz] OTHER_POSTS OUT

ARTICLES: a line of JSON per article with `id` and `text` (Markdown with front matter). OTHER_POSTS: a folder of Markdown about
other things. Writes OUT/law/*.md and OUT/general.jsonl. Nothing is fetched, and no text travels with this recipe.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# words of the law, whole and in this case
LAW = re.compile(
    r"\b(Act|acts?|laws?|legal|statutes?|regulations?|regulatory|polic(?:y|ies)|complian(?:ce|t)|memorandum"
    r"|Circular|licen[cs]es?|Executive Order|Congress|attorneys?|counsel|terms of service|agreements?|copyright|privacy|FOIA"
    r"|Section 508)\b"
)
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.S)
_LINKED = re.compile(r"\[([^\]]*)\]\([^)]*\{\{.*?\}\}[^)]*\)")
_SHORTCODE = re.compile(r"\{\{[<%].*?[>%]\}\}", re.S)


def plain(text: str) -> tuple[str, str]:
    """Title and body of an article, without front matter and the shortcodes of its site."""
    front = _FRONT.match(text)
    found = re.search(r"^title: *['\"]?(.*?)['\"]?$", front[1], re.M) if front else None
    body = _SHORTCODE.sub("", _LINKED.sub(r"\1", text[front.end() :] if front else text))
    return (found[1] if found else ""), body.strip()


def about_law(
    articles: Iterable[dict[str, str]], *, words: int = 24_000, least: int = 150, most: int = 900
) -> list[tuple[str, str, str]]:
    """(name, title, body) of the articles densest in words of the law: `words` in all, each `least` to `most` long."""
    found = []
    for article in articles:
        title, body = plain(article["text"])
        count = len(body.split())
        if least <= count <= most:
            found.append((len(LAW.findall(body)) / count, count, re.sub(r"\W+", "-", Path(article["id"]).stem), title, body))
    taken, total = [], 0
    for share, count, name, title, body in sorted(found, key=lambda one: (-one[0], one[2])):
        if share == 0 or total + count > words:
            break
        taken.append((name, title, body))
        total += count
    return taken


def general(folder: Path, *, posts: int = 40, words: int = 150) -> Iterator[str]:
    """The first paragraphs, `words` or a little more, of the first `posts` posts below a folder, by name."""
    for file in sorted(folder.rglob("*.md"))[:posts]:
        taken: list[str] = []
        for paragraph in re.split(r"\n\s*\n", plain(file.read_text(encoding="utf-8"))[1]):
            if re.match(r"[A-Za-z]", paragraph):  # prose: no heading, list, code or picture
                taken.append(" ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph).split()))
            if sum(len(one.split()) for one in taken) >= words:
                break
        if taken:
            yield "\n\n".join(taken)


def main(articles: Path, other: Path, out: Path) -> None:
    """Write the documents and the general text."""
    with (lzma.open if articles.suffix == ".xz" else open)(articles, "rt", encoding="utf-8") as lines:
        taken = about_law(json.loads(line) for line in lines)
    (out / "law").mkdir(parents=True, exist_ok=True)
    for name, title, body in taken:
        (out / "law" / f"{name}.md").write_text(f"---\ntitle: {json.dumps(title)}\n---\n\n{body}\n", encoding="utf-8")
    rows = "".join(json.dumps({"text": text}) + "\n" for text in general(other))
    (out / "general.jsonl").write_text(rows, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
