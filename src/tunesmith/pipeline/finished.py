"""A finished training run and everything that was made from it, found by artifacts alone: no recipe is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ArtifactError, ModelError
from tunesmith.core.labelled import ROWS, good_rows
from tunesmith.core.records import Example, Message, as_example, read_jsonl
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.tuned import tuned_folder
from tunesmith.models.use import Use, read_use

__all__ = ["FinishedRun", "dataset_rows", "finished_run"]

_FROM_A_RUN = ("run", "use", "model", "agreement", "eval", "export", "overall", "chain")


@dataclass(frozen=True)
class FinishedRun:
    """A run and what is there of its making and its evaluation. Of several artifacts of a kind, the newest counts."""

    store: Store
    run: Artifact

    def made_from_it(self, kind: str) -> Artifact | None:
        """The newest whole artifact of a kind that names this run as an input; None without any."""
        found = [a for a in self.store.all() if a.kind == kind and self.run.reference() in a.manifest["inputs"]]
        return next((whole for a in reversed(found) if (whole := self.store.find(kind, a.id)) is not None), None)

    @property
    def tuned(self) -> Path:
        """What was trained: the folder of the adapter, or of the whole model."""
        return tuned_folder(self.run.path)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of training, as the manifest has them."""
        settings: Mapping[str, Any] = self.run.manifest["settings"]
        return settings

    @cached_property
    def base(self) -> BaseFolder:
        """The base that the run was trained on. ModelError if it is gone, or is another one by now."""
        base = find_base(self.store.place_of(str(self.settings["base"])))
        base = replace(base, name=str(self.settings["base"]))
        made_on = next(i["id"] for i in self.run.manifest["inputs"] if i["kind"] == "base")
        if base.fingerprint != made_on:
            raise ModelError(
                "the base has changed since this run was trained",
                value=f"{base.name} {base.fingerprint[:8]}",
                expected=f"fingerprint {made_on[:8]}",
                hint="restore the base, or train again: tunesmith run",
            )
        return base

    @cached_property
    def chat(self) -> Chat:
        """The chat format in which the model was trained."""
        return open_chat(self.base, self.settings.get("template"))

    @cached_property
    def dataset(self) -> Artifact | None:
        """The dataset of the run; None if its folder is gone or damaged."""
        made_of = next(i["id"] for i in self.run.manifest["inputs"] if i["kind"] == "dataset")
        return self.store.find("dataset", made_of)

    @cached_property
    def train(self) -> list[Example]:
        """The training rows; empty if the dataset is gone."""
        return [] if self.dataset is None else dataset_rows(self.dataset, "train")

    @property
    def context(self) -> int:
        """Tokens that a training row could have."""
        return min(int(self.settings["train"]["max_tokens"]), self.base.context)

    def encoded(self) -> list[Encoded]:
        """The training rows as token ids, cut as in training."""
        return [row for one in self.train for row in self.chat.rows(one.messages, max_tokens=self.context)]

    @cached_property
    def opening(self) -> tuple[Message, ...]:
        """The system message that all training rows began with, so that the model is used as it was trained; or none."""
        heads = {row.messages[0] for row in self.train}
        return tuple(heads) if len(heads) == 1 and next(iter(heads)).role == "system" else ()

    @cached_property
    def use(self) -> Use | None:
        """The sampling settings that were last set or chosen for the run."""
        found = self.made_from_it("use")
        return read_use(found.path / "use.json") if found else None

    @cached_property
    def merged(self) -> Artifact | None:
        """The merged folder of the run."""
        return self.made_from_it("model")

    @cached_property
    def evaluation(self) -> Artifact | None:
        """The evaluation of the run."""
        return self.made_from_it("eval")


def finished_run(store: Store, reference: str = "run:latest") -> FinishedRun:
    """The run behind a reference: its own id, or that of anything made from it.

    Raises:
        ArtifactError: no such artifact, one that no run belongs to, or a run that is gone or damaged.
    """
    found = store.resolve(reference)
    if found.kind == "run":
        return FinishedRun(store, found)
    runs = [one["id"] for one in found.manifest["inputs"] if one["kind"] == "run"]
    run = store.find("run", runs[0]) if len(runs) == 1 else None
    if run is None:
        raise ArtifactError(
            "there is no training run behind this artifact" if not runs else "its training run is gone or damaged",
            value=f"{found.kind} {found.id[:8]}",
            expected=f"an artifact of one run: {', '.join(_FROM_A_RUN)}",
            hint="tunesmith show lists what there is",
        )
    return FinishedRun(store, run)


def dataset_rows(dataset: Artifact, split: str) -> list[Example]:
    """The rows of a split with the answers that are right, whichever kind of rows the dataset is made of."""
    kind = ROWS[dataset.manifest["settings"].get("record", Example.__name__)]
    return [as_example(row) for row in good_rows(list(read_jsonl(dataset.path / f"{split}.jsonl", kind)))]
