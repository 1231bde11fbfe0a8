"""`verdict`: the verdict that an evaluation holds, and computing it again from the stored answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.core.artifacts import Artifact, Store

if TYPE_CHECKING:  # they load the evaluation
    from tunesmith.eval.verdict import Verdict
    from tunesmith.pipeline.verifying import Verified

__all__ = ["verdict", "verify"]


def verdict(id: str = "eval:latest", *, project: str | Path = ".") -> Verdict:
    """The verdict of an evaluation, by the first digits of its id; of a chain (`chain:latest`), the one that decides.

    Raises:
        ArtifactError: no artifact, or several, with these digits.
        EvaluationError: an artifact that is no evaluation.
    """
    from tunesmith.pipeline.verifying import stored_verdict

    return stored_verdict(_judged(id, project))


def verify(id: str = "eval:latest", *, project: str | Path = ".") -> Verified:
    """Compute every number, gate and page of an evaluation again from its stored answers and likelihoods.

    Raises:
        ArtifactError: no artifact, or several, with these digits.
        EvaluationError: an artifact that is no evaluation, or evidence that cannot be true.
    """
    from tunesmith.pipeline.verifying import verify_verdict

    return verify_verdict(_judged(id, project))


def _judged(id: str, project: str | Path) -> Artifact:
    """The artifact that holds a verdict: of a chain, the evaluation that decides."""
    store = Store(Path(project) / ".tunesmith")
    found = store.resolve(id)
    return store.resolve(found.numbers["deciding"]) if found.kind == "chain" else found
