"""Web addresses to raw items: a feed with its further pages and the pages it gives only beginnings of, a site, or one page."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from tunesmith.core.errors import SourceError
from tunesmith.core.records import Failure
from tunesmith.core.reporter import Reporter
from tunesmith.data.ingest.cache import Kept
from tunesmith.data.ingest.feed import Excerpt, Survey, joined, survey_feed
from tunesmith.data.ingest.item import Facts, RawItem
from tunesmith.data.ingest.kinds import guess_kind, is_asset, unpacked
from tunesmith.data.ingest.sitemap import Listed, is_sitemap, read_sitemap
from tunesmith.data.ingest.web import Web
from tunesmith.data.text.decode import UnreadableError

__all__ = ["Addressed", "gather_address"]

_MAX_FEED_PAGES = 100
_MAX_SITEMAPS = 50
_MAX_PAGES = 200_000  # of a site, from which the newest are chosen
_ALTERNATE = re.compile(r"<link\b[^<>]{1,2000}>", re.IGNORECASE)
_FEED_TYPE = re.compile(r"""type\s*=\s*["']?application/(?:rss\+xml|atom\+xml|feed\+json)""", re.IGNORECASE)
_IS_ALTERNATE = re.compile(r"""rel\s*=\s*["']?[^"'>]{0,40}\balternate\b""", re.IGNORECASE)
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]+)"|'([^']+)'|([^\s>]+))""", re.IGNORECASE)
_BEYOND = "pages beyond fetch.max_pages left out"


@dataclass(slots=True)
class Addressed:
    """What one address led to."""

    items: list[RawItem] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def gather_address(source: str, *, web: Web, reporter: Reporter) -> Addressed:
    """Every item that an address leads to, on its own site and no other, at most `web.limits.max_pages` pages.

    A feed: its entries, those of its further pages, and the whole page of each entry of which it gives only the beginning.
    A sitemap, or the front page of a site that has one: its pages, those that changed last first. A front page
    without a sitemap that names a feed: that feed. Anything else: the page itself.

    SourceError if the address cannot be fetched or is none of these; a page that cannot be fetched is a failure.
    """
    found = Addressed()
    kept = web.get(source)
    data = _body(source, kept)
    if is_sitemap(data):
        _site(found, _listed(data, kept.url, web, found), kept.url, web=web, reporter=reporter, source=source)
        return found
    try:
        item = _item(kept, source)
    except UnreadableError as error:
        raise _neither(source, error) from error
    if item.kind == "feed":
        _feed(found, item, kept, web=web, reporter=reporter)
    elif item.kind == "html" and urlsplit(kept.url).path in {"", "/"}:
        _front_page(found, item, kept, web=web, reporter=reporter)
    else:
        found.items.append(item)
    return found


def _front_page(found: Addressed, item: RawItem, kept: Kept, *, web: Web, reporter: Reporter) -> None:
    if listed := _own_sitemap(kept.url, web, found):
        _site(found, listed, kept.url, web=web, reporter=reporter, source=item.source)
        return
    if (address := _named_feed(kept)) and _same_site(address, {kept.url}):
        try:
            further = web.get(address)
            feed = _item(further, item.source)
        except (SourceError, UnreadableError) as error:
            found.failures.append(_failure(address, error))
        else:
            if feed.kind == "feed":
                _feed(found, feed, further, web=web, reporter=reporter)
                return
    found.items.append(item)


def _named_feed(kept: Kept) -> str | None:
    for match in _ALTERNATE.finditer(kept.body[:500_000].decode(errors="replace")):
        if _IS_ALTERNATE.search(match[0]) and _FEED_TYPE.search(match[0]) and (href := _HREF.search(match[0])):
            return joined(kept.url, next(part for part in href.groups() if part))
    return None


# --- feeds ------------------------------------------------------------------------------------------------------------


def _feed(found: Addressed, first: RawItem, kept: Kept, *, web: Web, reporter: Reporter) -> None:
    """All pages of a feed; they share its name, so that an entry keeps its id when it moves to a further page."""
    name, item, seen, pages = first.name, first, {kept.url}, 0
    while True:
        try:
            survey = survey_feed(_body(kept.url, kept), url=kept.url, content_type=kept.content_type)
        except UnreadableError:
            found.items.append(replace(item, name=name))  # its reader says what is wrong with it
            return
        site = {address for address in (first.url, survey.home) if address}
        excerpts = [one for one in survey.excerpts if _same_site(one.address, site)]
        if elsewhere := len(survey.excerpts) - len(excerpts):
            found.notes["feed entries that point to other sites, taken as the feed gives them"] += elsewhere
        room = max(0, web.limits.max_pages - pages)
        pages += len(excerpts)
        if len(excerpts) > room:
            found.notes[_BEYOND] += len(excerpts) - room
        read = _excerpted(found, excerpts[:room], source=first.source, web=web, reporter=reporter)
        found.items.append(replace(item, name=name, without=read))
        following = _following(survey, site, seen, web, found)
        if following is None:
            return
        seen |= {following.url}
        kept = following
        try:
            item = _item(kept, first.source)
        except UnreadableError as error:
            found.failures.append(Failure(source=kept.url, reason=f"a further page of the feed cannot be read: {error}"))
            return
        if item.kind != "feed" or any(item.sha256 == other.sha256 for other in found.items):
            return


def _following(survey: Survey, site: set[str], seen: set[str], web: Web, found: Addressed) -> Kept | None:
    address = survey.following
    if address is None or address in seen or len(seen) >= _MAX_FEED_PAGES or not _same_site(address, site):
        return None
    seen.add(address)
    try:
        return web.find(address) if survey.tried else web.get(address)
    except SourceError as error:
        found.failures.append(_failure(address, error))
        return None


def _excerpted(found: Addressed, excerpts: Sequence[Excerpt], *, source: str, web: Web, reporter: Reporter) -> frozenset[str]:
    """Fetch the pages of these entries; the addresses of those that came."""
    read: set[str] = set()
    if not excerpts:
        return frozenset()
    with reporter.progress("fetch", total=len(excerpts), unit="pages") as progress:
        for one in excerpts:
            if page := _page(found, one.address, one.changed, source=source, web=web, about=one.about):
                found.items.append(page)
                read.add(one.address)
            progress.advance(1, one.address)
    return frozenset(read)


# --- sites ------------------------------------------------------------------------------------------------------------


def _own_sitemap(url: str, web: Web, found: Addressed) -> list[Listed]:
    """What the sitemaps of a site list: those that its robots.txt names, else /sitemap.xml."""
    named = [address for address in web.sitemaps(url) if _same_site(address, {url})]
    listed: list[Listed] = []
    for address in named[:_MAX_SITEMAPS] or [urljoin(url, "/sitemap.xml")]:
        try:
            kept = web.find(address)
            if kept is not None:
                listed += _listed(_body(address, kept), kept.url, web, found)
        except (SourceError, UnreadableError) as error:
            if named:
                found.failures.append(_failure(address, error))
    return listed


def _listed(data: bytes, url: str, web: Web, found: Addressed) -> list[Listed]:
    """The pages of a sitemap and of the sitemaps below it, two levels at most."""
    pages: list[Listed] = []
    open_maps: list[tuple[bytes, int]] = [(data, 0)]
    fetched = 0
    while open_maps and len(pages) < _MAX_PAGES:
        data, depth = open_maps.pop(0)
        try:
            entries = read_sitemap(data)
        except UnreadableError as error:
            found.failures.append(Failure(source=url, reason=f"a sitemap cannot be read: {error}"))
            continue
        pages += [entry for entry in entries if not entry.is_map]
        for entry in (entry for entry in entries if entry.is_map and _same_site(entry.address, {url})):
            if depth >= 2 or fetched >= _MAX_SITEMAPS:
                found.notes["sitemaps beyond the limit left out"] += 1
                continue
            fetched += 1
            try:
                below = web.get(entry.address, mark=entry.changed or None)
                open_maps.append((_body(entry.address, below), depth + 1))
            except SourceError as error:
                found.failures.append(_failure(entry.address, error))
    return pages


def _site(found: Addressed, listed: Sequence[Listed], url: str, *, web: Web, reporter: Reporter, source: str) -> None:
    pages: dict[str, str] = {}
    elsewhere = 0
    for one in listed:
        if not _same_site(one.address, {url}):
            elsewhere += 1
        elif not is_asset(urlsplit(one.address).path):
            pages[one.address] = max(one.changed, pages.get(one.address, ""))
    if elsewhere:
        found.notes["addresses of other sites in the sitemap skipped"] += elsewhere
    newest = sorted(pages, key=lambda address: (pages[address], address), reverse=True)
    if beyond := newest[web.limits.max_pages :]:
        found.notes[_BEYOND] += len(beyond)
    with reporter.progress("fetch", total=len(newest) - len(beyond), unit="pages") as progress:
        for address in sorted(newest[: web.limits.max_pages]):
            if page := _page(found, address, pages[address], source=source, web=web, about={}):
                found.items.append(page)
            progress.advance(1, address)


# --- pages ------------------------------------------------------------------------------------------------------------


def _page(found: Addressed, address: str, changed: str, *, source: str, web: Web, about: Facts) -> RawItem | None:
    try:
        kept = web.get(address, mark=changed)
        if not _same_site(kept.url, {address}):
            raise UnreadableError(f"it leads to another site: {kept.url}")
        item = _item(kept, source, about=about)
        if item.kind == "feed":
            raise UnreadableError("it is a feed, not a page")
        return item
    except (SourceError, UnreadableError) as error:
        found.failures.append(_failure(address, error))
        return None


def _item(kept: Kept, source: str, *, about: Facts | None = None) -> RawItem:
    parts = urlsplit(kept.url)
    data = unpacked(kept.body)
    kind = guess_kind(PurePosixPath(parts.path or "/").name, data, alone=True, content_type=kept.content_type or "none")
    return RawItem(
        name=f"{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else ""),
        source=source,
        kind=kind,
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
        url=kept.url,
        charset=kept.content_type,
        about=about or Facts(),
    )


def _body(address: str, kept: Kept) -> bytes:
    try:
        return unpacked(kept.body)
    except UnreadableError as error:
        raise _neither(address, error) from error


def _same_site(address: str, sites: set[str]) -> bool:
    """Whether an address is an http(s) one on one of these hosts; `www.` makes no difference."""
    try:
        parts = urlsplit(address)
        return parts.scheme in {"http", "https"} and _host(address) in {_host(site) for site in sites}
    except ValueError:
        return False


def _host(address: str) -> tuple[str, int | None]:
    parts = urlsplit(address)
    port = parts.port if parts.port not in {80, 443} else None
    return (parts.hostname or "").lower().removeprefix("www."), port


def _failure(address: str, error: SourceError | UnreadableError) -> Failure:
    if isinstance(error, UnreadableError):
        return Failure(source=address, reason=str(error))
    problem = error.problems[0]
    return Failure(source=address, reason=f"{problem.what}; expected {problem.expected}")


def _neither(source: str, error: UnreadableError) -> SourceError:
    return SourceError(
        f"no feed or page at this address: {error}",
        value=source,
        expected="a feed (RSS, Atom, JSON Feed), a sitemap or a web page",
        hint="open the blog in a browser and find its RSS or Atom link",
    )
