"""Rewordings found by word runs, by content words and by a sentence encoder: recall by kind, and false alarms.

Usage: python benchmarks/bench_rewordings.py SOURCE… [--most 600]

SOURCE: folders or files of real writing, cut into passages of about 90 words. Each kind of copy is looked for by itself, as a
leak is: the originals and half of the real passages on one side, the copies and the other half on the other.

near copy   one word in twenty dropped, doubled or misspelt by a seed; of the labelled and of real passages
light, medium, heavy   `data/rewordings.json`: 20 passages on five subjects and their rewordings
same subject, same post, other posts   pairs that are no copies: labelled ones about one subject, and real ones

`by margin`: the likeness divided by the mean of each text's four nearest on the other side (Artetxe & Schwenk 2019), counted
from a likeness of 0.4 on. Needs the extra `embeddings`.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from record import write_result
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.similar.semantic import BY_WORDS, similarity_named
from tunesmith.data.similar.shingles import words_of

LABELLED = Path(__file__).parent / "data" / "rewordings.json"
KINDS = ("near copy", "light", "medium", "heavy")
NEGATIVES = ("same subject", "same post", "other posts")
THRESHOLDS = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
MARGINS = (1.1, 1.2, 1.3, 1.4, 1.5)
_NEAREST, _FLOOR = 4, 0.4
Likeness = NDArray[np.float32]


@dataclass(frozen=True)
class Search:
    """One kind of copy to be found: two sides, and what each pair of them is (rows of `what`: one side, columns: the other)."""

    one: list[str]
    other: list[str]
    what: NDArray[np.str_]


def main() -> None:
    """Measure all and write the result file."""
    words = sys.argv[1:]
    most = int(words.pop(words.index("--most") + 1)) if "--most" in words else 600
    real = passages([word for word in words if word != "--most"], most)
    searches = {kind: search_for(kind, real) for kind in KINDS}
    encoder = similarity_named("embeddings")
    texts = sorted({text for search in searches.values() for text in (*search.one, *search.other)})
    begin = time.process_time()
    vector = dict(zip(texts, encoder.vectors(texts), strict=True))
    print(f"embeddings: {time.process_time() - begin:.0f} CPU s for {len(texts)} texts", file=sys.stderr)

    def by_encoder(one: Sequence[str], other: Sequence[str]) -> Likeness:
        return np.stack([vector[text] for text in one]) @ np.stack([vector[text] for text in other]).T

    rows: list[dict[str, Any]] = []
    for name, likeness in (("five-word runs", by_runs), ("words", by_words), ("embeddings", by_encoder)):
        found = {kind: likeness(search.one, search.other) for kind, search in searches.items()}
        rows += table(name, found, searches, THRESHOLDS)
        show(name, found, searches)
        if name != "five-word runs":
            margins = {kind: by_margin(values) * (values >= _FLOOR) for kind, values in found.items()}
            rows += table(f"{name}, by margin", margins, searches, MARGINS)
    write_result("rewordings", {"real passages": len(real), "labelled": 20, "texts": len(texts)}, rows)


def passages(sources: Sequence[str], most: int) -> list[tuple[str, str]]:
    """(Document, passage) of real writing: paragraphs put together to 80 words or more, whole documents drawn by a seed."""
    found = []
    for document in extract(gather(list(sources)), reporter=SilentReporter()).documents:
        held: list[str] = []
        for paragraph in document.text.split("\n\n"):
            held.append(paragraph)
            if len(" ".join(held).split()) >= 80:
                found.append((document.id, "\n\n".join(held)))
                held = []
    documents = sorted({id for id, _ in found})
    random.Random(7).shuffle(documents)
    place = {id: number for number, id in enumerate(documents)}
    return sorted(found, key=lambda item: place[item[0]])[:most]


def search_for(kind: str, real: Sequence[tuple[str, str]]) -> Search:
    """The originals and every second real passage, against copies of one kind and the other real passages."""
    items = [
        (subject, item)
        for subject, some in json.loads(LABELLED.read_text(encoding="utf-8"))["subjects"].items()
        for item in some
    ]
    originals = [(subject, item["text"]) for subject, item in items]
    copies = [(subject, item.get(kind) or near_copy(item["text"], n)) for n, (subject, item) in enumerate(items)]
    here, there = list(real[::2]), list(real[1::2])
    if kind == "near copy":
        originals += here[:80]
        copies += [(post, near_copy(text, n)) for n, (post, text) in enumerate(here[:80])]
        here = here[80:]
    num_copied, num_labelled = len(originals), len(items)
    one, other = originals + here, copies + there
    what = np.full((len(one), len(other)), "other posts", dtype="U16")
    for i, j in itertools.product(range(len(one)), range(len(other))):
        if one[i][0] == other[j][0]:
            what[i, j] = "same subject" if i < num_labelled else "same post"
    what[range(num_copied), range(num_copied)] = kind
    return Search([text for _, text in one], [text for _, text in other], what)


def near_copy(text: str, seed: int) -> str:
    """About one word in twenty (one at least) dropped, doubled, or with two letters swapped."""
    draw, words = random.Random(seed), text.split(" ")
    for place in draw.sample(range(len(words)), max(1, len(words) // 20)):
        word, turn = words[place], draw.randrange(3)
        words[place] = ("", f"{word} {word}", word[:1] + word[2:3] + word[1:2] + word[3:])[turn]
    return " ".join(word for word in words if word)


def by_words(one: Sequence[str], other: Sequence[str]) -> Likeness:
    vectors = BY_WORDS.vectors([*one, *other])
    return vectors[: len(one)] @ vectors[len(one) :].T


def by_runs(one: Sequence[str], other: Sequence[str]) -> Likeness:
    """The Jaccard index of five-word runs, which deduplication uses for near copies."""
    here, there = ([runs(text) for text in side] for side in (one, other))
    return np.array([[len(a & b) / len(a | b) for b in there] for a in here], np.float32)


def runs(text: str) -> set[tuple[str, ...]]:
    said = words_of(text)
    return {tuple(said[i : i + 5]) for i in range(max(1, len(said) - 4))}


def by_margin(likeness: Likeness) -> Likeness:
    nearest_here = np.sort(likeness, axis=1)[:, -_NEAREST:].mean(1)
    nearest_there = np.sort(likeness, axis=0)[-_NEAREST:].mean(0)
    return np.asarray(2 * likeness / (nearest_here[:, None] + nearest_there[None, :]).clip(0.1), np.float32)


def table(
    name: str, found: dict[str, Likeness], searches: dict[str, Search], thresholds: Sequence[float]
) -> list[dict[str, Any]]:
    """A row for each threshold: copies found of each kind, and other pairs named by the search for light rewordings."""
    rows = []
    for threshold in thresholds:
        cells = {"method": name, "threshold": threshold}
        for kind in KINDS:
            values = found[kind][searches[kind].what == kind]
            cells[kind] = f"{int((values >= threshold).sum())}/{values.size}"
        for kind in NEGATIVES:
            values = found["light"][searches["light"].what == kind]
            cells[kind] = f"{int((values >= threshold).sum())}/{values.size}"
        rows.append(cells)
    return rows


def show(name: str, found: dict[str, Likeness], searches: dict[str, Search]) -> None:
    """How alike pairs of each kind are, and the real passages of different posts that are most alike, to be read by eye."""
    for kind in (*KINDS, *NEGATIVES):
        search = searches[kind if kind in KINDS else "light"]
        values = found[kind if kind in KINDS else "light"][search.what == kind]
        quantiles = ", ".join(f"{np.quantile(values, q):.2f}" for q in (0, 0.05, 0.5, 0.95, 0.99, 1))
        print(f"{name}, {kind} ({values.size}): least, 5 %, half, 95 %, 99 %, most: {quantiles}", file=sys.stderr)
    search, likeness = searches["light"], found["light"]
    for i, j in zip(*np.nonzero((likeness >= 0.6) & (search.what == "other posts")), strict=True):
        print(f"  {likeness[i, j]:.2f}  {search.one[i][:150]!r}\n        {search.other[j][:150]!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
