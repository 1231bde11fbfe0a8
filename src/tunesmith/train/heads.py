"""A method's own head on the hidden states (see `train.method.Headed`): trained and checkpointed with the weights that move.

It is a module of the model, so that the optimiser, checkpoints and the best weights include it. In a finished run it is
`head.safetensors` with `head.json`, in the folder of the weights that it was trained with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tunesmith.core.errors import ModelError
from tunesmith.models.tuned import HEAD_FACTS
from tunesmith.train.method import Headed, Method, generates, method_name, open_method

__all__ = ["HEAD_FILES", "HEAD_NAME", "head_of", "open_head", "put_head", "save_head", "without_head"]

HEAD_FILES = ("head.safetensors", HEAD_FACTS)
HEAD_NAME = "method_head"


def put_head(model: Any, method: Method, *, seed: int) -> None:
    """Give the model the head of the method, in float32, with weights drawn by `seed`; nothing if it has none."""
    if not isinstance(method, Headed):
        return
    torch.manual_seed(seed)
    model.add_module(HEAD_NAME, method.head(_width(model)).to(device=model.device, dtype=torch.float32))


def head_of(model: Any) -> torch.nn.Module:
    """The head that `put_head` gave the model."""
    found: torch.nn.Module = model.get_submodule(HEAD_NAME)
    return found


@contextmanager
def without_head(model: Any) -> Iterator[None]:
    """Inside, the model has no head of a method's own: other libraries save it as they know it."""
    found = model._modules.pop(HEAD_NAME, None)
    try:
        yield
    finally:
        if found is not None:
            model.add_module(HEAD_NAME, found)


def save_head(model: Any, method: Method, folder: Path) -> None:
    """Write the head into `folder`; nothing if the method has none."""
    if not isinstance(method, Headed):
        return
    tensors = {name: value.detach().cpu().contiguous() for name, value in head_of(model).state_dict().items()}
    save_file(tensors, folder / HEAD_FILES[0])
    facts = {"method": method_name(method), "width": _width(model), "writes": generates(method)}
    (folder / HEAD_FILES[1]).write_bytes(orjson.dumps(facts))


def open_head(folder: Path) -> tuple[Method, torch.nn.Module]:
    """The method that `save_head` wrote a head of, in its default settings, and that head, for use. ModelError if there is
    none, or if it is not whole."""
    weights, about = (folder / name for name in HEAD_FILES)
    if not (weights.is_file() and about.is_file()):
        raise ModelError(
            "no head is saved here",
            value=str(folder),
            expected=f"{weights.name} and {about.name}, as a run of a method with a head of its own writes them",
            hint="give the adapter folder of a run whose method has a head",
        )
    try:
        facts = orjson.loads(about.read_bytes())
        method = open_method(facts["method"])
        if not isinstance(method, Headed):
            raise ValueError(f"{facts['method']} has no head")
        head = method.head(int(facts["width"]))
        head.load_state_dict(load_file(weights))
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            "the saved head cannot be read",
            value=str(weights),
            expected=f"the tensors of the method that {about.name} names ({str(error).splitlines()[0][:150]})",
            hint="copy the run again, or train it again",
        ) from error
    return method, head.eval().requires_grad_(False)


def _width(model: Any) -> int:
    """Width of the hidden states that the output matrix reads."""
    return int(model.get_output_embeddings().weight.shape[1])
