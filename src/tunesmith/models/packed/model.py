"""A model that reads token trees: hidden states where something is predicted, loss and log-probabilities from them.

Whether this gives a model's own numbers is measured by `probe.why_not_packed`, and a model that disagrees is trained on padded
rows, with the reason reported.

Shapes: T tokens of a tree, N predictions, D width.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Encoded
from tunesmith.models.packed.attention import attending_by_tree
from tunesmith.models.packed.divergence import Predictions
from tunesmith.models.packed.head import NO_PENALTY, WHOLE, Formula, Head, Penalty, head_of
from tunesmith.models.packed.layout import Tree, lay_out
from tunesmith.models.packed.lean_parts import lean_parts
from tunesmith.models.packed.lowrank import lean_adapters

__all__ = ["KeptTrunk", "PackedModel", "compiled", "layers_of", "packed"]


class KeptTrunk(Protocol):
    """What the frozen layers below the adapted ones compute, kept (see `trunk`)."""

    def standing_in(self, tree: Tree) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class PackedModel:
    """`model` is a causal language model of transformers, possibly under peft; its attention follows trees here.

    With a `trunk`, the layers below the adapted ones are read from it and not computed.
    """

    model: Any
    decoder: Any
    head: Head
    share: bool
    trunk: KeptTrunk | None = None

    def lay_out(self, rows: Sequence[Encoded]) -> Tree:
        """The tree of a batch, on the model's device."""
        device = self.model.device
        rounded = device.type == "cpu" and self.head.weight.dtype != torch.float32
        return lay_out(rows, share=self.share, device=device, whole=WHOLE if rounded else 1)

    def hidden(self, tree: Tree) -> torch.Tensor:
        """hidden_ND, after the last norm, at the tokens after which something is predicted."""
        with nullcontext() if self.trunk is None else self.trunk.standing_in(tree):
            out = self.decoder(
                input_ids=tree.ids_T[None],
                position_ids=tree.positions_T[None],
                attention_mask=_no_mask(tree),
                use_cache=False,
                tree=tree.attention,
            )
        hidden_ND: torch.Tensor = out.last_hidden_state[0].index_select(0, tree.at_N)
        return hidden_ND

    def loss(self, tree: Tree, weight_N: torch.Tensor | None = None, penalty: Penalty = NO_PENALTY) -> torch.Tensor:
        """Σ weight · (−log p + penalty) over all predictions: nats, a float32 scalar."""
        return self.head.loss(self.hidden(tree), tree.target_N, weight_N, penalty)

    def log_probs(self, tree: Tree) -> torch.Tensor:
        """log p_N (float32) with gradient."""
        return self.head.log_probs(self.hidden(tree), tree.target_N)

    def predictions(self, tree: Tree) -> Predictions:
        """What is predicted, without gradient, by the weights as they are now: a trained matrix may be put back later."""
        bias = None if self.head.bias is None else self.head.bias.detach()
        head = replace(self.head, weight=self.head.weight.detach(), bias=bias)
        with torch.no_grad():
            return Predictions(self.hidden(tree), head)

    def summed(self, tree: Tree, formula: Formula) -> torch.Tensor:
        """Σ formula (float32 scalar) over all predictions."""
        return self.head.summed(self.hidden(tree), formula)

    def log_probs_with_hidden(self, tree: Tree) -> tuple[torch.Tensor, torch.Tensor]:
        """`log_probs` and `hidden`, from one pass."""
        hidden_ND = self.hidden(tree)
        return self.head.log_probs(hidden_ND, tree.target_N), hidden_ND

    def score(self, tree: Tree) -> tuple[torch.Tensor, torch.Tensor]:
        """(log p_N, right_N) without gradient."""
        with torch.no_grad():
            return self.head.score(self.hidden(tree), tree.target_N)


def _no_mask(tree: Tree) -> torch.Tensor:
    """A mask of four dimensions is handed on unread, so the library builds none of T × T itself."""
    return torch.zeros(1, 1, 1, 1, device=tree.ids_T.device)


@contextmanager
def packed(model: Any, *, share: bool = True) -> Iterator[PackedModel]:
    """Inside, `model` reads trees and its plain LoRA layers run lean; plain calls and generation work as usual."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    with attending_by_tree(bare), lean_adapters(model), lean_parts(bare):
        yield PackedModel(model, bare.get_decoder(), head_of(bare), share)


@contextmanager
def compiled(lean: PackedModel) -> Iterator[None]:
    """Inside, torch compiles the decoder's layers, for any length of tree. ModelError where there is no C++ compiler."""
    on_cpu = lean.model.device.type == "cpu"
    if on_cpu and not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name):
        raise ModelError(
            "train.compile needs a C++ compiler",
            value="none of g++, clang++ or $CXX is there",
            expected="a compiler that torch can call",
            hint="install g++, or --set train.compile=false",
        )
    layers = [layer for layer in layers_of(lean.decoder)]
    for layer in layers:
        layer.compile(dynamic=True)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None


def layers_of(decoder: Any) -> torch.nn.ModuleList:
    """The list in which a decoder keeps its layers. ValueError if there is no such list, or more than one."""
    wanted = decoder.config.num_hidden_layers
    found = [m for m in decoder.children() if isinstance(m, torch.nn.ModuleList) and len(m) == wanted]
    if len(found) != 1:
        raise ValueError("the layers of this model are not in one list")
    return found[0]
