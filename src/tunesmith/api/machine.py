"""What was measured of this machine and is kept with a project, so that the same command means the same run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.files import make_folders, replace_file, storage_errors
from tunesmith.core.records import canonical_json, digest
from tunesmith.models.precision import Precision, choose_precision
from tunesmith.train.machine import machine_facts

__all__ = ["kept_precision"]


def kept_precision(file: Path, *, width: int, inner: int, rank: int) -> Precision:
    """The number type that this machine trains such a layer faster in, measured once and kept in `file`.

    Two measurements may fall on either side of the line, and another type would be another run: one that was interrupted
    would not be found again. Another machine, library or layer is measured anew; a file that cannot be read is made anew.
    """
    key = digest(canonical_json({**machine_facts(), "width": width, "inner": inner, "rank": rank}))
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError):
        known = dict(orjson.loads(file.read_bytes()))
    with suppress(KeyError, TypeError):
        return Precision(**known[key])
    measured = choose_precision(None, width=width, inner=inner, rank=rank)
    with storage_errors("keeping what was measured of this machine", file):
        make_folders(file.parent)
        replace_file(file, orjson.dumps(known | {key: asdict(measured)}))
    return measured
