"""Tensors that are divided among processes, on disk: each process writes its parts, and any number of processes reads them.

Through torch's distributed checkpoints, whose parts are safetensors files here; nothing is pickled. Where a part belongs stands
in the header of its file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunesmith.train.processes import Processes

__all__ = ["read_shards", "write_shards"]


def write_shards(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Called by all processes. What is whole in every process is written by one. OSError if the disk does not take it."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    try:
        save(
            {name: tensor.detach() for name, tensor in tensors.items()},
            storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
        )
    except CheckpointException as error:
        for reason, _ in error.failures.values():
            if isinstance(reason, OSError):
                raise reason from error
        raise


def read_shards(folder: Path, like: Mapping[str, torch.Tensor], processes: Processes) -> dict[str, torch.Tensor]:
    """All tensors, each divided as its namesake of `like` is (see `Processes.parted`). Called by all processes.

    Raises ValueError if a part is missing or is not what the others say.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    kinds: Mapping[str, Any] = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    wanted = {name: torch.empty(kind.size, dtype=kind.properties.dtype) for name, kind in kinds.items()}
    wanted = processes.parted(wanted, like)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            reader = HuggingFaceStorageReader(str(folder))
            load(wanted, storage_reader=reader, no_dist=processes.count == 1)
    except CheckpointException as error:
        raise ValueError(str(error)) from error
    return wanted
