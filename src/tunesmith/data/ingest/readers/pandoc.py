"""Files that Tunesmith has no reader for, converted to Markdown by pandoc where it is installed: bounded, and never needed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.markdown import read_markdown
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import PassingError, UnreadableError, decode

__all__ = ["READER", "read_by_pandoc"]

_FORMATS = {
    ".wiki": "mediawiki",
    ".mediawiki": "mediawiki",
    ".creole": "creole",
    ".dokuwiki": "dokuwiki",
    ".twiki": "twiki",
    ".vimwiki": "vimwiki",
    ".muse": "muse",
    ".t2t": "t2t",
    ".typ": "typst",
    ".fb2": "fb2",
    ".dbk": "docbook",
    ".docbook": "docbook",
}
_TIMEOUT_S = 30
_HEAP = "512m"
_MAX_BYTES = 20 * 1024 * 1024


def read_by_pandoc(data: bytes, *, name: str) -> Reading:
    """What pandoc makes of one file, read as Markdown. It may open no other file, and has 30 s and 512 MB.

    PassingError if pandoc is not installed or is stopped; UnreadableError with its own words if it refuses the file.
    """
    suffix = PurePosixPath(name.lower()).suffix
    form = _FORMATS.get(suffix, suffix.lstrip("."))
    program = shutil.which("pandoc")
    if program is None:
        raise PassingError(f"files of the kind {form} are read with pandoc, which is not installed (https://pandoc.org)")
    if len(data) > _MAX_BYTES:
        raise UnreadableError("it is larger than 20 MB")
    command = [program, "+RTS", f"-M{_HEAP}", "-RTS", "--sandbox", "--standalone", f"--from={form}"]
    command += ["--to=commonmark_x-raw_html-raw_attribute-attributes", "--wrap=none"]
    try:
        done = subprocess.run(command, input=decode(data).encode(), capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PassingError(f"pandoc took longer than {_TIMEOUT_S} s") from error
    except OSError as error:
        raise PassingError(f"pandoc cannot be started ({error.strerror or error})") from error
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise UnreadableError(f"pandoc cannot read it{': ' if said else ''}{said}")
    reading = read_markdown(done.stdout.decode(errors="replace"), name=name)
    return replace(reading, documents=tuple(replace(document, extraction="pandoc") for document in reading.documents))


READER = Reader(kind="pandoc", read=read_by_pandoc, suffixes=frozenset(_FORMATS))
