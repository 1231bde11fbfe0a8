"""Tar archives, plain or packed by gzip, bzip2 or xz: read once from front to end, under the limits of zip archives."""

from __future__ import annotations

import bz2
import io
import lzma
import mimetypes
import tarfile
import zlib

from tunesmith.data.ingest.limits import MAX_ALL_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, TooLarge, too_large, too_large_part
from tunesmith.data.text.decode import UnreadableError

__all__ = ["TarPackage", "is_tar"]

_BLOCK = 512
_MARK = slice(257, 262)  # where the header of the first member says "ustar"
_PEEKED = 1 << 16  # packed bytes that surely hold the first block
_MAX_PACKED_BYTES = 2 << 30  # to unpack, pictures and films included
_UNREAD = ("image", "audio", "video", "font")
_TAR_ERRORS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


def is_tar(data: bytes) -> bool:
    """Whether the bytes are a tar archive, or the packed form of one."""
    return _first_block(data)[_MARK] == b"ustar"


def _first_block(data: bytes) -> bytes:
    head = data[:_PEEKED]
    try:
        if head[:3] == b"\x1f\x8b\x08":
            return zlib.decompressobj(31).decompress(head, _BLOCK)
        if head[:3] == b"BZh":
            return bz2.BZ2Decompressor().decompress(head, _BLOCK)
        if head[:6] == b"\xfd7zXZ\0":
            return lzma.LZMADecompressor(memlimit=1 << 28).decompress(head, _BLOCK)
    except _TAR_ERRORS:
        return b""
    return head[:_BLOCK]


class TarPackage:
    """The files of a tar archive, held in memory; links, devices and what lies above the archive's folder are none.

    UnreadableError if it is damaged or cut, has more than 20,000 files, or unpacks to more than 2 GB.
    """

    def __init__(self, data: bytes) -> None:
        self._members: dict[str, bytes | UnreadableError] = {}
        kept = read = 0
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r|*") as archive:
                for info in archive:
                    read += info.size
                    if read > _MAX_PACKED_BYTES:
                        raise TooLarge(f"the archive unpacks to more than {_MAX_PACKED_BYTES >> 30} GB")
                    name = info.name.removeprefix("./")
                    if not info.isfile() or name.startswith("/") or ".." in name.split("/"):
                        continue
                    if len(self._members) == MAX_MEMBERS:
                        raise UnreadableError("the archive holds more than 20,000 files")
                    member = self._kept(archive, info, kept)
                    self._members[name] = member
                    kept += len(member) if isinstance(member, bytes) else 0
        except UnreadableError:
            raise
        except _TAR_ERRORS as error:
            raise UnreadableError("the archive is damaged or cut") from error
        self.names = list(self._members)

    @staticmethod
    def _kept(archive: tarfile.TarFile, info: tarfile.TarInfo, kept: int) -> bytes | UnreadableError:
        """The bytes of a member, or why it cannot be read: what is over a limit is passed over. Pictures and films are never
        read."""
        if (mimetypes.guess_type(info.name)[0] or "").split("/")[0] in _UNREAD:
            return b""
        if info.size > MAX_MEMBER_BYTES:
            return too_large_part(MAX_MEMBER_BYTES)
        if kept + info.size > MAX_ALL_BYTES:
            return too_large()
        opened = archive.extractfile(info)
        return b"" if opened is None else opened.read()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str, *, limit: int = MAX_MEMBER_BYTES) -> bytes:
        """The bytes of a member; UnreadableError if it is missing or larger than `limit` bytes."""
        found = self._members.get(name)
        if found is None:
            raise UnreadableError(f"it lacks its part {name}")
        if isinstance(found, UnreadableError):
            raise found
        if len(found) > limit:
            raise too_large_part(limit)
        return found

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a member; empty if they cannot be read."""
        found = self._members.get(name)
        return found[:size] if isinstance(found, bytes) else b""
