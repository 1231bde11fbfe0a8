"""Checking and opening a base model. safetensors only, no remote code.

Everything is checked before any library opens a file, so that a wrong folder gives a sentence and not a stack.
"""

from __future__ import annotations

import json
import math
import re
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
from tunesmith.models.fits import ASKING, checked_config, opening, refuse_misfit, refuse_two_heads
from tunesmith.models.locate import locate

__all__ = [
    "BaseFolder",
    "PrecisionName",
    "StoredType",
    "check_fit",
    "empty_model",
    "find_base",
    "load_model",
    "load_tokenizer",
    "open_model",
    "quantisation_name",
    "safetensors_metadata",
    "safetensors_shapes",
    "stored_types",
    "unquantised_name",
]

PrecisionName = Literal["float32", "bfloat16"]
StoredType = Literal["float32", "bfloat16", "float16"]
_HEADER_LIMIT = 100 * 2**20
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_STORED: dict[str, StoredType] = {"F64": "float32", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_OTHER_LAYOUT = {"params.json"}  # Mistral's own format: it names weights that are not these
_QUANTISED = ("quantization_config", "compression_config")
_NARROW = {"F8_E4M3", "F8_E5M2", "F4", "U8", "I8", "I32"}  # types that hold quantised numbers
_INDICES = ("position_ids", "bias", "mask")  # whole numbers that are no weights
_SUFFIX = re.compile(r"[-_.](GPTQ|AWQ|bnb|FP8|NVFP4|MXFP4|w\d+a\d+|int[48]|quantized)\b.*$", re.IGNORECASE)


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
        """Positions that the language model was made for."""
        text = self.config.get("text_config") or {}
        places = [part.get(key) for part in (text, self.config) for key in ("max_position_embeddings", "n_positions")]
        return int(next((size for size in places if size), 2048))

    @property
    def address(self) -> str:
        """What any program opens this base by: its id on the hub, or the folder's absolute path.

        Names that only Tunesmith knows would be looked up on the hub, where they may belong to other people.
        """
        is_id = re.fullmatch(r"[\w.-]+/[\w.-]+", self.name) and not Path(self.name).exists()
        return self.name if is_id else str(self.path.resolve())

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


def find_base(name: str, *, offline: bool = False, reporter: Reporter | None = None, quantised: bool = False) -> BaseFolder:
    """The checked folder behind `name`: `auto`, a name that `tunesmith bases` lists, a path, a GGUF file, or a hub id.

    What is not on this machine is fetched once, unless `offline` (or TUNESMITH_OFFLINE) forbids it. `quantised`: weights in
    fewer bits are taken as well, by engines that only run them. Raises ModelError when it cannot be had, lacks weights or
    config, holds only pickled or quantised weights, or wants to run its own code.
    """
    found = locate(name, offline=offline, reporter=reporter or SilentReporter())
    return _check_folder(found.name, found.path, found.origin, found.hashes, quantised=quantised)


def _check_folder(name: str, path: Path, origin: str, hashes: Mapping[str, str], *, quantised: bool) -> BaseFolder:
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
    headers = [safetensors_shapes(file) for file in weights]
    if not quantised:
        _refuse_quantised(name, config, headers)
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
    """The weights as transformers opens them; another set there (`consolidated.safetensors`) is not part of the model."""
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


def _refuse_quantised(name: str, config: dict[str, Any], headers: Sequence[Mapping[str, tuple[str, tuple[int, ...]]]]) -> None:
    """ModelError for weights that are kept in fewer bits: an adapter is trained on whole ones and merged into whole ones.

    A GGUF base is left to the code that dequantises it.
    """
    places = [config, config.get("text_config") or {}]
    stated = [found for place in places for key in _QUANTISED if isinstance(found := place.get(key), dict)]
    method = next(map(quantisation_name, stated), "")
    if method == "gguf":
        return
    if not method:
        tensors = [(n, dtype) for header in headers for n, (dtype, shape) in header.items() if len(shape) in (2, 3)]
        narrow = next(((n, dtype) for n, dtype in tensors if dtype in _NARROW and not n.endswith(_INDICES)), None)
        if narrow is None:
            return
        method = f"{narrow[1]} weights, first {narrow[0]}"
    whole = unquantised_name(name)
    raise ModelError(
        "the base is quantised, and an adapter needs whole weights",
        value=f"{name}: {method}",
        expected="weights in float32, bfloat16 or float16",
        hint=f"--base {whole}, if that holds the same model unquantised"
        if whole != name
        else "take the unquantised form of this model, which its page names as the one it was made from",
    )


def unquantised_name(name: str) -> str:
    """`owner/model-bnb-4bit` without what says that it is quantised; the same name if nothing does."""
    owner, slash, model = name.rpartition("/")
    return owner + slash + _SUFFIX.sub("", model)


def quantisation_name(quantisation: Mapping[str, Any]) -> str:
    """`gptq, 4 bits`, as a quantization_config says it; older files of bitsandbytes name no method."""
    old = next((f"bitsandbytes, {bits} bits" for bits in (4, 8) if quantisation.get(f"load_in_{bits}bit")), "")
    method = str(quantisation.get("quant_method") or "") or old or "a method that its config does not name"
    bits = quantisation.get("bits") or quantisation.get("w_bit")
    return f"{method}, {bits} bits" if bits else method


def safetensors_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → (dtype, shape) from the header of a safetensors file, validated and read without opening the tensors."""
    return _safetensors_header(path)[0]


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file (`format: pt`), after the same validation."""
    return _safetensors_header(path)[1]


def _safetensors_header(path: Path) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
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
            texts = {str(key): str(value) for key, value in (header.get("__metadata__") or {}).items()}
            end = max((int(fact["data_offsets"][1]) for name, fact in header.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(f"the header cannot be read: {error}") from error
    if end + 8 + length != size:
        raise damaged(f"{end + 8 + length} bytes promised, {size} there")
    return shapes, texts


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


def _model_class(config: Any) -> Any:
    """The transformers class that opens a configuration: a causal language model, or one that also sees."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    if type(config) in AutoModelForCausalLM._model_mapping or type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForCausalLM
    return AutoModelForImageTextToText


def empty_model(base: BaseFolder) -> Any:
    """The base's architecture without weights (torch's meta device): module names and shapes, at no cost."""
    import torch

    with opening(base.path), torch.device("meta"):
        config = checked_config(base.path, base.config)
        return _model_class(config).from_config(config)


def check_fit(base: BaseFolder) -> None:
    """ModelError for a base of an unknown architecture, or whose weights are not those of its config.

    No weight is read, except where a model that should have one matrix for embedding and head has two.
    """
    with opening(base.path):
        config = checked_config(base.path, base.config)
        model, info = _model_class(config).from_pretrained(
            base.path, device_map="meta", trust_remote_code=False, use_safetensors=True, **ASKING
        )
    refuse_misfit(base.path, model, info)
    refuse_two_heads(base.path, model, base.weights)


def load_model(base: BaseFolder, precision: StoredType) -> Any:
    """The causal language model on CPU (or the GPU, if there is one), in evaluation mode, gradients off.

    ModelError if it cannot be opened, or its weights are not those that its config describes.
    """
    return open_model(base, precision)


def open_model(base: BaseFolder, precision: StoredType, **how: Any) -> Any:
    """As `load_model`; `how` goes to transformers' own loader, for bases that are quantised while they are opened."""
    import torch
    from transformers import GenerationConfig

    with opening(base.path):
        config = checked_config(base.path, base.config)
        loaded = _model_class(config).from_pretrained(
            base.path,
            dtype=getattr(torch, precision),
            trust_remote_code=False,
            use_safetensors=True,
            **(how or ASKING),  # quantised weights have tensors of their own
        )
    model = loaded if how else loaded[0]
    if not how:
        refuse_misfit(base.path, *loaded)
    model.generation_config = GenerationConfig()  # the folder's sampling defaults must not leak into comparisons
    model.requires_grad_(False)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
