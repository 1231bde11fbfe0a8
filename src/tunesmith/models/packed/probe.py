"""Whether a model may read token trees: two trials on its own weights, in the mode in which it will be used.

First, nothing may leak: one branch of a small tree is replaced by NaN, and no other branch may change. A NaN survives every
sum and product, so a convolution or a recurrent state that crosses from branch to branch is found whatever the number type,
and no tolerance decides. Second, what is left (positions, masks, windows, the head) must agree with the plain forward pass of
each row alone, computed in float32 even where the weights are kept in a rounded type.

Shapes: T tokens of a row or tree, N predictions, V vocabulary.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tunesmith.models.chat import Encoded
from tunesmith.models.packed.attention import UnknownAttention
from tunesmith.models.packed.model import PackedModel, layers_of, packed
from tunesmith.models.quantised import is_four_bit

__all__ = ["why_not_packed"]

_EXACT = 1e-4  # nats per token between two orders of the same float32 arithmetic
_PROBED = 4  # rows on which trees are compared with the plain forward pass
_PREFIX, _BRANCH = 12, 9  # tokens of the small tree: a shared beginning and each of its branches
_ROUNDED = (torch.bfloat16, torch.float16)
_LOG = logging.getLogger(__name__)


def why_not_packed(model: Any, rows: Sequence[Encoded], *, training: bool = False) -> str:
    """Empty if token trees give this model's own numbers on the shortest of `rows` and on the longest; else the reason.

    With `training` the model is tried in training mode, its adapter's dropout alone left out. The longest row is among those
    compared because windows and other kernels show there alone. The model is left as it was found.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        return "it reads with one half and answers with the other (an encoder and a decoder)"
    by_length = sorted(rows, key=lambda row: len(row.ids))
    chosen = [*by_length[: _PROBED - 1], *by_length[_PROBED - 1 :][-1:]]
    with torch.no_grad(), _in_mode(model, training):
        try:
            with packed(model) as lean:
                if _leaks(lean):
                    return "its layers leak information from one branch of a token tree into the next"
            off = _disagreement(model, chosen)
        except UnknownAttention as error:
            return str(error)
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError):
            _LOG.debug("a token tree was refused by the model's forward pass", exc_info=True)
            return "its forward pass cannot read a token tree"
    return "" if off <= _EXACT else f"token trees change its log-probabilities by {off:.2g} nats per token"


@contextmanager
def _in_mode(model: Any, training: bool) -> Iterator[None]:
    """Inside, every module is in the mode asked for, except that an adapter's own dropout is off."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def _leaks(lean: PackedModel) -> bool:
    """Whether a branch of a small tree changes what is computed for any token outside it."""
    tree = lean.lay_out(_small_rows(lean.head.weight.shape[0]))
    spoilt = tree.segments[tree.paths[1][-1]]  # branches come before it and after it, and one row shares nothing with it
    elsewhere_N = (tree.at_N < spoilt.begin) | (tree.at_N >= spoilt.end)
    on_cpu = tree.ids_T.device.type == "cpu"
    before = None if on_cpu else lean.hidden(tree)

    def spoil(module: Any, given: Any, embedded: torch.Tensor) -> torch.Tensor:
        embedded = embedded.clone()
        # a GPU's kernels multiply hidden values by zero, which keeps a NaN: there other numbers may not move a single bit
        embedded[:, spoilt.begin : spoilt.end] = torch.nan if on_cpu else -embedded[:, spoilt.begin : spoilt.end]
        return embedded

    handle = lean.decoder.get_input_embeddings().register_forward_hook(spoil)
    try:
        after = lean.hidden(tree)
    finally:
        handle.remove()
    moved = ~after.isfinite() if before is None else after != before
    return bool(moved[elsewhere_N].any())


def _small_rows(vocabulary: int) -> list[Encoded]:
    """Three rows with the same beginning, and one with another."""
    numbers = [(7 * n + 3) % min(vocabulary, 101) for n in range(_PREFIX + 5 * _BRANCH)]
    beginning, rest = tuple(numbers[:_PREFIX]), numbers[_PREFIX:]
    ends = [tuple(rest[n * _BRANCH : (n + 1) * _BRANCH]) for n in range(5)]
    rows = [beginning + ends[0], beginning + ends[1], beginning + ends[2], ends[3] + ends[4]]
    return [Encoded(ids, (True,) * len(ids)) for ids in rows]


def _disagreement(model: Any, rows: Sequence[Encoded]) -> float:
    """Mean difference of log-probabilities between one tree of `rows` and each row alone, nats per token, in float32."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    with _float32(bare):
        alone = torch.cat([_alone(bare, model, row) for row in rows])
    with packed(model) as lean:
        tree = lean.lay_out(rows)  # as in training, filled up to whole steps in a rounded type
        with _float32(bare):
            by_tree, _ = lean.score(tree)
    return float((by_tree - alone).abs().mean()) if len(alone) else 0.0


def _alone(bare: Any, model: Any, row: Encoded) -> torch.Tensor:
    """log p of the target tokens of one row, from the model's plain forward pass; logits of those only, if it can."""
    at = torch.tensor(
        [i - 1 for i, learned in enumerate(row.learned) if learned and i > 0], device=model.device, dtype=torch.long
    )
    ids_T = torch.tensor(row.ids, device=model.device)
    some = {"logits_to_keep": at} if "logits_to_keep" in inspect.signature(bare.forward).parameters else {}
    logits_TV = model(input_ids=ids_T[None], attention_mask=torch.ones_like(ids_T)[None], use_cache=False, **some).logits[0]
    log_p_NV = torch.log_softmax((logits_TV if some else logits_TV[at]).float(), -1)
    return log_p_NV.gather(1, ids_T[at + 1][:, None])[:, 0]


@contextmanager
def _float32(model: Any) -> Iterator[None]:
    """Inside, the decoder and the head compute in float32: a layer's weights are widened while it runs, the rest throughout.

    Widening and going back changes no bit of a rounded weight, and one layer at a time needs little memory.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    try:
        layers = list(layers_of(decoder))
    except ValueError:  # no list of layers: everything is widened at once
        layers = []
    inside = {part for layer in layers for part in layer.modules()}
    with ExitStack() as stack:
        stack.enter_context(_widened([part for root in (decoder, head) for part in root.modules() if part not in inside]))
        for layer in layers:
            stack.enter_context(_widened_while_running(layer))
        yield


@contextmanager
def _widened_while_running(layer: torch.nn.Module) -> Iterator[None]:
    running: list[ExitStack] = []

    def widen(*_: Any) -> None:
        running.append(ExitStack())
        running[-1].enter_context(_widened(list(layer.modules())))

    def narrow(*_: Any) -> None:
        running.pop().close()

    handles = [layer.register_forward_pre_hook(widen), layer.register_forward_hook(narrow, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _widened(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Inside, the rounded parameters and buffers that these modules hold themselves are float32, and so are products of 4-bit
    weights."""
    parameters = {id(p): p for module in modules for p in module.parameters(recurse=False) if p.dtype in _ROUNDED}
    kept = [(p, p.data) for p in parameters.values()]
    in_four_bits: list[Any] = [module for module in modules if is_four_bit(module)]
    products: list[tuple[Any, torch.dtype]] = [(module, module.compute_dtype) for module in in_four_bits]
    buffers = [
        (module, name, b) for module in modules for name, b in module.named_buffers(recurse=False) if b.dtype in _ROUNDED
    ]
    try:
        for parameter, data in kept:
            parameter.data = data.float()
        for module, name, buffer in buffers:
            module._buffers[name] = buffer.float()
        for module, _ in products:
            module.compute_dtype = torch.float32
        yield
    finally:
        for module, dtype in products:
            module.compute_dtype = dtype
        for parameter, data in kept:
            parameter.data = data
        for module, name, buffer in buffers:
            module._buffers[name] = buffer
