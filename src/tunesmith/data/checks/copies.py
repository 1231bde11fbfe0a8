"""Prompts that come twice, and what is answered to them then."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, error_above, found, shared
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import fold, singular, words

__all__ = ["check_copies", "check_near_copies"]

_NEAR = 0.85
_MOST_CONTRADICTIONS = 0.05  # share of the rows above which there is nothing consistent to learn
_LABEL_WORDS = 5
_MOST_CANDIDATES = 100  # a word that begins more prompts than this tells none apart
_ASKING_TEXT = """
who whom whose what when where why how which not no never without before after more less most least
first last second third fourth fifth next previous
"""
_ASKING = frozenset(_ASKING_TEXT.split())
_POLITE = frozenset(("please", "kindly", "tell", "just", "briefly", "quickly", "help", "explain", "thanks"))
_PASSED_OVER = (STOP_WORDS | _POLITE) - _ASKING
_YES, _NO = frozenset(("yes", "true", "correct")), frozenset(("no", "false", "incorrect"))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt as the words that tell it from others; `exact` must be equal for two prompts to be near copies."""

    content: frozenset[str]
    exact: frozenset[str]
    ends: tuple[frozenset[str], frozenset[str]]


def check_copies(rows: Sequence[Row]) -> Iterator[Finding]:
    """`duplicate_rows`, `duplicate_prompts`, `contradictions`: the same prompt again, case, spacing and end mark aside.

    Contradictions are short answers that differ, yes against no, or sentences that differ in a number or a negation alone. That
    long answers contradict each other in meaning cannot be seen without a model.
    """
    same: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.said.strip():
            same[row.system, _tidy(row.said)].append(row)
    twice, again, against = [], [], []
    for members in same.values():
        if len(members) == 1:
            continue
        answers: dict[str, list[Row]] = defaultdict(list)
        for row in members:
            answers[_tidy(row.answer)].append(row)
        twice += [row for copies in answers.values() for row in copies[1:]]
        if len(answers) > 1:
            again += members
            firsts = [copies[0] for copies in answers.values()]
            against += [row for copies in answers.values() for row in copies if _opposes_any(copies[0], firsts)]
    yield from found(
        "duplicate_rows",
        "warning",
        twice,
        f"{shared(twice, rows)} rows repeat another row's prompt and answer; they count double and may end up in two splits.",
        "keep one of each.",
    )
    yield from found(
        "contradictions",
        error_above(against, rows, share=_MOST_CONTRADICTIONS),
        against,
        f"{shared(against, rows)} rows contradict another row with the same prompt (different label, number, or yes/no).",
        "decide which answer is right, and drop the others.",
    )
    yield from found(
        "duplicate_prompts",
        "warning" if len(again) > 0.01 * len(rows) else "info",
        again,
        f"{shared(again, rows)} rows share their prompt with a row that answers it differently.",
        "keep the best answer, or make the prompts say what makes the difference.",
    )


def check_near_copies(rows: Sequence[Row]) -> Iterator[Finding]:
    """`near_duplicate_prompts`: the same content words (idf-weighted Jaccard ≥ 0.85), question words and numbers equal.

    Function words, politeness, case, order and punctuation do not count. Exact copies are left to `check_copies`.
    """
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(_tidy(row.said), row)
    alike: dict[_Asked, list[Row]] = defaultdict(list)
    for text, row in first.items():
        asked = _asked(text)
        if len(asked.content) >= 2:
            alike[asked].append(row)
    near = {id(row): row for members in alike.values() if len(members) > 1 for row in members}
    kinds = list(alike)
    for one, other in _similar(kinds):
        near.update((id(row), row) for kind in (kinds[one], kinds[other]) for row in alike[kind])
    odd = list(near.values())
    yield from found(
        "near_duplicate_prompts",
        "warning",
        odd,
        f"{shared(odd, rows)} prompts ask the same as another one in nearly the same words.",
        "keep one of each, or keep them in one split (tunesmith splits by document).",
    )


def _tidy(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".?! ")


def _opposes_any(row: Row, others: Sequence[Row]) -> bool:
    return any(_oppose(row, other) for other in others[:20] if other is not row)


def _oppose(one: Row, other: Row) -> bool:
    if not one.tokens or not other.tokens:
        return False
    if len(one.tokens) <= _LABEL_WORDS and len(other.tokens) <= _LABEL_WORDS:
        return True
    said, other_said = (fold(row.answer) for row in (one, other))
    begins, other_begins = (text.split()[0].strip(".,!:;") for text in (said, other_said))
    if (begins in _YES and other_begins in _NO) or (begins in _NO and other_begins in _YES):
        return True
    here, there = set(words(said)), set(words(other_said))
    different = here ^ there
    return bool(different) and len(here & there) >= 3 and all(_turns_meaning(word) for word in different)


def _turns_meaning(word: str) -> bool:
    return word in ("not", "no", "never", "cannot") or word.endswith("n't") or any(letter.isdigit() for letter in word)


def _asked(text: str) -> _Asked:
    lines = [line for line in text.split("\n") if line.strip()] or [text]
    said = words(text)
    content = _content(said)
    exact = frozenset(word for word in said if word in _ASKING or not word.isalpha())
    ends = (_content(words(lines[0])), _content(words(lines[-1]))) if len(lines) > 1 else (content, content)
    return _Asked(content, exact, ends)


def _content(said: Sequence[str]) -> frozenset[str]:
    return frozenset(singular(word) for word in said if word not in _PASSED_OVER)


def _similar(kinds: Sequence[_Asked]) -> Iterator[tuple[int, int]]:
    """Pairs with weighted Jaccard ≥ 0.85, found through the words that weigh most (prefix filter)."""
    frequency = Counter(word for kind in kinds for word in kind.content)
    weight = {word: math.log(1 + len(kinds) / count) for word, count in frequency.items()}
    totals = [sum(weight[word] for word in kind.content) for kind in kinds]
    numbers: dict[frozenset[str], int] = {}
    exact = [numbers.setdefault(kind.exact, len(numbers)) for kind in kinds]
    index: dict[str, list[int]] = defaultdict(list)
    for number, kind in enumerate(kinds):
        left = total = totals[number]
        candidates: set[int] = set()
        for word in sorted(kind.content, key=lambda word: (frequency[word], word)):
            if left < _NEAR * total:
                break
            left -= weight[word]
            posted = index[word]
            if len(posted) < _MOST_CANDIDATES:
                candidates.update(posted)
                posted.append(number)
        for other in candidates:
            # The Jaccard index is at most the lighter over the heavier: most candidates end at these two comparisons.
            if exact[number] != exact[other] or not _NEAR * total <= totals[other] <= total / _NEAR:
                continue
            shared_weight = sum(map(weight.__getitem__, kind.content & kinds[other].content))
            if shared_weight >= _NEAR * (total + totals[other] - shared_weight) and _ends_alike(kind, kinds[other], weight):
                yield other, number


def _ends_alike(one: _Asked, other: _Asked, weight: dict[str, float]) -> bool:
    """Whether first and last lines are alike, too, where a prompt has several lines."""
    if one.ends[0] is one.content and other.ends[0] is other.content:
        return True
    for here, there in zip(one.ends, other.ends, strict=True):
        union = sum(weight.get(word, 1.0) for word in here | there)
        if sum(weight.get(word, 1.0) for word in here & there) < _NEAR * union:
            return False
    return True
