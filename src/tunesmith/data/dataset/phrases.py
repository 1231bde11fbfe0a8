"""Key phrases of passages: short noun-like phrases, frequent in a passage and rare in the other documents. No model."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.data.text.lexicon import DETERMINERS, NOT_TOPICS, STOP_WORDS, VERB_MARKERS, VERBS
from tunesmith.data.text.words import singular

__all__ = ["Collection", "Phrase", "study"]

_TOKEN = re.compile(r"[^\W_]+(?:['’\-.&][^\W_]+)*|[^\w\s]|\n")
_PREPOSITIONS_TEXT = """
of in on at for with from by into about over under between against without through near per like than as
"""
_PREPOSITIONS = frozenset(_PREPOSITIONS_TEXT.split())
_ADDRESS = re.compile(r"\b(?:https?://|www\.)\S+")
_YOURS = frozenset(("my", "our", "your"))
_BARE = frozenset(("no", "some", "any"))
_ADJECTIVE_ENDS = ("ful", "less", "ous", "able", "ible", "ive", "ish", "ary")
_MAX_WORDS = 3


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase worded so that `about X` reads well (`the steam hole`). `alone`: it says enough without the title."""

    text: str
    alone: bool


@dataclass(frozen=True, slots=True)
class _Run:
    """Content words in a row, as written, and the word before them."""

    words: tuple[str, ...]
    before: str
    starts_sentence: bool


@dataclass(frozen=True, slots=True)
class Collection:
    """What all documents together say about words: in how many documents each occurs, and how it is used."""

    num_documents: int
    document_count: Mapping[str, int]
    noun_uses: Mapping[str, int]
    verb_uses: Mapping[str, int]
    lower_uses: Mapping[str, int]
    upper_uses: Mapping[str, int]

    def key_phrases(self, passage: str, *, context: str = "", limit: int = 6) -> list[Phrase]:
        """The best phrases of a passage, best first. Fewer than `limit`, or none, if little in it is specific.

        Words that stand in `context` (title, heading) count for more.
        """
        favoured = {singular(token) for token in _TOKEN.findall(context.lower().replace("’", "'")) if token not in STOP_WORDS}
        scores: dict[tuple[str, ...], float] = defaultdict(float)
        surfaces: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for run in _runs(passage):
            for words in _candidates(run):
                key = tuple(singular(word.lower()) for word in words)
                if not self._is_topic(words, run):
                    continue
                part = 1.0 if len(words) == len(run.words) else 0.5  # half of it is owed to the longer phrase it is cut from
                scores[key] += part * self._weight(words, favoured)
                surfaces[key][self._surface(words, run)] += 1
        phrases = []
        for key in _distinct(sorted(scores, key=lambda key: (-scores[key], key)), limit):
            uses = surfaces[key]
            alone = len(key) > 1 or uses.total() > 1 or not favoured.isdisjoint(key)
            phrases.append(Phrase(max(uses, key=lambda text: (uses[text], text)), alone))
        return phrases

    def _weight(self, words: Sequence[str], favoured: set[str]) -> float:
        lowered = [word.lower() for word in words]
        rarity = [math.log((1 + self.num_documents) / (1 + self.document_count.get(word, 0))) + 0.3 for word in lowered]
        share = sum(singular(word) in favoured for word in lowered) / len(words)
        return max(0.05, sum(rarity) / len(rarity)) * (1.0, 1.7, 1.5)[len(words) - 1] * (1 + 0.9 * share)

    def _is_topic(self, words: Sequence[str], run: _Run) -> bool:
        lowered = [word.lower() for word in words]
        last = lowered[-1]
        first_of_sentence = run.starts_sentence and len(words) == len(run.words)
        proper = self._is_name(words[-1]) and not (first_of_sentence and len(words) == 1)
        if any(len(word) < 2 or word[0].isdigit() or ("." in word and word.islower()) for word in words):
            return False
        if last.endswith(("ly", "n't", "'s")) or all(word in NOT_TOPICS for word in lowered):
            return False
        if len(words) == 1 and (last in NOT_TOPICS or len(last) < 4 or (_is_verb(last) and proper)) and not words[-1].isupper():
            return False
        if any(_is_verb(word) or word.endswith("ly") for word in lowered[:-1]):
            return False
        if len(words) > 1 and run.before in DETERMINERS and last.endswith("s") and _is_verb(last):
            return False  # the drawer provides
        return proper or (
            last not in NOT_TOPICS and not last.endswith(_ADJECTIVE_ENDS) and self._is_noun(last, run, len(words))
        )

    def _is_noun(self, word: str, run: _Run, length: int) -> bool:
        stem = singular(word)
        nouns, verbs = self.noun_uses.get(stem, 0), self.verb_uses.get(stem, 0)
        whole = length == len(run.words)
        introduced = whole and (run.before in DETERMINERS or run.before in _PREPOSITIONS)
        if _is_verb(word) or word.endswith(("ed", "ing")):
            return nouns >= 2 and nouns > 2 * verbs and introduced
        if introduced:
            return nouns > verbs + (length > 1)
        return nouns >= 2 and nouns > 2 * verbs and (length > 1 or not run.starts_sentence)

    def _is_name(self, word: str) -> bool:
        """Nearly always capitalised in the collection, or capitalised inside (OpenBB, microSD)."""
        if any(c.isupper() for c in word[1:]):
            return True
        return word[:1].isupper() and self.upper_uses.get(word.lower(), 0) > 4 * self.lower_uses.get(word.lower(), 0)

    def _surface(self, words: Sequence[str], run: _Run) -> str:
        before = run.before
        text = " ".join(word if self._is_name(word) else word.lower() for word in words)
        named = len(words) < len(run.words) and self._is_name(words[-1])
        if before not in DETERMINERS or before in _BARE or named:
            return text
        if before in {"a", "an"}:
            plural = text.endswith("s") and not text.endswith("ss")
            return text if plural else f"{'an' if text[0] in 'aeiouAEIO' else 'a'} {text}"
        return f"{'your' if before in _YOURS else 'the'} {text}"


def study(texts: Iterable[str]) -> Collection:
    """Read all documents once and count how their words are used."""
    document_count: Counter[str] = Counter()
    verbs: Counter[str] = Counter()
    noun_runs: set[tuple[str, ...]] = set()  # a refrain repeated a hundred times is one piece of evidence
    lower: Counter[str] = Counter()
    upper: Counter[str] = Counter()
    total = 0
    for text in texts:
        total += 1
        seen: set[str] = set()
        for run in _runs(text):
            seen.update(word.lower() for word in run.words)
            lower.update(word for word in run.words if word.islower())
            upper.update(word.lower() for word in run.words[run.starts_sentence :] if word[0].isupper())
            if run.before in VERB_MARKERS:
                verbs[singular(run.words[0].lower())] += 1
            elif (run.before in DETERMINERS or run.before in _PREPOSITIONS) and len(run.words) <= _MAX_WORDS:
                noun_runs.add(tuple(word.lower() for word in run.words))
        document_count.update(seen)
    nouns = Counter(singular(words[-1]) for words in noun_runs)
    return Collection(total, document_count, nouns, verbs, lower, upper)


def _runs(text: str) -> Iterator[_Run]:
    """Maximal runs of content words; stop words, punctuation and line ends separate them."""
    words: list[str] = []
    before, start = "", True
    previous, fresh = "", True
    for token in [*_TOKEN.findall(_ADDRESS.sub(".", text).replace("’", "'")), "\n"]:
        if (token[0].isalnum()) and token.lower() not in STOP_WORDS:
            if not words:
                before, start = previous, fresh
            words.append(token)
            fresh = False
            continue
        if words:
            yield _Run(tuple(words), before, start)
            words = []
        previous = token.lower()
        fresh = token in {".", "!", "?", "\n", ":", "…", "“", '"', "-", ">"} or (fresh and not token[0].isalnum())


def _candidates(run: _Run) -> Iterator[tuple[str, ...]]:
    """Each stretch of a run that may name a thing: it ends where the run ends and does not begin after a vague word."""
    length = len(run.words)
    for size in range(1, min(_MAX_WORDS, length) + 1):
        if size == length or run.words[-size - 1].lower() not in NOT_TOPICS:
            yield run.words[-size:]


@functools.lru_cache(maxsize=100_000)
def _is_verb(word: str) -> bool:
    forms = {word, singular(word)}
    for end in ("ed", "ing", "es", "d"):
        if word.endswith(end):
            base = word.removesuffix(end)
            forms |= {base, base + "e", base[:-1]}
    return not forms.isdisjoint(VERBS)


def _distinct(ranked: Iterable[tuple[str, ...]], limit: int) -> list[tuple[str, ...]]:
    """The first `limit` keys of which none repeats a word of an earlier one."""
    chosen: list[tuple[str, ...]] = []
    used: set[str] = set()
    for key in ranked:
        if used.isdisjoint(key):
            chosen.append(key)
            used.update(key)
        if len(chosen) == limit:
            break
    return chosen
