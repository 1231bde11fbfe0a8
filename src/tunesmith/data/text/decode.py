"""Bytes to text: byte order marks, UTF-8, what the file declares, what its letters suggest; and bounded unpacking of gzip."""

from __future__ import annotations

import codecs
import re
import zlib

__all__ = ["MAX_INFLATED_BYTES", "PassingError", "UnreadableError", "decode", "decode_noted", "gunzip", "inflate", "is_gzip"]

MAX_INFLATED_BYTES = 50 * 1024 * 1024
_BINARY = "a binary file, not text"
_MARKS = (  # UTF-32 before UTF-16: the shorter mark is a prefix of the longer
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:\-]{2,40})""")


_GUESSES = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("koi8_r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
_GUESSED_BYTES = 200_000
_CLOSE, _MOST_CHAOS = 0.1, 0.2  # in the measures of charset-normalizer: share of odd letters, share of letters of a language


class UnreadableError(ValueError):
    """This one file or row cannot be used; the message is the reason in words for the user."""


class PassingError(UnreadableError):
    """The same file may well be usable another time: a library is not installed, a reader was stopped, a file is locked."""


def decode(data: bytes, *, charset: str | None = None) -> str:
    """The text of a file, as `decode_noted` finds it."""
    return decode_noted(data, charset=charset)[0]


def decode_noted(data: bytes, *, charset: str | None = None) -> tuple[str, str | None]:
    """The text of a file, and the encoding if that was only guessed. `charset` is what a server said.

    UnreadableError says when it is binary or in an unknown encoding.
    """
    text = _stated(data, charset)
    return (text, None) if text is not None else _guessed(data)


def _stated(data: bytes, charset: str | None) -> str | None:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decode_as(data[len(mark) :], name)
    if b"\0" in data[:4096]:
        text = _attempt(data, _wide_encoding(data[:4096]))
        if text is None:
            raise UnreadableError(_BINARY)
        return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        declared = _DECLARED.search(data[:2048])
        for encoding in (charset, declared.group(1).decode("ascii") if declared else None):
            if encoding and (text := _attempt(data, encoding)) is not None:
                return text
    return None


def _guessed(data: bytes) -> tuple[str, str]:
    """By the letters that come out. Among encodings that fit nearly as well, Windows-1252, the most frequent, is taken."""
    from charset_normalizer import from_bytes  # only for the few files that need it

    found = list(from_bytes(data[:_GUESSED_BYTES], cp_isolation=list(_GUESSES)))
    if found:
        coherence, chaos = max(one.coherence for one in found), min(one.chaos for one in found)
        close = [one for one in found if one.coherence >= coherence - _CLOSE and one.chaos <= chaos + _CLOSE] or found[:1]
        names = [name for one in close for name in (one.encoding, *one.could_be_from_charset)]
        name = _GUESSES[0] if _GUESSES[0] in names else names[0]
        text = _attempt(data, name)
        if text is not None and chaos <= _MOST_CHAOS:
            return text, name
    raise UnreadableError("neither UTF-8 nor UTF-16, and no other character set fits; save it as UTF-8")


def _wide_encoding(sample: bytes) -> str:
    """UTF-16 without a mark shows a zero byte beside nearly every letter; anything else with zero bytes is binary."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = max(1, len(sample) // 2)
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    if even > 0.6 * half and odd < 0.1 * half:
        return "utf-16-be"
    raise UnreadableError(_BINARY)


def _decode_as(data: bytes, name: str) -> str:
    text = _attempt(data, name)
    if text is None:
        raise UnreadableError(f"it looks like {name.upper()} but does not decode as that; save it as UTF-8")
    return text


def _attempt(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeDecodeError, LookupError, ValueError):
        return None


def is_gzip(data: bytes) -> bool:
    """Whether the bytes begin as a gzip stream, whatever the file is called."""
    return data[:3] == b"\x1f\x8b\x08"


def gunzip(data: bytes, *, limit: int = MAX_INFLATED_BYTES) -> bytes:
    """Decompress gzip, never producing more than `limit` bytes. UnreadableError for a bomb or a damaged or cut stream."""
    return inflate(data, wbits=31, limit=limit)


def inflate(data: bytes, *, wbits: int, limit: int) -> bytes:
    """Decompress a zlib (15), raw (-15) or gzip (31) stream, several members included, bounded by `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while data:
        stream = zlib.decompressobj(wbits)
        try:
            part = stream.decompress(data, limit - size + 1)
        except zlib.error as error:
            raise UnreadableError("the compressed data is damaged") from error
        size += len(part)
        if size > limit:
            raise UnreadableError(f"it unpacks to more than {limit // (1024 * 1024)} MB")
        if not stream.eof:
            raise UnreadableError("the compressed data ends too early")
        parts.append(part)
        data = stream.unused_data.lstrip(b"\0") if wbits == 31 else b""
        if data and not is_gzip(data):
            break  # bytes after the last member are padding, as gzip itself treats them
    return b"".join(parts)
