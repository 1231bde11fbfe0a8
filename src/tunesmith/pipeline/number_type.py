"""The number type in which a project trains, measured once and saved with it, so that a command repeats the same run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

import orjson

from tunesmith.core.files import make_folders, replace_file, storage_errors
from tunesmith.core.records import canonical_json, digest, to_json
from tunesmith.models.load import PrecisionName, stored_types
from tunesmith.models.precision import Precision, choose_precision
from tunesmith.train.machine import machine_facts

__all__ = ["fixed_precision", "kept_precision", "stored_precision"]


def kept_precision(file: Path, *, width: int, inner: int, rank: int) -> Precision:
    """The number type that a project trains such a layer in: the faster one when it was first asked for, kept in `file`.

    Two measurements may fall on either side of the line, and another type would be another run: one that was made or
    interrupted would not be found again. So the type stays with the project; how fast it is here is measured anew on another
    machine or with other libraries. A file that cannot be read is made anew.
    """
    layer = {"width": width, "inner": inner, "rank": rank}
    kind, here = canonical_json(layer).decode(), digest(canonical_json({**machine_facts(), **layer}))
    types, measured = _read(file)
    settled = types.get(kind)
    if settled is not None and here in measured:
        return measured[here]
    found = choose_precision(settled, **layer, because="as this project began")
    types[kind], measured[here] = found.name, found
    with storage_errors("keeping what was measured of this machine", file):
        make_folders(file.parent)
        replace_file(file, to_json({"types": types, "measured": measured}))
    return found


def _read(file: Path) -> tuple[dict[str, PrecisionName], dict[str, Precision]]:
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        known = orjson.loads(file.read_bytes())
        measured = {str(key): Precision(**value) for key, value in known["measured"].items()}
        types: dict[str, PrecisionName] = {
            str(key): value for key, value in known["types"].items() if value in get_args(PrecisionName)
        }
        return types, measured
    return {}, {}


def stored_precision(weights: Sequence[Path]) -> PrecisionName:
    """The number type of most of a base's weights, as a run can have it: float32 where they are stored in float16."""
    [(kind, _)] = stored_types(weights).most_common(1) or [("float32", 0)]
    return "bfloat16" if kind == "bfloat16" else "float32"


def fixed_precision(wanted: str) -> PrecisionName | None:
    """The number type that a recipe names, or None where it is to be measured."""
    names: dict[str, PrecisionName] = {"float32": "float32", "exact": "float32", "bfloat16": "bfloat16"}
    return names.get(wanted)
