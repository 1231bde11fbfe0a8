"""How often the question of a row is recognised among four of other documents: by words, vectors, and a base's likelihood.

Usage: python benchmarks/bench_fit.py NAME=ROWS… [--base smollm2] [--encoder embeddings] [--rows 100] [--seed 7]

ROWS: a JSONL file of rows that a build wrote, or a folder of writing, which is built here with the question makers of today.
Of each set `--rows` rows are drawn with `--seed`; the wrong questions come from all rows of the set. By likelihood, a
question is recognised if the base finds the answer likelier after it than after each wrong one (ln p of all its tokens).
By vectors (`--encoder`: `embeddings`, the installed one, or a folder), the question must be nearest to the answer.
Chance is 20 %. Without `--base` and `--encoder`: by words alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import write_result
from tunesmith.core.records import Example, read_jsonl
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.dataset.fit import BY_WORDS, EmbeddingScore, Fit, Score, WordScore, measure_fit
from tunesmith.data.dataset.passages import build_passages
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.similar.embeddings import open_encoder
from tunesmith.eval.fit import likelihood_score
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base, load_model


def main() -> None:
    """Measure each set and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=ROWS")
    parser.add_argument("--base", default="")
    parser.add_argument("--encoder", default="")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--passage-words", type=int, default=90)
    asked = parser.parse_args()
    by_base: Score | None = None
    if asked.base:
        base = find_base(asked.base)
        by_base = likelihood_score(load_model(base, "float32"), open_chat(base))
    table: list[dict[str, Any]] = []
    for entry in asked.sets:
        name, _, place = entry.partition("=")
        rows = rows_of(Path(place), asked.passage_words)
        scores: list[tuple[str, Score]] = [(BY_WORDS, WordScore([row.answer for row in rows]))]
        scores += [(f"vectors, {asked.encoder}", EmbeddingScore(open_encoder(asked.encoder).encode))] if asked.encoder else []
        scores += [(f"likelihood, {asked.base}", by_base)] if by_base else []
        for method, score in scores:
            begin = time.perf_counter()
            fit = of_some(rows, score, method, num_rows=asked.rows, seed=asked.seed)
            table.append(line(name, fit, len(rows)))
            print(f"{table[-1]} in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    write_result("fit", {"rows drawn": asked.rows, "seed": asked.seed, "wrong questions": 4, "chance": "20 %"}, table)


def rows_of(place: Path, passage_words: int) -> list[Example]:
    """The rows of a file, or of a folder of writing as `tunesmith build` makes them."""
    if place.is_file():
        return list(read_jsonl(place, Example))
    documents = extract(gather([str(place)]), reporter=SilentReporter()).documents
    return list(build_passages(documents, passage_words=passage_words, min_words=15, system_prompt="").examples)


def of_some(rows: Sequence[Example], score: Score, method: str, *, num_rows: int, seed: int) -> Fit:
    """The fit of some rows drawn with `seed`; the others only lend their questions."""
    drawn = random.Random(seed).sample(range(len(rows)), min(num_rows, len(rows)))
    return measure_fit(rows, score, method=method, seed=seed, only=drawn)


def line(name: str, fit: Fit, num_rows: int) -> dict[str, Any]:
    """One line of the table."""
    low, high = fit.report()["interval"] or (0.0, 1.0)
    recognised = f"{fit.right} of {fit.n}"
    share = {"share": fit.share, "low": low, "high": high}
    return {"set": name, "by": fit.method, "rows": num_rows, "recognised": recognised, **share}


if __name__ == "__main__":
    main()
