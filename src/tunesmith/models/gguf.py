"""Any GGUF file as a base: its weights are dequantised once into a folder of safetensors, kept by the content of the file.

What a quantised file has lost stays lost; the plan says so. transformers knows which architectures can be read.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.core.errors import ModelError
from tunesmith.core.files import collect_temporary, commit, new_temporary, sha256_file, storage_errors, verify
from tunesmith.core.reporter import Reporter
from tunesmith.models.gguf_header import GgufHeader, read_gguf_header
from tunesmith.models.older_readers import for_older_readers

__all__ = ["dequantised", "write_dequantised"]

_LARGE = 10**9  # weights from which bfloat16 is written: float32 would take four bytes for each
_FORM = 2  # of what is written: folders of an earlier form are not used
_OVER = 1.1  # free disk wanted, over the bytes of the weights


def dequantised(file: Path, cache: Path, *, reporter: Reporter) -> Path:
    """The safetensors folder of a GGUF file below `cache`, made if it is not there. ModelError if it cannot be read."""
    header = read_gguf_header(file)
    content = sha256_file(file)
    final = cache / "gguf" / f"{content[:16]}-{_FORM}"
    if verify(final) is None:
        reporter.note(
            f"{file.name}: {header.architecture}, {header.num_parameters / 1e6:.0f} M weights in {header.quantisation}, "
            "dequantised once and kept"
        )
        write_dequantised(file, header, final, facts={"gguf_sha256": content})
    return final


def write_dequantised(
    file: Path,
    header: GgufHeader,
    final: Path,
    *,
    facts: Mapping[str, Any],
    check: Callable[[Any], None] = lambda tokenizer: None,
    texts: Mapping[str, bytes] | None = None,
) -> None:
    """Write the model of `file` as safetensors with tokenizer and template to `final`, whole or not at all.

    `check` may refuse the tokenizer; `texts` (a licence) are written to the same folder; `facts` go into the manifest.
    """
    precision = "bfloat16" if header.num_parameters >= _LARGE else "float32"
    needed = round(_OVER * header.num_parameters * (2 if precision == "bfloat16" else 4))
    with storage_errors("dequantising a GGUF file", final):
        final.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(final.parent).free) < needed:
            raise ModelError(
                "no room on the disk for the dequantised weights",
                value=f"{free / 2**20:,.0f} MiB free in {final.parent}",
                expected=f"{needed / 2**20:,.0f} MiB",
                hint="free some space, or set TUNESMITH_CACHE to a folder on another disk",
            )
        collect_temporary(final.parent)
        folder = new_temporary(final)
        try:
            model, tokenizer = _opened(file, precision)
            check(tokenizer)
            model.save_pretrained(folder, safe_serialization=True)
            tokenizer.save_pretrained(folder)
            _readable_by_all(folder)
            for name, text in (texts or {}).items():
                (folder / name).write_bytes(text)
            origin = f"{file.name}, {header.quantisation} dequantised to {precision}"
            commit(folder, final, {"kind": "base", "origin": origin, **facts})
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _opened(file: Path, precision: str) -> tuple[Any, Any]:
    """Model without a trace of its quantisation, and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    place: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        with redirect_stderr(io.StringIO()):  # the library draws bars of its own
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **place)
            loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=getattr(torch, precision), **place)
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, AttributeError, TypeError, IndexError) as error:
        raise ModelError(
            "this GGUF file cannot be used as a base",
            value=str(file),
            expected=f"an architecture and tokenizer that transformers reads from GGUF ({str(error).splitlines()[0][:200]})",
            hint="give the safetensors folder that the file was made from",
        ) from error
    settings = {k: v for k, v in loaded.config.to_dict().items() if k not in {"quantization_config", "_model_name_or_path"}}
    with torch.device("meta"):
        model = type(loaded)(type(loaded.config).from_dict(settings))
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model.generation_config = GenerationConfig(**{k: v for k, v in ends.items() if v is not None})
    return model, tokenizer


def _readable_by_all(folder: Path) -> None:
    """Settings as transformers 4 and 5 and other readers find them: `rope_theta` at the top too, a known tokenizer class."""
    config = json.loads((folder / "config.json").read_bytes())
    config = {key: _shortest(value) for key, value in config.items()}
    config = for_older_readers(config)
    config.setdefault("torch_dtype", config.get("dtype"))
    _write(folder / "config.json", config)
    _without_made_up_tokens(folder / "tokenizer.json", int(config["vocab_size"]))
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    settings = {key: value for key, value in settings.items() if key not in {"backend", "is_local", "local_files_only"}}
    _write(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})


def _without_made_up_tokens(file: Path, size: int) -> None:
    """A GGUF file lists all of its tokens. The library adds some that it expects (`<|endoftext|>`): behind the last of the
    model's embeddings they would be ids that it cannot read."""
    whole = json.loads(file.read_bytes())
    kept = [token for token in whole["added_tokens"] if token["id"] < size]
    if len(kept) < len(whole["added_tokens"]):
        file.write_text(json.dumps({**whole, "added_tokens": kept}, indent=2, ensure_ascii=False), encoding="utf-8")


def _shortest(value: Any) -> Any:
    """A float that was stored in 32 bits as the shortest number that means it: 9.999999747378752e-06 is 1e-05."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _write(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
