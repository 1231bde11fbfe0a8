"""Trees of static site generators: which files are posts and pages, and which are layouts, built pages and lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tunesmith.data.ingest.container import ASSETS, Broken, Container, Entry, File, LeftOut
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.kinds import is_asset
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["Site", "is_template_list", "site_container"]

_BUILT = "pages of the built site left out"
_TEMPLATES = "layouts, themes and templates left out"
_LISTS = "pages that list others left out"
_OTHER = "files of the site that are not posts or pages left out"
_OLDER = "older versions of pages left out"
_MARKDOWN = frozenset([".md", ".mdx", ".markdown", ".mdown", ".mkd", ".mkdn", ".qmd", ".rmd"])
_HTML = frozenset([".html", ".htm", ".xhtml"])
_PAGES = _MARKDOWN | _HTML | frozenset([".rst", ".rest", ".org", ".adoc", ".asciidoc", ".asc", ".textile", ".dj", ".ipynb"])
_ABOUT_TEXT = """
readme license licence copying contributing changelog code_of_conduct security todo notice authors claude agents
"""
_ABOUT_THE_SITE = frozenset(_ABOUT_TEXT.split())
_FOLDERS_TEXT = """
_layouts _includes _sass _data _plugins _partials _components layouts partials themes theme archetypes scaffolds templates
_templates overrides shortcodes components snippets
"""
_TEMPLATE_FOLDERS = frozenset(_FOLDERS_TEXT.split())
_NEVER = frozenset(["node_modules", "vendor", "bower_components", "venv", "__pycache__"])
_LANGUAGES_TEXT = """
af ar be bg bn ca cs cy da de el en es et eu fa fi fr ga gl he hi hr hu id it ja ka kk ko lt lv mk mr nb nl nn no pl pt ro
ru sk sl sq sr sv sw ta te th tr uk ur uz vi zh
"""
_LANGUAGES = frozenset(_LANGUAGES_TEXT.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the pages of one site lie.

    `content`: the folders that hold them (an empty name: everywhere). `built`: folders of the root that the generator writes.
    `templates`: names of folders, at any depth, that hold no pages; `drafts`: those that hold drafts. `lists`: names of files
    (without suffix) that list other pages. `private`: what begins with an underscore is no page, except `shown` folders.
    `page`: a closer look at what would be a page; it gives False for one that is none.
    """

    content: tuple[str, ...]
    built: frozenset[str] = frozenset()
    templates: frozenset[str] = _TEMPLATE_FOLDERS
    drafts: frozenset[str] = frozenset(["_drafts", "drafts"])
    lists: frozenset[str] = frozenset()
    private: bool = False
    shown: frozenset[str] = frozenset()
    older: frozenset[str] = frozenset()
    page: Callable[[Tree, str], bool] | None = None


def site_container(name: str, title: str, site: Callable[[Tree], Site | None], *, taken: str, left_out: str = "") -> Container:
    """The container of a generator; `site` gives where its pages lie, or None if the folder is no such site."""

    def claimed(tree: Tree) -> Collection[str]:
        return () if site(tree) is None else tree.names

    def entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
        found = site(tree)
        if found is None:
            raise AssertionError("it was such a site when it was claimed")
        reader = _SiteReader(tree, found)
        for path in tree.names:
            try:
                yield LeftOut(reason=ASSETS) if is_asset(path) else reader.entry(path)
            except UnreadableError as error:
                yield Broken(name=path, reason=str(error))

    drafts = "drafts; layouts, themes, templates, the built site, lists of posts, README files"
    return Container(
        name=name,
        title=title,
        taken=taken,
        left_out=f"{drafts}; {left_out}" if left_out else drafts,
        folder=claimed,
        entries=entries,
    )


def is_template_list(tree: Tree, name: str) -> bool:
    """Whether a page is made by a loop over others, as an archive or a home page is."""
    head = tree.head(name)
    return any(loop in head for loop in (b"{% for ", b"{%- for ", b"{%for ", b"{{#each", b"{{ range", b"{{range", b"{{- range"))


class _Folder(NamedTuple):
    """What is known of every file of a folder: why none is a page (empty: they may be), and what all of them share.

    `depth`: how many folders lie between the folder of the pages and this one; -1 where the pages may lie anywhere.
    """

    reason: str
    depth: int
    facts: Facts


class _SiteReader:
    """Tells the pages of one site from everything else; a folder is judged once, for all its files."""

    def __init__(self, tree: Tree, site: Site) -> None:
        self.tree, self.site = tree, site
        self.folders: dict[str, _Folder] = {}
        starts = [f"{folder}/" if folder else "" for folder in site.content]
        languages = {f"{start}{code}" for start in starts for code in _LANGUAGES if tree.has_folder(f"{start}{code}")}
        self.languages = languages if len(languages) > 1 else set()  # a folder alone may just be named `it` or `no`

    def entry(self, name: str) -> Entry:
        """A page, or why a file is none."""
        folder, _, last = name.rpartition("/")
        known = self.folders.get(folder) or self._judged(folder)
        stem, dot, suffix = last.lower().rpartition(".")
        if reason := known.reason or self._why_not(known, stem.partition(".")[0], dot + suffix):
            return LeftOut(reason=reason)
        if self.site.page is not None and not self.site.page(self.tree, name):
            return LeftOut(reason=_LISTS if is_template_list(self.tree, name) else _OTHER)
        if suffix == "textile":
            return Broken(name=name, reason="Textile is not read yet; convert it with `pandoc -f textile -t gfm`")
        facts = known.facts
        code = stem.rpartition(".")[2] if "." in stem else ""
        if code[:2] in _LANGUAGES and (len(code) == 2 or code[2:3] in {"-", "_"}):  # post.de.md
            facts = Facts(**facts)
            facts["language"] = code
        # HTML below front matter is what Markdown may hold; a page without it is read as pages are.
        is_source = dot + suffix in _HTML and self.tree.head(name, 8).lstrip(b"\xef\xbb\xbf").startswith((b"---", b"+++"))
        return File(name=name, facts=facts, kind="markdown" if is_source else None)

    def _why_not(self, folder: _Folder, stem: str, suffix: str) -> str:
        if suffix not in _PAGES or (stem in _ABOUT_THE_SITE and folder.depth < 1):
            return _OTHER
        if stem in self.site.lists:
            return _LISTS
        return _OTHER if self.site.private and stem.startswith("_") else ""

    def _judged(self, folder: str) -> _Folder:
        site, parts = self.site, folder.split("/") if folder else []
        inside = next((f for f in site.content if not f or f"{folder}/".startswith(f"{f}/")), None)
        below = parts[inside.count("/") + 1 :] if inside else parts
        reason = ""
        if parts and parts[0] in site.built:
            reason = _BUILT
        elif site.older.intersection(parts):
            reason = _OLDER
        elif site.templates.intersection(below) or _NEVER.intersection(parts):
            reason = _TEMPLATES
        elif inside is None or (site.private and any(p.startswith("_") and p not in site.shown | site.drafts for p in below)):
            reason = _OTHER
        facts = Facts(status="draft") if site.drafts.intersection(parts) else Facts()
        if len(parts) > 1 and parts[0] == "i18n":
            facts["language"] = parts[1]
        for depth in range(1, len(parts) + 1) if self.languages else ():
            if "/".join(parts[:depth]) in self.languages:
                facts["language"] = parts[depth - 1]
        self.folders[folder] = found = _Folder(reason, len(below) if inside else -1, facts)
        return found
