"""Checkpoints: all that a run needs to go on as if nothing had happened, committed whole or not at all.

A checkpoint holds the trainable tensors, the best ones so far, the optimiser's moments, the counters, and how long the metric
log was. There is no random state in it: data order and dropout are pure functions of (seed, step). Nothing is pickled.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import load_file, save_file

from tunesmith.core.errors import TrainingError
from tunesmith.core.files import collect_temporary, commit, new_temporary, storage_errors, sync_path, verify

__all__ = ["Checkpoints", "MetricLog", "State", "lock", "optimizer_tensors", "restore_optimizer"]

_KEEP = 2


@dataclass(slots=True)
class State:
    """Where a run stands. `step` optimiser steps are done; `seen_step` is the last step whose validation is in the counters."""

    step: int = 0
    seen_step: int = -1
    best_step: int = -1
    best_loss: float = float("inf")
    looks_without_gain: int = 0
    log_bytes: int = 0


Tensors = dict[str, torch.Tensor]


class Checkpoints:
    """The checkpoints of one run, in one folder. The newest that verifies is the truth."""

    def __init__(self, workspace: Path, run_id: str) -> None:
        self._folder = workspace / "checkpoints"
        self.log_path = workspace / "metrics.jsonl"
        self._run_id = run_id

    def save(
        self,
        state: State,
        *,
        trained: Mapping[str, torch.Tensor],
        best: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, torch.Tensor],
    ) -> None:
        """Commit a checkpoint for `state.step`; older ones go only after it verifies, and at least two stay."""
        final = self._folder / f"step-{state.step:08d}"
        with storage_errors("writing a checkpoint", final):
            temporary = new_temporary(final)
            try:
                for name, tensors in (("trained", trained), ("best", best), ("optimizer", optimizer)):
                    save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, temporary / f"{name}.safetensors")
                (temporary / "state.json").write_bytes(orjson.dumps(asdict(state)))
                commit(temporary, final, {"kind": "checkpoint", "run": self._run_id})
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        if verify(final) is None:
            raise TrainingError(
                "the checkpoint just written does not read back",
                value=str(final),
                expected="a healthy disk",
                hint="check the disk; the checkpoint before it is intact",
            )
        for old in self._all()[:-_KEEP]:
            shutil.rmtree(old)

    def newest(self) -> tuple[State, Tensors, Tensors, Tensors] | None:
        """State, trained, best and optimiser tensors of the newest checkpoint whose files verify, or None."""
        collect_temporary(self._folder)
        for path in reversed(self._all()):
            manifest = verify(path)
            if manifest is None or manifest.get("run") != self._run_id:
                continue
            state = State(**orjson.loads((path / "state.json").read_bytes()))
            if state.best_loss is None:  # JSON has no infinity
                state.best_loss = float("inf")
            trained, best, optimizer = (load_file(path / f"{name}.safetensors") for name in ("trained", "best", "optimizer"))
            return state, trained, best, optimizer
        return None

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob("step-*")) if self._folder.is_dir() else []


class MetricLog:
    """`metrics.jsonl`, appended row by row and cut back on resume to where the checkpoint left it."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if keep_bytes > (path.stat().st_size if path.exists() else 0):
            raise TrainingError(
                "the metric log is shorter than the checkpoint says",
                value=str(path),
                expected=f"at least {keep_bytes} bytes",
                hint="delete the run's work folder to begin anew",
            )
        if path.exists():
            self._file = path.open("r+b")
        else:
            self._file = path.open("w+b")
            sync_path(path.parent)  # or a power cut could take the name of the log with it
        self._file.truncate(keep_bytes)
        self._file.seek(keep_bytes)
        self.path = path

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self._file.write(orjson.dumps(row) + b"\n")

    def sync(self) -> int:
        """Make what was written durable; returns the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[torch.Tensor, str]) -> Tensors:
    """The optimiser's state as named tensors: `<parameter>/<entry>`."""
    return {
        f"{names[parameter]}/{entry}": torch.as_tensor(value)
        for parameter, entries in optimizer.state.items()
        for entry, value in entries.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[torch.Tensor, str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` took. TrainingError for state of a parameter that is not trained here."""
    by_name = {name: parameter for parameter, name in names.items()}
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        if name not in by_name:
            raise TrainingError(
                "a checkpoint does not fit this run",
                value=name,
                expected=f"one of {len(by_name)} trainable tensors",
                hint="delete the run's work folder to begin anew",
            )
        parameter = by_name[name]
        optimizer.state[parameter][entry] = value if entry == "step" else value.to(parameter.device)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run's work folder for this process. TrainingError if another process trains the same run."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                "another process is training this very run",
                value=str(folder),
                expected="one process a run",
                hint="wait for it, or change the recipe so that it is another run",
            ) from error
        yield
