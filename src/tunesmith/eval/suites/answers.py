"""What of an answer counts: markdown, lead-ins, quotes and full stops aside."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["letters_and_digits", "normalised", "numbers_in", "plain_text"]

_FENCE = re.compile(r"^```[a-z]*\n(.*?)\n?```$", re.DOTALL)
_MARKS = re.compile(r"(\*\*|__|[*_`])(?=\S)(.+?)(?<=\S)\1", re.DOTALL)
_HEADING = re.compile(r"^\s*#{1,6}\s+", re.MULTILINE)
_LEAD_IN = re.compile(
    r"^(?:(?:so|sure|ok|okay|yes|well)\s*[,:!.]\s*)?(?:the\s+)?(?:(?:correct|right|final|best)\s+)?(?:answer|result|solution)\s*"
    r"(?:is|are|=|:|would be)\s*:?\s*",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\S)")
_TOKEN = re.compile(r"[^\W_]+(?:[.][0-9]+)?")
_EDGES = " \t\n\"'“”‘’«».!?,;:()[]{}<>"
_GROUPED = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+)(?![\d,]*\d)")
_NUMBER = re.compile(r"(?<![\w.])[-−–]?\d+(?:\.\d+)?(?:\s*/\s*\d+)?(?![\d])|(?<!\w)[-−]?\.\d+")
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORD_VALUES = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_SPELT = re.compile(
    rf"\b(?:({'|'.join(_TENS)})[-\s]({'|'.join(_UNITS[1:10])})|({'|'.join([*_UNITS, *_TENS])}))\b(\s+hundred\b)?"
)


def plain_text(text: str) -> str:
    """The text without markdown's bold, italic, code and heading signs, and without a code fence around all of it."""
    text = unicodedata.normalize("NFKC", text).strip()
    if (fence := _FENCE.match(text)) is not None:
        text = fence.group(1)
    while (bare := _MARKS.sub(r"\2", text)) != text:
        text = bare
    return _HEADING.sub("", text).strip()


def normalised(text: str) -> str:
    """For comparing short answers: plain, in lower case, single blanks; no lead-in (“The answer is”), article, quotes or full
    stop around it; 1,000 is 1000."""
    text = _LEAD_IN.sub("", plain_text(text).strip(_EDGES))
    text = _GROUPED.sub(lambda found: found.group(1).replace(",", ""), text)
    text = " ".join(text.casefold().replace("’", "'").split()).strip(_EDGES)
    return _ARTICLE.sub("", text).strip(_EDGES)


def letters_and_digits(text: str) -> str:
    """Words in lower case with one blank between and around them: for finding whole words in it."""
    text = _GROUPED.sub(lambda found: found.group(1).replace(",", ""), plain_text(text).casefold().replace("’", "'"))
    return f" {' '.join(_TOKEN.findall(text))} "


def numbers_in(text: str) -> list[float]:
    """The numbers of a text in order: 1,000 as 1000, 3/4 as 0.75, −2 as negative; in words (up to 99, and hundreds) only where
    there are no digits at all. Thousands separated by blanks or full stops, decimal commas and exponents are not understood."""
    text = _GROUPED.sub(lambda found: found.group(1).replace(",", ""), plain_text(text))
    found = []
    for match in _NUMBER.finditer(text):
        above, _, below = re.sub(r"\s", "", match.group().replace("−", "-").replace("–", "-")).partition("/")
        if not below or float(below):
            found.append(float(above) / float(below or 1))
    if found or re.search(r"\d", text):
        return found
    values = []
    for tens, unit, alone, hundred in _SPELT.findall(text.casefold()):
        value = _WORD_VALUES[tens] + _WORD_VALUES[unit] if tens else _WORD_VALUES[alone]
        values.append(float(value * 100 if hundred else value))
    return values
