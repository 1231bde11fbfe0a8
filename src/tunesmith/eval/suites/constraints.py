"""Instructions whose keeping a program can verify, of the kind of IFEval (Zhou et al. 2023, "Instruction-Following Evaluation
for Large Language Models"). All are our own: counting rules are stated here and need no language model.

A constraint is an object `{"kind": …, …}`. Kinds that count take `exactly`, `at_least`, `at_most`, one or two of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

__all__ = ["CONSTRAINTS", "Constraint", "constraint_fault", "meets"]

Args = Mapping[str, Any]
_COUNTS = ("exactly", "at_least", "at_most")
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|etc|no)\.(?=\s)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s|$)")
_BULLET = re.compile(r"^\s*[-*•+]\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*\d+[.)]\s+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]*\w[^*\n]*\*\*|(?<![*\w])\*[^*\s\n](?:[^*\n]*[^*\s\n])?\*(?![*\w])")
_PAIRS = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """`holds(text, args)` for a text with white space removed at its ends. `needs`: arguments that must be given; `counts`: the
    kind takes `exactly`, `at_least`, `at_most`; `optional`: further arguments."""

    kind: str
    holds: Callable[[str, Args], bool]
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    counts: bool = False


def meets(answer: str, constraints: Sequence[Args]) -> bool:
    """Whether an answer keeps every one of them. An answer without a letter or digit keeps none."""
    text = answer.strip()
    if not any(char.isalnum() for char in text):
        return False
    return all(CONSTRAINTS[one["kind"]].holds(text, one) for one in constraints)


def constraint_fault(args: object) -> str:
    """Why this cannot be a constraint: an unknown kind, an argument that is missing or unknown. Empty if it can."""
    if not isinstance(args, Mapping) or args.get("kind") not in CONSTRAINTS:
        kind = args.get("kind") if isinstance(args, Mapping) else args
        return f"there is no constraint of the kind {kind!r}; there are {', '.join(sorted(CONSTRAINTS))}"
    known = CONSTRAINTS[args["kind"]]
    if missing := [name for name in known.needs if not args.get(name)]:
        return f"the constraint {known.kind} needs {missing[0]}"
    given = set(args) - {"kind"} - set(known.needs) - set(known.optional)
    if unknown := sorted(given - (set(_COUNTS) if known.counts else set())):
        return f"the constraint {known.kind} does not take {unknown[0]}"
    if known.counts and not given:
        return f"the constraint {known.kind} needs one of {', '.join(_COUNTS)}"
    if any(not isinstance(args[name], int) or isinstance(args[name], bool) for name in given):
        return f"the counts of the constraint {known.kind} must be whole numbers"
    return ""


def _counted(count: int, args: Args) -> bool:
    if "exactly" in args and count != args["exactly"]:
        return False
    return bool(args.get("at_least", 0) <= count <= args.get("at_most", count))


def _occurrences(text: str, phrase: str) -> int:
    return len(re.findall(rf"(?<![^\W_]){re.escape(phrase.casefold())}(?![^\W_])", text.casefold()))


def _num_words(text: str, args: Args) -> bool:
    """Words: runs of letters and digits, joined by inner apostrophes and hyphens. List numbers count as words."""
    return _counted(len(_WORD.findall(text)), args)


def _num_sentences(text: str, args: Args) -> bool:
    """Sentences: what ends in . ! ? or … before a blank, and a last piece without one. Common abbreviations are known; initials
    and list numbers with a full stop are taken for ends."""
    text = _ABBREVIATION.sub(lambda found: found.group()[:-1], text)
    pieces = [piece for piece in _SENTENCE_END.split(text) if any(char.isalnum() for char in piece)]
    return _counted(len(pieces), args)


def _num_paragraphs(text: str, args: Args) -> bool:
    """Paragraphs: blocks of text between blank lines."""
    return _counted(len([block for block in re.split(r"\n\s*\n", text) if block.strip()]), args)


def _num_lines(text: str, args: Args) -> bool:
    """Lines that are not blank."""
    return _counted(len([line for line in text.split("\n") if line.strip()]), args)


def _num_bullets(text: str, args: Args) -> bool:
    """Lines that begin with `-`, `*`, `•` or `+` and a blank."""
    return _counted(len(_BULLET.findall(text)), args)


def _num_numbered(text: str, args: Args) -> bool:
    """Lines that begin with a number, then `.` or `)` and a blank."""
    return _counted(len(_NUMBERED.findall(text)), args)


def _num_items(text: str, args: Args) -> bool:
    """Entries between commas (`and` before the last one is an entry's beginning as well)."""
    entries = re.split(r",\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+", text.strip(" .\n"))
    return _counted(len([entry for entry in entries if entry.strip()]), args)


def _keyword(text: str, args: Args) -> bool:
    """The word or phrase `keyword` as whole words, in any case: once at least, or as often as the counts say."""
    return _counted(_occurrences(text, args["keyword"]), args if set(args) & set(_COUNTS) else {"at_least": 1})


def _keywords(text: str, args: Args) -> bool:
    """All of `words`, as whole words, in any case and order."""
    return all(_occurrences(text, word) for word in args["words"])


def _absent(text: str, args: Args) -> bool:
    """None of `words` as a whole word; other forms of a word are not looked for."""
    return not any(_occurrences(text, word) for word in args["words"])


def _letter(text: str, args: Args) -> bool:
    """How often one letter occurs, in any case."""
    return _counted(text.casefold().count(args["letter"].casefold()), args)


def _no_characters(text: str, args: Args) -> bool:
    """None of `characters` occurs, for instance commas or digits (`0123456789`)."""
    return not set(args["characters"]) & set(text)


def _lower_case(text: str, args: Args) -> bool:
    """No capital letter, and one letter at least."""
    return text == text.lower() and any(char.isalpha() for char in text)


def _upper_case(text: str, args: Args) -> bool:
    """No small letter, and one letter at least."""
    return text == text.upper() and any(char.isalpha() for char in text)


def _num_capital_words(text: str, args: Args) -> bool:
    """Words of two letters or more that are all capitals."""
    return _counted(sum(word.isupper() and len(word) > 1 for word in _WORD.findall(text)), args)


def _starts_with(text: str, args: Args) -> bool:
    """The first characters are `phrase`, in the case given; quotes and asterisks before it do not count."""
    return text.lstrip("\"“'*_ ").startswith(args["phrase"])


def _ends_with(text: str, args: Args) -> bool:
    """The last characters are `phrase`, in the case given. Quotes and asterisks after it do not count, nor does a full stop
    that the phrase lacks."""
    bare = text.rstrip("\"”'*_ \n")
    return bare.endswith(args["phrase"]) or bare.rstrip(".").endswith(args["phrase"])


def _in_quotes(text: str, args: Args) -> bool:
    """The whole answer lies between quotation marks, double or single, straight or curly."""
    return len(text) > 2 and text[0] in _PAIRS and text[-1] == _PAIRS[text[0]]


def _title(text: str, args: Args) -> bool:
    """A title between << and >>, with a letter in it."""
    return re.search(r"<<[^<>\n]*[^\W\d_][^<>\n]*>>", text) is not None


def _postscript(text: str, args: Args) -> bool:
    """A line that begins with `P.S.` (or `PS`, `P.P.S.`, if `marker` says so) and has words after it."""
    marker = re.escape(args.get("marker", "P.S."))
    return re.search(rf"^\W*{marker}\s*\W*\w+", text, re.MULTILINE) is not None


def _json(text: str, args: Args) -> bool:
    """The whole answer is JSON; a code fence around it does not count."""
    fence = re.match(r"^```(?:json)?\s*\n(.*?)\n?```$", text, re.DOTALL | re.IGNORECASE)
    try:
        orjson.loads(fence.group(1) if fence else text)
    except orjson.JSONDecodeError:
        return False
    return True


def _num_bold(text: str, args: Args) -> bool:
    """Pieces in markdown's *emphasis* or **strong emphasis**."""
    return _counted(len(_BOLD.findall(text)), args)


def _num_placeholders(text: str, args: Args) -> bool:
    """Places to fill in, in square brackets: [name]."""
    return _counted(len(re.findall(r"\[[^\[\]\n]+\]", text)), args)


def _separator(text: str, args: Args) -> bool:
    """Two texts, not the same, with the line `mark` between them."""
    parts = [part.strip() for part in text.split(args["mark"])]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def _ascii_letters(text: str, args: Args) -> bool:
    """No letter outside a to z: no accents, no other script. Which language it is is not decided."""
    return all(char.isascii() for char in text if char.isalpha())


def _title_case(text: str, args: Args) -> bool:
    """Every word begins with a capital letter; words that begin with a digit do not count."""
    found = [word for word in _WORD.findall(text) if word[0].isalpha()]
    return bool(found) and all(word[0].isupper() for word in found)


def _question(text: str, args: Args) -> bool:
    """The answer ends in a question mark; quotes after it do not count."""
    return text.rstrip("\"”'*_ ").endswith("?")


_ALL = (
    Constraint(kind="num_words", holds=_num_words, counts=True),
    Constraint(kind="num_sentences", holds=_num_sentences, counts=True),
    Constraint(kind="num_paragraphs", holds=_num_paragraphs, counts=True),
    Constraint(kind="num_lines", holds=_num_lines, counts=True),
    Constraint(kind="num_bullets", holds=_num_bullets, counts=True),
    Constraint(kind="num_numbered", holds=_num_numbered, counts=True),
    Constraint(kind="num_items", holds=_num_items, counts=True),
    Constraint(kind="keyword", holds=_keyword, needs=("keyword",), optional=_COUNTS),
    Constraint(kind="keywords", holds=_keywords, needs=("words",)),
    Constraint(kind="absent", holds=_absent, needs=("words",)),
    Constraint(kind="letter", holds=_letter, needs=("letter",), counts=True),
    Constraint(kind="no_characters", holds=_no_characters, needs=("characters",)),
    Constraint(kind="lower_case", holds=_lower_case),
    Constraint(kind="upper_case", holds=_upper_case),
    Constraint(kind="num_capital_words", holds=_num_capital_words, counts=True),
    Constraint(kind="starts_with", holds=_starts_with, needs=("phrase",)),
    Constraint(kind="ends_with", holds=_ends_with, needs=("phrase",)),
    Constraint(kind="in_quotes", holds=_in_quotes),
    Constraint(kind="title", holds=_title),
    Constraint(kind="postscript", holds=_postscript, optional=("marker",)),
    Constraint(kind="json", holds=_json),
    Constraint(kind="num_bold", holds=_num_bold, counts=True),
    Constraint(kind="num_placeholders", holds=_num_placeholders, counts=True),
    Constraint(kind="separator", holds=_separator, needs=("mark",)),
    Constraint(kind="ascii_letters", holds=_ascii_letters),
    Constraint(kind="title_case", holds=_title_case),
    Constraint(kind="question", holds=_question),
)
CONSTRAINTS: Mapping[str, Constraint] = MappingProxyType({one.kind: one for one in _ALL})
