"""Training that continues from an adapter, which must be of this base and have the shape that the recipe sets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.files import verify
from tunesmith.models.adapters import CONFIG, WEIGHTS, AdapterKind, Patterns, fill_adapter
from tunesmith.models.foreign_adapters import checked_adapter
from tunesmith.models.load import BaseFolder, safetensors_shapes
from tunesmith.models.patterns import by_pattern

__all__ = ["check_start", "continue_from", "origin_of_start"]

_MATRIX = re.compile(r"base_model\.model\.(.+)\.lora_[AB]\.weight")


def continue_from(adapted: Any, folder: Path) -> None:
    """Let a fresh adapter that `check_start` compared begin at the numbers of the one in `folder`."""
    with checked_adapter(folder) as usable:
        fill_adapter(adapted, usable / WEIGHTS)


def check_start(
    folder: Path,
    base: BaseFolder,
    *,
    kind: AdapterKind,
    rank: int,
    alpha: float,
    modules: Sequence[str],
    patterns: Patterns,
) -> None:
    """ModelError if the adapter in `folder` was trained on another base, or is not what these settings make."""
    with checked_adapter(folder) as usable:
        config = json.loads((usable / CONFIG).read_bytes())
        shapes = {name: shape for name, (_, shape) in safetensors_shapes(usable / WEIGHTS).items()}
    _check_base(folder, base)
    found = "dora" if config.get("use_dora") else "rslora" if config.get("use_rslora") else "lora"
    if found != kind:
        raise _other("kind", found, kind, f"--set method.kind={found}")
    there = {match[1] for name in shapes if (match := _MATRIX.fullmatch(name))}
    if odd := sorted(there ^ set(modules)):
        told = f"{odd[0]}, which only the {'adapter' if odd[0] in there else 'recipe'} has"
        leaves = sorted({name.rsplit(".", 1)[-1] for name in there})
        raise _other(
            "set of layers", told, f"the same layers, {len(modules)} by method.targets and method.layers", _set(leaves)
        )
    for name, wanted, usual, own, pattern in (
        ("rank", rank, int(config["r"]), patterns.ranks, "rank_pattern"),
        ("alpha", alpha, float(config["lora_alpha"]), patterns.alphas, "alpha_pattern"),
    ):
        mine = by_pattern(modules, wanted, own, setting=f"method.{pattern}")
        its = _numbers(modules, usual, config.get(pattern) or {})
        if odd := [module for module in modules if mine[module] != its[module]]:
            hint = (
                f"--set method.{name}={usual:g}" if usual != wanted else f"set method.{pattern} to {config.get(pattern) or {}}"
            )
            raise _other(name, f"{its[odd[0]]:g} for {odd[0]}", f"{mine[odd[0]]:g}, as method.{name} says", hint)


def origin_of_start(folder: Path) -> str:
    """Where the adapter in `folder` comes from, for people."""
    if (run := _run_of(folder)) is not None:
        return f"run {run['id'][:8]}"
    named = json.loads((folder / CONFIG).read_bytes()).get("base_model_name_or_path") if (folder / CONFIG).is_file() else ""
    return f"an adapter that names {named} as its base" if named else "an adapter that names no base"


def _numbers(modules: Sequence[str], usual: float, patterns: Mapping[str, float]) -> dict[str, float]:
    """As peft reads them: the first pattern that matches decides."""
    from peft.utils.other import get_pattern_key

    return {name: patterns.get(get_pattern_key(list(patterns), name), usual) for name in modules}


def _check_base(folder: Path, base: BaseFolder) -> None:
    """A run keeps its base's fingerprint. An adapter from elsewhere keeps a name at most, which may be any name of one base."""
    run = _run_of(folder)
    known = [one["id"] for one in run["inputs"] if one["kind"] == "base"] if run else []
    if known and known[0] != base.fingerprint:
        raise ModelError(
            "the adapter to continue from was trained on another base",
            value=f"{run['settings'].get('base') if run else ''}, fingerprint {known[0][:12]}",
            expected=f"{base.name}, fingerprint {base.fingerprint[:12]}",
            hint="set base to the one of that run, or name another adapter in method.from",
        )


def _run_of(folder: Path) -> dict[str, Any] | None:
    manifest = verify(folder.parent)
    return manifest if manifest is not None and manifest.get("kind") == "run" else None


def _set(leaves: Sequence[str]) -> str:
    return f"--set 'method.targets=[{','.join(leaves)}]', or method.layers as it was"


def _other(what: str, value: object, expected: object, hint: str) -> ModelError:
    return ModelError(
        f"the adapter to continue from has another {what} than the recipe", value=value, expected=str(expected), hint=hint
    )
