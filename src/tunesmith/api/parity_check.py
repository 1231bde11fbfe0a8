"""`parity`: whether two systems are the same model, and where they differ, why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.eval.parity_result import Apart, ParityReport
from tunesmith.eval.tolerances import Tolerance

if TYPE_CHECKING:  # they load torch
    from tunesmith.core.reporter import Reporter

__all__ = ["Apart", "ParityReport", "Tolerance", "parity"]


def parity(
    a: str | Path,
    b: str | Path,
    *,
    project: str | Path = ".",
    dataset: str | Path = "",
    prompts: int = 24,
    max_new_tokens: int = 64,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    reporter: Reporter | None = None,
) -> ParityReport:
    """Compare the system `b` with the system `a`, the one that was tested: prompts, distributions, greedy answers, stop tokens.

    A system is an artifact (`run:latest`, `model:latest`, `export:latest`, first digits of an id), a model folder, an adapter's
    folder, `BASE+ADAPTER`, a base, a GGUF file, or an address (`http://HOST:PORT/v1#MODEL`). The prompts are the fixed ones and
    up to `prompts` questions of `dataset` (an artifact or a file of rows; without one the test split of the dataset that
    `a` was trained on, or of the project's latest). `max_new_tokens`: of each greedy answer at most. `precision`: the number
    type in which `b` is computed if it runs in this process; `a` is always computed in float32.

    `report.passed` is True within the limits of the form, False beyond one, None where something was not measured.

    Raises:
        ArtifactError: an artifact that is missing, damaged or half-written.
        EngineError: the engine of a GGUF file is missing or ends.
        ModelError: a folder or an adapter that cannot be opened, or an adapter of another base.
        EvaluationError: a reference that is not a model, or prompts that the two cannot both read.
    """
    from tunesmith.pipeline.parity import compare_references

    return compare_references(
        str(a),
        str(b),
        project=Path(project),
        dataset=str(dataset),
        num_prompts=prompts,
        max_new_tokens=max_new_tokens,
        precision=precision,
        reporter=reporter,
    )
