"""What the stage `dataset` does: documents and rows in; three splits out, checked, free of leaks, with a page about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.errors import BlockedError
from tunesmith.core.labelled import Labelled, bad_answers, good_rows
from tunesmith.core.records import (
    Document,
    Example,
    Finding,
    Message,
    Preference,
    Row,
    as_example,
    read_jsonl,
    to_json,
    write_jsonl,
)
from tunesmith.core.reporter import FindingReported, Reporter
from tunesmith.core.texts import Text
from tunesmith.data.checks.answers import check_placeholders
from tunesmith.data.checks.damage import check_encoding, check_residue
from tunesmith.data.checks.personal import check_personal
from tunesmith.data.checks.redact import redact
from tunesmith.data.checks.rows import rows_from_examples
from tunesmith.data.checks.run import check_rows, check_texts, worst_first
from tunesmith.data.checks.secrets import check_secrets
from tunesmith.data.dataset.origin_section import origin_facts
from tunesmith.data.dataset.passages import Built, build_examples, build_passages
from tunesmith.data.dataset.report import dataset_report
from tunesmith.data.dataset.report_quality import Quality, measure_quality
from tunesmith.data.dataset.texts import Cut
from tunesmith.data.dataset.voices import ask_for_one_voice, voices
from tunesmith.data.similar.semantic import similarity_named
from tunesmith.data.synth.outcome import Outcome
from tunesmith.data.synth.shares import find_shares
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.labels import audit_labels, encode_row
from tunesmith.models.load import BaseFolder
from tunesmith.pipeline.blocking import stop_at_errors
from tunesmith.pipeline.draw import OtherSets, draw, draw_splits, drop_copies
from tunesmith.pipeline.fitting import measure_fits
from tunesmith.pipeline.rated_rows import SourceRows, labelled_built, pairs_of_rated, preferences_built
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.redaction import redacted_document, redacted_row, redacted_samples
from tunesmith.pipeline.sections.dataset import BuildConfig, SplitConfig
from tunesmith.pipeline.synthesis import build_with_generator
from tunesmith.pipeline.texts import cutting, texts_built, with_cut_texts, without_general
from tunesmith.plan.facts import DataFacts
from tunesmith.train.batches import shared_tokens

__all__ = ["build_settings", "data_facts", "fill_dataset", "report_findings", "split_settings"]

_OF_REJECTED = (check_placeholders, check_encoding, check_residue, check_secrets, check_personal)

_LATER = frozenset(("redact", "fit_by_encoder"))
Splits = Mapping[str, Sequence[Row]]


def fill_dataset(  # noqa: PLR0913 (what the project knows, and nothing of the project)
    draft: Draft,
    *,
    recipe: Recipe,
    documents: Artifact,
    chat: Chat,
    passage_words: int,
    limit: int,
    replies: Path,
    other_sets: OtherSets,
    blocked: Path,
    record: type,
    base: BaseFolder | None = None,
    reporter: Reporter,
) -> None:
    """Build rows of the kind `record`, split, check and write them.

    DatasetError if a split is left empty; BlockedError for findings of severity error.

    `replies`: where replies of the generator are kept, for styles that ask one. `blocked`: the file that takes the rows of
    findings that stop the build. `base`: the base by whose likelihood the fit of the questions is measured as well.
    """
    similarity = similarity_named(name) if (name := recipe.build.semantic) else None  # opened before anything is paid for
    blocked.unlink(missing_ok=True)  # of an earlier build
    read = _read(documents, redacted=recipe.build.redact)
    if record is not Text and (not (read.pairs or read.labelled) or recipe.build.style != "auto"):
        ask_for_one_voice(voices(read.documents), chosen=recipe.authors)
    if recipe.build.redact:
        other_sets = replace(other_sets, general=tuple(redacted_row(row, read.redacted) for row in other_sets.general))
        recipe = recipe.model_copy(update={"build": _without_private(recipe.build, read.redacted)})
    rows = SourceRows(read.documents, read.pairs, read.preferences, read.labelled)
    built: Built[Any]
    outcome: Outcome | None = None
    cut = cutting(chat, limit=limit)
    if (taken := _taken(record, rows, recipe, cut=cut, reporter=reporter)) is not None:
        built, copies = taken
    else:
        read = replace(read, pairs=[*read.pairs, *pairs_of_rated(rows, reporter=reporter)])
        built, outcome, copies = _build(
            read, recipe, passage_words=passage_words, replies=replies, blocked=blocked, reporter=reporter
        )
    other_sets = with_cut_texts(other_sets, cut)
    drawn = draw(built.examples, recipe=recipe, documents=read.documents, other_sets=other_sets, similarity=similarity)
    kept = drawn.splits
    shown = {name: [as_example(row) for row in rows] for name, rows in kept.items()}
    findings = (*drawn.findings, *find_shares(shown), *(without_general(other_sets) if record is Text else ()))
    quality = _quality(kept, check_texts if record is Text else check_rows)
    found = worst_first(_joined([*findings, *quality.findings, *_in_rejected(kept)]))
    _stop_at_errors(found, kept, recipe, blocked=blocked, reporter=reporter)
    encoded = {name: [encode_row(chat, row, max_tokens=limit) for row in rows] for name, rows in kept.items()}
    numbers = _numbers(chat, kept, encoded, allow=recipe.allow)
    numbers |= _left_out(built, leaks=sum(f.count for f in findings if f.severity == "error"), copies=copies)
    numbers |= {**drawn.numbers, "redacted": dict(read.redacted), "findings": [_told(finding) for finding in found]}
    numbers |= {} if outcome is None else {"synthesis": outcome.report()}
    asked = set() if record is Text else {one.id for one in read.documents}  # nobody asks for a text
    fits = measure_fits(shown, documents=asked, chat=chat, base=base, encoder=recipe.build.fit_by_encoder, reporter=reporter)
    numbers["fits"] = [{key: value for key, value in fit.report().items() if key != "failed"} for fit in fits]
    for name, own in kept.items():
        write_jsonl(draft.path / f"{name}.jsonl", own)
    report, page = dataset_report(
        shown,
        dropped=built.dropped,
        dropped_samples=redacted_samples(built.dropped_samples),
        dropped_words=built.dropped_words,
        findings=findings,
        quality=quality,
        failures=documents.numbers["failures"],
        token_lengths={name: [len(row.ids) for rows in parts for row in rows] for name, parts in encoded.items()},
        rendered=[chat.pieces(row) for rows in encoded["train"][:3] for row in rows][:3],
        cut=numbers["cut"],
        documents=documents.numbers["documents"],
        origin=origin_facts(read.documents),
        notes=documents.numbers["notes"],
        synthesis=outcome.report() if outcome else None,
        not_looked_for=drawn.numbers["not_looked_for"],
        fits=fits,
    )
    (draft.path / "report.json").write_bytes(to_json(report))
    (draft.path / "report.html").write_text(page, encoding="utf-8")
    draft.numbers |= numbers


def _left_out(built: Built[Any], *, leaks: int, copies: int) -> dict[str, Any]:
    """What is in no row, by its reason: passages, their words, rows that leaked, copies."""
    dropped = {"dropped": dict(built.dropped), "dropped_words": dict(built.dropped_words)}
    return {**dropped, "leaks": leaks, "copies_dropped": copies}


def _taken(record: type, rows: SourceRows, recipe: Recipe, *, cut: Cut, reporter: Reporter) -> tuple[Built[Any], int] | None:
    """Rows that the sources hold as they are learned, and how many copies went; None for examples, which are built."""
    if record is Preference:
        return preferences_built(rows, recipe, reporter=reporter)
    if record is Labelled:
        return labelled_built(rows, recipe, reporter=reporter)
    return texts_built(rows, recipe, cut=cut, reporter=reporter) if record is Text else None


def _quality(kept: Splits, look: Callable[[Any], tuple[Finding, ...]]) -> Quality:
    """What the checks `look` find in the rows that are right."""
    return measure_quality({name: [as_example(row) for row in good_rows(rows)] for name, rows in kept.items()}, look=look)


def _stop_at_errors(
    found: Sequence[Finding], kept: Mapping[Any, Sequence[Any]], recipe: Recipe, *, blocked: Path, reporter: Reporter
) -> None:
    """BlockedError, after the findings were reported, if one of them is an error that is not allowed."""
    try:
        stop_at_errors(found, [row for rows in kept.values() for row in rows], allow=recipe.allow, rows_file=blocked)
    except BlockedError:
        report_findings([_told(finding) for finding in found], reporter)
        raise


def _without_private(build: BuildConfig, counts: Counter[str]) -> BuildConfig:
    return build.model_copy(update={"system_prompt": redact(build.system_prompt, counts)})


def _in_rejected(splits: Splits) -> list[Finding]:
    """What must not be in rejected answers, which are learned from as well: private data, damage, marks, placeholders."""
    rejected = [
        replace(as_example(row), messages=(Message(role="assistant", content=answer),))
        for rows in splits.values()
        for row in rows
        for answer in bad_answers(row)
    ]
    rows = rows_from_examples(rejected)
    found = [finding for check in _OF_REJECTED for finding in check(rows)] if rows else []
    return [replace(f, message=f"rejected answers: {f.message}") for f in found if f.severity != "info"]


def _joined(findings: Sequence[Finding]) -> list[Finding]:
    """One finding per name: what chosen and rejected answers have in common is reported together."""
    by_name: dict[str, Finding] = {}
    for finding in findings:
        known = by_name.get(finding.name)
        if known is None:
            by_name[finding.name] = finding
            continue
        first, second = sorted((known, finding), key=lambda one: one.severity != "error")
        rows = tuple(dict.fromkeys((*first.rows, *second.rows)))
        by_name[finding.name] = replace(first, rows=rows, count=max(len(rows), first.count, second.count))
    return list(by_name.values())


def report_findings(findings: Sequence[Mapping[str, Any]], reporter: Reporter) -> None:
    """An event for each finding, as the numbers of a dataset hold them."""
    for found in findings:
        reporter.event(
            FindingReported(
                name=found["name"], severity=found["severity"], message=found.get("message", ""), count=found["count"]
            )
        )


@dataclass(frozen=True, slots=True)
class _Read:
    """What the documents stage wrote, with how many secrets and personal data of each kind were replaced."""

    documents: Sequence[Document]
    pairs: Sequence[Example]
    preferences: Sequence[Preference]
    labelled: Sequence[Labelled]
    redacted: Counter[str]


def _read(artifact: Artifact, *, redacted: bool) -> _Read:
    documents = list(read_jsonl(artifact.path / "documents.jsonl", Document))
    pairs = list(read_jsonl(artifact.path / "pairs.jsonl", Example))
    some = artifact.numbers.get("preferences", 0)
    preferences = list(read_jsonl(artifact.path / "preferences.jsonl", Preference)) if some else []
    marked = artifact.numbers.get("labelled", 0)
    labelled = list(read_jsonl(artifact.path / "labelled.jsonl", Labelled)) if marked else []
    counts: Counter[str] = Counter()
    if redacted:
        documents = [redacted_document(one, counts) for one in documents]
        pairs = [redacted_row(pair, counts) for pair in pairs]
        preferences = [redacted_row(row, counts) for row in preferences]
        labelled = [redacted_row(row, counts) for row in labelled]
    return _Read(documents, pairs, preferences, labelled, counts)


def _told(finding: Finding) -> dict[str, Any]:
    return {"name": finding.name, "severity": finding.severity, "count": finding.count, "message": finding.message}


def _build(
    read: _Read, recipe: Recipe, *, passage_words: int, replies: Path, blocked: Path, reporter: Reporter
) -> tuple[Built[Any], Outcome | None, int]:
    b = recipe.build
    documents, pairs = list(read.documents), list(read.pairs)
    style = ("examples" if pairs else "passages") if b.style == "auto" else b.style
    documents, pairs, copies = drop_copies(documents, pairs, threshold=b.dedup, reporter=reporter)
    left, what, other = (documents, "documents", "passages") if style == "examples" else (pairs, "pairs", "examples")
    if left:
        reporter.warn(f"{len(left)} {what} are left aside; --set build.style={other} takes them instead")
    if b.style == "auto" and recipe.generator.url:
        reporter.warn(f"build.style is auto: {style}, and the generator is not asked; --set build.style=qa asks it")
    for name in sorted({"words_per_pair", "real_share"} & b.model_fields_set if b.style == "auto" else ()):
        reporter.warn(f"build.{name} has no effect with build.style={style}; --set build.style=qa uses it")
    if style == "examples":
        for name in sorted({"passage_words", "min_words", "missing_parts"} & b.model_fields_set):
            reporter.warn(f"build.{name} has no effect: the sources hold pairs, which are taken as they are")
        return build_examples(pairs, system_prompt=b.system_prompt), None, copies
    passages = build_passages(
        documents,
        passage_words=passage_words,
        min_words=b.min_words,
        system_prompt=b.system_prompt,
        missing=b.missing_parts,
    )
    if style in {"qa", "rewrite"}:
        draw_splits(passages.examples, recipe, documents)  # too few documents is reported before anything is paid
        _stop_at_private(documents, allow=recipe.allow, blocked=blocked)  # and what must not leave this machine, before it does
        return (
            *build_with_generator(
                documents, passages.examples, build=b, generator=recipe.generator, replies=replies, reporter=reporter
            ),
            copies,
        )
    return passages, None, copies


def _stop_at_private(documents: Sequence[Document], *, allow: Sequence[str], blocked: Path) -> None:
    """BlockedError for secrets and critical personal data anywhere in documents that are about to be sent to a generator."""
    whole = [
        Example(
            id=one.id,
            messages=(Message(role="assistant", content=f"{one.title or ''}\n{one.text}"),),
            document_id=one.id,
            group=one.id,
            source=one.source,
            title=one.title,
        )
        for one in documents
    ]
    rows = rows_from_examples(whole)
    stop_at_errors([*check_secrets(rows), *check_personal(rows)], whole, allow=allow, rows_file=blocked)


def _numbers(
    chat: Chat, splits: Splits, encoded: Mapping[str, Sequence[Sequence[Encoded]]], *, allow: Sequence[str]
) -> dict[str, Any]:
    everything = [example for rows in splits.values() for example in rows]
    codes = [rows for parts in encoded.values() for rows in parts]
    found = audit_labels(chat, everything, codes, allow=allow)
    train = [row for rows in encoded["train"] for row in rows]
    pairs = isinstance(everything[0], Preference)  # of which both rows are learned together
    return {
        **{name: len(rows) for name, rows in splits.items()},
        "examples": len(everything),
        "documents": {name: len({e.group for e in rows}) for name, rows in splits.items()},
        "train_rows": len(encoded["train"]) if pairs else len(train),
        **({"together": 2, "longest_unit": max(_once(rows) for rows in codes)} if pairs else {}),
        "train_tokens": sum(len(row.ids) for row in train),
        "learned_tokens": sum(row.num_learned for row in train),
        "longest": max(len(row.ids) + row.dropped for rows in codes for row in rows),
        "longest_prompt": max(_before_answer(row) for rows in codes for row in rows),
        "answer_tokens": chat.usual_length([e.answer for e in everything if e.prompt]),
        "with_end": len(everything) - len(found.without_end),
        "cut": {"num_cut": len(found.cut), "share": found.cut_share, "examples": list(found.cut[:20])},
    }


def _once(rows: Sequence[Encoded]) -> int:
    """Tokens of rows that are learned together, of which neighbours' common beginnings are computed once."""
    return sum(len(row.ids) for row in rows) - sum(shared_tokens(a, b) for a, b in pairwise(rows))


def _before_answer(row: Encoded) -> int:
    """Tokens before the first that is learned."""
    return next((place for place, mark in enumerate(row.learned) if mark), len(row.ids))


def build_settings(build: BuildConfig, *, passage_words: int) -> dict[str, Any]:
    """The section `build` as a setting of the artifact; later settings only where they are on: older datasets keep their id."""
    settings = {**build.model_dump(), "passage_words": passage_words}
    return {name: value for name, value in settings.items() if value or name not in _LATER}


def split_settings(split: SplitConfig) -> dict[str, Any]:
    """The section `split` as a setting of the artifact; folds only where there are any: other datasets keep their id."""
    return split.model_dump(exclude=set() if split.folds else {"folds", "fold"})


def data_facts(numbers: Mapping[str, Any], *, limit: int, room: int, template: tuple[str, str]) -> DataFacts:
    """What the plan has to know of a dataset, from the `numbers` of its artifact."""
    return DataFacts(
        num_train=numbers["train"],
        num_val=numbers["val"],
        num_test=numbers["test"],
        test_documents=numbers["documents"]["test"],
        train_tokens=numbers["train_tokens"],
        learned_tokens=numbers["learned_tokens"],
        longest=numbers["longest"],
        limit=limit,
        cut_share=numbers["cut"]["share"],
        room=room,
        num_rows=numbers.get("train_rows", 0),
        template=template,
        together=numbers.get("together", 1),
        unit=numbers.get("longest_unit", 0),
        prompt=numbers.get("longest_prompt", 0),
    )
