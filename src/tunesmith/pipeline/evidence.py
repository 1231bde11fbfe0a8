"""Evaluations on disk: one of the same models and items is used again, and holds the verdict that its evidence gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.eval.files import read_verdict
from tunesmith.eval.verdict import Verdict

__all__ = ["EXAMPLES", "asked", "known_evidence", "measuring_code", "same_verdict"]

EXAMPLES = Path(__file__).parent.parent / "examples"


def asked(of: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the settings of an evaluation, those that the answers depend on."""
    kept = {key: value for key, value in of["eval"].items() if key not in {"primary", "draws", "weighting"}}
    return {
        **kept,
        "use": of.get("use"),
        "max_new_tokens": of["max_new_tokens"],
        **{name: of.get(name) for name in ("bigger", "code", "suites", "judge")},
    }


def known_evidence(store: Store, inputs: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> Artifact | None:
    """An evaluation of the same models on the same items, whatever was made of its answers: they need no second asking."""
    for other in reversed(store.all()):
        if (
            other.kind == "eval"
            and other.manifest["inputs"] == list(inputs)
            and asked(other.manifest["settings"]) == asked(settings)
        ):
            return store.find("eval", other.id)
    return None


@cache
def measuring_code() -> str:
    """The hash of what asks the models and judges their answers: an evaluation by other code is another evaluation."""
    package = EXAMPLES.parent
    code = [file for part in ("eval", "models", "systems") for file in (package / part).rglob("*.py")]
    files = [*code, EXAMPLES / "general.jsonl"]
    return digest(*(part for file in sorted(files) for part in (file.relative_to(package).as_posix(), sha256_file(file))))


def same_verdict(evaluation: Artifact, verdict: Verdict) -> Verdict:
    """The verdict that the evaluation holds. EvaluationError if it is another one than its evidence gives now."""
    held = read_verdict(evaluation.path / "verdict.json")
    on_disk, found = ([(gate.name, gate.state) for gate in of.gates] for of in (held, verdict))
    if (held.verdict, on_disk) != (verdict.verdict, found):
        raise EvaluationError(
            "the evaluation on disk holds another verdict than its evidence gives now",
            value=f"{held.verdict} on disk, {verdict.verdict} now: {evaluation.path}",
            expected="the same verdict from the same evidence",
            hint="delete that folder and type the same command again: a library was replaced and computes other numbers",
        )
    return held
