"""The Python face: a project is a recipe and a folder, and each stage is a property that returns its artifact.

    project = Project(recipe_from({"sources": ["./posts"]}), Path("."))
    outcome = project.outcome

Every stage asks for the one before it, skips what is done (same inputs and settings, same id), and writes only artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from tunesmith.api.blocking import check_allowed
from tunesmith.api.dataset import build_settings, data_facts, fill_dataset
from tunesmith.api.documents import Documents, read_sources
from tunesmith.api.draw import Beside, gather_beside
from tunesmith.api.evidence import EXAMPLES, known_evidence, measuring_code, same_verdict
from tunesmith.api.machine import fixed_precision, kept_precision
from tunesmith.api.settings_of_use import fields_for, fill_use, settings_of_stage
from tunesmith.api.synthesis import generator_settings
from tunesmith.core.artifacts import Artifact, Draft, Store
from tunesmith.core.config import Recipe
from tunesmith.core.records import Example, read_jsonl
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.eval.evaluate import Conditions, choose_items, evaluate, that_fit
from tunesmith.eval.files import read_items, write_evaluation
from tunesmith.eval.gates import Verdict, decide
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.rehearsal import rehearse
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.eval.stats import detectable_effect
from tunesmith.eval.use_choice import Asked
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import BaseFolder, find_base, safetensors_shapes
from tunesmith.models.merge import merge
from tunesmith.models.older_readers import unread_by_older_readers
from tunesmith.models.precision import Precision, choose_precision
from tunesmith.models.reach import reach_of
from tunesmith.models.use import Use, read_use
from tunesmith.plan.base_defaults import REAL_BASE, for_base
from tunesmith.plan.hardware import look
from tunesmith.plan.plan import AdapterFacts, BaseFacts, Line, Plan, PrecisionFacts, make_plan
from tunesmith.plan.shape import Shape, shape_of
from tunesmith.train.run import Place, train_adapter

__all__ = ["EXAMPLES", "Outcome", "Project"]

_SAVING = {"checkpoint_every", "checkpoint_minutes", "keep_checkpoints"}  # change nothing that is learned
_LEAST_ANSWER = 64  # tokens that every answer may have
_PASSAGE_WORDS, _PASSAGE_WORDS_SMALL = 90, 40


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run comes to: the verdict, the measurements behind it, and the artifact that holds the evidence."""

    verdict: Verdict
    measurements: Measurements
    evaluation: Artifact


class Project:
    """A recipe at work in `root/.tunesmith`. Stages are properties, in the order of the road; each is made once."""

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        *,
        reporter: Reporter | None = None,
        allow_private: bool = False,
        offline: bool = False,
    ) -> None:
        check_allowed(recipe.allow)
        self.recipe = recipe
        self.store = Store(root / ".tunesmith")
        self.reporter: Reporter = reporter or SilentReporter()
        self._allow_private = allow_private
        self._offline = offline

    @cached_property
    def base(self) -> BaseFolder:
        """The checked base model folder; fetched if it is named, not here yet, and fetching is allowed."""
        return find_base(self.recipe.base, offline=self._offline, reporter=self.reporter)

    @cached_property
    def settings(self) -> Recipe:
        """The recipe with what its quality means for a base of this size filled in."""
        return for_base(self.recipe, num_parameters=self._shape.num_parameters)

    @cached_property
    def chat(self) -> Chat:
        """The base's tokenizer and chat template, under the options that the recipe sets."""
        return open_chat(self.base, self.recipe.template.model_dump(exclude_unset=True))

    @property
    def _template(self) -> dict[str, Any]:
        """The template's options in effect as a setting of an artifact; nothing for a template that reads none."""
        return {"template": self.chat.options} if self.chat.options else {}

    @cached_property
    def sources(self) -> Documents:
        """Sources read into documents, and how much of them had to be fetched."""
        web = {"allow_private": self._allow_private, "offline": self._offline}
        return read_sources(self.recipe, self.store, reporter=self.reporter, **web)

    @property
    def documents(self) -> Artifact:
        """Sources read into documents (and pairs, where a source holds examples already)."""
        return self.sources.artifact

    @cached_property
    def dataset(self) -> Artifact:
        """Examples in train, val and test, split by document, free of copies between them, labels audited."""
        r = self.recipe
        inputs = [self.documents.reference(), {"kind": "chat", "id": self.chat.fingerprint}]
        settings = {
            "build": build_settings(r.build, passage_words=self.passage_words),
            **({"generator": generator_settings(r.generator)} if r.build.style in {"qa", "rewrite"} else {}),
            "split": r.split.model_dump(),
            "mix": r.mix.model_dump(),
            "beside": self._beside.id,
            "max_tokens": self._limit,
            "allow": sorted(r.allow),
            **self._template,
        }

        def fill(draft: Draft) -> None:
            fill_dataset(
                draft,
                recipe=r,
                documents=self.documents,
                chat=self.chat,
                passage_words=self.passage_words,
                limit=self._limit,
                replies=self.store.root / "replies",
                blocked=self.store.root / "blocked.jsonl",
                beside=self._beside,
                reporter=self.reporter,
            )

        return self.store.obtain("dataset", inputs, settings, fill)

    @cached_property
    def _beside(self) -> Beside:
        """The general set of the recipe, and the golden set beside it."""
        return gather_beside(self.recipe, self.store.root.parent)

    @property
    def _limit(self) -> int:
        return min(self.settings.train.max_tokens, self.base.context)

    @property
    def passage_words(self) -> int:
        """Words that a passage aims at: as set, or by the size of the base."""
        wanted = self.settings.build.passage_words
        if wanted == "auto":
            return _PASSAGE_WORDS if self._shape.num_parameters >= REAL_BASE else _PASSAGE_WORDS_SMALL
        return wanted

    @property
    def max_new_tokens(self) -> int:
        """Maximum tokens per answer in the evaluation: as set, or a quarter more than nearly all references have.

        What a prompt leaves of the context may be less: generation sees to that for each answer.
        """
        wanted = self.settings.eval.max_new_tokens
        return self._usual_limit if wanted == "auto" else wanted

    @property
    def _usual_limit(self) -> int:
        usual: int = self.dataset.numbers["answer_tokens"]
        return min(self.base.context - 1, max(_LEAST_ANSWER, round(1.25 * usual) + 1))

    def rows(self, name: str) -> list[Example]:
        """The examples of one split."""
        return list(read_jsonl(self.dataset.path / f"{name}.jsonl", Example))

    @cached_property
    def _shape(self) -> Shape:
        return shape_of(self.base.config, {n: s for f in self.base.weights for n, (_, s) in safetensors_shapes(f).items()})

    @cached_property
    def precision(self) -> Precision:
        """Type of the frozen weights in training: set in the recipe, or measured once a project."""
        wanted = fixed_precision(self.settings.train.precision)
        layer = {"width": self._shape.width, "inner": self._shape.inner, "rank": self.settings.method.rank}
        if wanted:
            return choose_precision(wanted, **layer, because="set in the recipe")
        return kept_precision(self.store.root / "precision.json", **layer)

    @cached_property
    def plan(self) -> Plan:
        """Every derived number with its reason; nothing is trained. Raises what would stop the evaluation later."""
        r, n = self.settings, self.dataset.numbers
        _ = self._scorable
        facts = data_facts(n, limit=self._limit, room=self.max_new_tokens, template=self.chat.described)
        reach = reach_of(self.base, kind=r.method.kind, rank=r.method.rank, targets=r.method.targets, layers=r.method.layers)
        plan = make_plan(
            r,
            facts,
            self._shape,
            look(),
            PrecisionFacts(**asdict(self.precision)),
            base=BaseFacts(self.base.name, self.base.origin),
            adapter=AdapterFacts(len(reach.modules), reach.num_linear, reach.num_trainable, reach.out_of_reach, reach.dropouts),
            detectable=detectable_effect(facts.test_documents, min_groups=r.gates.min_documents),
        )
        unread = unread_by_older_readers(self.base.config)
        found = (Line("older readers", "would run another model", unread),) if unread else ()
        return replace(plan, lines=(*plan.lines, *found))

    @cached_property
    def run(self) -> Artifact:
        """The training run: adapter, metric log, the reading of the curves. Resumes by itself if it was interrupted."""
        r = self.settings
        inputs = [self.dataset.reference(), {"kind": "base", "id": self.base.fingerprint}]
        precision = self.precision.name
        learning = {"method": r.method.model_dump(), "train": r.train.model_dump(exclude=_SAVING)}
        settings = {
            "base": self.base.name,
            **learning,
            "allow": sorted(r.allow),
            "precision": precision,
            **self._template,
        }
        id = self.store.identify("run", inputs, settings)

        if self.store.find("run", id) is None:
            _ = self._scorable  # what would stop the evaluation later stops here, before anything is trained

        def fill(draft: Draft) -> None:
            trained = train_adapter(
                self.base,
                self.chat,
                {name: self.rows(name) for name in ("train", "val")},
                method=r.method,
                train=r.train,
                precision=precision,
                place=Place(id, self.store.workspace(id), draft.path),
                reporter=self.reporter,
            )
            draft.numbers |= {
                **trained.fitted.numbers(),
                "reading": asdict(trained.reading),
                "trainable": trained.coverage.num_trainable,
            }
            draft.numbers |= {"modules": len(trained.coverage.modules), "linear_modules": trained.coverage.num_linear}

        made = self.store.obtain("run", inputs, settings, fill)
        self.store.clear_workspace(id)
        return made

    @staticmethod
    def metrics(run: Artifact) -> list[dict[str, Any]]:
        """The rows of a run's metric log."""
        return [orjson.loads(line) for line in (run.path / "metrics.jsonl").read_bytes().split(b"\n") if line]

    @cached_property
    def use(self) -> Artifact:
        """The settings of use: as the recipe sets them, or chosen on validation questions for base and tuned model alike."""
        wanted = self.settings.use
        inputs = [artifact.reference() for artifact in (self.dataset, self.run)]
        settings = {**settings_of_stage(wanted, self._usual_limit), **self._template}

        def fill(draft: Draft) -> None:
            fill_use(
                draft,
                base=self.base,
                chat=self.chat,
                adapter=self.run.path / "adapter",
                validation=self.rows("val"),
                wanted=wanted,
                asked=Asked(
                    max_new_tokens=self._usual_limit,
                    batch_examples=self.settings.eval.batch_examples,
                    context=self.base.context,
                ),
                reporter=self.reporter,
            )

        return self.store.obtain("use", inputs, settings, fill)

    @cached_property
    def settings_of_use(self) -> Use:
        """What the stage `use` holds."""
        return read_use(self.use.path / "use.json")

    @cached_property
    def model(self) -> Artifact:
        """Base and adapter merged into one model folder: the base's own, with the sums in its adapted matrices."""
        inputs = [self.run.reference(), {"kind": "base", "id": self.base.fingerprint}]
        settings = {"merge": self.recipe.merge.model_dump(), "generation": fields_for(self.base, self.settings_of_use)}

        def fill(draft: Draft) -> None:
            merge(
                self.base,
                self.run.path / "adapter",
                draft.path,
                precision=self.recipe.merge.precision,
                generation=settings["generation"],
            )
            if unread := unread_by_older_readers(self.base.config):
                self.reporter.warn(unread)
            draft.numbers |= {"findings": [unread] if unread else []}

        return self.store.obtain("model", inputs, settings, fill)

    @cached_property
    def outcome(self) -> Outcome:
        """The whole road: every system measured on the test split, the gates, the verdict, the report.

        The verdict is the one that the evaluation on disk holds. EvaluationError if its evidence now gives another one.
        """
        r = self.settings
        inputs = [artifact.reference() for artifact in (self.dataset, self.run, self.model)]
        settings = {
            "eval": r.eval.model_dump(),
            "gates": r.gates.model_dump(),
            "use": asdict(self.settings_of_use),
            "max_new_tokens": self.max_new_tokens,
            "code": measuring_code(),
        }
        known = known_evidence(self.store, inputs, settings)
        evidence = read_evidence(known.path / "evidence.json") if known else self._gather_evidence()
        measurements = measure(evidence, primary=r.eval.primary, draws=r.eval.draws, min_documents=r.gates.min_documents)
        verdict = decide(measurements, r.gates, baselines=r.eval.baselines)

        def fill(draft: Draft) -> None:
            write_evaluation(draft.path, evidence, measurements, verdict)
            draft.numbers |= {"verdict": verdict.verdict, "items": len(evidence.items)}

        made = self.store.obtain("eval", inputs, settings, fill)
        return Outcome(same_verdict(made, verdict), measurements, made)

    def _authors(self, train: Sequence[Example]) -> list[Example]:
        """The training rows in the author's voice: general ones that are mixed in are not."""
        strangers = {row.messages for row in self._beside.general}
        return [row for row in train if row.messages not in strangers]

    @cached_property
    def _scorable(self) -> int:
        """Test items that can be scored, once everything that evaluation will write has been written."""
        return rehearse(
            self.chat,
            choose_items(self.rows("test"), self.settings.eval.max_items),
            train=self._authors(self.rows("train")),
            general=read_items(EXAMPLES / "general.jsonl"),
            context=self.base.context,
            room=self.max_new_tokens,
            prompted="prompted" in self.settings.eval.baselines,
        )

    def _gather_evidence(self) -> Evidence:
        train = self.rows("train")
        chosen = choose_items(self.rows("test"), self.settings.eval.max_items)
        prompted = "prompted" in self.settings.eval.baselines
        items = that_fit(self.chat, chosen, context=self.base.context, prompted=prompted)
        if left_out := len(chosen) - len(items):
            self.reporter.warn(
                f"{left_out} of {len(chosen)} test items are longer than the context of the base, or rewritten by its chat"
                " template, and stay unscored"
            )
        measured = evaluate(
            self.base,
            adapter=self.run.path / "adapter",
            merged=find_base(str(self.model.path)),
            items=items,
            train=self._authors(train),
            general=read_items(EXAMPLES / "general.jsonl"),
            conditions=Conditions(
                baselines=tuple(self.settings.eval.baselines),
                max_new_tokens=self.max_new_tokens,
                batch_examples=self.settings.eval.batch_examples,
                template=self.chat.options,
                use=self.settings_of_use,
            ),
            reporter=self.reporter,
        )
        reading = self.run.numbers["reading"]
        return Evidence(
            items=items,
            systems=measured.systems,
            parity=measured.parity,
            general=measured.general,
            served=measured.served,
            use=self.settings_of_use,
            limit=measured.limit,
            training=tuple(
                {k: v for k, v in row.items() if k != "samples"} for row in self.metrics(self.run) if "event" not in row
            ),
            reading=f"{reading['shape']}: {reading['text']}; {reading['advice']}",
            train_answers=tuple(e.answer for e in train),
            numbers={"test items unscored, as too long or rewritten by the template": left_out, **measured.numbers},
            ids={artifact.kind: artifact.id for artifact in (self.documents, self.dataset, self.run, self.use, self.model)},
        )
