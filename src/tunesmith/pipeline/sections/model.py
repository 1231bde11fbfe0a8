"""Settings of the stage that merges base and adapter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.core.settings import Section

__all__ = ["MergeConfig"]


class MergeConfig(Section):
    """The merged model: base and adapter in one folder."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the stored merged weights. `auto`: that of the base. The merge is computed in float32 and rounded once,
    and the parity gate measures the stored file."""
    max_shard_size: Annotated[str, Field(pattern=r"^(\d+(\.\d+)?\s*[KMGT]B)?$")] = ""
    """Largest weight file, such as `2GB`. Empty: the files are split as those of the base."""
