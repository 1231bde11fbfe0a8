"""Every random state of the process as named tensors, and back: no pickle, and nothing left out in silence."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch

from tunesmith.core.errors import TrainingError

__all__ = ["random_state", "restore_random_state", "seed_all"]

_PYTHON, _NUMPY, _TORCH, _CUDA = "python", "numpy", "torch", "cuda"
_LEGACY = "MT19937"


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch alike."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, torch.Tensor]:
    """The states of Python's, numpy's and torch's generators (one more for each CUDA device that is in use)."""
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    if kind != _LEGACY:
        raise AssertionError(f"numpy's global generator is {kind}")
    found = {
        f"{_PYTHON}.words": torch.tensor([version, *words], dtype=torch.int64),
        f"{_PYTHON}.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        f"{_NUMPY}.keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        f"{_NUMPY}.place": torch.tensor([int(place), int(has_gauss)], dtype=torch.int64),
        f"{_NUMPY}.gauss": torch.tensor([float(cached)], dtype=torch.float64),
        _TORCH: torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found |= {f"{_CUDA}.{i}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())}
    return found


def restore_random_state(found: Mapping[str, torch.Tensor]) -> None:
    """Put back what `random_state` took. TrainingError if a generator's state is missing or has another form.

    States of CUDA devices that are not here are left out: a run that moved to another machine was told of it already.
    """
    try:
        version, *words = found[f"{_PYTHON}.words"].tolist()
        gauss = found[f"{_PYTHON}.gauss"].tolist()
        random.setstate((version, tuple(words), gauss[0] if gauss else None))
        place, has_gauss = found[f"{_NUMPY}.place"].tolist()
        keys = found[f"{_NUMPY}.keys"].numpy().astype(np.uint32)
        np.random.set_state((_LEGACY, keys, place, has_gauss, float(found[f"{_NUMPY}.gauss"])))
        torch.set_rng_state(found[_TORCH])
        if torch.cuda.is_available():
            for i in range(torch.cuda.device_count()):
                if f"{_CUDA}.{i}" in found:
                    torch.cuda.set_rng_state(found[f"{_CUDA}.{i}"], i)
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise TrainingError(
            "the random state in a checkpoint cannot be used",
            value=str(error),
            expected="the states of Python, numpy and torch as they were saved",
            hint="delete the run's work folder to start again",
        ) from error
