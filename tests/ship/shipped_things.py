"""Small things to publish: an adapter, a model folder, a GGUF file and a dataset, and a project that has them as artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import save_file

from tunesmith.core.artifacts import Artifact, Store

__all__ = ["BASE", "write_adapter", "write_artifact", "write_card", "write_gguf", "write_model", "write_rows"]

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"


def write_card(folder: Path, metadata: str = f"license: apache-2.0\nbase_model: {BASE}\n", text: str = "# A voice\n") -> None:
    (folder / "README.md").write_text(f"---\n{metadata}---\n\n{text}", encoding="utf-8")


def write_adapter(folder: Path, *, base: str = BASE, size: int = 400) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {"layer.lora_A.weight": np.arange(size, dtype=np.float32)}, folder / "adapter_model.safetensors", {"format": "pt"}
    )
    return folder


def write_model(folder: Path, *, num_shards: int = 1, size: int = 3000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 8}), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}, "merges": []}}), encoding="utf-8")
    names = [f"model-{n + 1:05}-of-{num_shards:05}.safetensors" for n in range(num_shards)]
    for number, name in enumerate(names if num_shards > 1 else ["model.safetensors"]):
        save_file({f"layer{number}.weight": np.full(size, number, dtype=np.float32)}, folder / name, {"format": "pt"})
    if num_shards > 1:
        index = {"metadata": {}, "weight_map": {f"layer{number}.weight": name for number, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def write_gguf(file: Path, *, name: str = "a voice") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(file, "llama")
    writer.add_name(name)
    writer.add_tensor("token_embd.weight", np.ones((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_rows(file: Path, *texts: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"82ca718e4b6f91{n:02x}", "messages": [{"role": "user", "content": text}]} for n, text in enumerate(texts)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_artifact(project: Path, kind: str, settings: Mapping[str, Any] | None = None) -> Artifact:
    """A run with an adapter, a merged model, an export of a GGUF file, or a dataset, as the latest of its kind."""
    store = Store(project / ".tunesmith")
    with store.create(kind, inputs=[], settings=settings or {}) as draft:
        if kind == "run":
            write_adapter(draft.path / "adapter")
            (draft.path / "metrics.jsonl").write_text('{"step": 1}\n')
        elif kind == "model":
            write_model(draft.path)
        elif kind == "export":
            write_gguf(draft.path / "files" / "voice.gguf")
            (draft.path / "evidence.json").write_text("{}")
        else:
            write_rows(draft.path / "train.jsonl", "How does it begin?", "And how does it end?")
    found = store.find(kind, draft.id)
    assert found is not None
    return store.mark_latest(found)
