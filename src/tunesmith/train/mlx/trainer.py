"""mlx-lm's trainer in a process of its own, as the loop sees it: steps, validations, answers, weights, moments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file

from tunesmith.core.errors import ModelError, TrainingError
from tunesmith.engines.mlx import INSTALL, mlx_python
from tunesmith.engines.process import ServerProcess
from tunesmith.engines.served import environment_of
from tunesmith.models.chat import Encoded
from tunesmith.models.generation.requests import Job
from tunesmith.train.checkpoint import Tensors
from tunesmith.train.mlx import worker

__all__ = ["MlxTrainer", "Stepped", "open_trainer"]


class Stepped(NamedTuple):
    """An optimiser step: the mean loss over its learned tokens, the norm of its gradient before clipping, and these tokens."""

    loss: float
    norm: float
    learned: int


class MlxTrainer:
    """The running trainer. Tensors have the names and shapes of mlx-lm. `version`: of mlx-lm."""

    def __init__(self, process: ServerProcess, place: Path, version: str) -> None:
        self.version = version
        self._process = process
        self._weights, self._moments = place / "trained.safetensors", place / "moments.safetensors"
        self._training = False
        self._learned = 0  # tokens since `train` began, as mlx-lm counts them

    def restore(self, trained: Tensors, moments: Tensors, step: int) -> None:
        """Go on from the tensors of a checkpoint."""
        save_file(trained, self._weights)
        save_file(moments, self._moments)
        self._ask("restore", weights=str(self._weights), moments=str(self._moments), step=step)

    def step(self, batches: Sequence[Sequence[Encoded]], *, seed: int) -> Stepped:
        """One optimiser step over the batches, weighted by their learned tokens.

        TrainingError if mlx-lm has not learned exactly the tokens that are marked.
        """
        if not self._training:
            self._tell(do="train", weights=str(self._weights))
            self._training, self._learned = True, 0
        total = sum(sum(row.learned[1:]) for rows in batches for row in rows)  # nothing predicts the first token
        for number, rows in enumerate(batches):
            again = {"seed": seed} if number == 0 else {}
            self._tell(rows=_plain(rows), share=len(batches) / max(1, total), **again)
        found = self._hear()
        learned, self._learned = found["learned"] - self._learned, found["learned"]
        if learned != total:
            raise TrainingError(
                "mlx-lm has learned other tokens than the dataset marks",
                value=f"{learned} tokens in one step",
                expected=f"{total}",
                hint="--set train.backend=torch; this is a fault of the backend, please report it",
            )
        return Stepped(found["loss"], found["grad_norm"], learned)

    def settle(self) -> tuple[Tensors, Tensors]:
        """The weights as they are now, and the moments of the optimiser."""
        if self._training:
            self._tell(end=True)
            self._hear()
            self._training = False
        self._ask("state", moments=str(self._moments))
        return load_file(self._weights), load_file(self._moments)

    def evaluate(self, batches: Sequence[Sequence[Encoded]], on_done: Callable[[int], None]) -> dict[str, float]:
        """`loss` and `accuracy` over the learned tokens. Not in the middle of steps: see `settle`."""
        found = self._ask("evaluate", batches=[_plain(rows) for rows in batches])
        while "done" in found:
            on_done(found["done"])
            found = self._hear()
        return {"loss": found["loss"], "accuracy": found["accuracy"]}

    def answer(self, job: Job, ends: Sequence[int]) -> list[int]:
        """The tokens of one answer, drawn by mlx-lm's own generator."""
        sampling = {**asdict(job.sampling), "seed": job.seed % 2**32}
        found = self._ask("answer", ids=list(job.ids), room=job.room, ends=sorted(ends), sampling=sampling)
        return list(found["ids"])

    def _ask(self, do: str, **more: Any) -> dict[str, Any]:
        self._tell(do=do, **more)
        return self._hear()

    def _tell(self, **line: Any) -> None:
        self._process.write_line(json.dumps(line).encode())

    def _hear(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._process.read_line())
        return found


@contextmanager
def open_trainer(settings: Mapping[str, Any]) -> Iterator[MlxTrainer]:
    """Start the trainer with the settings of `worker.Trainer`.

    It runs in the Python that TUNESMITH_MLX names, or without one in this Python.

    Raises:
        EngineError: mlx-lm is not installed, or its process ends.
        ModelError: mlx-lm does not know the architecture, or would train other weights.
    """
    python = mlx_python()
    process = ServerProcess(
        [python, str(Path(worker.__file__))], engine="mlx-lm", hint=INSTALL, environment=environment_of(python), piped=True
    )
    try:
        process.write_line(json.dumps(settings).encode())
        begun = json.loads(process.read_line())
        if "refused" in begun:
            raise ModelError(
                "mlx-lm cannot train this base",
                value=settings["base"],
                expected=f"a model and layers that it knows ({begun['refused'].splitlines()[0][:200]})",
                hint="--set train.backend=torch",
            )
        with TemporaryDirectory() as place:
            yield MlxTrainer(process, Path(place), begun["version"])
    finally:
        process.stop()


def _plain(rows: Sequence[Encoded]) -> list[Any]:
    return [(row.ids, row.learned) for row in rows]
