"""Sitemaps: the pages of a site and when each changed; an index names further sitemaps."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.data.ingest.package import feed_xml
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["Listed", "is_sitemap", "read_sitemap"]

_MAX_LISTED = 50_000  # the protocol's own limit
_MAX_ADDRESS = 2048


@dataclass(frozen=True, slots=True)
class Listed:
    """One address of a sitemap and the day or moment of its last change, as written; `is_map` if it is a sitemap itself."""

    address: str
    changed: str
    is_map: bool


def is_sitemap(data: bytes) -> bool:
    """Whether bytes are an XML sitemap or an index of sitemaps, by their root."""
    head = data[:4096].lower()
    return b"<urlset" in head or b"<sitemapindex" in head


def read_sitemap(data: bytes) -> list[Listed]:
    """What an XML sitemap, an index, or a list of addresses (one a line) names, at most 50,000. UnreadableError if broken."""
    if is_sitemap(data):
        target = _Target()
        feed_xml(data, target)
        return target.listed
    lines = [line.strip() for line in decode(data).splitlines()]
    found = [Listed(line, "", False) for line in lines if line.startswith(("http://", "https://")) and len(line) < _MAX_ADDRESS]
    if not found:
        raise UnreadableError("it is not a sitemap")
    return found[:_MAX_LISTED]


class _Target:
    """Takes `loc` and `lastmod` below `url` and `sitemap`, in the namespace of the root (images and videos have their own)."""

    def __init__(self) -> None:
        self.listed: list[Listed] = []
        self._path: list[str] = []
        self._root = ""
        self._text: list[str] = []
        self._address = self._changed = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        space, _, name = tag.rpartition("}")
        if not self._path:
            self._root = space
        self._path.append(name.lower() if space == self._root else "")
        self._text = []
        if len(self._path) == 2:
            self._address = self._changed = ""

    def data(self, text: str) -> None:
        if sum(map(len, self._text)) < _MAX_ADDRESS:
            self._text.append(text)

    def end(self, tag: str) -> None:
        name = self._path.pop()
        said = "".join(self._text).strip()
        if len(self._path) == 2 and name == "loc":
            self._address = said if len(said) < _MAX_ADDRESS else ""
        elif len(self._path) == 2 and name == "lastmod":
            self._changed = said[:64]
        elif len(self._path) == 1 and name in {"url", "sitemap"} and self._address and len(self.listed) < _MAX_LISTED:
            self.listed.append(Listed(self._address, self._changed, name == "sitemap"))
        self._text = []

    def close(self) -> None:
        """Nothing is left to do."""
