"""Validate what would leave: a file that others cannot open, or that names a path of this machine, is refused here.

Each part is validated wherever it is in the folder, so that a release of several parts is as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from tunesmith.core.errors import DatasetError, ModelError
from tunesmith.models.bases import BASES
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.models.load import safetensors_shapes
from tunesmith.ship.hub.address import is_hub_id
from tunesmith.ship.hub.card import validate_card
from tunesmith.ship.hub.records import Kind
from tunesmith.ship.hub.rows import rows_of

__all__ = ["base_of_adapter", "validate", "validate_base"]

_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapters.safetensors")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


def validate(files: Mapping[str, Path], kind: Kind) -> None:
    """Every part of a push. ModelError or DatasetError for the first that is wrong; `files`: path in the repository → file."""
    for name, path in files.items():
        base = PurePosixPath(name).name
        if base.endswith(".safetensors"):
            safetensors_shapes(path)
        elif base.lower().endswith(".gguf"):
            read_gguf_header(path)
        elif base.endswith(".safetensors.index.json"):
            _index(name, path, files)
        elif base == "config.json":
            _no_own_code(name, path)
        elif base == "README.md":
            validate_card(name, path, data=kind is Kind.DATASET)
        elif base == "adapter_config.json":
            _adapter(name, files)
    if kind is Kind.MODEL:
        _whole_model(files)
    if kind is Kind.DATASET:
        _rows(files)


def base_of_adapter(config: Mapping[str, Any]) -> str:
    """The base that an adapter's configuration names, as peft or MLX write it; empty if it names none."""
    return str(config.get("base_model_name_or_path") or config.get("model") or "")


def validate_base(base: str, *, trained_on: str = "") -> None:
    """ModelError unless the base of an adapter is a name that others can open. `trained_on`: the base in the run's recipe."""
    if is_hub_id(base) and not Path(base).exists():
        return
    known = BASES.get(trained_on) or BASES.get(base)
    raise ModelError(
        "the adapter names a base that others cannot open",
        value=base or "no base at all",
        expected="OWNER/NAME on the hub, in base_model_name_or_path of adapter_config.json",
        hint=f"--base {known.hub if known else 'OWNER/NAME'}   writes it into the copy that is sent; or push the merged model",
    )


def _adapter(name: str, files: Mapping[str, Path]) -> None:
    folder = PurePosixPath(name).parent
    if not any((folder / weights).as_posix() in files for weights in _ADAPTER_WEIGHTS):
        raise ModelError(
            "the adapter has no weights",
            value=name,
            expected=f"{_ADAPTER_WEIGHTS[0]} next to it (pickled weights are never sent)",
            hint="tunesmith train   makes an adapter",
        )
    _json_object(name, files[name])


def _json_object(name: str, path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ModelError(
            "a configuration cannot be read", value=name, expected=f"JSON ({error})", hint="write the file again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError("a configuration cannot be read", value=name, expected="a JSON object", hint="write the file again")
    return value


def _no_own_code(name: str, path: Path) -> None:
    config = _json_object(name, path)
    if "auto_map" in config:
        raise ModelError(
            "the model wants to run its own code where it is opened",
            value=f"{name}: auto_map",
            expected="an architecture that transformers knows",
            hint="publish a model without auto_map",
        )


def _index(name: str, path: Path, files: Mapping[str, Path]) -> None:
    weight_map = _json_object(name, path).get("weight_map")
    shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    folder = PurePosixPath(name).parent
    missing = sorted(str(shard) for shard in shards if (folder / str(shard)).as_posix() not in files)
    if missing or not shards:
        raise ModelError(
            "weights that the index names are missing",
            value=f"{name}: {', '.join(missing[:3]) or 'no weight_map'}",
            expected=f"{len(shards)} files of weights in the folder",
            hint="copy the missing files, or merge again",
        )


def _whole_model(files: Mapping[str, Path]) -> None:
    if not any(name in files for name in _TOKENIZERS):
        raise ModelError(
            "the model has no tokenizer",
            value=", ".join(list(files)[:5]),
            expected="tokenizer.json or tokenizer.model in the folder",
            hint="copy the tokenizer files into the folder",
        )
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(
            "the model has no weights",
            value=", ".join(list(files)[:5]),
            expected="one or more *.safetensors files (pickled weights are never sent)",
            hint="convert the weights to safetensors first",
        )


def _rows(files: Mapping[str, Path]) -> None:
    num_rows = 0
    for name, path in files.items():
        for place, problem in _row_problems(name, path):
            num_rows += 1
            if problem:
                raise DatasetError(
                    "a row cannot be read",
                    value=f"{name}, {place}",
                    expected=f"one object in each row ({problem})",
                    hint="tunesmith check FILE   lists every row that is wrong",
                )
    if not num_rows:
        raise DatasetError(
            "the dataset has no rows",
            value=", ".join(files),
            expected="a file with rows",
            hint="tunesmith build --source ./posts",
        )


def _row_problems(name: str, path: Path) -> Iterator[tuple[str, str]]:
    rows: Sequence[Any] | Iterator[Any] = rows_of(name, path) or ()
    for place, _, problem in rows:
        yield place, problem
