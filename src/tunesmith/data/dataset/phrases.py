"""Key phrases of passages: whole noun phrases and names that are rare outside their document. No model."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.data.text.lexicon import DETERMINERS, NOT_TOPICS, STOP_WORDS, VERBS
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.tagging import tag_words
from tunesmith.data.text.words import singular

__all__ = ["Collection", "Phrase", "study"]

_TOKEN = re.compile(r"[^\W_]+(?:['’\-.&][^\W_]+)*|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]+(?:['\-.&][^\W_]+)*")
_NOT_WORDS = re.compile(r"//|www\.|[_\\={}<>@#%^|~`*]|\w[(/:]\w")  # in addresses, code and options
_YOURS = frozenset(("my", "our", "your"))
_SPEAKER = re.compile(r"^[A-Z][\w.]*(?: [A-Z][\w.]*){0,2}(?: \([^()]{1,40}\))?: ")  # in an interview
_ARTICLES = frozenset(("a", "an"))
_NOT_ONE = frozenset(("each", "every", "any", "no", "another", "some", "per"))
_VAGUE_TEXT = """
great good big new old nice whole entire same similar different certain various particular other own several many few first
last next main major real actual such huge small little large bad best better awesome amazing favorite favourite previous
recent latest current important popular fantastic interesting fun easy simple general single following obvious upcoming
additional extra subsequent multiple
"""
_MONTHS = frozenset(("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"))
_LIKE_PREPOSITIONS = frozenset(("including", "using", "following", "regarding", "concerning", "being", "having", "doing"))
_VAGUE = frozenset(_VAGUE_TEXT.split())
_MAX_WORDS = 4
_MAX_NAME_WORDS = 6
_COMMON_SHARE = 0.04  # of the documents: a phrase in more of them tells nothing about one


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase worded so that `about X` reads well (`the steam hole`). `alone`: it says enough without the title."""

    text: str
    alone: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """A noun phrase as written, without its determiner, in sentence number `sentence`, at the head of it if `leads`.

    `name`: it ends in a name; `countable`: it ends in a singular noun.
    """

    words: tuple[str, ...]
    before: str
    sentence: int
    leads: bool
    name: bool
    countable: bool

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(singular(word.lower()) for word in self.words)


@dataclass(frozen=True, slots=True)
class Collection:
    """What all documents together say: in how many of them each word and pair of words occurs, and how words are written.

    `name_parts`: words that are a part of longer names somewhere, so that alone they are half a name.
    """

    num_documents: int
    document_count: Mapping[str, int]
    lower_uses: Mapping[str, int]
    upper_uses: Mapping[str, int]
    name_parts: frozenset[str]

    def key_phrases(self, passage: str, *, context: str = "", limit: int = 6) -> list[Phrase]:
        """The best phrases of a passage, best first. Fewer than `limit`, or none, if little in it is specific.

        A phrase is a whole noun phrase or name that is in few documents and that the passage is about: it is in the first
        sentence, comes again, or is in `context` (title, heading). One that `context` says completely is left out.
        """
        said = {singular(word) for word in _WORD.findall(context.lower().replace("’", "'")) if word not in STOP_WORDS}
        found = [one for one in self._noun_phrases(passage) if self._is_topic(one)]
        by_key: dict[tuple[str, ...], list[_Found]] = {}
        for one in found:
            by_key.setdefault(one.key, []).append(one)
        scored = []
        for key, uses in by_key.items():
            leads = uses[0].sentence == 0 and uses[0].leads and (len(key) > 1 or uses[0].name)
            central = leads or len(uses) > 1 or key[-1] in said
            count = self._count(key)
            if not central or not self._is_rare(key, count) or said.issuperset(key):
                continue
            rarity = math.log((1 + self.num_documents) / (1 + count)) + 0.3
            score = rarity * (1 + math.log(len(uses))) * (1.0, 1.5, 1.6, 1.4)[min(len(key), 4) - 1]
            score *= (1.3 if uses[0].sentence == 0 else 1.0) * (1 + 0.3 * (not said.isdisjoint(key)))
            text = _surface(uses)
            if self._lacks_article(uses[0], text):
                text = f"the {text}"
            given = text.startswith(("the ", "your ")) and not uses[0].name  # "the site" was named before
            known = not given and (len(key) > 1 or (uses[0].name and key[0] not in self.name_parts))
            begins = uses[0].sentence == 0 and uses[0].leads and (not uses[0].before or uses[0].before in DETERMINERS)
            alone = known and count <= 2 and (begins or (len(uses) > 1 and uses[0].sentence < 3))
            scored.append((-score, key, Phrase(text, alone)))
        scored.sort(key=lambda entry: entry[:2])
        return _distinct([(key, phrase) for _, key, phrase in scored], limit)

    def _lacks_article(self, found: _Found, text: str) -> bool:
        """A thing that can be counted, which the collection knows from "a …", written without an article before it."""
        head = found.key[-1]
        counted = self.document_count.get(f"a {head}", 0) + self.document_count.get(f"an {head}", 0)
        bare = text.partition(" ")[0] not in {"the", "a", "an", "your"} and "'s " not in text
        return not found.name and found.countable and counted > 0 and bare

    def _is_rare(self, key: Sequence[str], count: int) -> bool:
        """In few documents as a whole, and with at least one word that is not in many."""
        rarest = min(self.document_count.get(word, 0) for word in key)
        common = _COMMON_SHARE * self.num_documents
        return count <= max(2, common) and rarest <= max(2, 2 * common)

    def _count(self, key: Sequence[str]) -> int:
        """In how many documents the phrase can be at most: the rarest of its pairs of words."""
        if len(key) == 1:
            return self.document_count.get(key[0], 0)
        return min(self.document_count.get(f"{one} {two}", 0) for one, two in itertools.pairwise(key))

    def _noun_phrases(self, passage: str) -> Iterator[_Found]:
        number = 0
        for line in passage.replace("’", "'").split("\n"):
            line = _SPEAKER.sub("", line, count=1)
            if _NOT_WORDS.search(line):
                line = " ".join(";" if _NOT_WORDS.search(part) else part for part in line.split(" "))
            for sentence in split_sentences(line):
                yield from self._of_sentence(self._tagged(_TOKEN.findall(sentence)), number)
                number += 1

    def _tagged(self, words: list[str]) -> list[tuple[str, str]]:
        """Words with their tags. The tagger takes capitals for names, so it does not see those that only mark a beginning."""
        plain = [
            word.lower() if _begins(words, position) and self.lower_uses.get(word.lower(), 0) else word
            for position, word in enumerate(words)
        ]
        return [(word, tag) for word, (_, tag) in zip(words, tag_words(plain), strict=True)]

    def _of_sentence(self, tokens: Sequence[tuple[str, str]], number: int) -> Iterator[_Found]:
        """Maximal runs of adjectives and nouns that end in a noun, with "of" between names."""
        kinds = [self._kind(tokens, position) for position in range(len(tokens))]
        position = 0
        while position < len(tokens):
            if kinds[position] not in {"adjective", "noun", "name"}:
                position += 1
                continue
            end = position
            while end < len(tokens) and (kinds[end] in {"adjective", "noun", "name"} or _joins(kinds, tokens, end)):
                end += 1
            stop = end
            while stop > position and kinds[stop - 1] not in {"noun", "name"}:
                stop -= 1
            if stop > position and not _is_verb_after_all(tokens, kinds, position, stop):
                yield from self._cut(tokens, kinds, position, stop, number)
            position = end

    def _cut(
        self, tokens: Sequence[tuple[str, str]], kinds: Sequence[str], start: int, stop: int, number: int
    ) -> Iterator[_Found]:
        """One phrase without vague adjectives in front ("great", "new"), or none."""
        before, tag = (tokens[start - 1][0].lower(), tokens[start - 1][1]) if start else ("", "")
        if tag in {"JJ", "JJR", "JJS", "RBS", "CD", "NN", "NNS"}:
            return  # "the best possible outcome", "16 GB of": a part of a phrase
        if before == "your":
            return  # the reader's own, of which nobody would ask the author
        if before in _ARTICLES and (tokens[stop - 1][1] == "NNS" or _is_listed(tokens, start, stop)):
            return  # "a research review proceeds", "a Ruby app, a React app, or …"
        if stop - start == 1 and kinds[start] == "noun" and stop < len(tokens) and tokens[stop][0] == "of":
            return  # "the circle of influence": half a phrase
        first = start
        named = "adjective" in kinds[start:stop] and set(kinds[start:stop]) == {"adjective", "name"}  # happy Gleam
        while first < stop - 1 and kinds[first] != "name" and (named or before not in _YOURS):
            if not named and tokens[first][0].lower() not in _VAGUE:
                break
            first += 1
        words = [word for word, _ in tokens[first:stop]]
        if kinds[first] != "name":
            words[0] = words[0].lower()
        name = kinds[stop - 1] == "name"
        if len(words) <= (_MAX_NAME_WORDS if name and kinds[first] == "name" else _MAX_WORDS):
            plural_inside = any(tokens[i][1] == "NNS" and kinds[i] == "noun" for i in range(first, stop - 1))
            if not plural_inside:  # the cat drinks milk: more than one phrase
                yield _Found(tuple(words), before, number, first < 3, name, tokens[stop - 1][1] == "NN")

    def _kind(self, tokens: Sequence[tuple[str, str]], position: int) -> str:
        """adjective, noun, name, or nothing."""
        word, tag = tokens[position]
        lowered = word.lower()
        if not word[0].isalpha() or lowered in STOP_WORDS or lowered.endswith(("n't", "'re", "'ve", "'ll", "'d")):
            return ""
        following = tokens[position + 1][0] if position + 1 < len(tokens) else ""
        begins = position == 0 or not tokens[position - 1][0][0].isalnum()
        if self._is_name(word, noun=tag.startswith("NN"), begins=begins, before_capital=following[:1].isupper()):
            return "name"
        if tag in {"NN", "NNS", "NNP", "NNPS"}:
            return "noun"
        next_tag = tokens[position + 1][1] if following else ""
        before = tokens[position - 1] if position else ("", "")
        if tag == "VBG" and lowered not in _LIKE_PREPOSITIONS and before[1].startswith("NN") and next_tag.startswith("NN"):
            return "noun"  # hosting in "WordPress hosting vendors"
        participle = tag == "VBN" and (before[0].lower() in DETERMINERS or before[1] == "JJ") and next_tag.startswith("NN")
        return "adjective" if tag == "JJ" or participle else ""

    def _is_name(self, word: str, *, noun: bool, begins: bool, before_capital: bool) -> bool:
        """Capitalised inside (OpenBB, microSD) or within a sentence; at a beginning only if the collection writes it so."""
        if (rest := word[1:]) != rest.lower():
            return True
        if not word[0].isupper():
            return False
        lower, upper = self.lower_uses.get(word.lower(), 0), self.upper_uses.get(word.lower(), 0)
        return not begins or upper > 4 * lower or (noun and before_capital and (upper > 0 or lower == 0))

    def _is_topic(self, found: _Found) -> bool:
        lowered = [word.lower() for word in found.words]
        last = lowered[-1]
        if last in _MONTHS or (found.words[0].islower() and any(word.endswith("'s") for word in lowered[1:])) or last == "life":
            return False  # "bursty TinyPilot's expenses"
        if any(len(word) < 2 or ("." in word and word.islower()) or "'" in word.removesuffix("'s") for word in found.words):
            return False
        if all(word in NOT_TOPICS or word in STOP_WORDS for word in lowered) or last in STOP_WORDS:
            return False
        if found.name:
            return len(found.words) > 1 or (len(last) > 2 and self.upper_uses.get(last, 0) > 4 * self.lower_uses.get(last, 0))
        if last in NOT_TOPICS or singular(last) in NOT_TOPICS or last.endswith(("ly", "'s")) or len(last) < 3:
            return False
        if found.countable and found.before in _NOT_ONE:
            return False  # "each response": no response that could be asked about
        if len(found.words) > 1:
            return True
        return not found.countable or (found.before in DETERMINERS and found.before not in _ARTICLES)


def study(texts: Iterable[str]) -> Collection:
    """Read all documents once: in how many each word and pair of words occurs, and how often a word is capitalised."""
    documents: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    upper: Counter[str] = Counter()
    parts: set[str] = set()
    total = 0
    for text in texts:
        total += 1
        seen: set[str] = set()
        for line in text.replace("’", "'").split("\n"):
            words = _WORD.findall(line)
            stems = [singular(word.lower()) for word in words]
            seen.update(stems)
            seen.update(f"{one} {two}" for one, two in itertools.pairwise(stems))
            lower.update(word for word in words if word.islower())
            upper.update(match.lower() for match in _INSIDE.findall(line))
            for one, two in itertools.pairwise(words):
                if one[0].isupper() and two[0].isupper():
                    parts.update((singular(one.lower()), singular(two.lower())))
        documents.update(seen)
    return Collection(total, documents, lower, upper, frozenset(parts))


_INSIDE = re.compile(r"(?<=[\w,;] )[A-Z][^\W_]*(?:['\-.&][^\W_]+)*")  # capitalised within a sentence


def _begins(words: Sequence[str], position: int) -> bool:
    """A capitalised word at the beginning of a sentence, or after a colon, a dash or a quotation mark."""
    capital = words[position][0].isupper() and words[position][1:].islower()
    return capital and (position == 0 or not words[position - 1][0].isalnum())


def _is_listed(tokens: Sequence[tuple[str, str]], start: int, stop: int) -> bool:
    """One of several things that stand in a row, each with its article before it."""
    follows = start > 1 and tokens[start - 2][0] in {",", "or", "and"}
    return follows and stop < len(tokens) and tokens[stop][0] in {",", "or", "and"}


def _joins(kinds: Sequence[str], tokens: Sequence[tuple[str, str]], position: int) -> bool:
    """A connecting word between two names: `of` in Bureau of Land Management."""
    inside = 0 < position < len(tokens) - 1
    return inside and tokens[position][0] in {"of", "&"} and kinds[position - 1] == kinds[position + 1] == "name"


def _is_verb_after_all(tokens: Sequence[tuple[str, str]], kinds: Sequence[str], start: int, stop: int) -> bool:
    """`TinyPilot functions without power`: the last word may be a verb, and what follows is what follows a verb.

    `to pitch ideas`: what follows "to" may be a verb, and only a name cannot.
    """
    word = tokens[stop - 1][0].lower()
    before = tokens[start - 1] if start else ("", "")
    following = tokens[stop][1] if stop < len(tokens) else "."
    if (word.endswith("s") and following in {"DT", "PRP", "PRP$", "CD", "$"}) or (
        _may_be_verb(word) and following in {"DT", "PRP", "PRP$", "CD", "$", "TO"} and stop - start > 1
    ):
        return True  # the drawer provides a …
    if before[0].lower() == "to" and kinds[start] == "noun":
        return True
    acts = before[1] in {"MD", "TO"} or before[0].lower() in {"i", "you", "we", "they", "let", "please"}
    if acts and kinds[start] == "noun" and stop - start > 1 and _may_be_verb(tokens[start][0].lower()):
        return True  # "you can use Nix-managed environments"
    if kinds[stop - 1] == "name" and "noun" in kinds[start:stop]:
        return True  # "in the process Ryan": two phrases
    joined = stop + 1 < len(tokens) and tokens[stop][0] == "and" and kinds[stop + 1] == "name"
    if joined and stop - start > 1 and kinds[stop - 1] == "name":
        return True  # "Advanced Simulation and Computing Program": where the name ends cannot be known
    begins = start == 0 or not before[0][0].isalnum()
    if begins and kinds[start] == "noun" and stop - start > 1 and not following.startswith(("VB", "MD")):
        return True  # "Track commitments": an order, where a subject would be followed by its verb
    if not _may_be_verb(word):
        return False
    introduced = before[0].lower() in DETERMINERS or before[1] in {"IN", "PRP$", "DT"}
    if before[1] in {"TO", "MD", "PRP", "EX"} or before[0].lower() in {"to", "i", "you", "we", "they", "it", "let", "please"}:
        return stop - start == 1
    if start == 0 and stop - start == 1:
        return True
    return stop - start > 1 and not introduced and following in {"DT", "PRP", "PRP$", "IN", "TO", "RB", "JJ"}


@functools.lru_cache(maxsize=100_000)
def _may_be_verb(word: str) -> bool:
    forms = {word, singular(word)}
    for end in ("ed", "ing", "es", "d"):
        if word.endswith(end):
            base = word.removesuffix(end)
            forms |= {base, base + "e", base[:-1]}
    return not forms.isdisjoint(VERBS)


def _surface(uses: Sequence[_Found]) -> str:
    """As it is written most often, with an article or "your" where the text has one."""
    texts = Counter(_worded(one) for one in uses)
    return max(texts, key=lambda text: (texts[text], text))


def _worded(found: _Found) -> str:
    text = " ".join(found.words)
    if found.before in _YOURS:
        return f"your {text}"
    if found.before == "that" and text[0].isupper():
        return text  # "I showed that Lizzie had copied it"
    if found.before in {"the", "this", "these", "that", "those", "its", "their", "his", "her"}:
        return f"the {text}"
    if found.before in _ARTICLES:
        vowel = text[0] in ("AEFHILMNORSX" if text.split()[0].isupper() else "aeiouAEIO")  # an HTTP server
        return f"{'an' if vowel else 'a'} {text}"
    return text


def _distinct(ranked: Iterable[tuple[tuple[str, ...], Phrase]], limit: int) -> list[Phrase]:
    """The first `limit` phrases of which none repeats a word of an earlier one."""
    chosen: list[Phrase] = []
    used: set[str] = set()
    for key, phrase in ranked:
        words = set(key) - STOP_WORDS
        if used.isdisjoint(words):
            chosen.append(phrase)
            used |= words
        if len(chosen) == limit:
            break
    return chosen
