"""A base and a whole model that was trained from it as one model: the same modules with two sets of weights.

It is used like a model with an adapter. `disable_adapter` puts the base's weights in for the length of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from tunesmith.core.errors import ModelError

__all__ = ["Whole"]


class Whole(torch.nn.Module):
    """`model` with the weights `trained`, by name; its own weights are those of the base. Further attributes are the model's.

    ModelError if the two do not have the same tensors.
    """

    def __init__(self, model: Any, trained: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.model = model
        own = dict(model.named_parameters())
        if odd := sorted(own.keys() ^ trained.keys()) or sorted(n for n in own if own[n].shape != trained[n].shape):
            raise ModelError(
                "the trained model does not fit this base",
                value=odd[0],
                expected=f"{len(own)} tensors of the same names and shapes",
                hint="use the base that the run was trained on",
            )
        self._base = {name: parameter.data for name, parameter in own.items()}
        self._trained = {name: tensor.data for name, tensor in trained.items()}
        self._put(self._trained)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """As the model does."""
        return self.model(*arguments, **named)

    def get_base_model(self) -> Any:
        """The model itself, with whichever weights are in."""
        return self.model

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside, the model has the base's weights."""
        self._put(self._base)
        try:
            yield
        finally:
            self._put(self._trained)

    def differences(self) -> dict[str, torch.Tensor]:
        """The trained tensors, by name, that are not the base's."""
        return {name: tensor for name, tensor in self._trained.items() if not torch.equal(tensor, self._base[name])}

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.data = weights[name]
