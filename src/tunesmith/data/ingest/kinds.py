"""What kind of thing a file is, by content first and name second; and which files are plainly no writing."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from tunesmith.data.ingest.chat_json import is_chat_json
from tunesmith.data.ingest.chat_text import is_chat_text
from tunesmith.data.ingest.item import Kind
from tunesmith.data.ingest.package import is_zip, open_package
from tunesmith.data.ingest.parquet import is_parquet, needs_pyarrow
from tunesmith.data.ingest.readers import all_readers
from tunesmith.data.ingest.tar_package import is_tar
from tunesmith.data.text.decode import PassingError, UnreadableError, decode, gunzip, is_gzip

__all__ = ["guess_kind", "is_asset", "unpacked"]

_MARKDOWN = frozenset([".md", ".mdx", ".markdown", ".mdown", ".mkd", ".mkdn", ".qmd", ".rmd"])
_TEXT = frozenset([".txt", ".text"])
_HTML = frozenset([".html", ".htm", ".xhtml"])
_ROWS = frozenset([".json", ".jsonl", ".ndjson"])
_ASSETS_TEXT = """
.png .jpg .jpeg .gif .webp .avif .svg .ico .bmp .tif .tiff .heic .psd .ai .eps .mp3 .mp4 .m4a .m4v .mov .webm .ogg .ogv
.wav .flac .woff .woff2 .ttf .otf .eot .css .scss .sass .less .js .mjs .cjs .jsx .ts .tsx .vue .svelte .map .lock .toml
.yml .yaml .ini .cfg .conf .env .py .rb .go .rs .c .h .cpp .java .sh .bat .ps1 .sql .r .tmpl .liquid .njk .astro
.webmanifest .pem .crt .key .log .bak .license .nix .tf .patch .diff .plist .xsl .sum .mod .bib .bst .cls .sty
"""
_ASSETS = frozenset(_ASSETS_TEXT.split())
_ASSET_NAMES_TEXT = """
license licence copying notice authors contributors codeowners makefile dockerfile procfile gemfile rakefile cname
thumbs.db robots.txt humans.txt package.json package-lock.json tsconfig.json jsconfig.json composer.json manifest.json
vercel.json netlify.toml renovate.json _category_.json requirements.txt sitemap.xml browserconfig.xml sidebars.json
docusaurus.config.json go.sum go.mod
"""
_ASSET_NAMES = frozenset(_ASSET_NAMES_TEXT.split())
_LATER = {
    ".doc": "Word files of the old kind",
    ".ods": "spreadsheets",
    ".odp": "slides",
    ".xlsx": "spreadsheets",
    ".bz2": "archives other than zip and tar",
    ".xz": "archives other than zip and tar",
    ".7z": "archives other than zip and tar",
}
_PROMISES = {".zip": "archive", ".tar": "archive", ".tgz": "archive", ".parquet": "Parquet"}  # and those of the readers
_HEAD_BYTES = 8192
_FEED_ROOT = re.compile(r"<(?:[\w-]+:)?(?:rss|feed|rdf|channel)[\s>/]", re.IGNORECASE)
_HTML_ROOT = re.compile(r"<(?:!doctype\s+html|html|head|body|article|div|p)[\s>]", re.IGNORECASE)


def is_asset(name: str) -> bool:
    """Whether a file in a folder of writing is plainly something else: an image, a font, code, configuration."""
    path = PurePosixPath(name.lower())
    return (
        path.name in _ASSET_NAMES
        or path.suffix in _ASSETS
        or (path.suffix == ".gz" and PurePosixPath(path.stem).suffix in _ASSETS)
    )


def unpacked(data: bytes) -> bytes:
    """The bytes, decompressed if they are gzip, whatever the file is called; a packed tar archive as it is. UnreadableError
    for a bomb."""
    return gunzip(data) if is_gzip(data) and not is_tar(data) else data


def guess_kind(name: str, data: bytes, *, alone: bool, content_type: str | None = None) -> Kind:
    """The kind of a file by its (unpacked) content, then its name, then what a server said. UnreadableError if none fits.

    `alone`: the file was named by itself, so that text of an unknown kind is taken as plain text.
    """
    path = PurePosixPath(name.split("?")[0].lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix in _MARKDOWN:
        return "markdown"
    if (
        suffix in _LATER
        and not is_tar(data)
        and not any(suffix in (*reader.suffixes, *reader.promises) for reader in all_readers())
    ):
        raise UnreadableError(f"{_LATER[suffix]} are not read yet")
    if not data.strip():
        raise UnreadableError("it is empty")
    if kind := _kind_by_bytes(data):
        return kind
    promises = _PROMISES | {named: what for reader in all_readers() for named, what in reader.promises.items()}
    if suffix in promises:
        raise UnreadableError(f"it is named {suffix} but holds no {promises[suffix]}")
    if kind := _kind_by_name(suffix):
        return kind
    head = _head(data)
    if kind := _kind_by_lines(head):
        return kind
    if suffix not in _TEXT and (kind := _kind_by_content(head, data)):
        return kind
    return _kind_by_elimination(head, suffix, alone=alone, said=content_type)


def _kind_by_elimination(head: str, suffix: str, *, alone: bool, said: str | None) -> Kind:
    content_type = (said or "").lower()
    if suffix in _HTML:
        return "html"
    if suffix in _TEXT or "text/plain" in content_type or "text/markdown" in content_type:
        return "markdown" if "markdown" in content_type else "text"
    if suffix in _ROWS:
        raise UnreadableError("it does not begin like JSON")
    if suffix == ".xml":
        raise UnreadableError("XML, but neither a feed nor a page")
    if alone and not content_type and _HTML_ROOT.search(head) is None and not head.lstrip().startswith("<"):
        return "text"
    raise UnreadableError("not a kind of file that Tunesmith reads")


def _kind_by_bytes(data: bytes) -> Kind | None:
    """Files that are told by their first bytes; a zip by what lies in it."""
    for reader in all_readers():
        if reader.first_bytes and reader.first_bytes(data):
            return reader.kind
    if is_parquet(data):
        if reason := needs_pyarrow():
            raise PassingError(reason)
        return "parquet"
    if is_tar(data):
        return "archive"
    if not is_zip(data):
        return None
    with open_package(data) as package:
        for reader in all_readers():
            if reader.member and reader.member in package:
                return reader.kind
        if "xl/workbook.xml" in package:
            raise UnreadableError("spreadsheets are not read yet")
        if "ppt/presentation.xml" in package:
            raise UnreadableError("slides are not read yet")
    return "archive"


def _kind_by_name(suffix: str) -> Kind | None:
    return next((reader.kind for reader in all_readers() if suffix in reader.suffixes), None)


def _kind_by_lines(head: str) -> Kind | None:
    """Text whose first lines have a form of their own, whatever the file is called."""
    for reader in all_readers():
        if reader.first_lines and reader.first_lines(head):
            return reader.kind
    return "chat" if is_chat_text(head) else None


def _head(data: bytes) -> str:
    head = data[:_HEAD_BYTES]
    if data[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff", b"\x00\x00\x00<", b"<\x00\x00\x00"):
        return head.replace(b"\0", b"").decode("latin-1")
    # The last character may be cut: without its first one to three bytes what is left is whole.
    wholes = [head[: len(head) - cut] for cut in range(4 if len(data) > _HEAD_BYTES else 1)]
    for whole in sorted(wholes, key=lambda part: not _is_utf8(part)):
        try:
            return decode(whole)
        except UnreadableError as error:
            reason = error
    if b"\0" in data[:4096] and b"<" not in data[:8]:
        raise reason
    return head.replace(b"\0", b"").decode("latin-1")  # markup is ASCII in every encoding that feeds come in


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _kind_by_content(head: str, data: bytes) -> Kind | None:
    start = head.lstrip("\ufeff \t\r\nÿþï»¿")
    if start[:1] in {"{", "["} or (start[:1] == '"' and start.rstrip().endswith('"')):
        probe = head[:4000]
        if '"items"' in probe and ("jsonfeed.org" in probe or "home_page_url" in probe):
            return "feed"
        return "chat" if is_chat_json(data) else "rows"
    root = _FEED_ROOT.search(start[:4000])
    page = _HTML_ROOT.search(start[:4000])
    if start.startswith("<") and root and (page is None or root.start() < page.start()):
        return "feed"
    return "html" if start.startswith("<") and page else None
