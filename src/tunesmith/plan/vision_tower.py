"""The SigLIP tower of models that see: its weights by name and shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunesmith.plan.model_config import ConfigFields
from tunesmith.plan.weights import Weight

__all__ = ["SIGLIP", "siglip"]

# What the library's class takes for keys that published configs leave out.
SIGLIP: Mapping[str, int] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 16,
}


def siglip(fields: ConfigFields, name: str) -> Iterator[Weight]:
    """The weights of the tower that a `vision_config` describes."""
    width, inner, patch = fields.count("hidden_size"), fields.count("intermediate_size"), fields.count("patch_size")
    places = (fields.count("image_size") // patch) ** 2
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.patch_embedding.weight": (width, fields.count("num_channels"), patch, patch),
        "embeddings.patch_embedding.bias": (width,),
        "embeddings.position_embedding.weight": (places, width),
    }
    for layer in range(fields.count("num_hidden_layers")):
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes[f"encoder.layers.{layer}.self_attn.{part}.weight"] = (width, width)
            shapes[f"encoder.layers.{layer}.self_attn.{part}.bias"] = (width,)
        shapes[f"encoder.layers.{layer}.mlp.fc1.weight"] = (inner, width)
        shapes[f"encoder.layers.{layer}.mlp.fc1.bias"] = (inner,)
        shapes[f"encoder.layers.{layer}.mlp.fc2.weight"] = (width, inner)
        shapes[f"encoder.layers.{layer}.mlp.fc2.bias"] = (width,)
        for part in ("layer_norm1", "layer_norm2"):
            shapes[f"encoder.layers.{layer}.{part}.weight"] = shapes[f"encoder.layers.{layer}.{part}.bias"] = (width,)
    shapes["post_layernorm.weight"] = shapes["post_layernorm.bias"] = (width,)
    if fields.flag("vision_use_head", otherwise=True):
        shapes |= _pooling_head(width, inner)
    for part, shape in shapes.items():
        yield Weight(f"{name}.{part}", shape, "vision")


def _pooling_head(width: int, inner: int) -> dict[str, tuple[int, ...]]:
    return {
        "head.probe": (1, 1, width),
        "head.attention.in_proj_weight": (3 * width, width),
        "head.attention.in_proj_bias": (3 * width,),
        "head.attention.out_proj.weight": (width, width),
        "head.attention.out_proj.bias": (width,),
        "head.layernorm.weight": (width,),
        "head.layernorm.bias": (width,),
        "head.mlp.fc1.weight": (inner, width),
        "head.mlp.fc1.bias": (inner,),
        "head.mlp.fc2.weight": (width, inner),
        "head.mlp.fc2.bias": (width,),
    }
