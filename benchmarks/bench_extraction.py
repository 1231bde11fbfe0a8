"""How well the article of a web page is found: token F1 against gold text, beside trafilatura by itself on the same pages.

    TUNESMITH_SHARED=../shared python benchmarks/bench_extraction.py

The pages are those of article-extraction-benchmark (181 with gold text), below `--pages`: a folder `html` of gzipped pages
named by their key, and `ground-truth.json` with `articleBody` for each key. Tokens are words in lower case; precision, recall
and F1 count each as often as it stands, and are averaged over pages. A page of which nothing is read counts as zero.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trafilatura

from record import write_result
from tunesmith.data.ingest.html import read_html
from tunesmith.data.text.decode import UnreadableError, decode

Reader = Callable[[str], str]
_SHARED = Path(os.environ.get("TUNESMITH_SHARED", "../shared"))
_DRAWS = 10_000


def ours(page: str) -> str:
    """The text of the document that Tunesmith makes of a page; nothing if it finds no article."""
    try:
        return read_html(page, name="page.html").documents[0].text
    except UnreadableError:
        return ""


def bare(page: str) -> str:
    """The main text of `bare_extraction` with its defaults; `extract` adds the comments of readers."""
    found = trafilatura.bare_extraction(page)
    return (found.text or "") if found is not None else ""


READERS: dict[str, Reader] = {
    "tunesmith": ours,
    "trafilatura, its defaults": lambda page: trafilatura.extract(page) or "",
    "trafilatura, bare_extraction with its defaults": bare,
    "trafilatura, no comments, no tables": lambda page: (
        trafilatura.extract(page, include_comments=False, include_tables=False) or ""
    ),
}


def scores(gold: str, text: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of the words of `text` against those of `gold`."""
    wanted, found = (Counter(re.findall(r"\w+", value.lower())) for value in (gold, text))
    both = (wanted & found).total()
    precision, recall = both / max(1, found.total()), both / max(1, wanted.total())
    return precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0


def interval(differences: list[float]) -> str:
    """Bootstrap interval (95 %) of the mean difference, over pages."""
    draw = random.Random(7)
    means = sorted(statistics.fmean(draw.choices(differences, k=len(differences))) for _ in range(_DRAWS))
    return f"[{means[_DRAWS // 40]:+.4f}, {means[-_DRAWS // 40]:+.4f}]"


def main() -> None:
    """Score every reader on every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, default=_SHARED / "data" / "pages" / "article-extraction-benchmark")
    options = parser.parse_args()
    truth = json.loads((options.pages / "ground-truth.json").read_bytes())
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in READERS}
    for key in sorted(truth):
        page = decode(gzip.decompress((options.pages / "html" / f"{key}.html.gz").read_bytes()))
        for name, read in READERS.items():
            found[name].append(scores(truth[key]["articleBody"], read(page)))
    rows = []
    for name, values in found.items():
        ahead = [mine[2] - other[2] for mine, other in zip(found["tunesmith"], values, strict=True)]
        rows.append(
            {
                "reader": name,
                "precision": round(statistics.fmean(value[0] for value in values), 4),
                "recall": round(statistics.fmean(value[1] for value in values), 4),
                "token F1": f"{statistics.fmean(value[2] for value in values):.4f}",
                "tunesmith's lead": "" if name == "tunesmith" else f"{statistics.fmean(ahead):+.4f} {interval(ahead)}",
            }
        )
    write_result("extraction", {"pages": len(truth), "trafilatura": trafilatura.__version__}, rows)


if __name__ == "__main__":
    main()
