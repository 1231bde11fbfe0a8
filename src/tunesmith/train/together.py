"""Joining the processes that torchrun started, and leaving them with one error, whatever ended.

Process 0 is the run as it always is. The others wait until it begins to train, train along, and wait again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch

from tunesmith.core.errors import TrainingError
from tunesmith.train.processes import ALONE, Processes

__all__ = ["are_several", "joined", "processes_here"]

_WAITING = timedelta(days=365)  # for process 0, which builds a dataset before it trains, and evaluates between two runs
_LEAVING_S = 5.0
_FAILED, _LEFT = "tunesmith/failed", "tunesmith/left/"
_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
_here: Processes = ALONE


def are_several() -> bool:
    """Whether this process was started as one of several: torchrun says so in the environment."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def processes_here() -> Processes:
    """The processes that this one has joined."""
    return _here


@contextmanager
def joined() -> Iterator[Processes]:
    """Inside, this process is one of those that were started together; alone if it was not.

    An error is raised in the process in which it happened first. The others, which cannot continue without it, end with its
    exit code and say nothing. TrainingError where another process was ended from outside.
    """
    global _here
    if not are_several():
        yield ALONE
        return
    from torch import distributed

    from tunesmith.train.several import Several

    store = _open(distributed)
    groups = [distributed.new_group(backend="gloo", timeout=_WAITING)]
    _here = Several(distributed.get_rank(), distributed.get_world_size(), lambda: groups[0])
    try:
        yield _here
        _here.hand_out(None)
    except SystemExit:  # the verdict's exit code
        _here.hand_out(None)
        raise
    except BaseException as error:
        if not _is_first(store, _here):
            raise SystemExit(getattr(error, "exit_code", 1)) from None
        if _is_lost(error):
            raise _ended(_here) from error
        raise
    finally:
        processes, _here = _here, ALONE
        groups.clear()
        with suppress(RuntimeError):
            distributed.destroy_process_group()  # which the others notice
            _let_go(store, processes)


def _open(distributed: Any) -> Any:
    """The default group, opened unless the program has one, and the store that it was opened by."""
    if distributed.is_initialized():  # by Ray, say
        return None
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, count = next(distributed.rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
    return store


def _is_first(store: Any, processes: Processes) -> bool:
    """Whether no other process has failed before; if it cannot be found out, this one speaks."""
    try:
        return store is None or store.compare_set(_FAILED, "", str(processes.rank)).decode() == str(processes.rank)
    except RuntimeError:
        return True


def _let_go(store: Any, processes: Processes) -> None:
    """Process 0, which may keep the store, waits until those that are alive have asked it who failed first."""
    if store is None:
        return
    if processes.rank:
        store.set(f"{_LEFT}{processes.rank}", "")
        return
    until = time.monotonic() + _LEAVING_S
    while time.monotonic() < until and not store.check([f"{_LEFT}{rank}" for rank in range(1, processes.count)]):
        time.sleep(0.02)


def _is_lost(error: BaseException) -> bool:
    """Whether torch says that another process is gone."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST))


def _ended(processes: Processes) -> TrainingError:
    return TrainingError(
        "a process of this run ended, and the others cannot continue without it",
        value=f"noticed by process {processes.rank} of {processes.count}",
        expected="all processes until the end; the last checkpoint is intact",
        hint="type the same command again: it resumes there, with this or another number of processes",
    )
