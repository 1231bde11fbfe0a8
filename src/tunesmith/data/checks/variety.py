"""How varied a set is: languages, stock phrases, and how much of what is said is said again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared
from tunesmith.data.text.words import runs

__all__ = ["check_diversity", "check_languages", "check_phrases", "distinct"]

_FEWEST_ROWS = 50
_LEAST_DISTINCT = 0.15
_SAMPLE_ROWS, _SAMPLE_WORDS = 500, 100
_STRONG_TEXT = """
delve into|delves into|delving into|tapestry of|important to note|worth noting|important to remember|it is crucial to
it's crucial to|it's essential to|in today's fast-paced|in today's digital|ever-evolving|ever-changing landscape
a crucial role|a vital role|a pivotal role|a significant role|a testament to|in the realm of|the complexities of
unlock the p|unlocking the p|game-changer|i hope this helps|great question!|fostering a|underscores the|multifaceted
seamless|feel free to|embark on a|embarking on a|harnessing the|beacon of|vibrant community|valuable insights
deeper understanding of|cutting-edge|by leveraging|let's dive in|key takeaways|holistic approach
"""
_WEAK_TEXT = (
    "overall,|furthermore,|moreover,|additionally,|ultimately,|in conclusion,|in summary,|certainly!|absolutely!|not only"
)
_STRONG = tuple(_STRONG_TEXT.strip().replace("\n", "|").split("|"))
_WEAK = tuple(_WEAK_TEXT.split("|"))


def check_languages(rows: Sequence[Row]) -> Iterator[Finding]:
    """`languages`: answers in another language than most. Knows scripts and seven languages; short texts are not judged."""
    known = Counter(row.language for row in rows if row.language)
    if len(known) < 2:
        return
    most, count = known.most_common(1)[0]
    odd = [row for row in rows if row.language not in ("", most)]
    names = ", ".join(f"{name} {number:,}" for name, number in known.most_common(6))
    yield from found(
        "languages",
        "warning" if count >= 0.5 * known.total() else "info",
        odd,
        f"{shared(odd, rows)} answers are not in {most}, as most are ({names}; {len(rows) - known.total():,} not known).",
        "drop them, unless the model shall answer in those languages (translations, for instance).",
    )


def check_diversity(rows: Sequence[Row]) -> Iterator[Finding]:
    """`diversity`: under 15 % of the three-word runs in a sample of the answers are different (distinct-3), from 50 rows on.

    The sample is at most 500 answers, evenly spaced, of at most 100 words each, since distinct-n falls with the amount of text.
    `rows` are the answers of the sample that hold no run of their own.
    """
    sample = _sample(rows)
    of_rows = [_runs(row, 3) for row in sample]
    counts = Counter(run for row_runs in of_rows for run in row_runs)
    if len(rows) < _FEWEST_ROWS or len(sample) < _FEWEST_ROWS or len(counts) >= _LEAST_DISTINCT * counts.total():
        return
    odd = [row for row, row_runs in zip(sample, of_rows, strict=True) if all(counts[run] > 1 for run in row_runs)]
    yield from found(
        "diversity",
        "warning",
        odd or sample,
        f"the answers say the same over and over: of their three-word runs only {len(counts) / counts.total():.0%} differ "
        f"(distinct-3 of {len(sample):,} answers).",
        "add other material, or drop answers made from one template.",
    )


def check_phrases(rows: Sequence[Row]) -> Iterator[Finding]:
    """`machine_phrases`: answers with two or more stock phrases of chat models, one of them a strong one. A hint only."""
    odd = [row for row in rows if len(row.tokens) >= 12 and _sounds_generated(row.low)]
    yield from found(
        "machine_phrases",
        "info",
        odd,
        f"{shared(odd, rows)} answers contain several stock phrases of chat models. This is not proof: people use them too.",
        "if the style should be an author's own, read these first; generated answers teach the generator's style.",
    )


def distinct(rows: Sequence[Row], n: int) -> float | None:
    """Distinct-n: which share of the runs of n words in the sample of `check_diversity` are different. None without runs."""
    counts = Counter(run for row in _sample(rows) for run in _runs(row, n))
    return len(counts) / counts.total() if counts else None


def _sample(rows: Sequence[Row]) -> list[Row]:
    step = max(1, -(-len(rows) // _SAMPLE_ROWS))
    return [row for row in rows[::step] if len(row.tokens) >= 6]


def _runs(row: Row, n: int) -> list[tuple[str, ...]]:
    return runs([token.lower() for token in row.tokens[:_SAMPLE_WORDS]], n)


def _sounds_generated(said: str) -> bool:
    strong = [phrase for phrase in _STRONG if phrase in said]
    return len(strong) > 1 or (len(strong) == 1 and any(phrase in said for phrase in _WEAK))
