"""Checkpoints: all that a run needs to go on as if nothing had happened, committed whole or not at all.

A checkpoint holds the trainable tensors, the best ones so far by loss and by accuracy, the optimiser's moments with their
types and counters, every random state, the counters of early stopping, and how long the metric log was, with its SHA-256.
Nothing is pickled. Data order and dropout are pure functions of (seed, step) and need no state.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, load_file

from tunesmith.core.disk import DISK, Disk
from tunesmith.core.errors import TrainingError
from tunesmith.core.files import (
    collect_temporary,
    commit,
    damage,
    make_folders,
    new_temporary,
    remove_tree,
    replace_file,
    storage_errors,
    verify,
)
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.train.machine import differences, machine_facts
from tunesmith.train.processes import ALONE, Processes
from tunesmith.train.randomness import random_state, restore_random_state
from tunesmith.train.shards import read_shards, write_shards
from tunesmith.train.tensor_pieces import pieces

__all__ = ["Checkpoints", "MetricLog", "SaveRule", "State", "Tensors", "lock"]

_LEAST_KEPT = 2
_SETS = ("trained", "best", "optimizer")
_SHARDS = "shards"
_ONE = {"processes": "1"}  # of a checkpoint that does not say
_ANEW = "delete the run's work folder to start again"


@dataclass(slots=True)
class State:
    """Where a run stands. `step` optimiser steps are done; `seen_step` is the last step whose validation is in the counters."""

    step: int = 0
    seen_step: int = -1
    best_step: int = -1
    best_loss: float = float("inf")  # of the best step, whatever it was chosen by
    best_error: float = float("inf")  # what the best step was chosen by: loss, or 1 − accuracy
    other_step: int = -1  # the best step by the measure that does not choose, kept beside
    other_error: float = float("inf")
    looks_without_gain: int = 0
    log_bytes: int = 0
    shrunk: int = 0  # times that batches were cut smaller for want of memory


Tensors = dict[str, torch.Tensor]


class SaveRule:
    """When a checkpoint is due: every so many steps, or so many minutes after the last one. Which steps are saved never
    changes what is learned, so a rule of the clock does not touch the promise of equal bytes.
    """

    def __init__(self, *, steps: int, minutes: float, begun_at: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._seconds, self._clock = steps, minutes * 60, clock
        self._step, self._time = begun_at, clock()

    def due(self, step: int) -> bool:
        """Whether to save at this step boundary; the clock starts again when it is."""
        late = self._seconds > 0 and self._clock() - self._time >= self._seconds
        if step <= self._step or not (late or step % self._steps == 0):
            return False
        self._step, self._time = step, self._clock()
        return True


class Checkpoints:
    """The checkpoints of one run, in one folder. The newest that verifies is the truth; `latest` is a hint for people.

    `made_for` names what the run is made of (base, data, settings): a checkpoint of something else is refused by name.
    `conditions` are further facts beside those of the machine that change the last digits: others are told on resume.
    """

    def __init__(
        self,
        workspace: Path,
        run_id: str,
        *,
        made_for: Mapping[str, str] | None = None,
        conditions: Mapping[str, str] | None = None,
        keep: int = _LEAST_KEPT,
        reporter: Reporter | None = None,
        disk: Disk = DISK,
    ) -> None:
        self._folder = workspace / "checkpoints"
        self.log_path = workspace / "metrics.jsonl"
        self.disk = disk
        self._run_id, self._made_for = run_id, dict(made_for or {})
        self._conditions = dict(conditions or {})
        self._keep = max(_LEAST_KEPT, keep)
        self._reporter = reporter or SilentReporter()

    def save(
        self,
        state: State,
        *,
        trained: Mapping[str, torch.Tensor],
        best: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, torch.Tensor],
        processes: Processes = ALONE,
    ) -> None:
        """Commit a checkpoint for `state.step`; older ones go only after it verifies, and at least two stay.

        Each of several processes writes its parts of the tensors; process 0 commits them with the rest.

        The metric log must be synced up to `state.log_bytes` before. StorageError if the disk does not take it.
        """
        final = self._folder / _name(state.step)
        sets = dict(zip(_SETS, (trained, best, optimizer), strict=True))
        if processes.count == 1:
            self._commit(state, final, lambda: new_temporary(final, disk=self.disk), sets)
            return
        flat = {f"{kind}/{name}": tensor for kind, tensors in sets.items() for name, tensor in tensors.items()}
        with storage_errors(f"writing the checkpoint of step {state.step}", final, safe="the one before it is intact"):
            temporary = processes.told(lambda: new_temporary(final, disk=self.disk))
            write_shards(temporary / _SHARDS, flat)
        if processes.rank == 0:
            self._commit(state, final, lambda: temporary, {})

    def _commit(
        self, state: State, final: Path, begin: Callable[[], Path], sets: Mapping[str, Mapping[str, torch.Tensor]]
    ) -> None:
        """Write what is missing into the temporary folder that `begin` gives, and commit it."""
        before = self._all()
        safe = f"the checkpoint before it is intact ({before[-1].name})" if before else "no earlier checkpoint exists"
        sets = {**sets, "random": random_state()}
        kept = orjson.dumps({**asdict(state), "log_sha256": self._log_hash(state.log_bytes)})
        with storage_errors(f"writing the checkpoint of step {state.step}", final, safe=safe):
            temporary = begin()
            try:
                for name, tensors in sets.items():
                    self._write(temporary / f"{name}.safetensors", tensors)
                self.disk.write(temporary / "state.json", kept)
                if final.is_dir() and (final / "state.json").read_bytes() != kept:
                    remove_tree(final, disk=self.disk)  # of before this run went back to an older one
                commit(temporary, final, self._manifest(state), disk=self.disk)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            if wrong := damage(final):
                raise TrainingError(
                    f"the checkpoint just written does not read back: {wrong}",
                    value=str(final),
                    expected=f"a healthy disk; {safe}",
                    hint="check the disk, then type the same command again",
                )
            replace_file(self._folder / "latest", f"{final.name}\n".encode(), disk=self.disk)
            ahead = [path for path in self._all() if path.name > final.name]  # passed over when this run went back
            behind = [path for path in self._all() if path not in ahead][: -self._keep]
            for useless in (*ahead, *behind):
                remove_tree(useless, disk=self.disk)

    def _write(self, path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        """A file of tensors, piece by piece, so that it is never in memory as a whole."""
        for number, piece in enumerate(pieces(tensors)):
            (self.disk.append if number else self.disk.write)(path, piece)

    def _manifest(self, state: State) -> dict[str, Any]:
        return {
            "kind": "checkpoint",
            "run": self._run_id,
            "step": state.step,
            "made_for": self._made_for,
            "conditions": {**machine_facts(), **self._conditions},
        }

    def newest(
        self, processes: Processes = ALONE, like: Mapping[str, torch.Tensor] | None = None
    ) -> tuple[State, Tensors, Tensors, Tensors] | None:
        """State, trained, best and optimiser tensors of the newest checkpoint that is whole, or None if there is none.

        Damaged ones are told to the reporter and passed over. Random states are put back. TrainingError if none is whole,
        or if they belong to another run. The caller, or process 0 of several, holds the `lock` of the workspace.
        Of several processes each gets its parts, divided as the tensors `like` are, whatever number wrote the checkpoint.
        """
        path = processes.told(self._usable)
        return None if path is None else self._read(path, processes, like or {})

    def _usable(self) -> Path | None:
        collect_temporary(self._folder, alone=True)
        found = self._all()
        wrong = ""
        for path in reversed(found):
            manifest = verify(path)
            wrong = damage(path) if manifest is None else self._log_damage(path)
            if manifest is None or wrong:
                self._reporter.warn(f"{path.name} is damaged ({wrong}): going back to the checkpoint before it")
                continue
            self._refuse_others(path, manifest)
            then, now = ({**_ONE, **facts} for facts in (manifest.get("conditions", {}), machine_facts() | self._conditions))
            if changed := differences(then, now):
                self._reporter.warn(
                    f"the run resumes under other conditions ({'; '.join(changed)}): it will end well, but Tunesmith cannot "
                    "promise the same bytes as without the interruption"
                )
            self._reporter.note(f"resuming from the checkpoint of step {manifest.get('step')}")
            return path
        if found:
            raise TrainingError(
                f"no checkpoint of this run can be used: {wrong}",
                value=f"{len(found)} in {self._folder}",
                expected="one at least that is as it was written, with its metric log",
                hint=f"check the disk; {_ANEW}",
            )
        return None

    def _read(
        self, path: Path, processes: Processes, like: Mapping[str, torch.Tensor]
    ) -> tuple[State, Tensors, Tensors, Tensors]:
        try:
            entries = orjson.loads((path / "state.json").read_bytes())
            rng = load((path / "random.safetensors").read_bytes())
            trained, best, optimizer = self._read_sets(path, processes, like)
            for name in ("best_loss", "best_error", "other_error"):  # JSON has no infinity
                entries[name] = float("inf") if entries[name] is None else entries[name]
            state = State(**{field.name: entries[field.name] for field in fields(State)})
        except (KeyError, TypeError, OSError, ValueError, SafetensorError) as error:
            raise TrainingError(
                "a checkpoint lacks a part of its state",
                value=f"{path.name}: {error}",
                expected="a checkpoint of this version of Tunesmith",
                hint=_ANEW,
            ) from error
        restore_random_state(rng)
        return state, trained, best, optimizer

    def _read_sets(self, path: Path, processes: Processes, like: Mapping[str, torch.Tensor]) -> list[Tensors]:
        if not (path / _SHARDS).is_dir():
            return [processes.parted(load_file(path / f"{kind}.safetensors"), like) for kind in _SETS]
        found = read_shards(path / _SHARDS, like, processes)
        return [{n.removeprefix(f"{kind}/"): t for n, t in found.items() if n.startswith(f"{kind}/")} for kind in _SETS]

    def _refuse_others(self, path: Path, manifest: Mapping[str, Any]) -> None:
        before = manifest.get("made_for", {})
        other = [name for name in sorted({*before, *self._made_for}) if before.get(name) != self._made_for.get(name)]
        if manifest.get("run") != self._run_id or other:
            what = f"another {' and another '.join(other)}" if other else "another run"
            raise TrainingError(
                f"the checkpoints here were made with {what}",
                value=str(path),
                expected=f"checkpoints of the run {self._run_id[:16]}",
                hint="use another folder (--project DIR), or delete this run's work folder to start again",
            )

    def _log_hash(self, size: int) -> str:
        data = self.log_path.read_bytes()[:size] if size else b""
        return hashlib.sha256(data).hexdigest() if len(data) == size else ""

    def _log_damage(self, path: Path) -> str:
        """What is wrong with the metric log up to where this checkpoint left it, in words; empty if nothing."""
        entries = orjson.loads((path / "state.json").read_bytes())
        size = int(entries["log_bytes"])
        if size and not self.log_path.exists():
            return "the metric log is gone"
        if size > (self.log_path.stat().st_size if size else 0):
            return f"the metric log is shorter than the {size} bytes it had"
        return "" if self._log_hash(size) == entries["log_sha256"] else "the metric log is not as it was written"

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob("step-*")) if self._folder.is_dir() else []


def _name(step: int) -> str:
    return f"step-{step:08d}"


class MetricLog:
    """`metrics.jsonl`, appended row by row and cut back on resume to where the checkpoint left it.

    A log that does not write is that of a further process of the run: it reads what was there.
    """

    def __init__(self, path: Path, keep_bytes: int, *, disk: Disk = DISK, writes: bool = True) -> None:
        self.path, self._disk, self._writes, self._size = path, disk, writes, keep_bytes
        if not writes:
            return
        with storage_errors("opening the metric log", path):
            make_folders(path.parent, disk=disk)
            if not path.exists():
                disk.write(path, b"")
                disk.sync(path.parent)  # or a power cut could take the name of the log with it
            if keep_bytes > path.stat().st_size:
                raise TrainingError(
                    "the metric log is shorter than the checkpoint says",
                    value=str(path),
                    expected=f"at least {keep_bytes} bytes",
                    hint=_ANEW,
                )
            disk.truncate(path, keep_bytes)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        if not self._writes:
            return
        line = orjson.dumps(row) + b"\n"
        with storage_errors("writing the metric log", self.path, safe="the last checkpoint is intact"):
            self._disk.append(self.path, line)
        self._size += len(line)

    def rows(self) -> list[dict[str, Any]]:
        """What is in the log."""
        kept = self.path.read_bytes()[: self._size] if self._size else b""
        return [orjson.loads(line) for line in kept.split(b"\n") if line]

    def sync(self) -> int:
        """Make what was written durable; returns the length in bytes."""
        if not self._writes:
            return self._size
        with storage_errors("writing the metric log", self.path, safe="the last checkpoint is intact"):
            self._disk.sync(self.path)
        return self._size

    def close(self) -> None:
        """Nothing is held open between two rows."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run's work folder for this process. TrainingError if another process trains the same run."""
    make_folders(folder)
    named = folder / "holder"  # a file of its own: Windows lets nobody else read the one that is locked
    held = FileLock(folder / "lock")
    try:
        with storage_errors("beginning the run", folder):
            held.acquire(blocking=False)
    except Timeout as error:
        holder = named.read_text(encoding="utf-8")[:32].strip() if named.exists() else ""
        raise TrainingError(
            f"another process{f' ({holder})' if holder else ''} is training this very run",
            value=str(folder),
            expected="one process a run",
            hint="wait for it, or change the recipe so that it is another run",
        ) from error
    try:
        with storage_errors("beginning the run", folder):
            named.write_text(f"process {os.getpid()}", encoding="utf-8")
        yield
    finally:
        named.unlink(missing_ok=True)
        held.release()
