"""What was fetched before: one file an address, replaced whole, believed only if its hash is right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson

from tunesmith.core.files import collect_temporary, replace_file, storage_errors
from tunesmith.core.records import digest
from tunesmith.data.ingest.fetch import Validators

__all__ = ["Cache", "Kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A body as it came, and what is needed to ask for it again.

    `url` is where it came from in the end; `mark` what a feed or sitemap said of its last change; `asked` is in seconds since
    1970. `status` is 200, or of a robots.txt the status that stands for it.
    """

    url: str
    body: bytes
    asked: float
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    mark: str | None = None
    status: int = 200

    @property
    def validators(self) -> Validators | None:
        """What to send with the next request; None if the server gave nothing to compare by."""
        if not self.etag and not self.last_modified:
            return None
        return Validators(url=self.url, etag=self.etag, last_modified=self.last_modified)


class Cache:
    """Bodies in a folder, a file an address: the hash of the rest, a line of JSON, the body. `keep` alone writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        collect_temporary(folder)

    def find(self, address: str) -> Kept | None:
        """What is kept of an address, or None: also where the file is damaged, or belongs to another address."""
        try:
            sha256, _, rest = self._path(address).read_bytes().partition(b"\n")
            head, _, body = rest.partition(b"\n")
            if hashlib.sha256(rest).hexdigest().encode() != sha256:
                return None
            facts = orjson.loads(head)
            return Kept(**facts, body=body) if facts.pop("address") == address else None
        except (OSError, orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            return None

    def keep(self, address: str, kept: Kept) -> None:
        """Put a body in the place of what was kept of this address before."""
        facts = {
            "address": address,
            "url": kept.url,
            "asked": kept.asked,
            "content_type": kept.content_type,
            "etag": kept.etag,
            "last_modified": kept.last_modified,
            "mark": kept.mark,
            "status": kept.status,
        }
        path = self._path(address)
        with storage_errors("keeping what was fetched", path):
            rest = orjson.dumps(facts) + b"\n" + kept.body
            replace_file(path, hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)

    def _path(self, address: str) -> Path:
        return self._folder / digest("fetched", address)[:32]
