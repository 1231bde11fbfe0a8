"""Several processes: joining those that torchrun started, and starting them.

with tunesmith.together() as leads:      # in a script that torchrun starts
    if leads:
        tunesmith.run("./posts")
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tunesmith.core.errors import TrainingError

__all__ = ["launch", "together"]

_GIVEN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun, Ray Train and Kubernetes' operators alike


@contextmanager
def together() -> Iterator[bool]:
    """Whether this process leads: true in process 0 and where there is only one. The others train along inside, while the block
    of process 0 runs, and have nothing else to do.

    Raises:
        TrainingError: another process was ended from outside; the last checkpoint is intact.
    """
    if not all(name in os.environ for name in _GIVEN) or int(os.environ["WORLD_SIZE"]) < 2:
        yield True
        return
    from tunesmith.train.taking_part import take_part
    from tunesmith.train.together import joined

    with joined() as processes:
        if processes.rank:
            take_part(processes)
        yield processes.rank == 0


def launch(arguments: Sequence[str], *, processes: int, nodes: int = 1, rendezvous: str = "") -> int:
    """Run `tunesmith` with these arguments in several processes, through torchrun; its exit code.

    `processes`: on this machine. `nodes`: machines, on each of which the same command is typed. `rendezvous`: `HOST:PORT` of
    one of them, where they meet; not needed for one machine.

    Raises:
        TrainingError: no processes, more than there are GPUs (without any: cores), or machines that have no place to meet.
    """
    if processes < 1 or nodes < 1 or (nodes > 1) != bool(rendezvous):
        raise TrainingError(
            "these processes cannot be started",
            value=f"--processes {processes} --nodes {nodes}" + (f" --rendezvous {rendezvous}" if rendezvous else ""),
            expected="one process and one machine at least, and a place to meet for several machines",
            hint="--processes 2 for this machine, or --processes 8 --nodes 2 --rendezvous HOST:29500 on each of two",
        )
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    most, what = (gpus, "GPU") if gpus else (os.cpu_count() or 1, "core")
    if processes > most:
        raise TrainingError(
            f"there are more processes than {what}s on this machine",
            value=f"--processes {processes}, {most} {what}s",
            expected=f"a {what} for each process",
            hint=f"--processes {most}",
        )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes say themselves what happened
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "86400")  # seconds: a step and a checkpoint come before the end
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id="tunesmith",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous or "127.0.0.1:0",
        max_restarts=0,  # the same command resumes
        rdzv_configs={} if nodes > 1 else {"is_host": True},
    )
    try:
        elastic_launch(config, sys.executable)("-m", "tunesmith.cli", *arguments)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 1
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0
