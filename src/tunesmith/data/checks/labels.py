"""Sets whose answers are short labels: how evenly they are spread, and whether each is written in one way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["check_labels"]

_MOST_WORDS = 3
_ROWS_A_LABEL = 5
_LEAST_SHARE = 0.5
_MOST_RATIO = 5


def check_labels(rows: Sequence[Row]) -> Iterator[Finding]:
    """`label_spelling`, `label_balance`: where at least half of the answers have three words or fewer and recur.

    Balance: labels with under a fifth of the rows of the commonest. Spelling: a label in other case or punctuation than usual.
    """
    short = [row for row in rows if 1 <= len(row.tokens) <= _MOST_WORDS]
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in short:
        kinds[" ".join(row.tokens).casefold().strip(".!\"'“”* ")].append(row)
    if len(short) < max(20, _LEAST_SHARE * len(rows)) or len(short) < _ROWS_A_LABEL * len(kinds):
        return
    odd = []
    for members in kinds.values():
        usual = Counter(row.answer for row in members).most_common(1)[0][0]
        odd += [row for row in members if row.answer != usual]
    yield from found(
        "label_spelling",
        "warning",
        odd,
        f"{shared(odd, short)} labels are spelled differently (case, full stop, spaces) than the same label usually is.",
        "spell each label the same: the model and exact-match scores treat different spellings as different answers.",
    )
    most = max(map(len, kinds.values()))
    scarce = {label: members for label, members in kinds.items() if _MOST_RATIO * len(members) < most}
    named = ", ".join(f"“{label}” {len(members)}" for label, members in list(scarce.items())[:5])
    yield from found(
        "label_balance",
        "warning",
        [row for members in scarce.values() for row in members],
        f"{len(scarce)} of {len(kinds)} labels have less than a fifth of the rows of the commonest, {most:,} ({named}).",
        "add rows for the scarce labels or thin out the common one, and measure each label on its own.",
    )
