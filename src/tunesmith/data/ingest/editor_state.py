"""What editors store in place of HTML: Lexical, Mobiledoc (Ghost), Draft.js (X), Markdown, as the HTML of their prose."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from markdown_it import MarkdownIt

from tunesmith.data.text.decode import UnreadableError

__all__ = ["draft_html", "lexical_html", "markdown_html", "mobiledoc_html"]

_MAX_DEPTH = 100
_BLOCKS = {"paragraph": "p", "quote": "blockquote", "aside": "blockquote", "extended-quote": "blockquote", "listitem": "li"}
_DRAFT = {
    "header-one": ("h1", ""),
    "header-two": ("h2", ""),
    "header-three": ("h3", ""),
    "blockquote": ("blockquote", ""),
    "code-block": ("pre", ""),
    "unordered-list-item": ("li", "ul"),
    "ordered-list-item": ("li", "ol"),
}
_MARKDOWN_CARDS = frozenset(["markdown", "card-markdown"])
_HTML_CARDS = frozenset(["html", "card-html"])


def markdown_html(text: str) -> str:
    """Markdown as HTML."""
    return str(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def lexical_html(state: str) -> str:
    """The prose of a Lexical document (JSON). Cards other than HTML, Markdown, callouts and toggles are left out."""
    value = _loaded(state)
    root = value.get("root") if isinstance(value, Mapping) else None
    return "".join(_lexical(root, 0)) if isinstance(root, Mapping) else ""


def mobiledoc_html(state: str) -> str:
    """The prose of a Mobiledoc document (JSON). Cards other than HTML and Markdown are left out."""
    value = _loaded(state)
    if not isinstance(value, Mapping):
        return ""
    parts = []
    for section in value.get("sections") or []:
        match section:
            case [1, str(tag), list(markers), *_]:
                parts.append(f"<{tag}>{_markers(markers)}</{tag}>")
            case [3, str(tag), list(items), *_]:
                listed = "".join(f"<li>{_markers(markers)}</li>" for markers in items if isinstance(markers, list))
                parts.append(f"<{tag}>{listed}</{tag}>")
            case [10, int(number), *_]:
                parts.append(_card(value.get("cards"), number))
            case _:
                continue
    return "\n".join(parts)


def draft_html(state: Mapping[str, Any]) -> str:
    """The prose of a Draft.js document. Pictures and other things that are no text are left out."""
    parts: list[str] = []
    for block in state.get("blocks") or []:
        text = block.get("text") if isinstance(block, Mapping) else None
        kind = str(block.get("type")) if isinstance(block, Mapping) else ""
        if not isinstance(text, str) or not text.strip() or kind == "atomic":
            continue
        inside, outside = _DRAFT.get(kind, ("p", ""))
        made = f"<{inside}>{escape(text, quote=False)}</{inside}>"
        if outside and parts and parts[-1].endswith(f"</{outside}>"):
            parts[-1] = parts[-1].removesuffix(f"</{outside}>") + f"{made}</{outside}>"
        else:
            parts.append(f"<{outside}>{made}</{outside}>" if outside else made)
    return "\n".join(parts)


def _loaded(state: str) -> Any:
    try:
        return json.loads(state)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("what its editor stored is damaged") from error


def _markers(markers: list[Any]) -> str:
    """The text of markers `[kind, opened, closed, value]`; kind 1 is an atom, of which only line breaks are known."""
    parts = []
    for marker in markers:
        match marker:
            case [0, _, _, str(text), *_]:
                parts.append(escape(text, quote=False))
            case [1, *_]:
                parts.append("<br>")
            case _:
                continue
    return "".join(parts)


def _card(cards: object, number: int) -> str:
    match cards[number : number + 1] if isinstance(cards, list) else None:
        case [[str(name), Mapping() as payload, *_]] if name in _MARKDOWN_CARDS:
            return markdown_html(str(payload.get("markdown") or ""))
        case [[str(name), Mapping() as payload, *_]] if name in _HTML_CARDS:
            return str(payload.get("html") or "")
        case _:
            return ""


def _lexical(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    kind = str(node.get("type"))
    if depth > _MAX_DEPTH:
        return
    if kind in {"text", "extended-text", "code-highlight"}:
        yield escape(str(node.get("text") or ""), quote=False)
    elif kind == "linebreak":
        yield "<br>"
    elif kind in _CARDS:
        yield _CARDS[kind](node)
    elif tag := _tag(kind, node):
        yield f"<{tag}>"
        yield from _children(node, depth)
        yield f"</{tag}>"
    elif kind in {"root", "link", "autolink", "tk", "at-link", "listitem"}:
        yield from _children(node, depth)


def _children(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    children = node.get("children")
    for child in children if isinstance(children, list) else []:
        if isinstance(child, Mapping):
            yield from _lexical(child, depth + 1)


def _tag(kind: str, node: Mapping[str, Any]) -> str | None:
    if kind in {"heading", "extended-heading"}:
        tag = str(node.get("tag"))
        return tag if tag in {"h1", "h2", "h3", "h4", "h5", "h6"} else "h2"
    if kind == "list":
        return "ol" if node.get("listType") == "number" or node.get("tag") == "ol" else "ul"
    return _BLOCKS.get(kind)


def _toggle(node: Mapping[str, Any]) -> str:
    return f"<p>{node.get('heading') or ''}</p>{node.get('content') or ''}"


_CARDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "html": lambda node: str(node.get("html") or ""),
    "markdown": lambda node: markdown_html(str(node.get("markdown") or "")),
    "callout": lambda node: f"<p>{node.get('calloutText') or ''}</p>",
    "toggle": _toggle,
}
