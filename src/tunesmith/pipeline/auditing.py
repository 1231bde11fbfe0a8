"""An audit: base against a model that was trained elsewhere, on the user's own documents or suite, with the same gates.

All of the user's documents are test items: nothing is trained on them here. What only the maker of a model knows (its training
rows, and so whether it recites them or has seen these documents) is *not measured*, and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tunesmith.core.artifacts import Draft
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Document, Example, Message, digest, read_jsonl
from tunesmith.data.dataset.passages import build_examples, build_passages
from tunesmith.eval.asking import Conditions
from tunesmith.eval.evaluate import evaluate_kinds, that_fit
from tunesmith.eval.files import read_items, write_evaluation
from tunesmith.eval.results import Audited, Evidence, Item, read_evidence
from tunesmith.eval.suites.load import load_suite
from tunesmith.eval.suites.suite import Suite
from tunesmith.eval.use_choice import set_use
from tunesmith.models.use import Use
from tunesmith.pipeline.audited_model import Opened, Subject, opened_subject
from tunesmith.pipeline.context import Context, Judged
from tunesmith.pipeline.draw import drop_copies
from tunesmith.pipeline.evidence import EXAMPLES, measuring_code, same_verdict
from tunesmith.pipeline.items import test_items
from tunesmith.pipeline.judging import verdict_event
from tunesmith.pipeline.looks import Look, Looks
from tunesmith.pipeline.outcome import Outcome
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.ruling import rule_on, rules_of
from tunesmith.systems.audited import kinds_for
from tunesmith.systems.system import SystemInputs

__all__ = ["audit"]

KIND = "audit"
_LEAST_ANSWER = 64  # tokens that every answer may have
_TEMPERATURE, _TOP_P, _PENALTY = (
    0.7,
    0.9,
    1.1,
)  # what the preset `draft` uses: an audit has no validation questions to choose on


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is put to both models: items, further suites, and the reference to what they were made from."""

    items: tuple[Item, ...]
    origin: Mapping[str, str]
    suites: tuple[Suite, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)


def audit(project: Context, subject: Subject, *, suite: str = "") -> Outcome:
    """The verdict on `subject` against the project's base, on its sources, or on the items of `suite` that have a reference.

    Raises:
        EvaluationError: not exactly one thing to audit, or nothing to ask it.
        ModelError: an adapter that is pickled, incomplete, zero, or made for another base; a model that cannot be opened.
    """
    settings = _settings_for(project, subject)
    with opened_subject(project, subject) as opened:
        asked = _asked(project, opened, suite=suite)
        use = _use(settings)
        limit = _limit(project, asked.items, settings)
        looks = Looks(project.store.root)
        counted: dict[str, Any] = {
            "what": {"models": [project.base.fingerprint, opened.fingerprint], "use": asdict(use)},
            "rules": rules_of(settings),
            "documents": [item.group for item in asked.items],
        }
        look = looks.find(**counted)
        inputs = [
            dict(asked.origin),
            {"kind": "base", "id": project.base.fingerprint},
            {"kind": "audited", "id": opened.fingerprint},
        ]
        kept = {
            "eval": settings.eval.model_dump(),
            "gates": settings.gates.model_dump(),
            "use": asdict(use),
            "max_new_tokens": limit,
            "code": measuring_code(),
            "suites": [one.id for one in asked.suites],
            "look": {"number": look.number, "changed": list(look.changed)},
            "items": digest(*(item.id for item in asked.items)),
            **project.template_settings,
            **({"asked": datetime.now(UTC).isoformat()} if opened.address else {}),  # another model may answer by now
        }
        known = project.store.find(KIND, project.store.identify(KIND, inputs, kept))
        evidence = read_evidence(known.path / "evidence.json") if known else _gather(project, opened, asked, use, limit)
        looks.add(**counted)
        judged = _judged(evidence, settings, look)

        def fill(draft: Draft) -> None:
            write_evaluation(draft.path, judged.evidence, judged.measurements, judged.verdict)
            draft.numbers |= {"verdict": judged.verdict.verdict, "items": len(evidence.items), "audited": opened.audited.what}

        made = project.store.obtain(KIND, inputs, kept, fill)
    verdict = same_verdict(made, judged.verdict)
    project.reporter.event(verdict_event(verdict, judged.measurements, made))
    return Outcome(verdict, judged.measurements, made)


def _settings_for(project: Context, subject: Subject) -> Recipe:
    """The settings without what needs training rows; a server gives no likelihoods, so a text metric decides there."""
    r = project.settings
    for name in ("eval.baselines", "eval.additions"):
        if r.has_written(name) and getattr(r.eval, name.partition(".")[2]):
            project.reporter.warn(f"{name} has no effect in an audit, which has no training rows to show")
    changed: dict[str, Any] = {"baselines": [], "additions": []}
    if subject.url and not r.has_written("eval.primary"):
        changed["primary"] = "rouge_l"
    return r.model_copy(update={"eval": r.eval.model_copy(update=changed)})


def _use(settings: Recipe) -> Use:
    """The sampling settings of the recipe; those that it leaves open are fixed ones."""
    wanted = settings.use
    fixed = {"temperature": _TEMPERATURE, "top_p": _TOP_P, "repetition_penalty": _PENALTY}
    missing = {name: value for name, value in fixed.items() if getattr(wanted, name) == "auto"}
    use = set_use(wanted.model_copy(update=missing))
    if use is None:
        raise AssertionError("sampling settings are left open")
    return replace(use, how="fixed for audits, where the recipe leaves them open" if missing else "fixed by the recipe")


def _limit(project: Context, items: Sequence[Item], settings: Recipe) -> int:
    """Maximum tokens of an answer: as set, or a quarter more than nearly all references have."""
    wanted = settings.eval.max_new_tokens
    if wanted != "auto":
        return wanted
    usual = project.chat.usual_length([item.reference for item in items])
    return min(project.base.context - 1, max(_LEAST_ANSWER, round(1.25 * usual) + 1))


# --- what is asked ----------------------------------------------------------------------------------------------------


def _asked(project: Context, opened: Opened, *, suite: str) -> _Asked:
    suites = project.suites
    if suite:
        own = load_suite(suite)
        rows, origin = _suite_examples(own), {"kind": "suite", "id": own.content_hash}
        suites = (*(one for one in suites if one.name != own.name), own)
    else:
        rows, origin = _examples(project), project.documents.reference()
    kept = chosen = test_items(rows, project.settings)
    for base, chat in opened.formats(project):
        kept = that_fit(chat, kept, context=base.context)
    if not kept:
        raise EvaluationError(
            "there is nothing to ask the models",
            value=suite or ", ".join(project.recipe.sources),
            expected="documents or rows that fit into the context of both, or a suite whose items have references",
            hint="tunesmith ingest --source PATH shows what is read; --set build.min_words=10 keeps shorter passages",
        )
    left_out = len(chosen) - len(kept)
    numbers = {"items unscored, as too long or rewritten by a template": left_out}
    return _Asked(items=kept, origin=origin, suites=suites, numbers=numbers)


def _examples(project: Context) -> list[Example]:
    """Every pair of the sources, or every passage of the documents under a question, as the dataset stage makes them."""
    r, folder = project.settings.build, project.documents.path
    documents = list(read_jsonl(folder / "documents.jsonl", Document))
    pairs = list(read_jsonl(folder / "pairs.jsonl", Example))
    documents, pairs, _ = drop_copies(documents, pairs, threshold=r.dedup, reporter=project.reporter)
    if pairs and r.style in ("auto", "examples"):
        return list(build_examples(pairs, system_prompt=r.system_prompt).examples)
    built = build_passages(
        documents,
        passage_words=project.passage_words,
        min_words=r.min_words,
        system_prompt=r.system_prompt,
        missing=r.missing_parts,
    )
    return list(built.examples)


def _suite_examples(suite: Suite) -> list[Example]:
    """The items of a suite that hold a reference; the others are put to both models by their scorer alone."""
    return [
        Example(
            id=one.id,
            messages=(*one.messages, Message(role="assistant", content=one.references[0])),
            document_id=one.group,
            group=one.group,
            source=suite.source,
        )
        for one in suite.items
        if one.references and not one.unscored
    ]


# --- what they answer -------------------------------------------------------------------------------------------------


def _gather(project: Context, opened: Opened, asked: _Asked, use: Use, limit: int) -> Evidence:
    settings = project.settings
    inputs = SystemInputs(
        base=project.base,
        chat=project.chat,
        adapter=opened.adapter,
        merged_folder=opened.folder,
        questions=asked.items,
        train=(),
        max_new_tokens=limit,
        batch_examples=settings.eval.batch_examples,
        address=opened.address,
    )
    own = {"tuned": replace(inputs, base=opened.own[0], chat=opened.own[1])} if opened.own else {}
    measured = evaluate_kinds(
        kinds_for(inputs),
        inputs,
        items=asked.items,
        general=read_items(EXAMPLES / "general.jsonl"),
        conditions=Conditions(
            baselines=(),
            max_new_tokens=limit,
            batch_examples=settings.eval.batch_examples,
            template=project.chat.options,
            use=use,
            address=opened.address,
            suites=asked.suites,
            saved=None if opened.address else project.store.root / "answers",  # behind an address anything may answer
        ),
        reporter=project.reporter,
        own=own,
    )
    audited = replace(opened.audited, reason=measured.left_out.get("tuned", ""))
    about = {"audited": audited.what, "made by": _made_by(audited), "note": "; ".join(audited.notes), "reason": audited.reason}
    return Evidence(
        items=asked.items,
        systems=measured.systems,
        parity=None,
        general=measured.general,
        probes=measured.probes,
        suites=measured.suites,
        use=use,
        limit=measured.limit,
        numbers={**{key: value for key, value in about.items() if value}, **asked.numbers, **measured.numbers},
        ids={"documents": asked.origin["id"]} if asked.origin["kind"] == "documents" else {},
        audited=audited,
    )


def _made_by(audited: Audited) -> str:
    return f"{audited.maker} (by {', '.join(audited.files)})" if audited.maker else "not recognised"


def _judged(evidence: Evidence, settings: Recipe, look: Look) -> Judged:
    measurements, verdict = rule_on(evidence, settings.eval, settings.gates, number=look.number, changed=look.changed)
    return Judged(evidence, measurements, verdict)
