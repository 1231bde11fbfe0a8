"""What an adapter can reach: the layers a recipe means, those that no adapter can hold and why, and all weights by kind.

Only the language model is adapted; in a model that also sees or hears, `layers: N` counts the language model's layers.
A target that matches nothing is an error that lists what the model has; peft alone would adapt the rest in silence.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.dropout import switch_off_dropouts
from tunesmith.models.load import BaseFolder, empty_model
from tunesmith.models.patterns import by_pattern
from tunesmith.models.quantised import num_weights

__all__ = [
    "Reach",
    "adaptive_rank",
    "choose_modules",
    "left_out",
    "linear_modules",
    "moving_parameters",
    "out_of_reach",
    "reach_of",
    "without_kept",
]

_ATTENTION = re.compile(r"(^|[._])(attn|attention|self_attn|self_attention)([._]|$)")
_MLP = re.compile(r"(^|[._])(mlp|feed_forward|ffn|block_sparse_moe|experts)([._]|$)")
_GROUPS = {"attention": _ATTENTION, "mlp": _MLP, "all": re.compile("")}
_EXPERTS = re.compile(r"(^|[._])(experts?|block_sparse_moe|moe)([._]|$)")
_ROUTER = re.compile(r"(^|[._])(router|gate|gating)(\.|$)")
_FUSED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}
_REWRITTEN = "peft takes this name for the weights of the experts"
_BYPASSED = "a fused kernel reads its weights and passes the layer by"


@dataclass(frozen=True, slots=True)
class Reach:
    """What an adapter would cover, from the architecture alone.

    `modules` of `num_linear` linear layers are adapted with `num_trainable` new parameters. `out_of_reach` counts the base's
    parameters that no setting of `method.targets` reaches, by kind; `dropouts` are the base's own, which training switches off.
    """

    modules: tuple[str, ...]
    num_linear: int
    num_trainable: int
    out_of_reach: Mapping[str, int]
    dropouts: Mapping[str, float]


def _decoder_name(model: Any) -> str:
    """Name of the language model inside `model`, ending in a dot; empty if it is the whole."""
    decoder = model.get_decoder()
    name = next((name for name, module in model.named_modules() if module is decoder), "")
    return f"{name}." if name else ""


def _numbered(model: Any) -> dict[str, int]:
    """Full name → layer number of every linear layer inside the numbered blocks of the language model."""
    from transformers.pytorch_utils import Conv1D

    prefix = _decoder_name(model)
    found = {}
    for name, module in model.named_modules():
        layer = re.search(r"(?:^|\.)(\d+)\.", name.removeprefix(prefix)) if name.startswith(prefix) else None
        if layer and isinstance(module, torch.nn.Linear | Conv1D):
            found[name] = int(layer.group(1))
    return found


def left_out(model: Any) -> dict[str, str]:
    """Full name → reason, of the linear layers in the language model's blocks that no adapter can hold."""
    names = _numbered(model)
    rewritten = {leaf for leaf in {name.rsplit(".", 1)[-1] for name in names} if _is_rewritten(model, leaf)}
    reasons = {}
    for name in names:
        owner, _, leaf = name.rpartition(".")
        if leaf in rewritten:
            reasons[name] = _REWRITTEN
        elif _is_read_past(model.get_submodule(owner), leaf) or _refused_by_peft(model, leaf):
            reasons[name] = _BYPASSED
    return reasons


def _is_read_past(mixer: object, leaf: str) -> bool:
    """Whether a state-space mixer computes with this layer's weight itself, as fused kernels do, and may never call the layer.

    An adapter on such a layer would be in the forward pass or not, depending on the machine's kernels.
    """
    return hasattr(mixer, "A_log") and leaf in _read_directly((type(mixer).__module__, type(mixer).__name__))


def _is_rewritten(model: Any, leaf: str) -> bool:
    """Whether peft turns this module name into the name of a parameter: then no file can say that the module is meant."""
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=[leaf])
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:  # this name alone is refused there, since it belongs to a group of them
        return True
    return leaf not in config.target_modules


def _refused_by_peft(model: Any, leaf: str) -> bool:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba

    try:
        _check_lora_target_modules_mamba(LoraConfig(), model, leaf)
    except ValueError:
        return True
    return False


@lru_cache(maxsize=256)
def _read_directly(place: tuple[str, str]) -> frozenset[str]:
    """Names of the layers whose weight the code of the class at `place` (module, name) computes with."""
    module, name = place
    try:
        code = inspect.getsource(getattr(sys.modules[module], name))
    except (OSError, TypeError, KeyError, AttributeError):  # a class without a source file
        return frozenset()
    return frozenset(re.findall(r"self\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|data|requires_grad))", code))


def linear_modules(model: Any) -> dict[str, int]:
    """Full name → layer number of every linear layer in the language model's blocks that an adapter can hold."""
    refused = left_out(model)
    return {name: layer for name, layer in _numbered(model).items() if name not in refused}


def choose_modules(model: Any, targets: str | Sequence[str], layers: Literal["all"] | int) -> list[str]:
    """Full names of the modules that `targets` and `layers` mean. ModelError if a name matches nothing within reach."""
    linear = linear_modules(model)
    depth = max(_numbered(model).values(), default=-1) + 1
    if layers != "all":
        if layers > depth:
            raise ModelError(
                "method.layers asks for more layers than the model has",
                value=layers,
                expected=f"1 to {depth}, or all",
                hint=f"--set method.layers={depth}",
            )
        linear = {name: n for name, n in linear.items() if n >= depth - layers}
    if isinstance(targets, str):
        return _group(model, targets, linear)
    for target in targets:
        if not any(_means(target, name) for name in linear):
            raise _no_such_target(model, target, linear)
    return [name for name in linear if any(_means(target, name) for target in targets)]


def moving_parameters(model: Any, layers: Literal["all"] | int) -> dict[str, torch.nn.Parameter]:
    """The parameters that a full fine-tune moves, by name: all of the language model and its head, or those of the top layers.
    What sees or hears stays as it is. A tied head has one name.
    """
    prefix, head = _decoder_name(model), model.get_output_embeddings()
    own = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    named = {name: parameter for name, parameter in model.named_parameters() if name.startswith(prefix) or id(parameter) in own}
    if layers == "all":
        return named
    kept = {re.match(rf"{re.escape(prefix)}.*?\b\d+\.", name) for name in choose_modules(model, "all", layers)}
    blocks = tuple({found.group() for found in kept if found})
    return {name: parameter for name, parameter in named.items() if name.startswith(blocks)}


def _means(target: str, name: str) -> bool:
    return name == target or name.endswith("." + target)


def _group(model: Any, group: str, linear: Mapping[str, int]) -> list[str]:
    def of(group: str) -> list[str]:
        return [name for name in linear if _GROUPS[group].search(name.rsplit(".", 1)[0])]

    if chosen := of(group):
        return chosen
    refused = {name: why for name, why in left_out(model).items() if _GROUPS[group].search(name.rsplit(".", 1)[0])}
    others = [other for other in _GROUPS if other != group and of(other)]
    raise ModelError(
        "an adapter cannot reach these layers of the model" if refused else "the model has no such layers",
        value=group,
        expected=_choice(linear, _reasons(refused)),
        hint=f"--set method.targets={others[0]}" if others else "choose another base",
    )


def _no_such_target(model: Any, target: str, linear: Mapping[str, int]) -> ModelError:
    leaves = sorted({name.rsplit(".", 1)[-1] for name in linear})
    refused = {name: why for name, why in left_out(model).items() if _means(target, name)}
    fused = _FUSED.get(target.rsplit(".", 1)[-1], "")
    if refused:
        what, more = "an adapter cannot reach this layer of the model", _reasons(refused)
    else:
        what = "an adapter target matches no layer of this model"
        more = f" ({target} is part of the fused {fused} here)" if fused in leaves else ""
    return ModelError(
        what,
        value=target,
        expected=_choice(linear, more),
        hint=f"--set method.targets=[{fused if fused in leaves else ','.join(leaves)}]" if leaves else "choose another base",
    )


def _choice(linear: Mapping[str, int], more: str) -> str:
    leaves = sorted({name.rsplit(".", 1)[-1] for name in linear})
    return (f"linear layers within reach: {', '.join(leaves)}" if leaves else "a model with linear layers within reach") + more


def _reasons(refused: Mapping[str, str]) -> str:
    """` (out_proj: why)` for what was left out."""
    by_leaf = {name.rsplit(".", 1)[-1]: why for name, why in refused.items()}
    return f" ({'; '.join(f'{leaf}: {why}' for leaf, why in sorted(by_leaf.items()))})" if by_leaf else ""


def out_of_reach(model: Any) -> dict[str, int]:
    """Parameters of `model` that no adapter of ours can change, by kind, largest first. Reachable linear layers are not among
    them, whether a recipe adapts them or not."""
    refused = left_out(model)
    reachable = _numbered(model).keys() - refused.keys()
    prefix, head = _decoder_name(model), model.get_output_embeddings()
    kinds = {name: _kind_of(name, module, head) for name, module in model.named_modules()}
    mixers = tuple(name + "." for name, kind in kinds.items() if kind == "state-space layers and convolutions")
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        if owner in reachable:
            continue
        if not name.startswith(prefix) and model.get_submodule(owner) is not head:
            kind = "vision and other inputs"
        elif name.startswith(mixers):
            kind = "state-space layers and convolutions"
        elif kinds[owner]:
            kind = kinds[owner]
        elif parameter.ndim == 3:
            kind = "experts"
        elif refused.get(owner) == _REWRITTEN:
            kind = "layers named like experts"
        else:
            kind = "norms and biases" if parameter.ndim == 1 else "other layers"
        counts[kind] += num_weights(parameter)
    return dict(counts.most_common())


def adaptive_rank(rank: int) -> int:
    """The rank that every layer begins with under AdaLoRA, whose layers keep `rank` on average: half as much again."""
    return rank + -(-rank // 2)


def without_kept(counts: Mapping[str, int], along: int) -> dict[str, int]:
    """The counts of `out_of_reach`, less embeddings and head parameters that move `along` with the adapter."""
    left = {kind: count - (along if kind == "embeddings and head" else 0) for kind, count in counts.items()}
    return {kind: count for kind, count in left.items() if count > 0}


def _kind_of(name: str, module: Any, head: Any) -> str:
    """The kind of what a module holds itself, where its type or its name tells."""
    if isinstance(module, torch.nn.Embedding) or module is head:
        return "embeddings and head"
    if hasattr(module, "A_log") or isinstance(module, torch.nn.Conv1d):
        return "state-space layers and convolutions"
    if _ROUTER.search(name):
        return "routers"
    return "experts" if _EXPERTS.search(name) else ""


def reach_of(
    base: BaseFolder,
    *,
    kind: str,
    rank: int,
    targets: str | Sequence[str],
    layers: Literal["all"] | int,
    rank_pattern: Mapping[str, int] = MappingProxyType({}),
    kept: Callable[[Any], Mapping[str, torch.Tensor]] = lambda model: {},
) -> Reach:
    """What an adapter of this `kind` (lora, rslora, dora, adalora) and rank covers, or a full fine-tune; no weight is read.

    `kept`: the parameters of the base that move with the adapter, by name.
    """
    model = empty_model(base)
    if kind == "full":
        modules = choose_modules(model, "all", layers)
        moving = sum(parameter.numel() for parameter in moving_parameters(model, layers).values())
        return Reach(tuple(modules), len(linear_modules(model)), moving, {}, switch_off_dropouts(model))
    modules = choose_modules(model, targets, layers)
    shapes = {name: model.get_submodule(name).weight.shape for name in modules}
    ranks = by_pattern(modules, adaptive_rank(rank) if kind == "adalora" else rank, rank_pattern, setting="method.rank_pattern")
    extra = {"dora": sum(shape[0] for shape in shapes.values()), "adalora": sum(ranks.values())}.get(kind, 0)
    along = sum(parameter.numel() for parameter in kept(model).values())
    return Reach(
        tuple(modules),
        len(linear_modules(model)),
        along + sum(ranks[name] * sum(shape) for name, shape in shapes.items()) + extra,
        without_kept(out_of_reach(model), along),
        switch_off_dropouts(model),
    )
