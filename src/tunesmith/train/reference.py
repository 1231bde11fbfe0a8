"""Numbers of the base for every unit (see `train.method.Referenced`): computed once, the adapter off, and kept with the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import torch

from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.records import canonical_json, digest
from tunesmith.core.reporter import Reporter
from tunesmith.models.adapters import without_adapter
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import Method, Referenced, identity
from tunesmith.train.units import Unit

__all__ = ["with_reference"]


def with_reference(
    objective: Method, path: ExecutionPath, units: Sequence[Unit], *, base: str, folder: Path, reporter: Reporter
) -> list[Unit]:
    """The units with their reference, where the method asks for one; the same units where it does not.

    `folder` keeps the numbers under a name that is the hash of all they depend on; a damaged file is computed again.
    """
    if not isinstance(objective, Referenced):
        return list(units)
    rows = [[(row.ids, row.learned) for row in (*unit.rows, *unit.only_scored)] for unit in units]
    name = digest(base, path.note, canonical_json(identity(objective)), canonical_json(rows))[:24]
    file = folder / f"{name}.json"
    found = path.processes.told(lambda: _read(file, num_units=len(units)))
    if found is None:
        with reporter.progress("reference", total=len(units), unit="examples") as progress, _adapter_off(path.model):
            found = objective.reference(path, units, lambda count: progress.advance(count, "log-probabilities of the base"))
        if path.processes.rank:
            return _with(units, found)
        body = canonical_json(found)
        with storage_errors("keeping what the base makes of the examples", file):
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(file, orjson.dumps({"sha256": digest(body), "reference": found}))
    return _with(units, found)


def _with(units: Sequence[Unit], found: Sequence[tuple[float, ...]]) -> list[Unit]:
    return [replace(unit, reference=tuple(numbers)) for unit, numbers in zip(units, found, strict=True)]


def _read(file: Path, *, num_units: int) -> list[tuple[float, ...]] | None:
    """What an earlier run of the same work wrote; None if there is nothing, or not what was written."""
    if not file.is_file():
        return None
    with suppress(ValueError, TypeError, KeyError):
        kept = orjson.loads(file.read_bytes())
        if kept["sha256"] == digest(canonical_json(kept["reference"])) and len(kept["reference"]) == num_units:
            return [tuple(numbers) for numbers in kept["reference"]]
    return None


@contextmanager
def _adapter_off(model: Any) -> Iterator[None]:
    """Inside, the model computes as the base does; compiled layers run uncompiled, since they are compiled for the adapter.
    A model without an adapter is the base before its first step, which is when this is asked."""
    with without_adapter(model), torch.compiler.set_stance("force_eager"):
        yield
