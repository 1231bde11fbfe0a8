"""A project is a recipe and a folder, and each stage is a property that returns its artifact.

    project = Project(recipe_from({"sources": ["./posts"]}), Path("."))
    outcome = project.outcome

Every stage asks for the one before it, skips what is done (same inputs and settings, same id), and writes only artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.labelled import good_rows
from tunesmith.core.records import Example, Row, as_example, digest, read_jsonl
from tunesmith.core.reporter import Reporter, SilentReporter, StageDone
from tunesmith.core.texts import Text
from tunesmith.eval.files import read_items
from tunesmith.eval.gates import check_advisory
from tunesmith.eval.rehearsal import rehearse
from tunesmith.eval.stats import detectable_effect
from tunesmith.eval.suites.load import load_suite
from tunesmith.eval.suites.suite import Suite
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import BaseFolder, check_fit, find_base, safetensors_shapes
from tunesmith.models.older_readers import unread_by_older_readers
from tunesmith.models.precision import Precision, choose_precision
from tunesmith.models.use import Use, read_use
from tunesmith.pipeline.base_defaults import REAL_BASE, for_base
from tunesmith.pipeline.bigger import address_of
from tunesmith.pipeline.blocking import check_allowed
from tunesmith.pipeline.building import data_facts
from tunesmith.pipeline.context import ChainPlace, Context, Judged
from tunesmith.pipeline.draw import OtherSets, gather_other_sets
from tunesmith.pipeline.evidence import EXAMPLES
from tunesmith.pipeline.items import test_items
from tunesmith.pipeline.judged_rewards import judged_rewards
from tunesmith.pipeline.judging import judge
from tunesmith.pipeline.looks import Look, Looks
from tunesmith.pipeline.method_defaults import for_method
from tunesmith.pipeline.number_type import fixed_precision, kept_precision, stored_precision
from tunesmith.pipeline.outcome import Outcome, outcome_of
from tunesmith.pipeline.own_answers import own_answers
from tunesmith.pipeline.plan import Plan, make_plan
from tunesmith.pipeline.plan_event import plan_event
from tunesmith.pipeline.plan_lines import Line
from tunesmith.pipeline.reading import Documents, read_sources
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_stages import named_stage, refuse_stages
from tunesmith.pipeline.ruling import rules_of
from tunesmith.pipeline.stage import check_serves, find_stage
from tunesmith.pipeline.texts import check_texts, for_texts, plan_of_texts
from tunesmith.pipeline.training import (
    adapter_facts,
    backend_lines,
    check_backend,
    check_optimizer,
    check_run,
    drawing_of,
    located,
    objective_of,
)
from tunesmith.plan.facts import BaseFacts, PrecisionFacts
from tunesmith.plan.hardware import measure_hardware
from tunesmith.plan.shape import Shape, shape_of
from tunesmith.systems.registry import addition_kinds, baseline_kinds
from tunesmith.train.method import Method, generates

__all__ = ["EXAMPLES", "Project"]

_LEAST_ANSWER = 64  # tokens that every answer may have
_PASSAGE_WORDS, _PASSAGE_WORDS_SMALL = 90, 40


class Project:
    """A recipe at work in `root/.tunesmith`. Stages are properties, in order; each is made once."""

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        *,
        reporter: Reporter | None = None,
        allow_private: bool = False,
        offline: bool = False,
        chained: ChainPlace | None = None,
    ) -> None:
        refuse_stages(recipe)
        check_allowed(recipe.allow)
        check_advisory(recipe.gates.advisory)
        baseline_kinds(recipe.eval.baselines)  # a name that no system has is reported now, not after training
        self.recipe = recipe
        addition_kinds(recipe.eval.additions)
        address_of(recipe.bigger)
        self.store = Store(root / ".tunesmith", stage=chained.name if chained else "")
        self._chained, self._stage = chained, chained.name if chained else ""
        self.reporter: Reporter = reporter or SilentReporter()
        self.objective: Method = objective_of(recipe)
        check_optimizer(recipe)
        check_backend(recipe, self.objective)
        check_texts(recipe, self.objective)
        self._artifacts: dict[str, Artifact] = {}
        self._allow_private = allow_private
        self._offline = offline

    @cached_property
    def base(self) -> BaseFolder:
        """The checked base model folder; fetched if it is named, not here yet, and fetching is allowed. Of a later stage of a
        chain, the merged model of the stage that it begins from, which is made first."""
        if self._chained is None or (before := self._chained.before()) is None:
            return self.origin
        merged = before.model
        name = f"{merged.kind}-{merged.path.name}"  # a project that is moved finds it by this name
        return replace(find_base(self.store.place_of(name), offline=True), name=name)

    @cached_property
    def origin(self) -> BaseFolder:
        """The base that a chain began with. All stages have its tokenizer, template and dimensions, so that every dataset and
        every plan of a chain can be made before the first training; outside of a chain, the base itself."""
        if self.earlier:
            return self.earlier[0].origin
        return find_base(self.recipe.base, offline=self._offline, reporter=self.reporter)

    @property
    def earlier(self) -> tuple[Context, ...]:
        """The projects of all stages before this one; none outside of a chain."""
        return self._chained.earlier if self._chained else ()

    @cached_property
    def settings(self) -> Recipe:
        """The recipe with what its quality means for a base of this size filled in."""
        found = for_method(for_base(self.recipe, num_parameters=self.shape.num_parameters))
        return located(for_texts(found, self.objective), self.store)

    @cached_property
    def chat(self) -> Chat:
        """The base's tokenizer and chat template, under the options that the recipe sets."""
        return open_chat(self.origin, self.recipe.template.model_dump(exclude_unset=True))

    @property
    def template_settings(self) -> dict[str, Any]:
        """The template's options in effect as a setting of an artifact; nothing for a template that reads none."""
        return {"template": self.chat.options} if self.chat.options else {}

    @cached_property
    def sources(self) -> Documents:
        """Sources read into documents, and how much of them had to be fetched."""
        web = {"allow_private": self._allow_private, "offline": self._offline}
        return read_sources(self.recipe, self.store, reporter=self.reporter, **web)

    def artifact(self, kind: str) -> Artifact:
        """The artifact of a stage, made with the stages that it needs if it is not there yet; reported once."""
        if kind not in self._artifacts:
            check_serves(kind, self.objective)
            stage = find_stage(kind)
            with named_stage(self._stage) if self._stage else nullcontext():
                found = self._artifacts[kind] = stage.obtain(self)
            shown = stage.describe(self, found)
            self.reporter.event(
                StageDone(
                    kind=kind,
                    title=stage.title,
                    id=found.id,
                    path=str(found.path),
                    numbers=found.numbers,
                    text=shown.text,
                    note=shown.note,
                    lines=shown.lines,
                )
            )
        return self._artifacts[kind]

    @property
    def documents(self) -> Artifact:
        """Sources read into documents (and pairs, where a source holds examples already)."""
        return self.artifact("documents")

    @property
    def dataset(self) -> Artifact:
        """Examples in train, val and test, split by document, free of copies between them, checked, labels audited."""
        return self.artifact("dataset")

    @property
    def run(self) -> Artifact:
        """The training run: adapter, metric log, the reading of the curves. Resumes by itself if it was interrupted."""
        return self.artifact("run")

    @property
    def use(self) -> Artifact:
        """The sampling settings: as the recipe sets them, or chosen on validation questions for base and tuned model alike."""
        return self.artifact("use")

    @property
    def model(self) -> Artifact:
        """Base and adapter merged into one model folder: the base's own, with the sums in its adapted matrices."""
        return self.artifact("model")

    @cached_property
    def judged(self) -> Judged:
        """Every system measured on the test split, and the gates."""
        return judge(self)

    def with_recipe(self, recipe: Recipe) -> Project:
        """Another recipe at work on the same documents and base. What it makes does not become the latest of its kind."""
        web = {"allow_private": self._allow_private, "offline": self._offline}
        other = Project(recipe, self.store.root.parent, reporter=self.reporter, chained=self._chained, **web)
        other.store = Store(self.store.root, marks=False)
        other.origin, other.sources = self.origin, self.sources
        other._artifacts["documents"] = self.documents
        return other

    @property
    def rules(self) -> dict[str, Any]:
        """What is fixed before a test set is used: the metric, the limits of the gates, and the split."""
        return rules_of(self.settings)

    @property
    def _test_documents(self) -> list[str]:
        return [row.group for row in self.rows("test")]

    @property
    def _evaluated(self) -> dict[str, Any]:
        """What is judged, by which rules, on which documents: as the count of evaluations wants it."""
        what: dict[str, Any] = {"models": [self.run.id]}
        if generates(self.objective):
            what = {"models": [self.run.id, self.model.id], "use": asdict(self.settings_of_use)}
        return {"what": what, "rules": self.rules, "documents": self._test_documents, "stage": self._stage}

    @cached_property
    def look(self) -> Look:
        """Which evaluation on this test set this is."""
        return Looks(self.store.root).find(**self._evaluated)

    def count_look(self) -> None:
        """Count this evaluation, before its result is known."""
        Looks(self.store.root).add(**self._evaluated)

    @cached_property
    def outcome(self) -> Outcome:
        """The whole pipeline: the verdict, the measurements behind it, and the evaluation that holds the evidence."""
        return outcome_of(self)

    @cached_property
    def suites(self) -> tuple[Suite, ...]:
        """Further questions that are put to base and tuned model. EvaluationError for a suite that cannot be read."""
        return tuple(load_suite(where) for where in self.settings.eval.suites)

    @cached_property
    def other_sets(self) -> OtherSets:
        """The general set of the recipe, and the golden set of the project."""
        own: tuple[Example, ...] = ()
        if self.settings.mix.own_answers and self.objective.record is Example:
            own = own_answers(self.origin, self.chat, self.store.root / "own_answers", reporter=self.reporter)
        found = gather_other_sets(self.recipe, self.store.root.parent, record=self.objective.record, own=own)
        if not self.earlier:
            return found
        datasets = [{name: one.records(name) for name in ("train", "val", "test")} for one in self.earlier]
        return found.after(datasets, id=digest(*(one.dataset.id for one in self.earlier)))

    @property
    def limit(self) -> int:
        """Maximum tokens of a training row: as set, and no more than the base's context."""
        return min(self.settings.train.max_tokens, self.origin.context)

    @property
    def passage_words(self) -> int:
        """Words that a passage aims at: as set, or by the size of the base."""
        wanted = self.settings.build.passage_words
        if wanted == "auto":
            return _PASSAGE_WORDS if self.shape.num_parameters >= REAL_BASE else _PASSAGE_WORDS_SMALL
        return wanted

    @property
    def max_new_tokens(self) -> int:
        """Maximum tokens per answer in the evaluation: as set, or a quarter more than nearly all references have.

        What a prompt leaves of the context may be less: generation sees to that for each answer.
        """
        wanted = self.settings.eval.max_new_tokens
        return self.usual_limit if wanted == "auto" else wanted

    @property
    def usual_limit(self) -> int:
        """Maximum tokens of an answer by the lengths of the references: a quarter more than nearly all of them have."""
        usual: int = self.dataset.numbers["answer_tokens"]
        return min(self.origin.context - 1, max(_LEAST_ANSWER, round(1.25 * usual) + 1))

    def records(self, name: str) -> list[Row]:
        """The rows of one split, of the kind that the objective learns from."""
        return list(read_jsonl(self.dataset.path / f"{name}.jsonl", self.objective.record))

    def rows(self, name: str) -> list[Example]:
        """The rows of one split as examples; of preferences with the chosen answer, of labelled rows the good ones."""
        return [as_example(row) for row in good_rows(self.records(name))]

    @cached_property
    def shape(self) -> Shape:
        """The dimensions of the base, from its configuration and the headers of its weights, which must fit each other."""
        check_fit(self.origin)
        return shape_of(self.origin.config, {n: s for f in self.origin.weights for n, (_, s) in safetensors_shapes(f).items()})

    @cached_property
    def precision(self) -> Precision:
        """Type of the frozen weights in training: set in the recipe, or measured once a project."""
        wanted = fixed_precision(self.settings.train.precision)
        layer = {"width": self.shape.width, "inner": self.shape.inner, "rank": self.settings.method.rank}
        if wanted:
            return choose_precision(wanted, **layer, because="set in the recipe")
        if self.settings.method.kind == "full" or self.settings.method.modules:
            why = "weights of the base move: small steps would be rounded away in bfloat16"
            return choose_precision("float32", **layer, because=why)
        if self.settings.train.backend == "mlx":
            stored = stored_precision(self.origin.weights)
            return choose_precision(stored, **layer, because="as the base is stored, which is how mlx-lm trains on it")
        return kept_precision(self.store.root / "precision.json", **layer)

    @cached_property
    def plan(self) -> Plan:
        """Every derived number with its reason; nothing is trained. Raises what would stop the evaluation later."""
        r, n = self.settings, self.dataset.numbers
        _ = self.scorable
        writes = generates(self.objective)
        asked = [item for suite in self.suites for item in suite.items] if writes else []
        facts = data_facts(n, limit=self.limit, room=self.max_new_tokens if writes else 0, template=self.chat.described)
        facts = replace(facts, suite_items=len(asked), suite_tokens=sum(item.max_new_tokens for item in asked))
        facts = replace(facts, test_documents=len({item.group for item in test_items(self.rows("test"), r)}))
        plan = make_plan(
            r,
            facts,
            self.shape,
            measure_hardware(),
            PrecisionFacts(**asdict(self.precision)),
            base=BaseFacts(self.origin.name, self.origin.origin, max(f.stat().st_size for f in self.origin.weights)),
            adapter=adapter_facts(self.origin, r),
            drawing=drawing_of(self.objective),
            detectable=detectable_effect(facts.test_documents, min_groups=r.gates.min_documents),
        )
        check_run(self.objective, r, self.records, num_steps=plan.numbers["steps"])
        rewards = judged_rewards(self.objective, allow=r.allow, reporter=self.reporter)
        unread = unread_by_older_readers(self.origin.config)
        found = (Line("older readers", "would run another model", unread),) if unread else ()
        texts = plan_of_texts(self.objective, n)
        return replace(plan, lines=(*plan.lines, *rewards, *texts, *backend_lines(r), *found))

    def report_plan(self) -> None:
        """The plan as an event, before what it plans is done; it fixes the rules of the verdict."""
        Looks(self.store.root).plan(rules=self.rules, documents=self._test_documents, stage=self._stage)
        method = self.settings.method
        self.reporter.event(
            plan_event(self.plan, base=self.origin, method=method.kind, rank=method.rank, precision=self.precision)
        )

    @staticmethod
    def metrics(run: Artifact) -> list[dict[str, Any]]:
        """The rows of a run's metric log."""
        return [orjson.loads(line) for line in (run.path / "metrics.jsonl").read_bytes().split(b"\n") if line]

    @cached_property
    def settings_of_use(self) -> Use:
        """What the stage `use` holds."""
        return read_use(self.use.path / "use.json")

    @property
    def additions(self) -> tuple[str, ...]:
        """The systems beyond tuning that are measured: those that the recipe names, and a bigger model if it has an address."""
        if self.objective.record is Text:
            return ()
        named = self.recipe.eval.additions
        return tuple(dict.fromkeys([*named, "bigger"] if self.recipe.bigger.url else named))

    def authors_rows(self, train: Sequence[Example]) -> list[Example]:
        """The training rows in the author's voice: general ones that are mixed in are not."""
        strangers = {row.messages for row in self.other_sets.general}
        return [row for row in train if row.messages not in strangers]

    @cached_property
    def scorable(self) -> int:
        """Test items that can be scored, once everything that evaluation will write has been written."""
        if not generates(self.objective):
            return len(self.records("test"))
        return rehearse(
            self.chat,
            test_items(self.rows("test"), self.settings),
            train=self.authors_rows(self.rows("train")),
            general=read_items(EXAMPLES / "general.jsonl"),
            context=self.origin.context,
            room=self.max_new_tokens,
            baselines=self.settings.eval.baselines,
            additions=self.additions,
        )
