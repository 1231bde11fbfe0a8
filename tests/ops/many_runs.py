"""Many finished runs in a moment: manifests as the store writes them, without the cost of making each durable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.files import MANIFEST

__all__ = ["add_run", "add_runs", "sealed"]

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_TRAIN = {
    **{"epochs": 6.0, "max_steps": 0, "batch_examples": 8, "batch_tokens": 0, "curriculum": "none", "tokens_at_once": "auto"},
    **{"accumulate": 1, "schedule": "cosine", "warmup": 0.05, "weight_decay": 0.0, "max_grad_norm": 1.0, "max_tokens": 1024},
    **{"evaluate_every": "auto", "val_examples": 200, "patience": 5, "best_by": "loss", "min_delta": 0.001, "seed": 7},
}


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """The bytes of a manifest with its seal."""
    seal = hashlib.sha256(orjson.dumps(manifest, option=_OPTIONS)).hexdigest()
    return orjson.dumps({**manifest, "seal": seal}, option=_OPTIONS)


def _artifact(root: Path, kind: str, id: str, manifest: Mapping[str, Any]) -> Path:
    folder = root / f"{kind}s" / id[:16]
    folder.mkdir(parents=True)
    libraries = {name: "1.0" for name in ("torch", "transformers", "peft", "safetensors", "numpy", "scipy")}
    whole = {
        "kind": kind,
        "id": id,
        "version": "0.1.0",
        "libraries": libraries,
        "machine": {"cores": 2},
        "files": [],
        **manifest,
    }
    (folder / MANIFEST).write_bytes(sealed(whole))
    return folder


def add_run(project: Path, number: int, *, judged: bool = True, **numbers: Any) -> str:
    """A finished run, and an evaluation of it; returns the run's id. Rank and learning rate depend on `number`."""
    root = project / ".tunesmith"
    id, made = (
        hashlib.sha256(f"run {number}".encode()).hexdigest(),
        f"2026-01-{1 + number % 28:02d}T{number % 24:02d}:00:00+00:00",
    )
    method = {"kind": "lora", "rank": 4 * 2 ** (number % 4), "alpha": 16.0, "dropout": 0.0, "targets": "all", "layers": "all"}
    train = {**_TRAIN, "learning_rate": 1e-4 * (1 + number % 7)}
    loss = 2.0 + (number * 37 % 100) / 100
    _artifact(
        root,
        "run",
        id,
        {
            "inputs": [{"kind": "dataset", "id": "d" * 64}, {"kind": "base", "id": "b" * 64}],
            "settings": {"base": "smollm2", "method": method, "train": train, "allow": [], "precision": "float32"},
            "created": made,
            "numbers": {
                **{"num_steps": 100, "best_step": 90, "best_loss": loss, "stopped_early": False, "seconds": 60.0 + number},
                **{"reading": {"shape": "learning"}, "trainable": 1000 * 2 ** (number % 4), "parameters": 135_000_000},
                **{"memory_bytes": 2**30, **numbers},
            },
            "files": [{"path": "adapter/adapter_model.safetensors", "size": 4000, "sha256": "0" * 64}],
        },
    )
    if judged:
        folder = _artifact(
            root,
            "eval",
            hashlib.sha256(f"eval {number}".encode()).hexdigest(),
            {
                "inputs": [{"kind": "run", "id": id}],
                "settings": {"eval": {"primary": "bits_per_byte"}, "look": {"number": 1}},
                "created": made,
                "numbers": {
                    "verdict": "SHIP",
                    "items": 30,
                    "score": {"mean": loss / 2, "ci": [loss / 2 - 0.1, loss / 2 + 0.1]},
                },
            },
        )
        gates = [{"name": "better", "value": 3 - loss, "interval": [2.9 - loss, 3.1 - loss], "loosened": ""}]
        (folder / "verdict.json").write_bytes(orjson.dumps({"verdict": "SHIP", "gates": gates}))
    return id


def add_runs(project: Path, count: int) -> list[str]:
    """So many runs, each judged."""
    return [add_run(project, number) for number in range(count)]
