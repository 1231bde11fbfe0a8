"""`open_reward_model`: a trained reward model, opened to score answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.core.artifacts import Store

if TYPE_CHECKING:  # it loads torch
    from tunesmith.train.scorer import Scorer

__all__ = ["open_reward_model"]


def open_reward_model(run: str = "run:latest", *, project: str | Path = ".") -> Scorer:
    """The reward model of a run (`objective.kind: reward`), by `run:latest` or the first digits of its id.

    Its `score(conversations)` gives a number for the last answer of each conversation; higher is better.

    Raises:
        ArtifactError: no such run.
        ModelError: a run of another objective, or a base that is gone or has changed.
    """
    from tunesmith.pipeline.finished import finished_run
    from tunesmith.train.scorer import scorer_of_run

    return scorer_of_run(finished_run(Store(Path(project) / ".tunesmith"), run).run.path)
