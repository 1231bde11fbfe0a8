"""Parsing rules for what is no Markdown but stands in Markdown files: shortcodes, templates, MDX, footnotes."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from tunesmith.data.ingest.markdown_notes import add_note_rules
from tunesmith.data.ingest.markup import tag_end

__all__ = ["FOOTNOTES", "make_parser", "without_templates"]

_TEMPLATES = tuple(
    (opener, re.compile(re.escape(closer)))
    for opener, closer in (("{{<", ">}}"), ("{{%", "%}}"), ("{{", "}}"), ("{%", "%}"), ("{/*", "*/}"), ("<%", "%>"))
)
_ATTRIBUTES = re.compile(r"\{(?:#[\w-]+|:[^{}\n]*|\.[\w-]+)[^{}\n]{0,200}\}")
_CODE_PAIR = re.compile(r"\{[{%][<%]?-?\s*(highlight|mermaid|raw|katex|code|codeblock|math|chart|comment)\b")
_ESM = re.compile(
    r"""import\s+(?:[\w*{][^'"\n;]*(?:\n[^'"\n;]*){0,20}?\sfrom\s+)?['"][^'"\n]+['"]|export\s+(?:default|const|let|var|function|class|async)\b|export\s*\{"""
)
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,60}\]")
_DEFINITION = re.compile(_FOOTNOTE.pattern + ":")
_MAX_OPAQUE = 200_000
FOOTNOTES = "footnotes left out"  # where the parser's environment counts them


_TEMPLATE = re.compile(
    r"\{\{[<%]?.{0,2000}?[>%]?\}\}|\{%-?\s*raw\s*-?%\}|\{%.{0,2000}?%\}|\{/\*.{0,2000}?\*/\}|<%.{0,2000}?%>", re.DOTALL
)
_TEMPLATE_TARGET = re.compile(r"\]\([ \t]*\{[{%][^\n]{0,500}?[}%]\}[^)\n]{0,500}\)")


def without_templates(text: str, *, of_links: bool = False) -> str:
    """Text without shortcodes and template tags; with `of_links` only those that stand for where a link or image leads."""
    if "{" not in text and "<%" not in text:
        return text
    return _TEMPLATE_TARGET.sub("](x)", text) if of_links else _TEMPLATE.sub("", text)


@cache
def make_parser(*, mdx: bool, notes: bool = True) -> MarkdownIt:
    """A CommonMark parser with tables and the rules of this file. Inline text is left unparsed, for the caller to bound."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).disable("inline")
    parser.normalizeLink = _as_it_is  # type: ignore[method-assign]  # where links lead is never kept
    if mdx:
        parser.disable("code")  # MDX has no indented code: indented lines are the children of components
    parser.block.ruler.before("table", "opaque", _opaque_block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.inline.ruler.before("escape", "template", _template_inline)
    parser.inline.ruler.before("html_inline", "jsx", _jsx_inline if mdx else _braced_inline)
    parser.inline.ruler.before("link", "footnote", _footnote_inline)
    if notes:  # each rule costs time at every mark of a text
        add_note_rules(parser)
    return parser


def _as_it_is(url: str) -> str:
    return url


def _template_end(text: str, start: int, limit: int) -> int:
    """The end (exclusive) of a shortcode, template tag, MDX comment or attribute list at `start`, or -1."""
    if text[start : start + 1] not in {"{", "<"}:
        return -1
    for opener, closer in _TEMPLATES:
        if text.startswith(opener, start):
            return _next_end(text, closer, start + len(opener), limit)
    match = _ATTRIBUTES.match(text, start, limit)
    return match.end() if match else -1


def _next_end(text: str, closer: re.Pattern[str], start: int, limit: int) -> int:
    """Where the first match at or after `start` ends, or -1 if it ends beyond the limit, or 200,000 characters on.

    The last match of each closer is remembered: asked about every opener of a text in turn, it reads the text once.
    """
    known = _known_closers(text)
    since, found, end = known.get(closer.pattern, (len(text) + 1, -1, -1))
    if start < since or 0 <= found < start:
        match = closer.search(text, start)
        found, end = match.span() if match else (-1, -1)
        known[closer.pattern] = (start, found, end)
    return end if 0 <= end <= min(limit, start + _MAX_OPAQUE) else -1


@lru_cache(maxsize=1)
def _known_closers(text: str) -> dict[str, tuple[int, int, int]]:
    """For each closer from where it was last searched in this text, and where it was found; to be filled."""
    return {}


def _template_inline(state: StateInline, silent: bool) -> bool:
    end = _template_end(state.src, state.pos, state.posMax)
    if end < 0:
        return False
    state.pos = end
    return True


def _braced_inline(state: StateInline, silent: bool) -> bool:
    """A tag with JSX attributes. Any other is left to CommonMark's own rule: `n <N holds, and n > N` is prose."""
    end = tag_end(state.src, state.pos, state.posMax) if state.src[state.pos] == "<" else -1
    return "{" in state.src[state.pos : max(end, state.pos)] and _jsx_inline(state, silent)


def _jsx_inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] != "<":
        return False
    end = tag_end(state.src, state.pos, state.posMax)
    if end < 0:
        return False
    if not silent:
        state.push("html_inline", "", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _footnote_inline(state: StateInline, silent: bool) -> bool:
    match = _FOOTNOTE.match(state.src, state.pos, state.posMax)
    if not match:
        return False
    state.pos = match.end()
    return True


def _opaque_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Skip whole lines that hold nothing but what a reader never sees."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    if begin >= state.eMarks[start_line]:
        return False
    limit = state.eMarks[end_line - 1]
    end = _opaque_end(state.src, begin, limit)
    if end < 0:
        return False
    line = start_line
    while line < end_line - 1 and state.eMarks[line] < end:
        line += 1
    if not silent:
        state.line = line + 1
        if _is_footnote(state.src, begin, limit):
            state.env[FOOTNOTES] = state.env.get(FOOTNOTES, 0) + len(_DEFINITION.findall(state.src, begin, end))
    return True


def _opaque_end(text: str, begin: int, limit: int) -> int:
    """The end of the run of opaque constructs at `begin`, if nothing else stands on its last line; else -1."""
    if text.startswith(":::", begin):
        return _line_end(text, begin, limit)
    if _is_footnote(text, begin, limit):
        return _paragraph_end(text, begin, limit)
    if _ESM.match(text, begin, limit):
        return _paragraph_end(text, begin, limit)
    position = begin
    while True:
        end = _one_opaque_end(text, position, limit)
        if end < 0:
            return -1
        position = end
        while position < limit and text[position] in " \t":
            position += 1
        if position >= limit or text[position] == "\n":
            return position


def _is_footnote(text: str, begin: int, limit: int) -> bool:
    """Whether the text of a footnote begins here."""
    mark = _FOOTNOTE.match(text, begin, limit)
    return mark is not None and text.startswith(":", mark.end())


def _one_opaque_end(text: str, position: int, limit: int) -> int:
    if pair := _CODE_PAIR.match(text, position, limit):
        end = _next_end(text, _pair_closer(pair.group(1)), pair.end(), limit)
        if end >= 0:
            return end
    if text[position : position + 1] == "<" and re.match(r"</?(?:[A-Z]|>)", text[position : position + 3]):
        return tag_end(text, position, limit)
    return _template_end(text, position, limit)


@cache
def _pair_closer(name: str) -> re.Pattern[str]:
    return re.compile(r"\{[{%][<%]?-?\s*(?:/|end)\s*" + name + r"\b[^}]{0,20}[}%>]+\}?")


def _line_end(text: str, begin: int, limit: int) -> int:
    end = text.find("\n", begin, limit)
    return end if end >= 0 else limit


def _paragraph_end(text: str, begin: int, limit: int) -> int:
    match = re.compile(r"\n[ \t]*\n").search(text, begin, limit)
    return match.start() if match else limit
