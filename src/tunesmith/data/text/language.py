"""Which language a text is in, cheaply: by script, and by function words for seven languages in Latin letters.

It knows its limits: a text of few words, or in a language without a list here, is "" (not known), never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["language_of"]

_SCRIPTS = (
    ("Cyrillic script", re.compile(r"[\u0400-\u052f]")),
    ("Greek", re.compile(r"[\u0370-\u03ff]")),
    ("Hebrew", re.compile(r"[\u0590-\u05ff]")),
    ("Arabic script", re.compile(r"[\u0600-\u06ff\u0750-\u077f]")),
    ("Devanagari script", re.compile(r"[\u0900-\u097f]")),
    ("Thai", re.compile(r"[\u0e00-\u0e7f]")),
    ("Ethiopic script", re.compile(r"[\u1200-\u137f]")),
    ("Japanese", re.compile(r"[\u3040-\u30ff]")),
    ("Korean", re.compile(r"[\uac00-\ud7af]")),
    ("Chinese", re.compile(r"[\u4e00-\u9fff]")),
)
_NON_LATIN = re.compile(r"[\u0370-\u1fff\u3040-\ud7af]")
_WORDS = {
    "English": "the of and to is that it for with are was this be have from not they which their there you as on at or an no",
    "German": "der die das und ist nicht ein eine zu den mit von auf für sich dem des im auch wird sind wie es ich wenn",
    "French": "le les des et est une que dans pour qui sur pas plus avec ce sont il elle nous vous au du cette être ont",
    "Spanish": "el los las y es una que para por con del se no su lo como más pero sus está son muy también cuando",
    "Italian": "il gli e è una che di per non con del della sono come più anche nel alla questo ma si lo dei delle",
    "Portuguese": "os as e é uma que para não com do da dos das em por mais como se ao também foi são muito você na no",
    "Dutch": "het een en van is niet dat op te voor met zijn aan er ook als maar bij dit wordt naar deze nog je hebben",
}
_VOTES: dict[str, list[str]] = {}
for _language, _listed in _WORDS.items():
    for _word in _listed.split():
        _VOTES.setdefault(_word, []).append(_language)
_MARKS = dict.fromkeys(map(ord, '.,;:!?"()“”'))
_MOST_WORDS, _FEWEST_WORDS = 60, 8
_LEAST_SHARE, _FEWEST_VOTES = 0.12, 3  # of different words, so that “dot dot dit dit” is no Dutch


def language_of(text: str, tokens: Sequence[str]) -> str:
    """The language of most of the text, or "" if that cannot be told. `tokens`: the text split at blanks."""
    if not text.isascii():
        letters = len(_NON_LATIN.findall(text))
        if letters >= 4 and letters > 0.3 * sum(map(len, tokens)):
            return _script(text)
    if len(tokens) < _FEWEST_WORDS:
        return ""
    votes: dict[str, int] = {}
    begin = set(" ".join(tokens[:_MOST_WORDS]).lower().translate(_MARKS).split())
    for word in begin & _VOTES.keys():
        for language in _VOTES[word]:
            votes[language] = votes.get(language, 0) + 1
    if not votes:
        return ""
    ranked = sorted(votes.values(), reverse=True)
    best = max(votes, key=votes.__getitem__)
    clear = len(ranked) == 1 or ranked[0] >= 1.5 * ranked[1]
    return best if clear and ranked[0] >= max(_FEWEST_VOTES, _LEAST_SHARE * len(begin)) else ""


def _script(text: str) -> str:
    """The script with most letters; kana anywhere make it Japanese, whose text is mostly shared with Chinese."""
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS}
    if counts["Japanese"] >= 2:
        return "Japanese"
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] else ""
