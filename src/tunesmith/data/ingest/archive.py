"""Zip archives of exports and folders: every file in them is read as if it lay in a folder, under one limit for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import PurePosixPath

from tunesmith.core.records import Failure
from tunesmith.data.ingest.item import RawItem, Reading, joined
from tunesmith.data.ingest.kinds import guess_kind, is_asset, unpacked
from tunesmith.data.ingest.package import Package, open_package
from tunesmith.data.ingest.slack import LISTS, members_of, with_profiles
from tunesmith.data.text.decode import PassingError, UnreadableError

__all__ = ["read_archive"]

_ASSETS = "images, styles, code and other assets skipped"


def read_archive(data: bytes, *, name: str, read: Callable[[RawItem], Reading]) -> Reading:
    """What `read` makes of each file in the archive, in the order of their names; a file that cannot be read is a failure.

    In an export of Slack its list of members gives the names. Hidden files are passed over, assets counted, archives in
    archives refused. UnreadableError if it holds none.

    Reading stops, with a failure, where the files unpack to more than 100 MB together.
    """
    readings: list[Reading] = []
    with open_package(data) as package:
        members = _members(package)
        for member in sorted(package.names):
            parts = PurePosixPath(member).parts
            if any(part.startswith((".", "__MACOSX")) for part in parts):
                continue
            if is_asset(member):
                readings.append(Reading(notes={_ASSETS: 1}))
                continue
            if members and member in LISTS:
                readings.append(Reading(notes={"lists of members and channels left out": 1}))
                continue
            source = f"{name}/{member}"
            try:
                content = package.read(member)
                readings.append(read(_item(with_profiles(content, members) if members else content, source)))
            except UnreadableError as error:
                passing = int(isinstance(error, PassingError))
                readings.append(Reading(failures=(Failure(source=source, reason=str(error)),), num_passing=passing))
                if package.exhausted:
                    break
    found = joined(readings)
    if not (found.documents or found.pairs or found.preferences or found.failures):
        raise UnreadableError("it contains no text")
    return found


def _members(package: Package) -> dict[str, dict[str, str]]:
    try:
        return members_of(package.read("users.json")) if "users.json" in package else {}
    except UnreadableError:
        return {}  # it is named when its turn comes


def _item(data: bytes, source: str) -> RawItem:
    kind = guess_kind(source, unpacked(data), alone=False)
    if kind == "archive":
        raise UnreadableError("an archive inside an archive is not opened")
    return RawItem(name=source, source=source, kind=kind, sha256=hashlib.sha256(data).hexdigest(), data=data)
