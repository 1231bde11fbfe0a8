"""A finished project in a moment: real artifacts with small files, and a real evaluation of made-up evidence."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from evidence_fakes import evidence, general, parity
from safetensors.numpy import save_file

from tunesmith.core.artifacts import Artifact, Draft, Store
from tunesmith.eval.files import write_evaluation
from tunesmith.pipeline.ruling import rule_on
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig

__all__ = ["SECRET", "TUNED_WELL", "TUNED_WORSE", "add_evaluation", "add_export", "make_project"]

TUNED_WELL: dict[str, float] = {"base": 1.4, "prompted": 1.3, "tuned": 1.1, "merged": 1.1001}
TUNED_WORSE: dict[str, float] = {"base": 1.1, "prompted": 1.0, "tuned": 1.4, "merged": 1.4001}
SECRET = "The lighthouse key is under the third stone."  # the writing, which must not leave
_CHOSEN = EvalConfig(baselines=["prompted"], draws=200)


def make_project(folder: Path, *, bits: Mapping[str, float] | None = TUNED_WELL, gates: GateConfig | None = None) -> Store:
    """A project whose model was judged by these bits per byte; None: never evaluated."""
    store = Store(folder / ".tunesmith")
    documents = _made(
        store, "documents", [], {"me": "Ann"}, _documents, {"documents": 2, "words": 40, "failures": [], "notes": []}
    )
    dataset = _made(store, "dataset", [documents], _DATASET, _dataset, _COUNTS)
    base = {"kind": "base", "id": "b" * 64}
    run = _made(store, "run", [dataset, base], _RUN, _run, _TRAINED)
    _made(store, "use", [dataset, run], {}, _use, {"settings": "temperature 0.7, top-p 0.9"})
    _made(store, "model", [run, base], {"merge": {"precision": "auto"}}, _model, {"findings": []})
    if bits is not None:
        add_evaluation(store, bits, gates=gates or GateConfig())
    return store


def add_evaluation(store: Store, bits: Mapping[str, float], *, gates: GateConfig, number: int = 1) -> Artifact:
    """An evaluation of the project's run: evidence, numbers, gates and verdict as the pipeline writes them."""
    files, verdict = _judged(tuple(bits.items()), gates.model_dump_json(), number)

    def fill(draft: Draft) -> None:
        for name, content in files.items():
            (draft.path / name).write_bytes(content)
        draft.numbers |= {"verdict": verdict, "items": 30}

    settings = {
        "eval": _CHOSEN.model_dump(),
        "gates": gates.model_dump(),
        "look": {"number": number, "changed": []},
        "bigger": {"url": "http://user:password@inside.example/v1"},
    }
    inputs = [store.resolve(f"{kind}:latest").reference() for kind in ("dataset", "run", "model")]
    return store.obtain("eval", inputs, settings, fill)


@cache
def _judged(bits: tuple[tuple[str, float], ...], gates: str, number: int) -> tuple[dict[str, bytes], str]:
    """The files of an evaluation and its verdict; judging takes seconds, so each is judged once."""
    made = evidence(dict(bits), with_parity=parity(), with_general=general())
    rules = GateConfig.model_validate_json(gates)
    measurements, verdict = rule_on(made, _CHOSEN, rules, number=number, changed=())
    with tempfile.TemporaryDirectory() as folder:
        write_evaluation(Path(folder), made, measurements, verdict)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}, verdict.verdict


def add_export(store: Store, *, verdict: str = "SHIP", marks: Sequence[str] = ()) -> Artifact:
    """An export of the merged model to GGUF, with the numbers that `tunesmith export` writes."""

    def fill(draft: Draft) -> None:
        (draft.path / "files").mkdir()
        (draft.path / "files" / "model-q8_0.gguf").write_bytes(b"GGUF" + bytes(60))
        draft.numbers |= {
            **{
                "form": "gguf",
                "quant": "q8_0",
                "engine": "llama.cpp",
                "main": "model-q8_0.gguf",
                "bytes": 64,
                "tokens_per_s": 41.5,
                "memory_bytes": 2**27,
            },
            **{"kl": 0.004, "top1": 0.99, "verdict": verdict, "marks": list(marks)},
            "primary": {"name": "bits_per_byte", "mean": 1.12, "ci": [1.05, 1.19]},
            "against_adapter": {"mean": 0.02, "ci": [0.01, 0.03]},
        }

    inputs = [store.resolve("model:latest").reference(), store.resolve("run:latest").reference()]
    return store.obtain("export", inputs, {"form": "gguf", "quant": "q8_0", "verdict": verdict}, fill)


_DATASET: dict[str, Any] = {"build": {"style": "passages"}, "split": {"by": "document"}, "mix": {"share": 0.2}}
_RUN: dict[str, Any] = {
    "base": "smollm2",
    "method": {"kind": "lora", "rank": 8, "alpha": 16.0, "dropout": 0.0, "targets": "all", "layers": "all"},
    "train": {"epochs": 1.0, "batch_examples": 4, "learning_rate": 1e-3, "seed": 7},
    "precision": "float32",
}
_COUNTS: dict[str, Any] = {
    **{"train": 2, "val": 1, "test": 1, "learned_tokens": 90, "leaks": 0, "dropped": {"passage too short": 3}},
    "cut": {"num_cut": 1, "share": 0.01, "examples": [SECRET]},
    "findings": [{"name": "secrets", "severity": "warning", "count": 1, "message": SECRET}],
    "not_looked_for": ["translations"],
}
_TRAINED: dict[str, Any] = {
    **{"num_steps": 4, "best_step": 4, "best_loss": 1.5, "seconds": 75.0, "num_tokens": 1000, "trainable": 64},
    "interpolation": {"scale": 0.7, "base_loss": 2.0, "whole_loss": 1.5, "loss": 1.56},
    "reading": {"shape": "learning", "text": "validation fell from 2.000 to 1.500", "advice": "more epochs would help"},
}


def _made(
    store: Store, kind: str, inputs: Sequence[Any], settings: Mapping[str, Any], fill: Any, numbers: Mapping[str, Any]
) -> Artifact:
    def whole(draft: Draft) -> None:
        fill(draft.path)
        draft.numbers |= numbers

    references = [one.reference() if isinstance(one, Artifact) else one for one in inputs]
    return store.obtain(kind, references, settings, whole)


def _documents(path: Path) -> None:
    (path / "documents.jsonl").write_bytes(orjson.dumps({"id": "d1", "text": SECRET}) + b"\n")


def _dataset(path: Path) -> None:
    rows = [_row(number) for number in range(4)]
    for split, part in (("train", rows[:2]), ("val", rows[2:3]), ("test", rows[3:])):
        (path / f"{split}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in part))
    splits = {
        name: {"examples": n, "documents": n, "answer_words": {"total": 9 * n}} for name, n in (("train", 2), ("test", 1))
    }
    report = {
        "documents_read": 2,
        "splits": splits,
        "notes": ["3 drafts left out", f"a note on {SECRET}"],
        "failures": [],
        "quality": {"summary": {"languages": {"English": 4}}},
        "dropped": {"passage too short": {"count": 3, "samples": [SECRET]}},
    }
    (path / "report.json").write_bytes(orjson.dumps(report))


def _row(number: int) -> dict[str, Any]:
    sources = ("https://ann.example/feed.xml", "hf:ann/letters:train", "notes/private.md", "own")
    origin = {"kind": "own_answers", "model": "smollm2", "generated": "answer"} if number == 3 else None
    return {
        "id": f"r{number}",
        "messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": f"{SECRET} {number}"}],
        "group": f"g{number}",
        "source": sources[number],
        "license": "CC-BY-4.0" if number == 0 else None,
        "origin": origin,
        "meta": {"author": "Ann | Bee", "date": "2024-05-01"} if number < 2 else {},
    }


def _run(path: Path) -> None:
    (path / "adapter").mkdir()
    save_file({"a": np.ones((4, 4), dtype=np.float32)}, path / "adapter" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "/home/ann/models/smollm2"}
    (path / "adapter" / "adapter_config.json").write_bytes(orjson.dumps(config))
    rows = [
        {"step": 0, "val_loss": 2.0, "val_accuracy": 0.2, "samples": [SECRET]},
        {"step": 1, "loss": 1.9, "learning_rate": 1e-3, "grad_norm": 0.5},
        {"step": 4, "val_loss": 1.5, "val_accuracy": 0.4, "samples": [SECRET]},
    ]
    (path / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _use(path: Path) -> None:
    (path / "use.json").write_bytes(orjson.dumps({"temperature": 0.7}))


def _model(path: Path) -> None:
    save_file({"w": np.ones((8, 8), dtype=np.float32)}, path / "model.safetensors")
    (path / "config.json").write_bytes(orjson.dumps({"architectures": ["LlamaForCausalLM"]}))
    (path / "LICENSE").write_text("                 Apache License\n        Version 2.0, January 2004\n")
