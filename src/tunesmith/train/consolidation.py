"""Elastic weight consolidation (Kirkpatrick et al. 2016, arXiv:1612.00796): weights that general text needs are held in place.

The penalty on how far each matrix W has moved from the base's is ½ Σᵢⱼ Fᵢⱼ ΔWᵢⱼ², to second order the divergence of the model
from the base in nats per target token of general text. F is the diagonal of the Fisher information of the *base's* matrix. That
of an adapter's own matrices would be zero for the first one, since the second begins at zero; so both are held by what they
change together, ΔW = s B A.

The inputs x (T, J) and the gradients of the outputs δ (T, I) of a matrix are taken as independent over the T tokens, as in
K-FAC (Martens & Grosse 2015, arXiv:1503.05671): Fᵢⱼ = Σₜ δₜᵢ² Σₜ xₜⱼ² / (T N), for N target tokens. So it costs two vectors a
matrix, and the penalty of a low-rank change only the products of its narrow matrices. The target at each place of an answer is
drawn from the base's own distribution there, as the Fisher information asks for: the likeliest token would hardly have a
gradient where the base is sure. Shapes: I outputs and J inputs of a matrix, B rows, T positions, N predictions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Example
from tunesmith.models.adapters import without_adapter
from tunesmith.models.batching import by_length, padded_tokens
from tunesmith.models.chat import Chat, Encoded
from tunesmith.train.padded import PaddedModel
from tunesmith.train.weights.weights import Weights

__all__ = ["Importance", "importances", "moving_penalty"]

_LEAST_ROWS = 8
_SEED = 7  # of the targets: the same for every run on a base


@dataclass(frozen=True, slots=True)
class Importance:
    """F of one matrix as the product of two vectors: F_ij = output_I[i] · input_J[j], in nats per target token."""

    output_I: torch.Tensor
    input_J: torch.Tensor


@dataclass(slots=True)
class _Sums:
    output: Any = 0.0
    input: Any = 0.0
    count: int = 0


def moving_penalty(
    weights: Weights, chat: Chat, general: Sequence[Example], *, weight: float, max_tokens: int
) -> Callable[[], torch.Tensor] | None:
    """What a step adds to its mean loss, with gradient; None with a `weight` of 0.

    `general`: answers of the base to questions that have nothing to do with the task. TrainingError if they are too few, or if
    this kind of weights does not say how far it has moved. In several processes it is refused earlier (`divisible`).
    """
    if not weight:
        return None
    if weights.changes is None:
        raise AssertionError(f"refused before (`combinations`): {weights.words}")
    if len(general) < _LEAST_ROWS:
        raise TrainingError(
            "train.ewc needs answers of the base that show what it can do",
            value=f"{len(general)} of its answers to the general questions are usable",
            expected=f"{_LEAST_ROWS} at least",
            hint="choose a base that answers questions, or --set train.ewc=0",
        )
    rows = [chat.answer_row(example.messages, max_tokens=max_tokens) for example in general]
    changes = weights.changes()
    found = importances(weights.model, rows, list(changes), pad_id=chat.pad_id)

    def penalty() -> torch.Tensor:
        parts = [changes[name](one.output_I, one.input_J) for name, one in found.items()]
        return 0.5 * weight * torch.stack(parts).sum()

    return penalty


def importances(model: Any, rows: Sequence[Encoded], names: Sequence[str], *, pad_id: int) -> dict[str, Importance]:
    """F of the matrices of the modules `names`, of the base at the target tokens of these rows.

    The adapter is off meanwhile, and no gradient is left. Modules that no token went through are left out.
    """
    sums = {name: _Sums() for name in names}
    num_targets, draw = 0, torch.Generator(model.device).manual_seed(_SEED)
    reads = PaddedModel(model, pad_id)
    was_training, most = model.training, padded_tokens(model.get_output_embeddings().weight.shape[0])
    model.eval()
    with without_adapter(model), torch.enable_grad(), _listening(model, sums) as mask:
        for near in by_length([len(row.ids) for row in rows], most=64, tokens=most):
            layout = reads.lay_out([rows[i] for i in near])
            mask[:] = [layout.mask_BT.bool()]
            logits_NV = reads.logits(layout).float()
            F.cross_entropy(logits_NV, _drawn(logits_NV, draw), reduction="sum").backward()  # type: ignore[no-untyped-call]
            num_targets += layout.num_learned
    for parameter in model.parameters():
        parameter.grad = None
    model.train(was_training)
    return {
        name: Importance(one.output / num_targets, one.input / one.count)
        for name, one in sums.items()
        if one.count and num_targets
    }


def _drawn(logits_NV: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """target_N: a token of each distribution."""
    return torch.multinomial(torch.softmax(logits_NV.detach(), -1), 1, generator=draw)[:, 0]


@contextmanager
def _listening(model: Any, sums: Mapping[str, _Sums]) -> Iterator[list[torch.Tensor]]:
    """Inside, a forward and a backward pass add to the sums. The list holds the mask of the batch, 1 where a token is real."""
    mask: list[torch.Tensor] = []

    def real(values: torch.Tensor) -> torch.Tensor:
        """Squares of the rows that are tokens, in float32; a layer that was given single tokens gives no padding."""
        values = values.detach().float()
        return (values[mask[0]] if values.shape[:2] == mask[0].shape else values.flatten(0, -2)).square()

    def heard(sum_: _Sums) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            squares = real(inputs[0])
            sum_.input = sum_.input + squares.sum(0)
            sum_.count += len(squares)

            def backward(grad: torch.Tensor) -> None:
                sum_.output = sum_.output + real(grad).sum(0)

            output.register_hook(backward)  # type: ignore[no-untyped-call]

        return hook

    with ExitStack() as inside:
        embedding = model.get_input_embeddings()
        wants_grad = embedding.register_forward_hook(lambda module, inputs, output: output.requires_grad_(True))
        inside.callback(wants_grad.remove)
        for name, one in sums.items():
            inside.callback(model.get_submodule(name).register_forward_hook(heard(one)).remove)
        yield mask
