"""Texts as sets of hashed word runs, many texts at once.

A word is a run of letters, digits and marks, in lower case; a Chinese or Japanese character is a word of its own. Accents
written as marks are composed, full-width and ligature forms are plain letters. A shingle is five words in a row; a text of
one to four words has one shingle, the whole of it; a text without words has none. Hashes have 64 bits: two different
shingles are taken for one about once in 10^13 pairs of texts of a thousand words.

Shapes: C code points of all texts, W words, S shingles, D texts.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHINGLE_WORDS", "Shingled", "mixed", "shingled", "words_of"]

SHINGLE_WORDS = 5
U64 = NDArray[np.uint64]

_WESTERN, _BMP = 0x2100, 0x10000  # the small table is made in a tenth of the time
_IDEOGRAPHS = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_FIRST_MARK = 0x300  # below it no character is a combining mark
_CHAR_BASE, _WORD_BASE, _TEXT_BASES = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, (0xC2B2AE3D27D4EB4F, 0xA0761D6478BD642F)
_ABSENT = np.uint64(0x589965CC75374CC3)  # stands where a text of under five words has none
_PIECE_CHARS = 1 << 18  # code points handled at once: their arrays stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Shingled:
    """Shingles of D texts. `hashes_S`: unsorted, with repeats; text d has those from `starts[d]` to `starts[d + 1]`.

    `digests_D2`: 128 bits of the whole sequence of words; equal for texts that differ in case, spacing and punctuation alone.
    `num_words_D`: how many words each text has.
    """

    hashes_S: U64
    starts: NDArray[np.int64]
    digests_D2: U64
    num_words_D: NDArray[np.int64]

    def of(self, text: int) -> U64:
        """The distinct shingles of one text, sorted."""
        return np.unique(self.hashes_S[self.starts[text] : self.starts[text + 1]])


def shingled(texts: Sequence[str]) -> Shingled:
    """The shingles of each text, in the order given. About 10 ns a character; memory is that of the shingles."""
    parts: list[Shingled] = []
    first, size = 0, 0
    for number, text in enumerate(texts):
        if size and size + len(text) > _PIECE_CHARS:
            parts.append(_shingle_piece(texts[first:number]))
            first, size = number, 0
        size += len(text) + 1
    parts.append(_shingle_piece(texts[first:]))
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(part.hashes_S) for part in parts)])
    return Shingled(
        np.concatenate([part.hashes_S for part in parts]),
        np.concatenate([np.zeros(1, np.int64), *(part.starts[1:] + b for part, b in zip(parts, before, strict=False))]),
        np.concatenate([part.digests_D2 for part in parts]),
        np.concatenate([part.num_words_D for part in parts]),
    )


def words_of(text: str) -> list[str]:
    """The words of one text as they are hashed: the slow and plain form of the definition."""
    found: list[str] = []
    inside = False
    for char in _composed(text):
        code = _folded(ord(char))
        alone = _is_ideograph(code)
        if code and inside and not alone:
            found[-1] += chr(code)
        elif code:
            found.append(chr(code))
        inside = bool(code) and not alone
    return found


def mixed(values: U64) -> U64:
    """A good 64-bit hash of each value (the finaliser of SplitMix64, Steele et al. 2014); changes `values` in place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _shingle_piece(texts: Sequence[str]) -> Shingled:
    codes_C = _codes(texts)
    if _to_compose(codes_C):
        texts = [_composed(text) for text in texts]
        codes_C = _codes(texts)
    ends_D = np.cumsum(np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts)))
    words_W, starts_W = _hash_words(codes_C)
    first_word = np.concatenate([np.zeros(1, np.int64), np.searchsorted(starts_W, ends_D)])
    num_words = np.diff(first_word)
    digests = _digest(words_W, first_word, num_words)
    for text in np.flatnonzero(num_words == 0).tolist():
        bare = hashlib.blake2b(" ".join(texts[text].split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        digests[text] = np.frombuffer(bare, np.uint64)
    hashes, starts = _hash_runs(words_W, first_word, num_words)
    return Shingled(hashes, starts, digests, num_words)


def _hash_words(codes_C: NDArray[np.uint32]) -> tuple[U64, NDArray[np.int64]]:
    """The hash of each word, and where it starts.

    A word's hash is Σ value(char) · B^position, read off running sums and moved to position 0 by the inverse power;
    wrap-around is meant, and B is odd, so it has an inverse.
    """
    values_C = _character_values(codes_C)
    inside = values_C != 0
    borders = np.flatnonzero(inside[1:] != inside[:-1]) + 1  # the last code is a separator, so every word ends
    if inside[0]:
        borders = np.concatenate([np.zeros(1, np.int64), borders])
    starts, ends = borders[::2], borders[1::2]
    if codes_C.max() >= _IDEOGRAPHS[0][0] and (alone := inside & _ideographs(codes_C)).any():
        edge = inside & alone
        begins = inside & (edge | ~_shifted(inside) | _shifted(edge))
        starts = np.flatnonzero(begins)
        following = np.concatenate([begins[1:] | ~inside[1:], [True]])
        ends = np.flatnonzero(inside & following) + 1
    powers, inverses = _powers(len(codes_C))
    values_C *= powers
    sums = np.cumsum(values_C, out=values_C)
    hashes = sums.take(ends - 1)
    later = starts > 0
    hashes[later] -= sums.take(starts[later] - 1)
    hashes *= inverses.take(starts)
    return mixed(hashes), starts


def _hash_runs(words_W: U64, first_word: NDArray[np.int64], num_words: NDArray[np.int64]) -> tuple[U64, NDArray[np.int64]]:
    """The hash of each run of five words that stays inside its text; one for a text of one to four words."""
    counts = np.where(num_words > 0, np.maximum(num_words - SHINGLE_WORDS + 1, 1), 0)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    padded = np.concatenate([words_W, np.full(SHINGLE_WORDS - 1, _ABSENT)])
    size = len(words_W)
    runs = padded[:size].copy()
    for place in range(1, SHINGLE_WORDS):
        runs *= np.uint64(_WORD_BASE)
        runs += padded[place : place + size]
    short = np.flatnonzero((num_words > 0) & (num_words < SHINGLE_WORDS))
    if len(short):
        places = first_word[short][:, None] + np.arange(SHINGLE_WORDS)
        held = np.where(np.arange(SHINGLE_WORDS) < num_words[short][:, None], padded[places], _ABSENT)
        total = held[:, 0].copy()
        for place in range(1, SHINGLE_WORDS):
            total = total * np.uint64(_WORD_BASE) + held[:, place]
        runs[first_word[short]] = total
    kept = np.arange(starts[-1]) + np.repeat(first_word[:-1] - starts[:-1], counts)
    return mixed(runs.take(kept)), starts


def _digest(words_W: U64, first_word: NDArray[np.int64], num_words: NDArray[np.int64]) -> U64:
    """Two 64-bit hashes of each text's sequence of words."""
    digests = np.zeros((len(num_words), 2), np.uint64)
    some = np.flatnonzero(num_words)
    if not len(some):
        return digests
    place = np.arange(len(words_W)) - np.repeat(first_word[:-1], num_words)
    longest = int(num_words.max())
    for column, base in enumerate(_TEXT_BASES):
        weights = _running_powers(base, longest).take(place)
        weights *= words_W
        digests[some, column] = np.add.reduceat(weights, first_word[:-1][some])
    digests += num_words.astype(np.uint64)[:, None]
    return mixed(digests)


def _shifted(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The flag of the character before."""
    return np.concatenate([[False], flags[:-1]])


def _codes(texts: Sequence[str]) -> NDArray[np.uint32]:
    """The code points of all texts, each text followed by a zero."""
    return np.frombuffer(("\0".join(texts) + "\0").encode("utf-32-le", "surrogatepass"), np.uint32)


def _to_compose(codes_C: NDArray[np.uint32]) -> bool:
    """Whether any character may change when texts are composed."""
    rare = codes_C[codes_C >= _FIRST_MARK]
    return bool(len(rare)) and any(map(_may_compose, np.unique(rare).tolist()))


@functools.lru_cache(maxsize=1 << 16)
def _may_compose(code: int) -> bool:
    return code in _LIGATURES or 0x1100 <= code <= 0x11FF or unicodedata.category(chr(code)).startswith("M")


def _composed(text: str) -> str:
    """The text with combining marks and Hangul letters joined to their syllables, and ligatures taken apart."""
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(_LIGATURES)


def _character_values(codes_C: NDArray[np.uint32]) -> U64:
    """64 random bits for each character of a word, 0 for every other."""
    highest = int(codes_C.max())
    if highest < _BMP:
        return _value_table(_WESTERN if highest < _WESTERN else _BMP).take(codes_C)
    values = _value_table(_BMP).take(np.minimum(codes_C, _BMP - 1))
    high = np.flatnonzero(codes_C >= _BMP)
    distinct, which = np.unique(codes_C[high], return_inverse=True)
    values[high] = _values_of([_folded(int(code)) for code in distinct])[which]
    return values


@functools.cache
def _value_table(size: int) -> U64:
    return _values_of([_folded(code) for code in range(size)])


def _values_of(folded: Sequence[int]) -> U64:
    codes = np.array(folded, np.uint64)
    values = mixed(codes * np.uint64(_CHAR_BASE))
    values[codes == 0] = 0
    return values


def _folded(code: int) -> int:
    """The character that stands for this one in a word: lower case, plain form; 0 for what is no part of words."""
    char = chr(code)
    if not char.isalnum() and not unicodedata.category(char).startswith("M"):
        return 0
    plain = unicodedata.normalize("NFKC", char)
    if len(plain) == 1 and plain.isalnum():
        char = plain
    lower = char.casefold()
    return ord(lower if len(lower) == 1 else char.lower()[0])


def _is_ideograph(code: int) -> bool:
    return any(low <= code <= high for low, high in _IDEOGRAPHS)


def _ideographs(codes_C: NDArray[np.uint32]) -> NDArray[np.bool_]:
    found = np.zeros(len(codes_C), np.bool_)
    for low, high in _IDEOGRAPHS:
        found |= (codes_C >= low) & (codes_C <= high)
    return found


def _powers(size: int) -> tuple[U64, U64]:
    """B^0 … B^(size-1) and their inverses, modulo 2^64."""
    return _running_powers(_CHAR_BASE, size), _running_powers(pow(_CHAR_BASE, -1, 1 << 64), size)


def _running_powers(base: int, size: int) -> U64:
    return _power_table(base, 1 << max(18, (size - 1).bit_length()))[:size]


@functools.lru_cache(maxsize=16)
def _power_table(base: int, size: int) -> U64:
    table = np.full(size, np.uint64(base))
    table[0] = 1
    return np.multiply.accumulate(table)
