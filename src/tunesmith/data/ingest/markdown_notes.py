"""What note-taking apps (Obsidian, Logseq, Roam) add to Markdown: wiki links, comments, callouts, properties, outlines.

Every rule also has to leave ordinary Markdown alone: `a == b`, `100 %% of`, `[[1]](x)` and `x ^10` are prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

__all__ = [
    "add_note_rules",
    "is_outline",
    "outline_lines",
    "plain_lines",
    "with_callouts",
    "without_comments",
    "without_references",
]

_FENCE = re.compile(r"[ \t]*(?:[-*+>] |\d{1,9}[.)] |[ \t])*(`{3,}|~{3,})")
_COMMENT = re.compile(r"(?<![\w%\\])(?<!\d )%%(?!%)")
_LINE_START = re.compile(r"[ \t]*(?:(?:[-*+>]|\d{1,9}[.)])[ \t]+)*")
_MARKED = re.compile(r"(?<![\w=<])==(?=[^\s=>])(?:[^=]|=(?!=)){1,2000}?(?<=[^\s<])==(?![\w=>])")
_MARKED_ROAM = re.compile(r"(?<![\w^])\^\^(?=[^\s^])(?:[^^]|\^(?!\^)){1,2000}?(?<=\S)\^\^(?![\w^])")
_WIKI = re.compile(r"(!?)\[\[([^\s\[\]|][^\[\]\n|]{0,300}?|#[^\[\]\n|]{1,300}?)(?:\\?\|([^\[\]\n]{0,300}))?\]\](?![(\[:])")
_EMBED = re.compile(r"!\[\[[^\[\]\n]{1,600}\]\]")
_BLOCK_REFERENCE = re.compile(r"\(\((?=[\w-]*[A-Z\d_-])(?:[\w-]{9}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\)\)")
_FIELD = re.compile(r"[\[(][A-Za-z][\w -]{0,40}:: [^\[\]()\n]{0,300}[\])]")
_BLOCK_ID = re.compile(r"(?:^|[ \t])\^(?=[\w-]*[A-Za-z-])[A-Za-z0-9-]{2,60}[ \t]*$")
_PROPERTY = re.compile(r"[A-Za-z][\w./-]{0,60}::(?:[ \t].*)?$")
_TAG_LINE = re.compile(r"(?:tags?:[ \t]*)?(?:#(?=[\w/-]*[^\W\d])[\w/-]+[ \t,]*)+$", re.IGNORECASE)
_TASK_DATE = re.compile(r"[ \t]*[📅⏳🛫✅➕❌]\ufe0f?[ \t]*\d{4}-\d{2}-\d{2}")
_CALLOUT = re.compile(r"\[!([\w-]{1,40})(?:\|[^\]\n]{0,80})?\][+-]?[ \t]*([^\n]*)(?:\n|$)")
_OUTLINE_MARK = re.compile(
    r"^[ \t]*(?:- )?(?:id|collapsed|title|public|alias|template):: |\(\([0-9a-f-]{36}\)\)|\(\([\w-]{9}\)\)"
    r"|\{\{(?:\[\[|embed|query|renderer)|#\[\[|^\t+- |^[ \t]*:LOGBOOK:"
    r"|^[ \t]*- (?:TODO|DOING|DONE|LATER|NOW|WAITING|CANCELED) ",
    re.MULTILINE,
)
_JOURNAL = re.compile(r"(?:^|/)journals/\d{4}_\d{2}_\d{2}\.\w+$")
_STATE = re.compile(r"(?:TODO|DOING|DONE|LATER|NOW|WAITING|WAIT|CANCELL?ED|IN-PROGRESS) (?:\[#[A-C]\] )?")
_PLANNING = re.compile(r"(?:SCHEDULED|DEADLINE|CLOCK): ?[<\[].*$|:[A-Z]+:$|#\+(?:BEGIN|END)_\w+.*$", re.IGNORECASE)
_MAX_LINE = 20_000


def without_comments(text: str) -> str:
    """A body without `%% … %%`, which only its author sees: inside a line, over several lines, or to the end of the file.

    Code keeps its percent signs. One that opens inside a line and is never closed is prose.
    """
    if "%%" not in text:
        return text
    kept: list[str] = []
    position = 0
    for start, end in _comments(text):
        kept.append(text[position:start])
        position = end
    return "".join([*kept, text[position:]])


def _comments(text: str) -> Iterator[tuple[int, int]]:
    """Where comments begin and end (exclusive), in order."""
    marks = list(_comment_marks(text))
    number = paragraph_end = 0
    while number < len(marks):
        start, at_line_start = marks[number]
        if paragraph_end <= start:
            paragraph_end = _found(text, "\n\n", start)
        closing = marks[number + 1][0] if number + 1 < len(marks) else -1
        number += 1
        if closing >= 0 and (at_line_start or closing < paragraph_end):
            number += 1
            yield start, closing + 2
        elif at_line_start:  # never closed: a lone mark hides the rest, as the app does, and a line of words its paragraph
            alone = not text[start + 2 : _found(text, "\n", start)].strip()
            yield start, len(text) if alone else paragraph_end


def _comment_marks(text: str) -> Iterator[tuple[int, bool]]:
    """The places of `%%` outside of code, and whether each begins its line. A closing one may follow a word."""
    position, fence, is_open, begins = 0, "", False, False
    for line in text.split("\n"):
        if (found := _FENCE.match(line[:200])) and (not fence or found[1].startswith(fence)):
            fence = "" if fence else found[1]
        elif not fence and "%%" in line:
            for match in re.finditer("%%", line[:_MAX_LINE]):
                place = match.start()
                if (is_open or _COMMENT.match(line, place)) and line.count("`", 0, place) % 2 == 0:
                    beginning = _LINE_START.match(line)
                    begins = beginning is not None and beginning.end() == place
                    is_open = not is_open
                    yield position + place, begins
        position += len(line) + 1
        if not line.strip() and not begins:
            is_open = False


def _found(text: str, what: str, start: int) -> int:
    place = text.find(what, start)
    return place if place >= 0 else len(text)


def add_note_rules(parser: MarkdownIt) -> None:
    """Wiki links become their words; embeds, references to blocks, inline fields and the signs of highlights go."""
    parser.inline.ruler.before("link", "note", _note_inline)


def _note_inline(state: StateInline, silent: bool) -> bool:
    """One rule for all of them: every rule costs a call at every mark of the text."""
    mark = state.src[state.pos]
    if mark == "[":
        return _wiki_link(state, silent) or _left_out(state, _FIELD)
    if mark == "!":
        return _left_out(state, _EMBED)
    if mark in "=^" and state.pos in _highlights(state.src):
        state.pos += 2
        return True
    return False


def _wiki_link(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("[[", state.pos):
        return False
    match = _WIKI.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        state.pending = state.pending.removesuffix("#") + _shown(match[2], match[3])  # `#[[a tag of several words]]`
    state.pos = match.end()
    return True


def _left_out(state: StateInline, pattern: re.Pattern[str]) -> bool:
    match = pattern.match(state.src, state.pos, state.posMax)
    if match:
        state.pos = match.end()
    return match is not None


def _shown(target: str, alias: str | None) -> str:
    """What a link shows: its alias, else the note's own name, else the heading that it leads to."""
    if alias and alias.strip():
        return alias.strip()
    note, _, heading = target.partition("#")
    name = note.removesuffix(".md").rstrip("/").rpartition("/")[2].partition("^")[0]
    return (name or heading.lstrip("^#")).strip()


def without_references(text: str) -> str:
    """Words without `((references to blocks))` and `(inline:: fields)`, which no inline rule of the parser can begin at."""
    return _FIELD.sub("", _BLOCK_REFERENCE.sub("", text)) if "(" in text else text


@lru_cache(maxsize=1)
def _highlights(text: str) -> frozenset[int]:
    """Where the pairs of `==` (or `^^`) stand that mark words."""
    found = (match.span() for pattern in (_MARKED, _MARKED_ROAM) for match in pattern.finditer(text))
    return frozenset(place for start, end in found for place in (start, end - 2))


def plain_lines(content: str) -> str:
    """The source of a paragraph without lines of tags or properties, dates of tasks, and the name of its block."""
    if not any(mark in content for mark in ("#", "::", "^", "📅", "⏳", "🛫", "✅", "➕", "❌")):
        return content
    kept = [_TASK_DATE.sub("", line) for line in content.split("\n") if not _is_note_line(line.strip())]
    if kept and len(kept[-1]) < _MAX_LINE:
        kept[-1] = _BLOCK_ID.sub("", kept[-1])
    return "\n".join(kept).strip()


def _is_note_line(line: str) -> bool:
    return len(line) < 2000 and bool(_TAG_LINE.match(line) or _PROPERTY.match(line))


def with_callouts(tokens: list[Token]) -> list[Token]:
    """Tokens in which quotes that are callouts (`> [!note] Title`) are named so, without their first line.

    A callout holds the author's own words, so it is no quotation, unless it says so. One of a title alone keeps it.
    """
    open_levels: list[int] = []
    for number, token in enumerate(tokens):
        if token.type == "blockquote_close" and open_levels and open_levels[-1] == token.level:
            token.type = "callout_close"
            open_levels.pop()
        if token.type != "blockquote_open" or number + 2 >= len(tokens):
            continue
        first = tokens[number + 2]
        if first.type == "inline" and (match := _CALLOUT.match(first.content)):
            alone = match.end() == len(first.content) and tokens[number + 4].type == "blockquote_close"
            first.content = match[2] if alone else first.content[match.end() :]
            if match[1].lower() not in {"quote", "cite"}:
                token.type = "callout_open"
                open_levels.append(token.level)
    return tokens


def is_outline(body: str, name: str) -> bool:
    """Whether a text is the page of an outliner, in which every paragraph is a bullet: by its marks, or as a journal."""
    lines = [line for line in body.split("\n") if line.strip()]
    first = next((line for line in lines if not _PROPERTY.match(line.strip())), "")
    bullets = sum(line.lstrip().startswith("- ") or line.strip() == "-" for line in lines)
    loose = sum(not line[:1].isspace() and not line.startswith("- ") and line.strip() != "-" for line in lines)
    if not first.startswith("- ") or bullets < 2 or loose > 0.1 * len(lines):
        return False
    return bool(_JOURNAL.search(name) or _OUTLINE_MARK.search(body))


def outline_lines(content: str) -> str:
    """The source of a bullet of an outliner without its state (`TODO`), its planning lines and its drawers."""
    lines = [line for line in content.split("\n") if not _PLANNING.match(line.strip())]
    return _STATE.sub("", "\n".join(lines), count=1) if lines and _STATE.match(lines[0]) else "\n".join(lines)
