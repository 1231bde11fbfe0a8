"""What a stage may ask of the project that it works for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.records import Example, Row
from tunesmith.core.reporter import Reporter
from tunesmith.eval.measure import Measurements
from tunesmith.eval.results import Evidence
from tunesmith.eval.suites.suite import Suite
from tunesmith.eval.verdict import Verdict
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder
from tunesmith.models.precision import Precision
from tunesmith.models.use import Use
from tunesmith.pipeline.draw import OtherSets
from tunesmith.pipeline.looks import Look
from tunesmith.pipeline.reading import Documents
from tunesmith.pipeline.recipe import Recipe
from tunesmith.train.method import Method

__all__ = ["ChainPlace", "Context", "Judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the models gave, what was measured of it, and what the gates decide."""

    evidence: Evidence
    measurements: Measurements
    verdict: Verdict


class Context(Protocol):
    """A recipe at work in a folder. `recipe` is as written, `settings` with what its quality means for the base filled in."""

    recipe: Recipe
    store: Store
    reporter: Reporter

    @property
    def settings(self) -> Recipe: ...

    @property
    def base(self) -> BaseFolder: ...

    @property
    def origin(self) -> BaseFolder:
        """The base that a chain began with, whose tokenizer and template all stages have; outside of a chain, the base."""

    @property
    def chat(self) -> Chat: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def template_settings(self) -> Mapping[str, Any]:
        """The template's options as a setting of an artifact; empty for a template that reads none."""

    @property
    def limit(self) -> int:
        """Maximum tokens of a training row."""

    @property
    def passage_words(self) -> int: ...

    @property
    def usual_limit(self) -> int:
        """Maximum tokens of an answer by the lengths of the references."""

    @property
    def max_new_tokens(self) -> int:
        """Maximum tokens of an answer in the evaluation."""

    @property
    def scorable(self) -> int:
        """Test items that can be scored; raises what would stop the evaluation."""

    @property
    def suites(self) -> tuple[Suite, ...]:
        """Further questions that are put to base and tuned model."""

    @property
    def other_sets(self) -> OtherSets:
        """The general set and the golden set."""

    @property
    def sources(self) -> Documents: ...

    @property
    def documents(self) -> Artifact: ...

    @property
    def dataset(self) -> Artifact: ...

    @property
    def run(self) -> Artifact: ...

    @property
    def use(self) -> Artifact: ...

    @property
    def model(self) -> Artifact: ...

    @property
    def settings_of_use(self) -> Use: ...

    @property
    def additions(self) -> tuple[str, ...]:
        """The systems beyond tuning that are measured: those that the recipe names, and a bigger model if it has an address."""

    @property
    def judged(self) -> Judged: ...

    @property
    def look(self) -> Look:
        """Which evaluation on this test set this is."""

    def count_look(self) -> None:
        """Count this evaluation, before its result is known."""

    @property
    def objective(self) -> Method:
        """The training method."""

    def artifact(self, kind: str) -> Artifact:
        """The artifact of any stage, made if it is not there yet."""

    def records(self, name: str) -> list[Row]:
        """The rows of one split, of the kind that the objective learns from."""

    def rows(self, name: str) -> list[Example]:
        """The examples of one split."""

    def authors_rows(self, train: Sequence[Example]) -> list[Example]:
        """The training rows in the author's voice."""

    def metrics(self, run: Artifact) -> list[dict[str, Any]]:
        """The rows of a run's metric log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlace:
    """Where a project is in a chain: the `name` of its stage, the projects of all stages before it, and what gives the one that
    it begins from (None: from the base), which is trained and judged by then."""

    name: str
    earlier: tuple[Context, ...] = ()
    before: Callable[[], Context | None] = lambda: None
