"""Run the evaluation: every system answers the same items under the same conditions; forms are compared with the tuned model.

Systems come from `systems.registry`. Those that share weights are measured together on one copy, and in one batch if
they have the same prompts; that copy is freed before the next is read. Reference, baselines and tuned model answer with the
sampling settings, each item several times; reference, tuned model and its forms also answer a part of the items greedily, for
diagnosis and parity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Example, Message, spread_over_documents
from tunesmith.core.reporter import Reporter
from tunesmith.eval.asking import Asking, Conditions, num_answers
from tunesmith.eval.item_clusters import cluster_rows
from tunesmith.eval.likelihood import likelihoods_of
from tunesmith.eval.parity import Given, compare_given
from tunesmith.eval.perplexity import of_texts
from tunesmith.eval.probes import GOLDEN, TAUGHT, probe_items
from tunesmith.eval.results import FormResult, GeneralResult, Item, Likelihood, Limit, ParityResult, SystemRun
from tunesmith.eval.suites.answered import SuiteAnswers
from tunesmith.eval.suites.run import SuiteRun
from tunesmith.models.adapters import adapter_moves
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.generation.fits import fits
from tunesmith.models.load import BaseFolder
from tunesmith.models.memory import release_memory
from tunesmith.models.text_rows import encode_text_row
from tunesmith.systems.registry import baseline_kinds, chosen_kinds
from tunesmith.systems.system import (
    GivesLogits,
    NotMeasured,
    OwnPrompts,
    Role,
    System,
    SystemInputs,
    SystemKind,
    TokenLogprobs,
)

__all__ = ["Conditions", "Measured", "choose_items", "evaluate", "evaluate_kinds", "that_fit"]

_FACTS = ("author", "date", "tags", "tag")  # columns that parts of the test set are made by
_SCORED: tuple[Role, ...] = ("reference", "subject")  # the systems that further rows and suites are put to
_PROBED: Mapping[str, Sequence[Role]] = {TAUGHT: ("reference",)}  # by probe, where they are fewer


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of an evaluation: systems in the order of comparison, forms against the tuned model (`parity`: merged in float32;
    `served`: merged opened as it is served; `forms`: all others by name; None if that was not measured), likelihoods of the
    general texts by role, facts about the prompts, how the references fit into the token limit, the likelihoods of further rows
    by probe and system, the answers of base and tuned model to further suites, and why a system that was to be measured was
    not."""

    systems: tuple[SystemRun, ...]
    parity: ParityResult | None
    general_texts: Mapping[Role, tuple[Likelihood, ...]]
    numbers: Mapping[str, int] = field(default_factory=dict)
    served: ParityResult | None = None
    limit: Limit | None = None
    forms: Mapping[str, FormResult] = field(default_factory=dict)
    probes: Mapping[str, Mapping[str, tuple[Likelihood, ...]]] = field(default_factory=dict)
    suites: tuple[SuiteAnswers, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def general(self) -> GeneralResult | None:
        """The general texts under base and tuned model; None unless both were measured."""
        base, tuned = self.general_texts.get("reference"), self.general_texts.get("subject")
        return None if base is None or tuned is None else GeneralResult(n=len(base), base=base, tuned=tuned)


def choose_items(examples: Sequence[Example], max_items: int, column: str = "") -> tuple[Item, ...]:
    """The test items; with a limit, spread over as many clusters as possible, because intervals are by cluster.

    `group` is the coarsest cluster (`cluster_rows`): items that share a document, an author among several, a thread, a value of
    `column` (by which the dataset was split) or a near copy are no independent evidence.
    """
    found = cluster_rows(examples, column)
    grouped = [replace(e, group=name) for e, name in zip(examples, found.names, strict=True)]
    rows = spread_over_documents(grouped, max_items)
    mixed = any(e.origin is not None and e.origin.generated != "prompt" for e in rows)
    return tuple(
        Item(id=e.id, group=e.group, title=e.title, prompt=e.prompt, reference=e.answer, about=_about(e, mixed=mixed))
        for e in rows
    )


def _about(example: Example, *, mixed: bool) -> dict[str, str]:
    """`mixed`: some answers of the test set were written by a model, so it is said who wrote each."""
    by_a_model = example.origin is not None and example.origin.generated != "prompt"
    written = {"answer": "written by a model" if by_a_model else "written by a person"} if mixed else {}
    return {"source": example.source, **written, **{name: example.meta[name] for name in _FACTS if name in example.meta}}


def that_fit(
    chat: Chat, items: Sequence[Item], *, context: int, baselines: Iterable[str] = (), least: int = 16
) -> tuple[Item, ...]:
    """The items whose reference fits into the context, with room for an answer of `least` tokens; the rest stay unscored.

    Of a plain text, which has no prompt, the whole must fit, and a second token, since nothing predicts the first. An item
    whose reference the template rewrites (Qwen 3 drops what stands before `</think>`) cannot be scored either. Room for the
    instructions of the `baselines` is kept too, since all systems see the same items.
    """
    context -= max((k.instruction_tokens(chat) for k in baseline_kinds(baselines) if k.instruction_tokens), default=0)
    kept = []
    for item in items:
        if not item.prompt:
            row = encode_text_row(chat, item.reference, ends=False)
            kept += [item] if row.num_learned and len(row.ids) <= context else []
            continue
        turns = [*item.prompt, Message(role="assistant", content=item.reference)]
        if not chat.keeps_words(turns):
            continue
        whole = len(chat.encode_answer(turns).ids)
        if max(whole, len(chat.encode_prompt(item.prompt)) + least) <= context:
            kept.append(item)
    return tuple(kept)


def evaluate(  # noqa: PLR0913 (all that an evaluation depends on)
    base: BaseFolder,
    *,
    adapter: Path,
    merged: BaseFolder | None,
    items: Sequence[Item],
    train: Sequence[Example],
    general: Sequence[Item],
    conditions: Conditions,
    reporter: Reporter,
    golden: Sequence[Item] = (),
) -> Measured:
    """Measure every system on `items`, in float32. `train`: the author's passages that a baseline may get in its prompt;
    `golden`: items of the golden set, of which base and tuned model give the likelihood.

    EvaluationError if the merged model has another chat format, or if the adapter has no effect.
    """
    chat = open_chat(base, conditions.template)
    if merged is not None and open_chat(merged, conditions.template).fingerprint != chat.fingerprint:
        raise EvaluationError(
            "the merged model has another tokenizer or chat template than the base",
            value=str(merged.path),
            expected="the same files",
            hint="delete the merged model and run again",
        )
    inputs = SystemInputs(
        base=base,
        chat=chat,
        adapter=adapter,
        merged_folder=merged,
        questions=items,
        train=train,
        max_new_tokens=conditions.max_new_tokens,
        batch_examples=conditions.batch_examples,
        address=conditions.address,
    )
    kinds = chosen_kinds(inputs, conditions.baselines, conditions.additions)
    probes = {} if of_texts(items) else probe_items(items, train)
    if golden:
        probes[GOLDEN] = tuple(golden)
    return evaluate_kinds(kinds, inputs, items=items, general=general, conditions=conditions, reporter=reporter, probes=probes)


def evaluate_kinds(
    kinds: Sequence[SystemKind],
    inputs: SystemInputs,
    *,
    items: Sequence[Item],
    general: Sequence[Item],
    conditions: Conditions,
    reporter: Reporter,
    own: Mapping[str, SystemInputs] = MappingProxyType({}),
    probes: Mapping[str, Sequence[Item]] | None = None,
) -> Measured:
    """Measure these systems on `items`, in float32. `own`: the inputs of a system that has another chat format or context.
    `probes`: further rows by probe, in place of those that are chosen for the items.

    If the system that the verdict is about cannot be measured, the rest is left out too. EvaluationError without items, or if
    an adapter that is not zero has no effect.
    """
    if not items:
        raise EvaluationError(
            "there are no test items to evaluate", value=0, expected="test items", hint="--set split.test=0.2"
        )
    if probes is None:
        probes = {} if of_texts(items) else probe_items(items, inputs.train)
    wanted = probes
    probes = {name: _fit_all(rows, [inputs, *own.values()]) for name, rows in wanted.items()}
    texts = _fit_all(general, own.values())
    asked: list[tuple[int, Sequence[Role]]] = [(len(suite.items), _SCORED) for suite in conditions.suites]
    asked.append((len(texts), _SCORED))
    asked += [(len(rows), _PROBED.get(name, _SCORED)) for name, rows in probes.items()]
    further = sum(number * sum(kind.role in roles for kind in kinds) for number, roles in asked)
    total = num_answers(kinds, conditions, items) + further
    with reporter.progress("evaluate", total=total, unit="answers") as progress:
        asking = Asking(inputs, items, conditions, progress)
        askings = {name: Asking(given, items, conditions, progress) for name, given in own.items()}
        num_rows = max((k.num_rows for k in kinds if k.role == "form"), default=0)
        found = _Found(asking, texts, probes, reporter, num_rows, own=askings)
        for group in _by_weights(kinds):
            release_memory()
            found.measure(group)
            if any(kind.role == "subject" and kind.name in found.left_out for kind in group):
                break  # nothing can be compared with it
    return found.measured(kinds)


def _fit_all(items: Sequence[Item], given: Iterable[SystemInputs]) -> tuple[Item, ...]:
    """The items that fit into every one of these contexts, in every one of these chat formats."""
    kept = tuple(items)
    for one in given:
        kept = that_fit(one.chat, kept, context=one.base.context)
    return kept


def _by_weights(kinds: Sequence[SystemKind]) -> list[list[SystemKind]]:
    """Systems on one copy of the weights, in order; the tuned model's first, for forms are held against it."""
    groups: list[list[SystemKind]] = []
    for kind in kinds:
        known = next((group for group in groups if kind.load is not None and group[0].load is kind.load), None)
        if known is None:
            groups.append([kind])
        else:
            known.append(kind)
    return sorted(groups, key=lambda group: all(kind.role != "subject" for kind in group))


@dataclass(slots=True)
class _Found:
    """What has been measured so far. No model outlasts `measure`, only what forms are compared with."""

    asking: Asking
    general_items: Sequence[Item]
    probe_items: Mapping[str, Sequence[Item]]
    reporter: Reporter
    num_rows: int
    runs: dict[str, SystemRun] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    forms: dict[str, FormResult] = field(default_factory=dict)
    general: dict[Role, tuple[Likelihood, ...]] = field(default_factory=dict)
    probes: dict[str, dict[str, tuple[Likelihood, ...]]] = field(default_factory=dict)
    suite_runs: dict[str, list[SuiteRun]] = field(default_factory=dict)
    subject: Given | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    own: Mapping[str, Asking] = field(default_factory=dict)

    def _asking(self, name: str) -> Asking:
        """What asks a system: in its own chat format, if it has one."""
        return self.own.get(name, self.asking)

    def measure(self, kinds: Sequence[SystemKind]) -> None:
        """Measure systems on one copy of the weights. If a system that no required gate needs fails, it is not measured."""
        try:
            self._measure(kinds)
        except EvaluationError as error:
            if any(kind.required for kind in kinds):
                raise
            for kind in kinds:
                self._leave_out(kind, str(error) if kind.role == "subject" else f"{kind.words.topic} was not measured: {error}")

    def _measure(self, kinds: Sequence[SystemKind]) -> None:
        load = kinds[0].load
        model = None if load is None else load(self._asking(kinds[0].name).inputs)
        if model is not None and any(kind.role == "subject" for kind in kinds) and (reason := fits(model).reason):
            self.reporter.warn(f"answers are made one by one, which is slow: this base has {reason}")
        systems = self._opened(kinds, model)
        answers: dict[str, Any] = {}
        for asking in (self.asking, *self.own.values()):
            pairs = [pair for pair in systems if self._asking(pair[0].name) is asking]
            answers |= asking.answers(pairs)
            self._put_suites(asking, [system for kind, system in pairs if kind.role in _SCORED])
        for kind, system in systems:
            given = self._run(kind, system, answers[kind.name])
            if kind.role == "form":
                self._compare(kind, system, given, model)
            elif kind.role == "subject":
                self.subject = given
                self._check_adapter(kind, model)

    def _opened(self, kinds: Sequence[SystemKind], model: Any) -> list[tuple[SystemKind, System]]:
        systems: list[tuple[SystemKind, System]] = []
        for kind in kinds:
            system = kind.open(self._asking(kind.name).inputs, model)
            if isinstance(system, NotMeasured):
                self._leave_out(kind, system.reason)
                continue
            systems.append((kind, system))
            if isinstance(system, OwnPrompts):
                self.numbers |= system.numbers
        return systems

    def _leave_out(self, kind: SystemKind, reason: str) -> None:
        self.reporter.warn(reason)
        self.left_out[kind.name] = reason
        if kind.role == "form":
            self.forms[kind.name] = FormResult(reason=reason)

    def _run(self, kind: SystemKind, system: System, answers: Any) -> Given:
        """Keep the run of a listed system; what forms are compared by."""
        asking, logprobs = self._asking(kind.name), None
        if kind.listed:
            run, logprobs = asking.run(system, answers)
            self.runs[kind.name] = run
            greedy = run.greedy
        else:
            greedy = asking.generations(system.name, answers, system.fingerprint, decoding="greedy")
        if kind.role in _SCORED:
            if found := self._likelihoods(system, self.general_items):
                self.general[kind.role] = found
            for name, items in self.probe_items.items():
                if kind.role in _PROBED.get(name, _SCORED) and (found := self._likelihoods(system, items)):
                    self.probes.setdefault(name, {})[kind.name] = found
        if kind.role not in ("subject", "form"):
            return Given(logits=None, logprobs=None, greedy=greedy)
        return self._given(kind, system, logprobs, greedy)

    def _put_suites(self, asking: Asking, systems: Sequence[System]) -> None:
        for suite in asking.conditions.suites if systems else ():
            self.suite_runs.setdefault(suite.id, []).extend(asking.run_suite(suite, systems))

    def _likelihoods(self, system: System, items: Sequence[Item]) -> tuple[Likelihood, ...]:
        """Of further rows under their own prompts; empty where the system gives none."""
        asking = self._asking(system.name)
        found = asking.logprobs_of(system, items)
        return () if found is None else likelihoods_of(found[1], asking.inputs.chat, items, found[0])

    def _given(self, kind: SystemKind, system: System, logprobs: Sequence[TokenLogprobs] | None, greedy: Any) -> Given:
        """Logits that outlast the weights for the tuned model, passing ones for a form; log-probabilities without either."""
        asking = self._asking(kind.name)
        rows: Sequence[Encoded] = asking.rows[: self.num_rows if kind.role == "subject" else kind.num_rows]
        logits = None
        if isinstance(system, GivesLogits) and rows:
            logits = system.kept_logits(rows) if kind.role == "subject" else system.logits(rows)
        without_logits = logits is None or self.subject is None or self.subject.logits is None
        if not kind.listed and (without_logits or kind.limits.mean_abs_logprob is not None):
            logprobs = asking.logprobs(system, rows)
        return Given(logits=logits, logprobs=None if logprobs is None else logprobs[: len(rows)], greedy=greedy)

    def _compare(self, kind: SystemKind, system: System, given: Given, model: Any) -> None:
        if self.subject is None:
            self.forms[kind.name] = FormResult(reason="the tuned model was not measured")
            return
        found = compare_given(self.subject, system, given, num_rows=min(kind.num_rows, len(self.asking.rows)))
        if kind.facts is not None and found.logits is not None:
            facts = kind.facts(self.asking.inputs, model)
            told = replace(found.logits, stored=facts.stored, as_summed=facts.as_summed, differences=facts.differences)
            found = replace(found, logits=told)
        self.forms[kind.name] = found

    def _check_adapter(self, kind: SystemKind, model: Any) -> None:
        tuned = self.runs[kind.name].likelihoods
        same = any(run.likelihoods == tuned for name, run in self.runs.items() if name != kind.name)
        if tuned and same and adapter_moves(model):
            raise EvaluationError(
                "the adapter has no effect: base and tuned model give every reference the same probability",
                value=str(self.asking.inputs.adapter),
                expected="an adapter that moves the model",
                hint="delete the run's folder and train again: its weights are not zero, so they are not being used",
            )

    def measured(self, kinds: Sequence[SystemKind]) -> Measured:
        """All of it. Merged and served have places of their own, as in evidence from before there were others."""
        forms = dict(self.forms)
        parity, served = (forms.pop(name, FormResult()).logits for name in ("merged", "served"))
        return Measured(
            systems=tuple(self.runs[kind.name] for kind in kinds if kind.name in self.runs),
            parity=parity,
            general_texts=self.general,
            numbers=self.numbers,
            served=served,
            limit=next(iter(self.own.values()), self.asking).limit,
            forms=forms,
            probes=self.probes,
            suites=tuple(
                SuiteAnswers(suite=s, runs=tuple(self.suite_runs[s.id]))
                for s in self.asking.conditions.suites
                if s.id in self.suite_runs
            ),
            left_out=self.left_out,
        )
