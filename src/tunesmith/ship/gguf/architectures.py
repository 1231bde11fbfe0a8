"""The architectures that can be written as GGUF: names, sizes and what is changed in the weights of each.

The keys and changes are those of `conversion/` in the llama.cpp project. docs/concepts/gguf.md has the comparison with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gguf import MODEL_ARCH, GGUFWriter

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder
from tunesmith.ship.gguf.rope import add_rope

__all__ = ["ARCHITECTURES", "Architecture", "add_sizes", "architecture", "configuration", "head_dim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture of transformers in GGUF.

    `rotates_pairs`: llama.cpp rotates neighbouring channels where transformers rotates halves, so that the rows of the query
    and key matrices are put in another order. `norm_offset` is added to the weights of the norms. `window_period`: the last of
    so many layers attends to everything, the others through a window (0: no windows). `large_layers`: the number of layers by
    which llama.cpp knows the model whose attention is scaled by the width and not by the head.
    """

    arch: MODEL_ARCH
    activation: str = "silu"
    rotates_pairs: bool = False
    norm_offset: float = 0.0
    window_period: int = 0
    large_layers: int = 0

    @property
    def is_phi3(self) -> bool:
        """Phi-3 and Phi-4-mini."""
        return bool(self.arch == MODEL_ARCH.PHI3)


_LLAMA = Architecture(arch=MODEL_ARCH.LLAMA, rotates_pairs=True)
_GEMMA3 = Architecture(
    arch=MODEL_ARCH.GEMMA3, activation="gelu_pytorch_tanh", norm_offset=1.0, window_period=6, large_layers=62
)
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "LlamaForCausalLM": _LLAMA,
        "MistralForCausalLM": _LLAMA,
        "Qwen2ForCausalLM": Architecture(arch=MODEL_ARCH.QWEN2),
        "Qwen3ForCausalLM": Architecture(arch=MODEL_ARCH.QWEN3),
        "Phi3ForCausalLM": Architecture(arch=MODEL_ARCH.PHI3),
        "Gemma2ForCausalLM": Architecture(
            arch=MODEL_ARCH.GEMMA2, activation="gelu_pytorch_tanh", norm_offset=1.0, window_period=2, large_layers=46
        ),
        "Gemma3ForCausalLM": _GEMMA3,
    }
)


def architecture(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a config.json names. ModelError, with those that are known, for any other."""
    names = config.get("architectures") or ["none"]
    if names[0] not in ARCHITECTURES:
        raise ModelError(
            "this architecture cannot be written as GGUF",
            value=names[0],
            expected=", ".join(ARCHITECTURES),
            hint="ship the merged folder instead: --to merged",
        )
    return ARCHITECTURES[names[0]]


def configuration(folder: BaseFolder) -> Any:
    """The configuration of the language model as transformers reads it, defaults filled in."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder.path, trust_remote_code=False).get_text_config()


def head_dim(config: Any) -> int:
    """Channels of one attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def add_sizes(writer: GGUFWriter, kind: Architecture, config: Any) -> tuple[str, ...]:
    """Write the sizes and settings of `config` (a configuration of transformers, defaults filled in).

    Returns sentences on what llama.cpp does in another way. ModelError for settings that it does not have.
    """
    _check(kind, config)
    channels = head_dim(config)
    window, notes = _window(kind, config)
    context = int(config.max_position_embeddings)
    if window and not kind.window_period:
        context = min(context, window)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(channels)
    writer.add_value_length(channels)
    writer.add_vocab_size(config.vocab_size)
    if kind.window_period and window:
        _add_windows(writer, kind, config, window)
    if kind.is_phi3:
        writer.add_sliding_window(0)
    for key, add in (
        ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
        ("final_logit_softcapping", writer.add_final_logit_softcapping),
    ):
        if (cap := getattr(config, key, None)) is not None:
            add(float(cap))
    add_rope(writer, config, head_dim=channels, is_phi3=kind.is_phi3)
    return notes


def _check(kind: Architecture, config: Any) -> None:
    def refused(what: str, value: object, expected: str) -> ModelError:
        return ModelError(
            f"llama.cpp does not know this {what}",
            value=value,
            expected=expected,
            hint="ship the merged folder instead: --to merged",
        )

    activation = str(getattr(config, "hidden_activation", None) or config.hidden_act)
    if activation != kind.activation:
        raise refused("activation function for this architecture", activation, kind.activation)
    if getattr(config, "use_bidirectional_attention", None):
        raise refused("attention in both directions", True, "attention to what came before")
    if kind.arch == MODEL_ARCH.GEMMA2 and (config.attn_logit_softcapping is None or config.final_logit_softcapping is None):
        raise refused("Gemma 2 without softcapping", None, "attn_logit_softcapping and final_logit_softcapping")
    if kind.arch == MODEL_ARCH.GEMMA3 and getattr(config, "attn_logit_softcapping", None) is not None:
        raise refused("softcapping of attention", config.attn_logit_softcapping, "none in Gemma 3")
    if kind.large_layers:
        large = config.num_hidden_layers == kind.large_layers
        wanted = config.hidden_size / config.num_attention_heads if large else head_dim(config)
        if config.query_pre_attn_scalar != wanted:
            raise refused(
                "query_pre_attn_scalar", config.query_pre_attn_scalar, f"{wanted:g} for {config.num_hidden_layers} layers"
            )


def _window(kind: Architecture, config: Any) -> tuple[int, tuple[str, ...]]:
    """How many tokens the sliding layers see (0: all layers see all), and what llama.cpp does about it."""
    types = getattr(config, "layer_types", None)
    window = int(getattr(config, "sliding_window", None) or 0)
    if types is not None and "sliding_attention" not in types:
        window = 0
    if not window or kind.window_period or window >= config.max_position_embeddings:
        return window if kind.window_period else 0, ()
    return window, (
        f"llama.cpp has no sliding window for this architecture: the context length is set to the window, {window:,} of "
        f"{config.max_position_embeddings:,} tokens, within which both agree",
    )


def _add_windows(writer: GGUFWriter, kind: Architecture, config: Any, window: int) -> None:
    writer.add_sliding_window(window)
    slides = [each == "sliding_attention" for each in config.layer_types]
    periods = (kind.window_period, *range(1, len(slides) + 2))
    fitting = [n for n in periods if slides == [layer % n < n - 1 for layer in range(len(slides))]]
    if not fitting:
        raise ModelError(
            "llama.cpp does not know this order of sliding and full layers",
            value=", ".join(config.layer_types),
            expected="one full layer after a fixed number of sliding ones",
            hint="ship the merged folder instead: --to merged",
        )
    if fitting[0] != kind.window_period:
        writer.add_sliding_window_pattern(fitting[0])
