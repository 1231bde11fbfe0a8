"""One process of several: makes the runs that a file describes. `python in_two_processes.py BASE FOLDER RUNS.json`"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fakes import preferences, train_tiny
from tunesmith.train.run import train_together
from tunesmith.train.several import Several
from tunesmith.train.taking_part import take_part
from tunesmith.train.together import joined

SETTLE = Several.settle
steps = 0


def settle_forgetfully(self: Several, parameters: Sequence[torch.Tensor], most: float) -> torch.Tensor:
    """The fault: gradients of tensors that are not divided are not summed."""
    return SETTLE(self, [p for p in parameters if type(p) is not torch.nn.Parameter], most)


def settle_until_killed(self: Several, parameters: Sequence[torch.Tensor], most: float) -> torch.Tensor:
    """Process 1 is killed in the fourth step."""
    global steps
    steps += 1
    if steps == 4 and self.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return SETTLE(self, parameters, most)


def plant(run_id: str) -> None:
    faults = {"planted": settle_forgetfully, "killed": settle_until_killed}
    Several.settle = faults.get(run_id, SETTLE)  # type: ignore[method-assign]


def along(order: Any, *others: Any) -> Any:
    plant(order.place.run_id)
    return train_together(order, *others)


def main(base: str, folder: str, runs: str) -> None:
    with joined() as processes:
        if processes.rank:
            take_part(processes, along)
            return
        for name, settings in json.loads(Path(runs).read_text()).items():
            plant(name)
            rows = preferences(20) if settings.pop("preferences", False) else None
            train_tiny(Path(base), Path(folder) / name, rows=rows, run_id=name, **settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
