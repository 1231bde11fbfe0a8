"""How varied a set is: languages, openings, stock phrases, repeated sentences, documents that outweigh the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["check_diversity", "check_languages", "check_openings", "check_phrases", "check_sources"]

_FEWEST_ROWS = 50
_MOST_OPENING = 0.15
_OPENING_WORDS = 3
_MOST_SOURCE = 0.20
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


def check_openings(rows: Sequence[Row]) -> Iterator[Finding]:
    """`prompt_openings`, `answer_openings`: three first words that over 15 % of the rows share, from 50 rows on."""
    for field, severity in (("prompt", "warning"), ("answer", "info")):
        begins = [_opening(row.said if field == "prompt" else row.answer) for row in rows]
        counts = Counter(begin for begin in begins if begin)
        if len(rows) < _FEWEST_ROWS or not counts:
            continue
        common = {begin for begin, count in counts.items() if count > _MOST_OPENING * len(rows)}
        odd = [row for row, begin in zip(rows, begins, strict=True) if begin in common]
        if odd:
            quoted = ", ".join(f"“{begin} …” {counts[begin]:,}" for begin in sorted(common, key=lambda b: -counts[b]))
            yield from found(
                f"{field}_openings",
                "warning" if severity == "warning" else "info",
                odd,
                f"{shared(odd, rows)} {field}s begin with the same three words ({quoted}), over 15 % for one opening.",
                "reword part of them: the model learns the template, not the task."
                if field == "prompt"
                else "nothing if the form is wanted; else reword part of them.",
            )


def check_diversity(rows: Sequence[Row]) -> Iterator[Finding]:
    """`diversity`: under 15 % of the three-word runs in a sample of the answers are different (distinct-3), from 50 rows on.

    The sample is at most 500 answers, evenly spaced, of at most 100 words each, since distinct-n falls with the amount of text.
    `rows` are the answers of the sample that hold no run of their own.
    """
    if len(rows) < _FEWEST_ROWS:
        return
    step = -(-len(rows) // _SAMPLE_ROWS)
    sample = [row for row in rows[::step] if len(row.tokens) >= 6]
    runs = [_runs(row.tokens[:_SAMPLE_WORDS]) for row in sample]
    counts = Counter(run for row_runs in runs for run in row_runs)
    if len(sample) < _FEWEST_ROWS or len(counts) >= _LEAST_DISTINCT * counts.total():
        return
    odd = [row for row, row_runs in zip(sample, runs, strict=True) if all(counts[run] > 1 for run in row_runs)]
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
        f"{shared(odd, rows)} answers hold several stock phrases of chat models. That is no proof: people write so, too.",
        "if the voice shall be an author's own, read these first; generated answers teach the generator's voice.",
    )


def check_sources(rows: Sequence[Row]) -> Iterator[Finding]:
    """`source_share`: a document with over 20 % of the rows, and over 1.5 times its even share, from 20 rows on."""
    counts = Counter(row.example.group for row in rows)
    named = any(row.example.group != row.example.id for row in rows)
    limit = max(_MOST_SOURCE, 1.5 / max(1, len(counts))) * len(rows)
    heavy = [group for group, count in counts.items() if count > limit]
    if len(rows) < 20 or not named or not heavy:
        return
    odd = [row for row in rows if row.example.group in heavy]
    titles = ", ".join(f"{group[:60]} {counts[group]:,}" for group in heavy)
    yield from found(
        "source_share",
        "warning",
        odd,
        f"{shared(odd, rows)} rows come from one document each ({titles}): over 20 % of the set, so that text is learned.",
        "thin it out, or add other documents.",
    )


def _opening(text: str) -> str:
    first = text[:80].lower().split()[:_OPENING_WORDS]
    return " ".join(first) if len(first) == _OPENING_WORDS else ""


def _runs(tokens: Sequence[str]) -> list[tuple[str, str, str]]:
    low = [token.lower() for token in tokens]
    return list(zip(low, low[1:], low[2:], strict=False))


def _sounds_generated(said: str) -> bool:
    strong = sum(phrase in said for phrase in _STRONG)
    return strong > 1 or (strong == 1 and any(phrase in said for phrase in _WEAK))
