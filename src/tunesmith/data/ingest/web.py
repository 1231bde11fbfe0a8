"""Politeness and thrift: robots.txt first, a pause between two requests to a host, and nothing fetched that is kept already."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from protego import Protego

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.address import checked_url, origin, refused
from tunesmith.data.ingest.cache import Cache, Kept
from tunesmith.data.ingest.fetch import Fetched, Validators, ask, status_error

__all__ = ["AGENT", "Clock", "Limits", "Web"]

AGENT = "tunesmith"
_ROBOTS_AGE_S = 24 * 3600
_UNDATED_AGE_S = 7 * 24 * 3600
_ROBOTS_BYTES = 500 * 1024
_MAX_WAIT_S = 60.0
_BUSY = frozenset([429, 503])


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since 1970, and a way to wait."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How hard a host may be asked: seconds between two requests, and pages of one source at most."""

    delay_s: float = 1.0
    max_pages: int = 500


class Web:
    """Addresses as a polite reader asks for them. `counts` says how many were fetched, unchanged, or not asked for at all."""

    def __init__(
        self,
        *,
        cache: Cache | None = None,
        allow_private: bool = False,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.counts: Counter[str] = Counter()
        self._cache = cache
        self._allow_private = allow_private
        self._clock = clock or Clock()
        self._robots: dict[str, Protego | None] = {}  # by origin; None: nothing is allowed
        self._last: dict[str, float] = {}

    def find(self, address: str) -> Kept | None:
        """As `get`, but None where the server answers 404 or 410."""
        return self._get(address, mark=None, missing_ok=True)

    def get(self, address: str, *, mark: str | None = None) -> Kept:
        """The body at an address, new or kept.

        Without `mark` the server is asked, and may say that nothing changed. With one (what a feed or sitemap says of the last
        change) a page that is kept under the same mark is not asked for again; under an empty one not for a week.

        SourceError if robots.txt forbids it, if the server answers anything but 200 or 304 (after one pause where it asks for
        one), or as `fetch.ask` has it.
        """
        kept = self._get(address, mark=mark, missing_ok=False)
        if kept is None:
            raise AssertionError("what is missing was an error")
        return kept

    def _get(self, address: str, *, mark: str | None, missing_ok: bool) -> Kept | None:
        address = address.partition("#")[0]
        kept = self._cache.find(address) if self._cache else None
        if kept is not None and self._still_holds(kept, mark):
            self.counts["kept"] += 1
            return kept
        answer = self._ask(address, kept.validators if kept else None)
        if answer.status == 304 and kept is not None:
            self.counts["unchanged"] += 1
            if mark is None:
                return kept
            kept = replace(kept, mark=mark, asked=self._clock.now())
        elif answer.status == 200:
            self.counts["fetched"] += 1
            kept = Kept(
                url=answer.url,
                body=answer.body,
                asked=self._clock.now(),
                content_type=answer.content_type,
                etag=answer.headers.get("etag"),
                last_modified=answer.headers.get("last-modified"),
                mark=mark,
            )
        elif missing_ok and answer.status in {404, 410}:
            return None
        else:
            raise status_error(answer)
        if self._cache:
            self._cache.keep(address, kept)
        return kept

    def _still_holds(self, kept: Kept, mark: str | None) -> bool:
        return mark is not None and kept.mark == mark and (mark != "" or 0 <= self._clock.now() - kept.asked < _UNDATED_AGE_S)

    def sitemaps(self, address: str) -> list[str]:
        """The sitemaps that the robots.txt of this host names."""
        rules = self._rules(address)
        return list(rules.sitemaps) if rules is not None else []

    def _ask(self, address: str, validators: Validators | None) -> Fetched:
        for last in (False, True):
            answer = ask(address, allow_private=self._allow_private, validators=validators, before=self._before)
            wait = _seconds(answer.headers.get("retry-after"))
            if last or answer.status not in _BUSY or wait is None or wait > _MAX_WAIT_S:
                break
            self._clock.sleep(wait)
        return answer

    def _before(self, address: str) -> None:
        """Ask robots.txt, then wait until the host may be asked again."""
        rules = self._rules(address)
        if rules is None or not rules.can_fetch(address, AGENT):
            why = "cannot be read" if rules is None else "does not allow it"
            raise refused(
                address,
                f"the robots.txt of the host {why}",
                f"a robots.txt that lets {AGENT} in",
                "save the pages or the feed as files and name the folder; if the site is yours, allow it there",
            )
        self._pause(address, min(float(rules.crawl_delay(AGENT) or 0.0), _MAX_WAIT_S))

    def _pause(self, address: str, least: float) -> None:
        host = origin(checked_url(address))
        delay, now = max(self.limits.delay_s, least), self._clock.now()
        since = now - self._last.get(host, now - delay)
        if 0 <= since < delay:
            self._clock.sleep(delay - since)
        self._last[host] = self._clock.now()

    def _rules(self, address: str) -> Protego | None:
        parts = checked_url(address)
        host = origin(parts)
        if host not in self._robots:
            try:
                self._robots[host] = self._read_rules(f"{parts.scheme}://{parts.netloc}/robots.txt")
            except SourceError as error:  # the host is out of reach: said of the address that was asked for
                found = error.problems[0]
                raise SourceError(found.what, value=address[:500], expected=found.expected, hint=found.hint) from error
        return self._robots[host]

    def _read_rules(self, address: str) -> Protego | None:
        """RFC 9309: no robots.txt (4xx) allows everything, a server in trouble nothing; what is under a day old still holds."""
        kept = self._cache.find(address) if self._cache else None
        if kept is None or not 0 <= self._clock.now() - kept.asked < _ROBOTS_AGE_S:
            kept = self._ask_rules(address, kept)
        if kept is None or kept.status >= 500:
            return None
        return Protego.parse(kept.body[:_ROBOTS_BYTES].decode(errors="replace"))

    def _ask_rules(self, address: str, kept: Kept | None) -> Kept | None:
        self._pause(address, 0.0)
        answer = ask(address, allow_private=self._allow_private, validators=kept.validators if kept else None)
        if answer.status == 304 and kept is not None:
            kept = replace(kept, asked=self._clock.now())
        elif answer.status in _BUSY or answer.status >= 500:
            return None
        else:
            kept = Kept(
                url=answer.url,
                body=answer.body if answer.status == 200 else b"",
                asked=self._clock.now(),
                etag=answer.headers.get("etag"),
                last_modified=answer.headers.get("last-modified"),
                status=answer.status,
            )
        if self._cache:
            self._cache.keep(address, kept)
        return kept


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.strip().isdecimal() and len(text) < 8 else None
