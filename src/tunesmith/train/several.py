"""Several processes make a run together, through torch.distributed: each layer is divided among them by FSDP2.

A layer is gathered while it computes and divided again (Rajbhandari et al. 2020, ZeRO, stage 3, arXiv:1910.02054), so weights,
gradients and optimiser states of the layers are divided. What stands outside of the layers (embeddings, last norm, output
matrix, a method's head) stays whole in every process, and its gradients are summed here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tunesmith.models.packed.model import layers_of

__all__ = ["Several"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Several:
    """The processes of torch's default group. In the group `waiting()` the others wait for work, as long as it takes.

    Nothing here holds on to that group: it must close with the default one, so that those who wait notice.
    """

    rank: int
    count: int
    waiting: Callable[[], Any]

    @property
    def sharers(self) -> int:
        """As torchrun says; all of them, if it does not."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.count))

    def hand_out(self, work: Any) -> None:
        """Sent as Python objects: all processes are of one run, and read it from nobody else."""
        if self.rank == 0:
            dist.broadcast_object_list([work], src=0, group=self.waiting())

    def received(self) -> Any:
        """The work that process 0 hands out next; waits for it."""
        found: list[Any] = [None]
        dist.broadcast_object_list(found, src=0, group=self.waiting())
        return found[0]

    def told(self, find: Callable[[], T]) -> T:
        """What process 0 found, sent to the others."""
        found: list[Any] = [find() if self.rank == 0 else None]
        dist.broadcast_object_list(found, src=0)
        made: T = found[0]
        return made

    def taken(self, items: Sequence[T], work: Callable[[T], tuple[torch.Tensor, ...]]) -> Iterator[tuple[torch.Tensor, ...]]:
        """Each process works on every `count`-th item; where none is left for one, it works on the last for nothing, since
        all must go through the model equally often."""
        left = iter(items)
        while group := list(islice(left, self.count)):
            mine = work(group[min(self.rank, len(group) - 1)])
            found: list[Any] = [None] * self.count
            dist.all_gather_object(found, tuple(tensor.cpu() for tensor in mine))
            yield from (tuple(tensor.to(mine[0].device) for tensor in one) for one in found[: len(group)])

    def total(self, *numbers: float) -> list[float]:
        """Summed in float64; what is whole comes as int, as it would from one process."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return [int(one) if one.is_integer() else one for one in sums.tolist()]

    def highest(self, number: int) -> int:
        """The highest of all."""
        found = torch.tensor([number])
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def divide(self, model: Any) -> None:
        """Through FSDP2. Gradients are summed over the processes, not averaged: a loss is already divided by its weight."""
        layers: list[Any] = list(layers_of(_bare(model).get_decoder()))
        for layer in layers:
            fully_shard(layer, reshard_after_forward=True)  # torch spares its roots by default, and each of these is one
            layer.set_gradient_divide_factor(1.0)
            layer.set_force_sum_reduction_for_comms(True)  # gloo cannot scale while it sums

    @contextmanager
    def whole(self, model: Any) -> Iterator[None]:
        """Gathered tensor by tensor. FSDP's own `unshard` would be undone by whoever asks for a state dict."""
        parted = [(m, name, p) for m in model.modules() for name, p in m._parameters.items() if isinstance(p, DTensor)]
        try:
            for module, name, part in parted:
                full = part.full_tensor().detach()
                if self.rank == 0:
                    module._parameters[name] = torch.nn.Parameter(full, requires_grad=part.requires_grad)
            yield
        finally:
            for module, name, part in parted:
                module._parameters[name] = part

    def drawn(self, model: Any, draw: Callable[[], T]) -> T:
        """Every process gathers the layers once, not for each token."""
        layers = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for layer in layers:
            layer.unshard()
            layer.set_reshard_after_forward(False)
        try:
            return self.told(draw)
        finally:
            for layer in layers:
                layer.set_reshard_after_forward(True)
                layer.reshard()

    def settle(self, parameters: Sequence[torch.Tensor], most: float) -> torch.Tensor:
        """FSDP has summed the gradients of divided tensors. Those of whole ones are summed here, then all are clipped.

        A tensor that no process had a use for keeps no gradient, as in one process, so that it does not decay.
        """
        divided = [p for p in parameters if isinstance(p, DTensor)]
        parts = [p.grad.to_local() for p in divided if p.grad is not None]  # type: ignore[attr-defined]
        whole = [p for p in parameters if not isinstance(p, DTensor)]
        uses = torch.tensor([float(p.grad is not None) for p in whole], device=whole[0].device if whole else None)
        dist.all_reduce(uses)
        wholes = []
        for parameter in (p for p, count in zip(whole, uses.tolist(), strict=True) if count):
            if parameter.grad is None:  # this process had no use for it, others have
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            wholes.append(parameter.grad)
        squares = _squares(parts)
        dist.all_reduce(squares)
        norm = (squares + _squares(wholes)).sqrt()
        if most > 0:
            for gradient in (*parts, *wholes):
                gradient.mul_((most / (norm + 1e-6)).clamp(max=1.0).to(gradient))
        return norm

    def parted(self, tensors: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Every process holds the whole tensors; none is sent."""
        return {name: _parted(tensor, _namesake(name, like)) for name, tensor in tensors.items()}


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _squares(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of all squares, in float64."""
    found = [tensor.double().square().sum().cpu() for tensor in tensors]
    return torch.stack(found).sum() if found else torch.zeros((), dtype=torch.float64)


def _namesake(name: str, like: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """The tensor of this name, or of a name within it: `best/other/<name>`, `optimizer/<name>/exp_avg`."""
    parts = name.split("/")
    places = ("/".join(parts[begin:end]) for begin in range(len(parts)) for end in range(len(parts), begin, -1))
    return next((like[place] for place in places if place in like), None)


def _parted(tensor: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
