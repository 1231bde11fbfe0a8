"""LaTeX files to documents: the prose of the body, without commands, maths, comments, figures, tables, notes and citations.

Files are never compiled, and nothing that they include is opened. A tokenizer of one pass does: the parsers that there are
build trees by recursion, which hostile nesting overflows.
"""

from __future__ import annotations

import re
from collections import Counter

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.latex_macros import (
    CHARACTERS,
    CODE,
    DROPPED,
    HEADINGS,
    LISTS,
    NUM_DROPPED_ARGUMENTS,
    NUM_ENVIRONMENT_ARGUMENTS,
    QUOTES,
    TABLES,
    accented,
    is_accent,
)
from tunesmith.data.ingest.line_reader import newlines
from tunesmith.data.ingest.metadata import stated_metadata
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block

__all__ = ["READER", "read_latex"]

_TOKEN = re.compile(
    r"(?P<comment>%[^\n]*(?:(?=\n[ \t]*\n)|\n[ \t]*|$))|(?P<verb>\\(?:verb|lstinline)\*?(?P<bar>[^\sA-Za-z*{\[]))"
    r"|\\(?P<border>begin|end)\s*\{(?P<env>[^{}\n]{1,60})\}"
    r"|(?P<math>\$\$?|\\\(|\\\[)|\\(?P<macro>[A-Za-z@]+\*?|.)(?P<after>[ \t]*\n?(?![ \t]*\n)[ \t]*)|(?P<break>\n[ \t]*\n\s*)"
    r"|(?P<mark>[{}~]|-{2,3}|``|''|`|\"[`'])|(?P<text>[^\\%${}~\n`'\"-]+|.|\n)",
    re.DOTALL,
)
_COMMENTS = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*\n?[ \t]*")
_MATH_END = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_PLAIN_MATH = re.compile(r"[\w\s.,+\-=<>/'|()]{1,40}")
_MARKS = {"~": " ", "--": "–", "---": "—", "``": "“", "''": "”", "`": "‘", '"`': "„", "\"'": "“", "{": "", "}": ""}
_LETTER = re.compile(r"\s*\{?\s*(?:\\([ij])(?![A-Za-z])|([^\W\d_]))\s*")
_ITEM_LABEL = re.compile(r"\s*\[([^\[\]\n]{0,300})\]")
_DEFINITION = re.compile(r"\s*(?:\{\s*\\([A-Za-z@]+)\s*\}|\\([A-Za-z@]+))(\s*\[[^\[\]]*\])*|\s*(?=\{)")
_LOOSE = re.compile(r" ([.,;)])(?=\s|$)")  # what a citation leaves behind it
_SPACE = re.compile(r"\s*")
_MAX_MATH = 4000
_SHORT_MACRO = 300


def read_latex(text: str, *, name: str) -> Reading:
    """One document from one file; title, author and date come from `\\title`, `\\author` and `\\date`.

    UnreadableError if an environment that is left out never ends, or no prose is left.
    """
    text = newlines(text)
    tex = _Tex(text)
    stated = {key: value for key in ("title", "author", "date") if (value := tex.argument_of(key))}
    tex.read_definitions()
    try:
        blocks = tex.blocks(*tex.body())
    except RecursionError as error:
        raise UnreadableError("its headings or quotations are nested too deeply") from error
    metadata = stated_metadata(stated, name)
    return article(blocks, metadata=metadata, name=name, extraction="latex", notes=tex.notes, is_empty=not text.strip())


class _Tex:
    """One file, with the ends of its groups known from the start."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.notes: Counter[str] = Counter()
        self._ends = _group_ends(text)
        self._macros: dict[str, str] = {}

    def body(self) -> tuple[int, int]:
        """Where the prose begins and ends: the document, or all of a part of one."""
        start = self.text.find("\\begin{document}")
        end = self.text.find("\\end{document}", max(start, 0))
        return (start + len("\\begin{document}") if start >= 0 else 0), (end if end >= 0 else len(self.text))

    def argument_of(self, macro: str) -> str | None:
        """The plain words of the last `\\macro{…}`, authors separated by commas."""
        found = None
        for match in re.finditer(rf"\\{macro}\s*(?:\[[^\[\]]{{0,300}}\]\s*)?(?=\{{)", self.text):
            end = self._ends.get(match.end(), -1)
            if 0 < end - match.end() < 5000:
                found = (match.end() + 1, end)
        if found is None:
            return None
        inside = _COMMENTS.sub(r"\1", self.text[slice(*found)])
        parts = [part.split("\\\\")[0] for part in inside.split("\\and")] if macro == "author" else [inside]
        plain = (" ".join(block.text for block in _Tex(part).blocks(0, len(part))) for part in parts)
        return ", ".join(" ".join(line.split()) for line in plain if line.strip()) or None

    def read_definitions(self) -> None:
        """Macros without arguments that stand for a few words."""
        for match in re.finditer(r"\\(?:re)?newcommand\*?\s*\{?\\([A-Za-z]+)\}?\s*\{([^{}\\#$%]{1,300})\}", self.text):
            self._macros[match[1]] = match[2]

    def blocks(self, start: int, end: int) -> list[Block]:
        """The prose between two places."""
        return _Walk(self, start, end).read()

    def group_end(self, position: int) -> int:
        """Where the `{…}` that begins at a place ends, its bracket excluded; UnreadableError if it never does."""
        end = self._ends.get(position, -1)
        if end < 0:
            raise UnreadableError(f"a brace in it is never closed (line {self.text.count(chr(10), 0, position) + 1})")
        return end

    def definition(self, macro: str) -> str | None:
        """The words that a macro of the author's stands for."""
        return self._macros.get(macro)


class _Walk:
    """Writes the prose of one stretch of a file."""

    def __init__(self, tex: _Tex, start: int, end: int) -> None:
        self.tex, self.position, self.end = tex, start, end
        self.writer = BlockWriter()
        self.words: list[str] = []

    def read(self) -> list[Block]:
        """The blocks of the whole stretch."""
        while self.position < self.end:
            token = _TOKEN.match(self.tex.text, self.position, self.end)
            if token is None:
                raise AssertionError("a character that fits no pattern")
            self.position = token.end()
            if token["border"]:
                self._border(token["border"], token["env"].strip())
            elif token["macro"]:
                self._macro(token["macro"], token["after"])
            elif token["math"]:
                self._math(token["math"])
            elif token["verb"]:
                self._verbatim(token["bar"])
            elif token["break"]:
                self._flush()
            elif not token["comment"]:
                self.words.append(_MARKS.get(token[0], token[0]))
        self._flush()
        self.writer.close_lines()
        return self.writer.blocks

    def _flush(self) -> None:
        text = "".join(self.words)
        self.words = []
        for part in text.split("\n\n"):
            lines = (" ".join(line.split()) for line in part.replace("\n", " ").split("\0"))
            self.writer.paragraph(_LOOSE.sub(r"\1", "\n".join(line for line in lines if line)))

    def _macro(self, written: str, after: str) -> None:
        macro = written.rstrip("*") or written
        text = self.tex.text
        if is_accent(macro) and (
            letter := _LETTER.match(text, self.position - (len(after) if len(macro) > 1 else 0), self.end)
        ):
            opened = "{" in letter[0]
            self.words.append(accented(macro, letter[1] or letter[2]))
            self.position = letter.end() + (opened and text[letter.end() : letter.end() + 1] == "}")
            if not opened:
                self.position = letter.end(1 if letter[1] else 2)
        elif macro in CHARACTERS:
            self._character(CHARACTERS[macro], after, is_symbol=not macro[0].isalpha())
        elif macro in HEADINGS:
            self._heading(HEADINGS[macro])
        elif macro == "item":
            self._item()
        elif macro in {"def", "newcommand", "renewcommand", "providecommand", "DeclareRobustCommand", "DeclareMathOperator"}:
            self._skip_definition()
        elif macro == "iffalse":
            close = text.find("\\fi", self.position, self.end)
            self.position = close + 3 if close >= 0 else self.end
        elif macro in NUM_DROPPED_ARGUMENTS:
            self.tex.notes["footnotes left out"] += macro in {"footnote", "footnotetext", "endnote"}
            self._skip_arguments(NUM_DROPPED_ARGUMENTS[macro])
        elif macro == "enquote" and text[self.position : self.position + 1] == "{":
            self.words.append(f"“{self._group()}”")
        else:
            self._unknown(macro, after)

    def _character(self, shown: str, after: str, *, is_symbol: bool) -> None:
        if shown == "\n":
            self.position += self.tex.text.startswith("*", self.position)
            self._skip_options()
            self.words.append("\0")
        else:
            self.words.append(shown + (after if is_symbol else ""))

    def _unknown(self, macro: str, after: str) -> None:
        """A macro that changes how its text looks: the text stays. One of the author's own stands for its words."""
        words = self.tex.definition(macro)
        if words is not None:
            self.words.append(words)
        elif after:
            self.words.append(" ")
        self._skip_options()

    def _heading(self, level: int) -> None:
        self._flush()
        self._skip_options()
        if self.tex.text[self.position : self.position + 1] == "{":
            self.writer.heading(level, self._group())

    def _group(self) -> str:
        """The words of the group that begins here, which is thereby read."""
        close = self.tex.group_end(self.position)
        inside = _Walk(self.tex, self.position + 1, close).read()
        self.position = close + 1
        return " ".join(block.text for block in inside)

    def _item(self) -> None:
        self._flush()
        label = _ITEM_LABEL.match(self.tex.text, self.position, self.end)
        self.writer.open_item()
        if label:
            self.position = label.end()
            words = " ".join(block.text for block in _Walk(self.tex, label.start(1), label.end(1)).read())
            self.words.append(f"{words.rstrip(':')}: " if re.search(r"\w", words) else "")

    def _border(self, border: str, environment: str) -> None:
        name = environment.rstrip("*")
        self._flush()
        if name in LISTS:
            if border == "begin":
                self._skip_options()
                self.writer.open_list(start=LISTS[name])
            else:
                self.writer.close_list()
        elif name in QUOTES:
            self._skip_options()
            self.writer.open_quote() if border == "begin" else self.writer.close_quote()
        elif border == "begin" and name in DROPPED:
            self._skip_environment(environment, name)
        elif border == "begin" and name == "frame":
            self._heading(3)
        elif border == "begin":
            self._skip_arguments(NUM_ENVIRONMENT_ARGUMENTS.get(name, 0))

    def _skip_environment(self, environment: str, name: str) -> None:
        borders = re.compile(rf"\\(begin|end)\s*\{{{re.escape(environment)}\}}")
        depth = 1
        for border in borders.finditer(self.tex.text, self.position, self.end):
            depth += 1 if border[1] == "begin" and name not in CODE else -1 if border[1] == "end" else 0
            if depth == 0:
                self.tex.notes["code blocks left out"] += name in CODE
                self.tex.notes["tables left out"] += name in TABLES
                self.position = border.end()
                return
        raise UnreadableError(f"\\begin{{{environment}}} in it has no \\end")

    def _math(self, opener: str) -> None:
        close = self.tex.text.find(_MATH_END[opener], self.position, min(self.end, self.position + _MAX_MATH))
        inside = self.tex.text[self.position : close] if close >= 0 else ""
        if close < 0 or (opener != "\\[" and "\n\n" in inside):
            self.words.append(opener if opener == "$" else "")  # a lone dollar sign
            return
        if opener in {"$", "\\("} and _PLAIN_MATH.fullmatch(inside):
            self.words.append(inside.replace("_", "").strip())
        else:
            self.tex.notes["formulas left out"] += 1
        self.position = close + len(_MATH_END[opener])

    def _verbatim(self, bar: str) -> None:
        close = self.tex.text.find(bar, self.position, min(self.end, self.position + _MAX_MATH))
        if close >= 0:
            self.words.append(self.tex.text[self.position : close].replace("\n", " "))
            self.position = close + 1

    def _skip_options(self) -> None:
        """Whatever stands in square brackets here."""
        while match := re.compile(r"\s*\[[^\[\]]{0,2000}\]").match(self.tex.text, self.position, self.end):
            self.position = match.end()

    def _skip_arguments(self, count: int) -> None:
        self._skip_options()
        for _ in range(count):
            place = _SPACE.match(self.tex.text, self.position, self.end)
            opened = place.end() if place else self.position
            if self.tex.text[opened : opened + 1] != "{" or opened >= self.end:
                return
            self.position = self.tex.group_end(opened) + 1
            self._skip_options()

    def _skip_definition(self) -> None:
        """`\\newcommand{\\x}[1]{…}`, `\\def\\x#1{…}`: the name, and the group that it stands for."""
        name = _DEFINITION.match(self.tex.text, self.position, self.end)
        if name:
            self.position = name.end()
        opened = self.tex.text.find("{", self.position, min(self.end, self.position + _SHORT_MACRO))
        if opened >= 0:
            self.position = self.tex.group_end(opened) + 1


def _group_ends(text: str) -> dict[int, int]:
    """Where each `{` is closed, found in one pass; braces in comments and escaped ones count for nothing."""
    ends: dict[int, int] = {}
    still_open: list[int] = []
    for match in re.finditer(r"\\.|%[^\n]*|[{}]", text, re.DOTALL):
        if match[0] == "{":
            still_open.append(match.start())
        elif match[0] == "}" and still_open:
            ends[still_open.pop()] = match.start()
    return ends


READER = Reader(kind="latex", read_text=read_latex, suffixes=frozenset([".tex", ".ltx", ".latex"]))
