"""Zip packages (DOCX, EPUB, exports) under limits: members, the size of each and of all together, no XML entities."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lxml import etree

from tunesmith.data.ingest.limits import MAX_ALL_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, too_large, too_large_part
from tunesmith.data.text.decode import UnreadableError

__all__ = ["Package", "feed_xml", "is_zip", "open_package", "read_large_xml", "read_xml"]

_MAX_XML_BYTES = 5 * 1024 * 1024
_SAFE = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
# What zipfile raises on damaged, cut or exotic archives: the file's fault, not ours.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)


def is_zip(data: bytes) -> bool:
    """Whether the bytes begin as a zip archive does."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


class Package:
    """An open zip archive. Nothing is ever written to disk, so names of members cannot lead anywhere."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._read_bytes = 0
        self.names = [info.filename for info in archive.infolist() if not info.is_dir()]

    def __contains__(self, name: str) -> bool:
        return name in self._archive.NameToInfo

    def read(self, name: str, *, limit: int = MAX_MEMBER_BYTES) -> bytes:
        """The bytes of a member; UnreadableError if it is missing, damaged, encrypted or unpacks to more than `limit` bytes."""
        if name not in self:
            raise UnreadableError(f"it lacks its part {name}")
        info = self._archive.getinfo(name)
        if info.flag_bits & 1:
            raise UnreadableError("it is encrypted with a password")
        most = min(limit, MAX_ALL_BYTES - self._read_bytes)
        try:
            with self._archive.open(info) as member:  # the declared size may lie: what is read counts
                data = member.read(most + 1)
        except _ZIP_ERRORS as error:
            raise UnreadableError(f"its part {name} is damaged") from error
        self._read_bytes += len(data)
        if len(data) > most:
            if most == limit:
                raise too_large_part(limit)
            raise too_large()
        return data

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a member; empty if they cannot be read. They count towards no limit."""
        info = self._archive.NameToInfo.get(name)
        if info is None or info.flag_bits & 1:
            return b""
        try:
            with self._archive.open(info) as member:
                return member.read(size)
        except _ZIP_ERRORS:
            return b""  # it is named when it is read


@contextmanager
def open_package(data: bytes) -> Iterator[Package]:
    """A zip archive held in memory; UnreadableError if it is none, is damaged, or has more than 20,000 members."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as error:
        raise UnreadableError("the archive is damaged or cut") from error
    with archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise UnreadableError("the archive holds more than 20,000 files")
        yield Package(archive)


def feed_xml(data: bytes, target: object) -> None:
    """Parse XML through `target` (start, end, data, close), without a tree, entities, network or nesting beyond 256."""
    parser = etree.XMLParser(target=target, **_SAFE)
    try:
        etree.XML(data, parser)
    except etree.XMLSyntaxError as error:
        raise _refusal(error) from error


def read_xml(data: bytes) -> etree._Element:
    """The tree of a small XML part (at most 5 MB); UnreadableError if it is broken, deep, or declares a document type."""
    if len(data) > _MAX_XML_BYTES:
        raise UnreadableError("its XML is larger than 5 MB")
    try:
        root = etree.XML(data, etree.XMLParser(**_SAFE))
    except etree.XMLSyntaxError as error:
        raise _refusal(error) from error
    if root.getroottree().docinfo.doctype:
        raise UnreadableError("its XML declares a document type, where entities could hide")
    return root


def read_large_xml(data: bytes, tags: Sequence[str]) -> Iterator[etree._Element]:
    """The elements with these tags, as they end, each gone with the next one; a document type is ignored, with no entity
    resolved, and control characters do not stop it. UnreadableError if it is broken."""
    try:
        for _, element in etree.iterparse(
            io.BytesIO(data), events=("end",), tag=tags, recover=True, resolve_entities=False, no_network=True, load_dtd=False
        ):
            yield element
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise _refusal(error) from error


def _refusal(error: etree.XMLSyntaxError) -> UnreadableError:
    return UnreadableError("its XML is nested too deeply" if "depth" in str(error) else "its XML is broken")
