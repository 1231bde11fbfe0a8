"""Checking and opening a base model. safetensors only, no remote code.

Everything is checked before any library opens a file, so that a wrong folder gives a sentence and not a stack.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.core.errors import ModelError
from tunesmith.core.files import checked_name, sha256_file
from tunesmith.core.records import digest
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.locate import locate

__all__ = [
    "BaseFolder",
    "PrecisionName",
    "StoredType",
    "find_base",
    "load_model",
    "load_tokenizer",
    "safetensors_shapes",
    "stored_types",
]

PrecisionName = Literal["float32", "bfloat16"]
StoredType = Literal["float32", "bfloat16", "float16"]
_HEADER_LIMIT = 100 * 2**20
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_STORED: dict[str, StoredType] = {"F64": "float32", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_OTHER_LAYOUT = {"params.json"}  # Mistral's own format: it names weights that are not these


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """A model folder that was checked. `fingerprint` is the SHA-256 over config, tokenizer, template and weights.

    `origin` says where the weights come from (a GGUF file and its quantisation, the hub); empty for a folder of the user's.
    `weights` are the files that transformers opens: those that the index names, or `model.safetensors`.
    """

    name: str
    path: Path
    fingerprint: str
    config: dict[str, Any]
    weights: tuple[Path, ...]
    origin: str = ""

    @property
    def context(self) -> int:
        """Positions that the model was made for."""
        return int(self.config.get("max_position_embeddings") or self.config.get("n_positions") or 2048)

    def other_files(self) -> list[Path]:
        """Tokenizer, template and licence: what a merged copy must carry along unchanged."""
        return sorted(
            p
            for p in self.path.iterdir()
            if p.is_file()
            and (p.suffix in {".json", ".jinja", ".model", ".txt"} or p.name.startswith(("LICENSE", "NOTICE")))
            and not p.name.endswith(".index.json")
            and p.name not in {"config.json", "generation_config.json", "manifest.json"} | _OTHER_LAYOUT
        )


def find_base(name: str, *, offline: bool = False, reporter: Reporter | None = None) -> BaseFolder:
    """The checked folder behind `name`: `auto`, a name that `tunesmith bases` lists, a path, a GGUF file, or a hub id.

    What is not on this machine is fetched once, unless `offline` (or TUNESMITH_OFFLINE) forbids it. Raises ModelError when it
    cannot be had, lacks weights or config, holds only pickled weights, or wants to run its own code.
    """
    found = locate(name, offline=offline, reporter=reporter or SilentReporter())
    return _check_folder(found.name, found.path, found.origin, found.hashes)


def _check_folder(name: str, path: Path, origin: str, hashes: Mapping[str, str]) -> BaseFolder:
    """`hashes`: file name → SHA-256 where it was verified just now, so that large files are not read twice."""

    def wrong(what: str, value: object, expected: str, hint: str) -> ModelError:
        return ModelError(what, value=value, expected=expected, hint=hint)

    files = {p.name for p in path.iterdir() if p.is_file()}
    try:
        config = json.loads((path / "config.json").read_bytes())
        if not isinstance(config, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise wrong(
            "the base folder has no readable config.json",
            str(path),
            f"a Hugging Face model folder ({error})",
            "give the folder that holds config.json and *.safetensors",
        ) from error
    if "adapter_config.json" in files:
        raise wrong(
            "this folder holds an adapter, not a base model",
            str(path),
            "a whole model",
            "give the adapter's base model instead",
        )
    if "auto_map" in config or any(f.startswith("modeling_") for f in files):
        raise wrong(
            "the base wants to run its own code",
            config.get("auto_map", str(path)),
            "an architecture that transformers knows; code from a model folder is never run",
            "choose another base",
        )
    weights = _weight_files(path)
    if not weights:
        pickles = sorted(f for f in files if f.endswith(_PICKLES))
        if pickles:
            raise wrong(
                "the weights are pickled, which can run code when opened",
                pickles[0],
                "*.safetensors",
                "convert the weights to safetensors first, or choose a base that has them",
            )
        raise wrong(
            "the base folder has no weights", str(path), "one or more *.safetensors files", "copy the weights into the folder"
        )
    for file in weights:
        safetensors_shapes(file)
    if not any((path / f).is_file() for f in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise wrong(
            "the base folder has no tokenizer",
            str(path),
            "tokenizer.json or tokenizer.model",
            "copy the tokenizer files into the folder",
        )
    parts = [
        p
        for p in sorted(path.iterdir())
        if p.is_file() and (p.suffix in {".json", ".jinja", ".model", ".txt", ".safetensors"}) and p.name != "manifest.json"
    ]
    fingerprint = digest(*(item for p in parts for item in (p.name, hashes.get(p.name) or sha256_file(p))))
    return BaseFolder(name, path, fingerprint, config, weights, origin)


def _weight_files(path: Path) -> tuple[Path, ...]:
    """The weights as transformers opens them; another set beside them (`consolidated.safetensors`) is not part of the model."""
    index = path / "model.safetensors.index.json"
    if (path / "model.safetensors").is_file() or not index.is_file():
        alone = path / "model.safetensors"
        return (alone,) if alone.is_file() else tuple(sorted(path.glob("*.safetensors")))
    try:
        files = tuple(path / checked_name(name) for name in sorted(set(json.loads(index.read_bytes())["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            "the index of the weights cannot be read",
            value=str(index),
            expected=f"a `weight_map` from tensors to files ({error})",
            hint="copy or download the file again",
        ) from error
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            "weights that the index names are missing",
            value=", ".join(missing[:3]),
            expected=f"{len(files)} files, {len(files) - len(missing)} are there",
            hint="copy or download the missing files",
        )
    return files


def stored_types(weights: Sequence[Path]) -> Counter[StoredType]:
    """Floating-point type → elements stored in it, from the headers; other types (indices, 8-bit blocks) are not counted."""
    counts: Counter[StoredType] = Counter()
    for file in weights:
        for kind, shape in safetensors_shapes(file).values():
            if kind in _STORED:
                counts[_STORED[kind]] += math.prod(shape)
    return counts


def safetensors_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → (dtype, shape) from the header of a safetensors file, validated and read without opening the tensors."""

    def damaged(reason: str) -> ModelError:
        return ModelError(
            "not a safetensors file",
            value=str(path),
            expected=f"a valid header and all of its data ({reason})",
            hint="copy or download the file again",
        )

    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
            raise damaged("the header's length is impossible")
        try:
            header = json.loads(file.read(length))
            shapes = {
                name: (str(fact["dtype"]), tuple(int(n) for n in fact["shape"]))
                for name, fact in header.items()
                if name != "__metadata__"
            }
            end = max((int(fact["data_offsets"][1]) for name, fact in header.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(f"the header cannot be read: {error}") from error
    if end + 8 + length != size:
        raise damaged(f"{end + 8 + length} bytes promised, {size} there")
    return shapes


def load_tokenizer(base: BaseFolder) -> Any:
    """The base's own fast tokenizer (transformers). ModelError if it cannot be opened."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base.path, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            "cannot open the tokenizer",
            value=str(base.path),
            expected=f"tokenizer files that transformers reads ({error})",
            hint="copy the tokenizer files of the base again",
        ) from error
    tokenizer.model_max_length = 2**31  # lengths are checked where they matter; the library's warning says less
    return tokenizer


def load_model(base: BaseFolder, precision: StoredType) -> Any:
    """The causal language model on CPU (or the GPU, if there is one), in evaluation mode, gradients off."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base.path, dtype=getattr(torch, precision), trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            "cannot open the base model",
            value=str(base.path),
            expected=f"an architecture that transformers knows ({str(error).splitlines()[0][:200]})",
            hint="choose another base, or update transformers",
        ) from error
    model.generation_config = GenerationConfig()  # the folder's sampling defaults must not leak into comparisons
    model.requires_grad_(False)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
