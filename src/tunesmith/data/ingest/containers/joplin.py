"""The export of Joplin (`.jex`, or RAW): its notes, with what stands below each about it."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Collection, Iterator

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, line
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_NAME = re.compile(r"(?:.*/)?[0-9a-f]{32}\.md$")
_FIELD = re.compile(r"([a-z_]+):[ \t]?(.*)$")
_KIND = re.compile(rb"^type_: \d+\s*\Z", re.MULTILINE)
_NOTE = "1"
_MAX_BYTES = 100 * 1024 * 1024
_MAX_MEMBERS = 50_000


def _is_export(name: str, head: bytes) -> bool:
    return head[257:262] == b"ustar" and bool(
        _NAME.match(head[:100].split(b"\0")[0].decode("latin-1")) or name.endswith(".jex")
    )


def _claimed(tree: Tree) -> Collection[str]:
    items = [name for name in tree.files if _NAME.match(name)]
    if not items or not _KIND.search(tree.read(items[0])):
        return ()
    return [*items, *(name for name in tree.names if name.startswith("resources/"))]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    for name in tree.names:
        if name.startswith("resources/"):
            yield LeftOut(reason="files attached to notes left out")
        elif _NAME.match(name):
            yield _of_file(name, tree, policy)
        else:
            yield from _archived(tree.read(name), policy)


def _of_file(name: str, tree: Tree, policy: Policy) -> Entry:
    try:
        return _item(name, tree.read(name), policy)
    except UnreadableError as error:
        return Broken(name=name, reason=str(error))


def _archived(data: bytes, policy: Policy) -> Iterator[Entry]:
    """The items of a tar archive, read in memory under limits; nothing is unpacked to disk."""
    size = count = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                count += 1
                if not member.isfile():
                    continue
                if not _NAME.match(member.name):
                    yield LeftOut(reason="files attached to notes left out")
                    continue
                size += member.size
                file = archive.extractfile(member)
                if size > _MAX_BYTES or count > _MAX_MEMBERS or file is None:
                    raise UnreadableError("it holds more than 100 MB of notes; export one notebook at a time")
                yield _item(member.name, file.read(), policy)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UnreadableError("the archive is damaged or cut; export it again") from error


def _item(name: str, data: bytes, policy: Policy) -> Entry:
    try:
        text = decode(data).replace("\r\n", "\n")
    except UnreadableError as error:
        return Broken(name=name, reason=str(error))
    written, _, below = text.rstrip("\n").rpartition("\n\n")
    fields = {match[1]: match[2].strip() for row in below.split("\n") if (match := _FIELD.match(row))}
    if fields.get("type_") != _NOTE:
        return LeftOut(reason="notebooks, tags and other items without text left out")
    if fields.get("encryption_applied") == "1":
        return Broken(name=name, reason="it is encrypted; switch encryption off, or export it from the application")
    if fields.get("is_conflict") == "1":
        return LeftOut(reason="copies of conflicts left out")
    if fields.get("source_url"):
        return LeftOut(reason="clippings of other people's pages left out")
    title, _, body = written.partition("\n")
    status: Status = "deleted" if fields.get("deleted_time", "0") not in {"", "0"} else "published"
    facts = Facts(
        title=line(title),
        author=policy.named(line(fields.get("author"))),
        date=day(fields.get("user_created_time"), fields.get("created_time")),
        status=status,
    )
    kind = "fragment" if fields.get("markup_language") == "2" else "markdown"
    return Text(name=name, content=body.strip(), kind=kind, facts=facts)


CONTAINER = Container(
    name="joplin",
    title="a Joplin export",
    taken="notes with title, author and the day on which they were made",
    left_out="web clippings; notes in the trash; copies of conflicts; notebooks, tags and attached files",
    file=_is_export,
    suffixes=frozenset([".jex", ".tar"]),
    folder=_claimed,
    entries=_entries,
)
