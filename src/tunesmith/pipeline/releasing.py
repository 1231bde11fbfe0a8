"""Checking a release together with its verdict, which is computed again by the rules of the evaluation that it holds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.files import write_evaluation
from tunesmith.eval.results import read_evidence
from tunesmith.pipeline.ruling import rule_on
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig
from tunesmith.ship.release.verify import Checked, verify_folder

__all__ = ["verify_release"]


def verify_release(release: Path, *, key: Path | None = None) -> Checked:
    """Everything about a release that its folder alone can show. Errors as `verify_folder`."""
    return verify_folder(release, key=key, rejudge=_judged_otherwise)


def _judged_otherwise(evidence: Path, settings: Mapping[str, Any], verdict: bytes, report: bytes) -> list[str]:
    """The files of the evaluation that its evidence gives otherwise than the release holds them."""
    try:
        found = read_evidence(evidence)
        chosen, gates, turn = EvalConfig(**settings["eval"]), GateConfig(**settings["gates"]), settings["look"]
        measurements, made = rule_on(found, chosen, gates, number=turn["number"], changed=turn["changed"])
    except (EvaluationError, KeyError, TypeError, ValueError) as error:
        return [f"the evidence cannot be judged again: {' '.join(str(error).split())[:300]}"]
    with tempfile.TemporaryDirectory() as folder:
        write_evaluation(Path(folder), found, measurements, made)
        held = {"verdict.json": verdict, "report.json": report}
        return [
            f"provenance/eval/{name} is not what the evidence gives ({made.verdict})"
            for name, content in held.items()
            if (Path(folder) / name).read_bytes() != content
        ]
