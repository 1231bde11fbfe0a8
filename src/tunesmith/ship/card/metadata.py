"""The front matter of a card: what a hub sorts and searches models by, through the hub library's own classes."""

from __future__ import annotations

from typing import Any

from tunesmith.eval.metrics.registry import find_metric, metric_named
from tunesmith.ship.card.base import base_of
from tunesmith.ship.card.facts import Facts
from tunesmith.ship.card.material import FACTS
from tunesmith.ship.card.sections.forms import ADAPTER, MERGED

__all__ = ["metadata"]

_CODES = {
    **{"English": "en", "German": "de", "French": "fr", "Spanish": "es", "Italian": "it", "Portuguese": "pt", "Dutch": "nl"},
    **{"Greek": "el", "Hebrew": "he", "Thai": "th", "Japanese": "ja", "Korean": "ko", "Chinese": "zh"},
}
_LEAST_SHARE = 0.05  # of the rows, for a language to be named


def metadata(facts: Facts, name: str, present: list[str]) -> str:
    """YAML without its fences. What is not known is left out, but for the licence, which is then `unknown`."""
    from huggingface_hub import ModelCardData

    base = base_of(facts.material)
    results = _results(facts, name)
    given: dict[str, Any] = {
        "base_model": base.hub or None,
        "base_model_relation": _relation(present) if base.hub else None,
        "datasets": list(facts.at("dataset", "summary.json", "sources", "hub") or {}) or None,
        "language": _languages(facts) or None,
        "library_name": _library(present),
        "license": base.licence.hub,
        "license_name": base.licence.id.lower().replace(" ", "-") if base.licence.hub == "other" else None,
        "model_name": name if results else None,
        "eval_results": results or None,
        "pipeline_tag": "text-generation",
        "tags": _tags(facts, present),
    }
    return str(ModelCardData(**{key: value for key, value in given.items() if value is not None}).to_yaml())


def _relation(present: list[str]) -> str:
    if MERGED in present:
        return "finetune"
    return "adapter" if ADAPTER in present else "quantized"


def _library(present: list[str]) -> str:
    if MERGED in present:
        return "transformers"
    if ADAPTER in present:
        return "peft"
    return (
        "mlx"
        if all("mlx" in form for form in present)
        else "gguf"
        if any("gguf" in form for form in present)
        else "transformers"
    )


def _languages(facts: Facts) -> list[str]:
    found = facts.at("dataset", "summary.json", "languages") or {}
    total = sum(found.values())
    return [_CODES[name] for name, number in found.items() if name in _CODES and number >= _LEAST_SHARE * total]


def _tags(facts: Facts, present: list[str]) -> list[str]:
    kind = str(facts.at("run", FACTS, "settings", "method", "kind") or "")
    gguf = ["gguf"] if any("gguf" in form for form in present) else []
    return ["tunesmith", "fine-tuned", *([kind] if kind else []), *gguf]


def _results(facts: Facts, name: str) -> list[Any]:
    """The tuned model's primary metric, in the form that hubs list."""
    from huggingface_hub import EvalResult

    primary = facts.at("eval", "report.json", "primary")
    if find_metric(str(primary)) is None:
        return []
    shown = facts.show(f"{primary} of tuned", "eval", "report.json", "systems", "tuned", "metrics", primary, "mean")
    dataset = facts.material.parts["dataset"].id[:8] if "dataset" in facts.material.parts else "not recorded"
    if not shown.source:
        return []
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type="held-out-writing",
            dataset_name=f"held-out documents of dataset {dataset}",
            dataset_split="test",
            metric_type=primary,
            metric_name=metric_named(primary).label,
            metric_value=round(float(shown.text), 6),
        )
    ]
