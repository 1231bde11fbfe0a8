"""The optimiser's state as named tensors, for checkpoints, and back again to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tunesmith.core.errors import TrainingError
from tunesmith.train.optimizer import Optimizer

__all__ = ["optimizer_tensors", "restore_optimizer"]

_GROUP = "/group/"  # before the numbers of a group of tensors; no tensor's name begins with a slash
_AGAIN = "delete the run's work folder to start again"


def optimizer_tensors(optimizer: Optimizer, names: Mapping[torch.Tensor, str]) -> dict[str, torch.Tensor]:
    """`<parameter>/<entry>` for each tensor or number of the state, and `/group/<part>/<group>/<entry>` for each number of a
    group that is not what it was at the start."""
    found = {
        f"{names[parameter]}/{entry}": torch.as_tensor(value)
        for part in optimizer.parts
        for parameter, entries in part.state.items()
        for entry, value in entries.items()
        if value is not None and entry not in optimizer.derived
    }
    for place, group, defaults in _groups(optimizer):
        for entry, start in defaults.items():
            value = group[entry]
            if entry != "lr" and isinstance(value, (int, float)) and value != start:
                kind = {bool: torch.bool, int: torch.int64}.get(type(value), torch.float64)
                found[f"{place}/{entry}"] = torch.tensor(value, dtype=kind)
    return found


def restore_optimizer(optimizer: Optimizer, names: Mapping[torch.Tensor, str], tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` took. TrainingError if some are missing, or belong to a
    tensor that is not trained here."""
    groups = {place: group for place, group, _ in _groups(optimizer)}
    part_of = {p: part for part in optimizer.parts for group in part.param_groups for p in group["params"]}
    by_name = {names[parameter]: parameter for parameter in part_of}
    if optimizer.begin is not None and tensors:
        for part in optimizer.parts:
            optimizer.begin(part)
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        if name.startswith(_GROUP) and name in groups:
            groups[name][entry] = value.item()
            continue
        if name not in by_name:
            raise _unfit(name, f"one of {len(by_name)} trainable tensors")
        parameter = by_name[name]
        state = part_of[parameter].state[parameter]
        state[entry] = _fitting(key, value, state.get(entry), parameter)
    if missing := sorted(set(by_name) - {key.rpartition("/")[0] for key in tensors}) if tensors else []:
        raise TrainingError(
            "a checkpoint lacks the optimiser's state of a tensor",
            value=missing[0],
            expected=f"state of all {len(by_name)} trainable tensors",
            hint=_AGAIN,
        )


def _groups(optimizer: Optimizer) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every group with its name and the values that it began with."""
    for i, part in enumerate(optimizer.parts):
        for j, group in enumerate(part.param_groups):
            yield f"{_GROUP}{i}/{j}", group, part.defaults


def _fitting(key: str, value: torch.Tensor, begun: Any, parameter: torch.Tensor) -> Any:
    """The saved `value` as the optimiser keeps it; `begun` is the empty state, if there is one. TrainingError if it has
    another shape."""
    if isinstance(begun, (int, float)):
        return value.item()
    like = begun if isinstance(begun, torch.Tensor) else parameter
    if value.dim() and value.shape != like.shape:
        raise _unfit(f"{key} {tuple(value.shape)}", f"the shape of its tensor, {tuple(like.shape)}")
    if isinstance(begun, torch.Tensor):
        return begun.copy_(value)  # in its own memory, which may be pages
    return value if key.endswith("/step") else value.to(parameter.device)


def _unfit(value: str, expected: str) -> TrainingError:
    return TrainingError("a checkpoint does not fit this run", value=value, expected=expected, hint=_AGAIN)
