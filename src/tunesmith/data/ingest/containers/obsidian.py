"""A vault of Obsidian: its notes, without templates, drawings and clippings of other people's pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tunesmith.data.ingest.container import Container, Entry, File, LeftOut
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_TEMPLATES = re.compile(
    r"[\W\d_]*(?:(?:my|note|daily|obsidian)[ _-]?)?"
    r"(?:templates?|templater|vorlagen?|modèles?|modeles?|plantillas?|modelli|modelos?|sjablonen|szablony|mallar|skabeloner"
    r"|шаблоны|テンプレート|模板|템플릿)[\W\d_]*",
    re.IGNORECASE,
)
_A_TEMPLATE = re.compile(
    r"(?:.*[\W_])?(?:template|vorlage|plantilla|模板|テンプレート)[\W\d_]*\.md|(?:tpl|tmpl|template)[-_ ].*\.md", re.I
)
_CLIPPINGS = re.compile(
    r"[\W\d_]*(?:web )?(?:clippings?|readwise|omnivore|instapaper|kindle(?: highlights)?|raindrop|zotero)[\W\d_]*", re.I
)
_MODELS = re.compile(
    r"[\W\d_]*(?:copilot[ _-]?conversations?|chatgpt|chatgpt[ _-]md|smart[ _-]chats?|ai[ _-]chats?)[\W\d_]*", re.I
)
_DRAWN = re.compile(rb"\s*---\r?\n(?:(?!---)[^\n]*\n){0,30}?excalidraw-plugin\s*:")
_DRAWINGS = "drawings, canvases and tables of notes left out"
_DRAWING = (".excalidraw.md", ".canvas", ".base", ".excalidraw")


def _claimed(tree: Tree) -> Collection[str]:
    if not any(name == ".obsidian" or name.startswith(".obsidian/") for name in tree.hidden):
        return ()
    return [name for name in tree.names if name.lower().endswith((".md", *_DRAWING))]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    reasons: dict[str, str] = {}
    for name in tree.names:
        folder, _, last = name.rpartition("/")
        if folder not in reasons:
            reasons[folder] = _why_not(folder)
        if reason := reasons[folder] or _of_file(last):
            yield LeftOut(reason=reason)
        elif _DRAWN.match(tree.head(name, 4096).removeprefix(b"\xef\xbb\xbf")):
            yield LeftOut(reason=_DRAWINGS)
        else:
            yield File(name=name, kind="markdown")


def _why_not(folder: str) -> str:
    parts = folder.split("/")
    if any(_TEMPLATES.fullmatch(part) for part in parts):
        return "templates left out"
    if any(_MODELS.fullmatch(part) for part in parts):
        return "conversations with a model left out"
    return "clippings of other people's pages left out" if any(_CLIPPINGS.fullmatch(part) for part in parts) else ""


def _of_file(name: str) -> str:
    if name.lower().endswith(_DRAWING):
        return _DRAWINGS
    return "templates left out" if _A_TEMPLATE.fullmatch(name) else ""


CONTAINER = Container(
    name="obsidian",
    title="an Obsidian vault",
    taken="notes and daily notes; other files of the vault as what they are",
    left_out="templates; Excalidraw drawings, canvases and bases; web clippings and Readwise folders, which are other people's "
    "words; conversations with a model; the trash",
    folder=_claimed,
    entries=_entries,
)
