"""What one manifest says of a run, or of an evaluation of a run: plain values, which the index stores.

Nothing is hashed here but the manifest itself, whose seal must hold; the files of an artifact are verified where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.files import MANIFEST, seal_holds

__all__ = ["KINDS", "Facts", "facts_of", "flat"]

Facts = dict[str, Any]
KINDS = ("runs", "evals", "agreements")
"""Folders of a store that the table is made from."""


def facts_of(folder: Path) -> Facts:
    """The facts of the artifact in `folder`; `{"damaged": reason}` if its manifest is not as it was written."""
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = orjson.loads(raw)
        if not seal_holds(raw):
            return {"damaged": f"{MANIFEST} does not match its seal"}
        return _run(manifest) if manifest["kind"] == "run" else _evaluation(folder, manifest)
    except OSError as error:
        return {"damaged": f"{MANIFEST} cannot be read ({error.strerror})"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"damaged": f"{MANIFEST} cannot be understood"}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their names: `{"train": {"seed": 7}}` gives `{"train.seed": 7}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _run(manifest: Mapping[str, Any]) -> Facts:
    numbers, settings = manifest["numbers"], dict(manifest["settings"])
    inputs = {one["kind"]: one["id"] for one in manifest["inputs"]}
    weights = sum(fact["size"] for fact in manifest["files"] if fact["path"].endswith(".safetensors"))
    return {
        "id": manifest["id"],
        "created": manifest["created"],
        "base": str(settings.pop("base", "")),
        "dataset": inputs.get("dataset"),
        "settings": flat(settings),
        "loss": (numbers.get("interpolation") or {}).get("loss", numbers.get("best_loss")),  # of the weights that were saved
        "best_step": numbers.get("best_step"),
        "steps": numbers.get("num_steps"),
        "stopped_early": numbers.get("stopped_early"),
        "reading": (numbers.get("reading") or {}).get("shape"),
        "seconds": numbers.get("seconds"),
        "memory_bytes": numbers.get("memory_bytes"),
        "bytes": weights,
        "trained": numbers.get("trainable"),
        "parameters": numbers.get("parameters"),
    }


def _evaluation(folder: Path, manifest: Mapping[str, Any]) -> Facts:
    numbers = manifest["numbers"]
    run = next((one["id"] for one in manifest["inputs"] if one["kind"] == "run"), None)
    look = manifest["settings"].get("look") or {}
    found = {
        "id": manifest["id"],
        "kind": manifest["kind"],
        "created": manifest["created"],
        "run": run,
        "verdict": numbers.get("verdict"),
        "items": numbers.get("items"),
        "look": look.get("number"),
        **_gain(folder),
    }
    return found | _score(folder, manifest, numbers)


def _gain(folder: Path) -> Facts:
    """The gain over the base in the primary metric, and which gates were loosened, as `verdict.json` holds them."""
    gates = orjson.loads((folder / "verdict.json").read_bytes())["gates"]
    better: Facts = next((gate for gate in gates if gate["name"] == "better"), {})
    return {
        "gain": better.get("value"),
        "gain_ci": better.get("interval"),
        "loosened": [gate["name"] for gate in gates if gate.get("loosened")],
    }


def _score(folder: Path, manifest: Mapping[str, Any], numbers: Mapping[str, Any]) -> Facts:
    """The mean of the tuned model in the primary metric with its interval: of the manifest, or of an older report."""
    if manifest["kind"] != "eval":
        share = numbers.get("accuracy") or {}
        return {"metric": "accuracy", "score": share.get("share"), "score_ci": share.get("ci")}
    metric = manifest["settings"]["eval"]["primary"]
    if (found := numbers.get("score")) is None:
        report = orjson.loads((folder / "report.json").read_bytes())
        tuned = report["systems"].get("tuned", {}).get("metrics", {}).get(metric) or {}
        found = {"mean": tuned.get("mean"), "ci": tuned.get("ci")}
    ends = found["ci"]
    interval = [ends["low"], ends["high"]] if isinstance(ends, Mapping) else ends
    return {"metric": metric, "score": found["mean"], "score_ci": interval}
