"""Further runs in a finished project, each judged on the same test items by made-up evidence."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from evidence_fakes import evidence, general, parity

from tunesmith.core.artifacts import Draft, Store
from tunesmith.eval.files import write_evaluation
from tunesmith.pipeline.ruling import rule_on
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig

__all__ = ["add_judged_run"]


def add_judged_run(
    store: Store, bits: Mapping[str, float] | None, *, rank: int, trained: int, dataset: str = "", noise: float = 0.08
) -> str:
    """A run of another rank than the project's first, judged by these bits per byte (None: not judged); its id."""
    first = store.resolve("run:latest")
    inputs = [{**one, "id": dataset or one["id"]} if one["kind"] == "dataset" else one for one in first.manifest["inputs"]]
    settings = {**first.manifest["settings"], "method": {**first.manifest["settings"]["method"], "rank": rank}}

    def fill(draft: Draft) -> None:
        (draft.path / "adapter").mkdir()
        (draft.path / "adapter" / "adapter_model.safetensors").write_bytes(bytes(trained))
        rows = [{"step": 0, "val_loss": 2.0}, {"step": 2, "loss": 1.8}, {"step": 4, "val_loss": 1.4}]
        (draft.path / "metrics.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        draft.numbers |= {**first.numbers, "trainable": trained, "parameters": 1000}

    made = store.obtain("run", inputs, settings, fill)
    if bits is not None:
        _judge(store, bits, noise)
    return made.id


def _judge(store: Store, bits: Mapping[str, float], noise: float) -> None:
    """An evaluation whose documents are spread otherwise than those of the first run, so that differences have a spread."""
    chosen, gates = EvalConfig(baselines=["prompted"], draws=200), GateConfig()
    found = evidence(dict(bits), noise=noise, with_parity=parity(), with_general=general())
    measured, verdict = rule_on(found, chosen, gates, number=1, changed=())

    def fill(draft: Draft) -> None:
        write_evaluation(draft.path, found, measured, verdict)
        draft.numbers |= {"verdict": verdict.verdict, "items": 30}

    inputs = [store.resolve(f"{kind}:latest").reference() for kind in ("dataset", "run", "model")]
    settings = {"eval": chosen.model_dump(), "gates": gates.model_dump(), "look": {"number": 1, "changed": []}}
    store.obtain("eval", inputs, settings, fill)
