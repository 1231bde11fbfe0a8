"""A trained reward model, opened to score answers: the base, what was trained from it, and the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson
import torch

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ModelError
from tunesmith.core.files import MANIFEST
from tunesmith.core.records import Message
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.kept_modules import open_with_modules, with_modules
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.tuned import is_whole, tuned_folder
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.heads import HEAD_FILES, HEAD_NAME, open_head
from tunesmith.train.method import Forward
from tunesmith.train.padded import PaddedModel
from tunesmith.train.units import Batch, Unit

__all__ = ["Scorer", "Scores", "open_scorer", "scorer_of_run"]


@runtime_checkable
class Scores(Protocol):
    """A method whose trained model scores answers, and writes none."""

    def score_row(self, row: Encoded) -> Encoded:
        """A row of an answer with the one target token whose hidden state is scored; it is a token longer at most."""
        ...

    def scores(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """score_R of rows that `score_row` made."""
        ...


@dataclass(frozen=True, slots=True)
class Scorer:
    """A reward model in use. `context`: tokens of a conversation at most; an answer beyond it is scored by its beginning."""

    path: ExecutionPath
    chat: Chat
    method: Scores
    context: int

    def score(self, conversations: Sequence[Sequence[Message]], on_done: Callable[[int], None] | None = None) -> list[float]:
        """A number for the last answer of each conversation, in order: higher is better, and only differences between answers
        to one prompt mean something. `on_done` hears how many more are done."""
        rows = [self.chat.answer_row(said, max_tokens=self.context - 1) for said in conversations]
        units = [Unit((self.method.score_row(row),), weight=1) for row in rows]
        found: dict[Unit, float] = {}
        with torch.no_grad():
            for batch in self.path.batches(list(dict.fromkeys(units)), on_done or (lambda count: None)):
                found.update(zip(batch.units, self.method.scores(self.path, batch).tolist(), strict=True))
        return [found[unit] for unit in units]


def open_scorer(base: BaseFolder, trained: Path, chat: Chat) -> Scorer:
    """The reward model in the folder `trained` of a run (`adapter` or `model`) on its base, in float32.

    ModelError if there is no head, or the head is that of a method that does not score answers.
    """
    method, head = open_head(trained)
    if not isinstance(method, Scores):
        raise ModelError(
            "this model has a head, but does not score answers",
            value=str(trained / HEAD_FILES[1]),
            expected="a run of objective.kind reward",
            hint="--set objective.kind=reward trains one from preference rows",
        )
    model: Any
    if is_whole(trained):
        model = load_model(find_base(str(trained), offline=True), "float32")
    else:
        opened = open_with_modules if with_modules(trained) else open_adapter
        model = opened(load_model(base, "float32"), trained)
    model.add_module(HEAD_NAME, head.to(model.device))
    return Scorer(ExecutionPath(PaddedModel(model.eval(), chat.pad_id), "padded rows"), chat, method, base.context)


def scorer_of_run(run: Path) -> Scorer:
    """The reward model in the folder of a run, on the base that it was trained on and in its chat format.

    ModelError as `open_scorer`, or if the base has changed since.
    """
    manifest = orjson.loads((run / MANIFEST).read_bytes())
    settings = manifest["settings"]
    base = find_base(Store(run.parent.parent).place_of(str(settings["base"])), offline=True)
    trained_on = next(one["id"] for one in manifest["inputs"] if one["kind"] == "base")
    if base.fingerprint != trained_on:
        raise ModelError(
            "the base has changed since this reward model was trained",
            value=f"{settings['base']}, fingerprint {base.fingerprint[:8]}",
            expected=f"fingerprint {trained_on[:8]}",
            hint="restore the base, or train the reward model again",
        )
    return open_scorer(base, tuned_folder(run), open_chat(base, settings.get("template")))
