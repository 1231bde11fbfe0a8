"""The verdict on a shipped form: the evaluation's own questions asked of the exported file, on the engine that runs it.

What does not depend on the form (the base, cheaper alternatives, floors) is taken from the evaluation. Everything that the
evaluation measured of the tuned model is measured again: answers, likelihoods, probes, general text, suites.

A form is fit to be released only if the evaluation itself ended in SHIP, so forms cannot add false SHIPs, and the
questions that are put to them are no further evaluation on the test set (docs/decisions/0009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import EvaluationError
from tunesmith.core.reporter import Reporter
from tunesmith.eval.evaluate import Conditions, Measured, evaluate_kinds
from tunesmith.eval.files import read_items, read_verdict
from tunesmith.eval.gain import margin_of, usual_margin, weigh
from tunesmith.eval.gate import Finding, Gate, State, missing, unless_one_sided
from tunesmith.eval.kept_system import KeptSystem
from tunesmith.eval.measure import Comparison, Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.probes import GOLDEN, TAUGHT, TRAINING, probes_of, training_id
from tunesmith.eval.results import Evidence, Item, SystemRun, read_evidence
from tunesmith.eval.suites.answered import SuiteAnswers
from tunesmith.eval.verdict import Verdict
from tunesmith.eval.voice_measures import voice_again
from tunesmith.pipeline.evidence import EXAMPLES
from tunesmith.pipeline.finished import FinishedRun
from tunesmith.pipeline.ruling import measured, rule_on
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig
from tunesmith.systems.registry import by_role
from tunesmith.systems.system import System, SystemInputs, SystemKind

__all__ = ["Shipped", "judge_shipped"]

_SUBJECT, _REFERENCE = "tuned", "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A form as it was measured. `evidence` is that of the evaluation with the form in the place of the tuned model.

    `tested`: the verdict on the adapter. `against`: the form against the adapter, paired item by item. `kept`: whether the form
    loses less than the margin in the primary metric, and gains no more than it: pass, fail, or not measured.
    """

    evidence: Evidence
    measurements: Measurements
    verdict: Verdict
    tested: Verdict
    against: Comparison | None
    kept: Finding

    @property
    def worse(self) -> tuple[tuple[Gate, Gate], ...]:
        """Required gates in which the form is worse than the adapter, that of the adapter first: the same verdict may have
        another reason."""
        before = {gate.name: gate for gate in self.tested.gates}
        pairs = [(before[gate.name], gate) for gate in self.verdict.gates if gate.required and gate.name in before]
        return tuple((old, new) for old, new in pairs if _ORDER.index(new.state) < _ORDER.index(old.state))

    @property
    def state(self) -> State:
        """Whether the form is as good as the adapter that was tested. Pass: the same verdict, no required gate in which it is
        worse, and less lost than the margin. Fail: one of these is shown to be otherwise. Not measured: anything else."""
        states = [self.kept.state, *(new.state for _, new in self.worse)]
        names = (self.tested.verdict, self.verdict.verdict)
        if names[0] != names[1]:
            states.append("not measured" if "CAN'T TELL" in names and names[1] != "DON'T SHIP" else "fail")
        return min(states, key=_ORDER.index)

    @property
    def marks(self) -> tuple[str, ...]:
        """Why the form is not what was tested, in sentences; empty if it may be released."""
        found = []
        if self.tested.verdict != "SHIP":
            found.append(f"The adapter's own verdict is {self.tested.verdict}.")
        if self.verdict.verdict != self.tested.verdict:
            found.append(f"The verdict changes from {self.tested.verdict} to {self.verdict.verdict}: {self.verdict.sentence}")
        found += [
            f"The gate {new.name.replace('_', ' ')} changes from {old.state} to {new.state}: {new.evidence}."
            for old, new in self.worse
        ]
        if self.kept.state == "fail" and (self.kept.value or 0) > 0:
            found.append(f"It is another model than the adapter, or its engine counts otherwise: {self.kept.evidence}.")
        elif self.kept.state == "fail":
            found.append(f"It loses more than the margin against the adapter: {self.kept.evidence}.")
        elif self.kept.state == "not measured":
            found.append(f"Whether it loses more than the margin against the adapter was not measured: {self.kept.evidence}.")
        return tuple(found)


_ORDER: tuple[State, ...] = ("fail", "not measured", "pass")  # from worst to best


def judge_shipped(
    run: FinishedRun, evaluation: Artifact, system: System, *, saved: Path | None = None, reporter: Reporter
) -> Shipped:
    """Ask `system` everything that `evaluation` asked the tuned model, and judge it by the same rules at the same level.

    `saved`: a folder where its answers are kept as they come; those that are there already are not asked again.

    Raises:
        EvaluationError: the engine fails, or the evaluation holds no tuned model.
    """
    tested = read_evidence(evaluation.path / "evidence.json")
    adapter = tested.system(_SUBJECT)
    if adapter is None:
        raise EvaluationError(
            "the evaluation holds no tuned model to compare with",
            value=str(evaluation.path),
            expected="an evaluation of this run",
            hint="tunesmith eval",
        )
    settings: dict[str, Any] = dict(evaluation.manifest["settings"])
    kept = KeptSystem(system, saved, mark=run.chat.fingerprint) if saved is not None else None
    found = _asked(run, tested, settings, kept or system, reporter)
    if kept is not None and kept.has_untimed:  # the time of this process is not what all the answers took
        found = replace(found, systems=tuple(replace(one, cost=None) for one in found.systems))
    evidence = _in_its_place(tested, found)
    evidence = replace(evidence, voice=voice_again(tested.voice, evidence.items, evidence.systems, run.train))
    chosen, gates, look = EvalConfig(**settings["eval"]), GateConfig(**settings["gates"]), settings["look"]
    measurements, verdict = rule_on(evidence, chosen, gates, number=look["number"], changed=look["changed"])
    margin = margin_of(gates, chosen.primary)
    both = _side_by_side(tested, adapter, evidence)
    numbers = measured(both, chosen, gates, number=look["number"], margin=-margin)
    against = numbers.comparison(_REFERENCE, _SUBJECT)
    return Shipped(
        evidence=evidence,
        measurements=measurements,
        verdict=verdict,
        tested=read_verdict(evaluation.path / "verdict.json"),
        against=against,
        kept=_kept(against, measurements, margin),
    )


def _asked(run: FinishedRun, tested: Evidence, settings: dict[str, Any], system: System, reporter: Reporter) -> Measured:
    """What the form gives for every question that the tuned model was asked."""
    inputs = SystemInputs(
        base=run.base,
        chat=run.chat,
        adapter=run.tuned,
        merged_folder=None,
        questions=tested.items,
        train=(),
        max_new_tokens=settings["max_new_tokens"],
        batch_examples=settings["eval"]["batch_examples"],
    )
    kind = SystemKind(name=_SUBJECT, title="shipped form", role="subject", order=30, open=lambda inputs, model: system)
    return evaluate_kinds(
        [kind],
        inputs,
        items=tested.items,
        general=read_items(EXAMPLES / "general.jsonl") if tested.general is not None else (),
        conditions=Conditions(
            baselines=(),
            max_new_tokens=settings["max_new_tokens"],
            batch_examples=settings["eval"]["batch_examples"],
            template=run.chat.options,
            use=tested.use,
            suites=tuple(one.suite for one in tested.suites),
            saved=run.store.root / "answers",
        ),
        reporter=reporter,
        probes=_probes(run, tested),
    )


def _probes(run: FinishedRun, tested: Evidence) -> dict[str, tuple[Item, ...]]:
    """Exactly the rows that the evaluation put to base and tuned model.

    Raises:
        EvaluationError: a training row of the evaluation is not there any more.
    """
    asked = {row.item_id for rows in tested.probes.get(TRAINING, {}).values() for row in rows}
    rows = [row for row in run.train if training_id(row) in asked]
    found = {name: items for name, items in probes_of(tested.items, rows).items() if name in tested.probes}
    for name, items in found.items():
        wanted = {row.item_id for side in tested.probes[name].values() for row in side}
        if missing := wanted - {item.id for item in items}:
            raise EvaluationError(
                "rows that the evaluation asked cannot be found again",
                value=f"{len(missing)} of the probe {name}, such as {min(missing)}",
                expected="the dataset that the run was trained on, as it was",
                hint="tunesmith eval makes a new evaluation, which the form is then held against",
            )
        found[name] = tuple(item for item in items if item.id in wanted)
    return {**found, **({GOLDEN: tested.golden} if tested.golden else {})}


def _in_its_place(tested: Evidence, found: Measured) -> Evidence:
    """The evidence with everything of the tuned model replaced by that of the form. What the form lacks is not measured."""
    form = next(iter(found.systems))
    others = {kind.name for kind in by_role("form")}  # such as the merged folder: the evaluation has judged them
    probes = {
        name: {**{key: rows for key, rows in sides.items() if key != _SUBJECT}, **found.probes.get(name, {})}
        for name, sides in tested.probes.items()
    }
    texts = found.general_texts.get("subject")
    general = replace(tested.general, tuned=texts) if tested.general is not None and texts else None
    return replace(
        tested,
        systems=tuple(form if one.name == _SUBJECT else one for one in tested.systems if one.name not in others),
        probes={name: sides for name, sides in probes.items() if _SUBJECT in sides or name == TAUGHT},  # of the base alone
        general=general,
        suites=tuple(_with_run(one, found.suites) for one in tested.suites),
        forms={},
        people=None,  # they and the judge compared the adapter's answers
        judged=None,
    )


def _with_run(tested: SuiteAnswers, found: Sequence[SuiteAnswers]) -> SuiteAnswers:
    own = [run for one in found if one.suite.id == tested.suite.id for run in one.runs]
    return replace(tested, runs=(*(run for run in tested.runs if run.system != _SUBJECT), *own))


def _side_by_side(tested: Evidence, adapter: SystemRun, evidence: Evidence) -> Evidence:
    """The form against the adapter, for the same code that compares the tuned model with the base."""
    form = evidence.system(_SUBJECT)
    return Evidence(
        items=tested.items,
        systems=(_renamed(adapter, _REFERENCE), *([form] if form else [])),
        parity=None,
        general=None,
        use=tested.use,
        limit=tested.limit,
        train_answers=tested.train_answers,
    )


def _renamed(run: SystemRun, name: str) -> SystemRun:
    return replace(
        run,
        name=name,
        generations=tuple(replace(one, system=name) for one in run.generations),
        greedy=tuple(replace(one, system=name) for one in run.greedy),
    )


def _kept(against: Comparison | None, measurements: Measurements, margin: float) -> Finding:
    """Whether the form loses less than the margin against the adapter: a test of non-inferiority, by the rule of the gate
    *better* with a negative margin. A form that gains more than the margin is not the model that was tested either."""
    difference = against.differences[measurements.primary] if against else None
    gain = improvement(difference, measurements.primary) if difference else None
    if against is None or difference is None:
        return missing("the form was not measured")
    if difference.num_groups < measurements.min_documents:
        return missing(f"{difference.num_groups} test documents are too few for a reliable interval")
    if gain is None:
        return missing(f"there is no interval of the difference: {difference.no_interval}")
    most = max(margin, usual_margin(measurements.primary))
    if gain[1] > most:
        better = f"improvement {signed_range(gain)}, and no conversion improves a model by more than {most:g}"
        return Finding(state="fail", evidence=better, value=gain[0], interval=gain[1:])
    found = weigh(difference, gain, -margin, level=measurements.level)
    found = unless_one_sided(found, against.one_sided(measurements.primary), "adapter and form")
    return replace(found, evidence=f"{found.evidence} (less than {margin:g} may be lost)")
