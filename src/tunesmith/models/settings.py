"""config.json and generation_config.json of a model folder: what a merged copy takes over, and what other readers make of it.

A merged folder keeps the base's own config.json to the byte. A configuration that a library read and wrote again may lose
keys that other readers need: transformers 5 writes `rope_parameters` alone, and transformers 4 then reads another `rope_theta`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, StoredType, safetensors_shapes

__all__ = [
    "config_text",
    "declared_ends",
    "folder_differences",
    "generation_settings",
]

_TYPE_KEYS = ("dtype", "torch_dtype")
_TYPE_VALUE = re.compile(r'("(?:torch_)?dtype"\s*:\s*)"\w+"')
_MISSING = "nothing"


def config_text(base: BaseFolder, precision: StoredType | None, changed: Mapping[str, Any] | None = None) -> str:
    """The base's own config.json, byte for byte; with `precision`, the types it declares become that one.

    No key is added or lost: a configuration that declares no type still declares none. `changed`: keys that must have another
    value; each is replaced where it is, or added at the end.
    """
    text = (base.path / "config.json").read_text(encoding="utf-8")
    text = text if precision is None else _TYPE_VALUE.sub(rf'\g<1>"{precision}"', text)
    for key, value in (changed or {}).items():
        text = _with_value(text, key, json.dumps(value))
    return text


def _with_value(text: str, key: str, value: str) -> str:
    """`text` with one key of the outermost object set. ModelError if it appears in an inner object as well."""
    found = list(re.finditer(rf'("{key}"\s*:\s*)(?:[\w.+-]+)', text))
    if len(found) > 1:
        raise ModelError(
            f"config.json has {key} in several places",
            value=f"{len(found)} places",
            expected="one, of a language model alone",
            hint="merge this adapter with the tool that trained it",
        )
    if found:
        return text[: found[0].start()] + found[0][1] + value + text[found[0].end() :]
    head, _, rest = text.rpartition("}")
    return f'{head.rstrip()},\n  "{key}": {value}\n}}{rest}'


def generation_settings(base: BaseFolder, end_ids: Sequence[int], settings: Mapping[str, Any]) -> str:
    """generation_config.json of a merged model: the base's own, `settings` over it, and every token of `end_ids` as an end.

    A base without the file gives what transformers would take from its config.json. Byte for byte where nothing changes.
    """
    own = base.path / "generation_config.json"
    if own.is_file():
        text = own.read_text(encoding="utf-8")
        before = dict(json.loads(text))
    else:
        text = ""
        before = {key: base.config[key] for key in ("bos_token_id", "pad_token_id") if base.config.get(key) is not None}
    after = {**before, **settings}
    if set(end_ids) - declared_ends(after):
        after["eos_token_id"] = end_ids[0] if len(end_ids) == 1 else list(end_ids)
    return text if text and after == before else json.dumps(after, indent=2) + "\n"


def declared_ends(settings: Mapping[str, Any]) -> set[int]:
    """The end tokens that a generation_config.json or config.json names."""
    declared = settings.get("eos_token_id")
    return {int(token) for token in (declared if isinstance(declared, list) else [declared]) if token is not None}


def folder_differences(base: BaseFolder, merged: BaseFolder, end_ids: Sequence[int]) -> tuple[str, ...]:
    """What another reader would find otherwise in `merged` than in `base`, a sentence each; empty if it finds the same model.

    Compared are config.json but for its types, names and shapes of the tensors, the tokenizer's files, and whether every token
    of `end_ids` is declared as an end.
    """
    return (
        *_differing("config.json", base.config, merged.config),
        *_differing("weights", _shapes(base), _shapes(merged)),
        *(f"{file.name} is not the base's" for file in base.other_files() if not _same_bytes(file, merged.path / file.name)),
        *_undeclared(merged, end_ids),
    )


def _shapes(folder: BaseFolder) -> dict[str, list[int]]:
    return {name: list(shape) for file in folder.weights for name, (_, shape) in safetensors_shapes(file).items()}


def _same_bytes(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _differing(where: str, base: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[str]:
    for key in [*base, *(key for key in merged if key not in base)]:
        a, b = base.get(key, _MISSING), merged.get(key, _MISSING)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differing(f"{where}: {key}", a, b)
        elif a != b and not (key in _TYPE_KEYS and _MISSING not in (a, b)):
            yield f"{where}: {key} is {b}, in the base {a}"


def _undeclared(merged: BaseFolder, end_ids: Sequence[int]) -> Iterator[str]:
    file = merged.path / "generation_config.json"
    try:
        declared = declared_ends(json.loads(file.read_bytes())) if file.is_file() else set()
    except (ValueError, AttributeError) as error:
        raise ModelError(
            "the merged model's generation_config.json cannot be read",
            value=str(file),
            expected=f"a JSON object ({error})",
            hint="delete the merged model and run again",
        ) from error
    if missing := sorted(set(end_ids) - declared):
        yield f"generation_config.json does not declare the end token {', '.join(map(str, missing))}"
