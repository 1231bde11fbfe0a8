"""The lines of a PDF with their places, as JSON, in a process of its own: a hostile file can end it, and nothing else.

Run as a script by `pdf.py`; it bounds its own memory and processor time. The PDF comes through stdin.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

__all__ = ["MAX_SECONDS", "read_lines"]

MAX_SECONDS = 4  # of processor time
_MAX_MEMORY_BYTES = 480 * 1024 * 1024
_MAX_CHARACTERS = 5_000_000
_HYPHENS = {0x02, 0x00AD, 0xFFFE}  # how PDFium gives a hyphen at a line's end
_PASSWORD = 4


def read_lines(data: bytes) -> dict[str, Any]:
    """`{"pages": …, "metadata": …}`, or `{"error": "password" | "format"}`.

    A page is a list of lines: `[text, left, right, first baseline, last baseline, size]`, in points.
    """
    import pypdfium2  # type: ignore[import-untyped]
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        return {"error": "password" if getattr(error, "err_code", 0) == _PASSWORD else "format"}
    pages: list[list[list[Any]]] = []
    left_to_read = _MAX_CHARACTERS
    for index in range(len(document)):
        try:
            page = document[index]
            text = page.get_textpage()
        except pypdfium2.PdfiumError:
            pages.append([])
            continue
        count = min(text.count_chars(), left_to_read)
        left_to_read -= count
        pages.append(_page_lines(pdfium, text.raw, count))
        text.close()
        page.close()
        if left_to_read <= 0:
            break
    metadata = {key: _whole(value) for key, value in document.get_metadata_dict().items()}
    return {"pages": pages, "metadata": metadata, "cut": left_to_read <= 0}


def _page_lines(pdfium: Any, text: Any, count: int) -> list[list[Any]]:
    """PDFium ends lines with characters of its own, and joins two with a hyphen between them: hence two baselines."""
    lines: list[list[Any]] = []
    letters: list[str] = []
    first = last = -1
    for index in range(count + 1):
        code = pdfium.FPDFText_GetUnicode(text, index) if index < count else 0x0A
        if code not in (0x0A, 0x0D):
            letters.append("\u00ad" if code in _HYPHENS else chr(code) if 0 < code < 0x110000 else "")
            if code > 0x20 and code not in _HYPHENS:
                first, last = (index if first < 0 else first), index
            continue
        if first >= 0:
            size = pdfium.FPDFText_GetFontSize(text, first)
            left, baseline = _origin(pdfium, text, first)
            lines.append(
                [_whole("".join(letters)), left, _right(pdfium, text, last), baseline, _origin(pdfium, text, last)[1], size]
            )
        letters, first, last = [], -1, -1
    return lines


def _whole(text: str) -> str:
    """PDFium counts in UTF-16 units: pairs become one character, halves a mark of replacement."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _origin(pdfium: Any, text: Any, index: int) -> tuple[float, float]:
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(text, index, ctypes.byref(x), ctypes.byref(y))
    return round(x.value, 1), round(y.value, 1)


def _right(pdfium: Any, text: Any, index: int) -> float:
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    pdfium.FPDFText_GetCharBox(text, index, ctypes.byref(left), ctypes.byref(right), ctypes.byref(bottom), ctypes.byref(top))
    return round(right.value, 1)


def _main() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = read_lines(sys.stdin.buffer.read())
    left = memoryview(json.dumps(found).encode())
    while left:  # a buffered file loses bytes where a stop and continue interrupts its writing to a full pipe
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    _main()
