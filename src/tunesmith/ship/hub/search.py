"""Search what would leave for secrets, personal data and paths of this machine, with the checks that datasets go through.

Texts are searched as a whole, JSON and rows value by value, and safetensors and GGUF files in their headers.
A binary file of unknown kind cannot be searched, and is a finding itself.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.checks.personal import CRITICAL, NAMES, find_personal
from tunesmith.data.checks.secrets import find_secrets
from tunesmith.data.text.decode import UnreadableError, decode, is_gzip
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.models.load import safetensors_metadata
from tunesmith.ship.hub.records import PushFile, PushFinding
from tunesmith.ship.hub.rows import rows_of

__all__ = ["FINDINGS", "search"]

_SECRETS, _UNSEARCHED, _PATHS = "secrets", "unsearched", "local_paths"
_NUM_PLACES = 5
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_SENTENCEPIECE = re.compile(r"(?:^|/)(?:tokenizer|spiece|sentencepiece(?:\.bpe)?|spm)\.model$")
_HASH_NAME = re.compile(
    r"(?:^|_)(?:id|sha\d*|hash|digest|fingerprint|seal|commit|revision|group)$|sha256|_sha\b", re.IGNORECASE
)
_HASH = re.compile(r"[0-9a-f]{8,64}", re.IGNORECASE)
_TELLING = re.compile(  # names that say what their value is; a tokenizer has many of `token` that do not
    r"(?:api|access|auth|private|account)[_-]?key|secret|passw|pwd|credential"
    r"|(?:access|auth|api|bearer|refresh|session|bot|hf|hub)[_-]?token|^token$",
    re.IGNORECASE,
)
_HOME = re.compile(r"(?:/home/|/Users/|[A-Z]:\\+Users\\+)[\w.-]+")
FINDINGS = {  # name for --allow → what it is
    _SECRETS: "what looks like a secret",
    _UNSEARCHED: "a binary file that cannot be searched",
    _PATHS: "a path of this machine, which names its user",
    **{name: what for name, what in NAMES.values()},
}


def search(files: list[PushFile], *, public: bool) -> tuple[PushFinding, ...]:
    """Everything that is found, what blocks first. Secrets, numbers that money or a name can be taken with, and files that
    cannot be searched block; e-mail addresses, phone numbers and IP addresses block what is to be public."""
    places: dict[str, list[str]] = defaultdict(list)
    for file in files:
        for name, place in _in_file(file):
            places[name].append(f"{file.path}:{place}" if place else file.path)
    always = {_SECRETS, _UNSEARCHED, *(NAMES[kind][0] for kind in CRITICAL)}
    found = [
        PushFinding(
            name=name,
            text=FINDINGS[name],
            count=len(where),
            places=tuple(dict.fromkeys(where))[:_NUM_PLACES],
            blocks=name in always or (public and name != _PATHS),
        )
        for name, where in places.items()
    ]
    return tuple(sorted(found, key=lambda finding: (not finding.blocks, -finding.count, finding.name)))


def _in_file(file: PushFile) -> Iterator[tuple[str, str]]:
    """(name of the finding, place in the file) of all that is found in one file."""
    with file.open() as opened:
        head = opened.read(16)
    if head.startswith(_IMAGES) or _SENTENCEPIECE.search(file.path):
        return
    if file.path.endswith(".safetensors"):
        yield from _in_value(dict(safetensors_metadata(file.source)), "header")
    elif head.startswith(b"GGUF"):
        yield from _in_value(dict(read_gguf_header(file.source).settings), "header")
    elif (rows := rows_of(file.path, file.source)) is not None:
        for place, row, _ in rows:
            yield from _in_value(row, place)
    else:
        yield from _in_text_file(file)


def _in_text_file(file: PushFile) -> Iterator[tuple[str, str]]:
    with file.open() as opened:
        data = opened.read()
    try:
        text = decode(gzip.decompress(data) if is_gzip(data) else data)
    except (UnreadableError, OSError, EOFError):
        yield _UNSEARCHED, ""
        return
    if file.path.endswith(".json"):
        try:
            yield from _in_value(orjson.loads(text), "")
            return
        except orjson.JSONDecodeError:
            text = text.replace("\r\n", "\n")  # not JSON after all: searched as a text
    for name, start in _in_text(text):
        yield name, str(text.count("\n", 0, start) + 1)


def _in_value(value: Any, place: str, key: str = "") -> Iterator[tuple[str, str]]:
    """What the texts of a JSON value hold, however deep. A text is read with its key: `api_key` says what follows."""
    if isinstance(value, str):
        if value and not (_HASH_NAME.search(key) and _HASH.fullmatch(value)):
            for name in _names_in(value, key):
                yield name, place
    elif isinstance(value, Mapping):
        for inner, one in value.items():
            yield from _in_value(one, place, str(inner))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _in_value(one, place, key)


def _names_in(value: str, key: str) -> Iterator[str]:
    found = [name for name, _ in _in_text(value)]
    if _SECRETS not in found and len(value) <= 200 and _TELLING.search(key) and find_secrets(f'{key}: "{value}"'):
        yield _SECRETS
    yield from found


def _in_text(text: str) -> Iterator[tuple[str, int]]:
    for span in find_secrets(text):
        yield _SECRETS, span.start
    for span in find_personal(text):
        yield NAMES[span.kind][0], span.start
    home = str(Path.home())
    for match in _HOME.finditer(text):
        yield _PATHS, match.start()
    if len(home) > 2 and not _HOME.match(home) and (at := text.find(home + "/")) >= 0:
        yield _PATHS, at
