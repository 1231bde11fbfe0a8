"""The dataset stage: documents and pairs in; examples in three splits out, checked, free of leaks, with a page about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.config import BuildConfig, Recipe
from tunesmith.core.records import Document, Example, Finding, read_jsonl, to_json, write_jsonl
from tunesmith.core.reporter import FindingReported, Reporter
from tunesmith.data.checks.personal import check_personal
from tunesmith.data.checks.redact import redact
from tunesmith.data.checks.rows import rows_from_examples
from tunesmith.data.checks.run import worst_first
from tunesmith.data.checks.secrets import check_secrets
from tunesmith.data.dedup.semantic import similarity_named
from tunesmith.data.passages import Built, build_examples, build_passages
from tunesmith.data.report import dataset_report
from tunesmith.data.report_quality import measure_quality
from tunesmith.data.synth.outcome import Outcome
from tunesmith.data.synth.shares import find_shares
from tunesmith.models.chat import Chat, Encoded
from tunesmith.pipeline.blocking import stop_at_errors
from tunesmith.pipeline.draw import Beside, draw, draw_splits, drop_copies
from tunesmith.pipeline.synthesis import build_with_generator
from tunesmith.plan.plan import DataFacts
from tunesmith.train.run import check_labels

__all__ = ["build_settings", "data_facts", "fill_dataset"]

Splits = Mapping[str, Sequence[Example]]


def fill_dataset(  # noqa: PLR0913 (what the project knows, and nothing of the project)
    draft: Draft,
    *,
    recipe: Recipe,
    documents: Artifact,
    chat: Chat,
    passage_words: int,
    limit: int,
    replies: Path,
    beside: Beside,
    blocked: Path,
    reporter: Reporter,
) -> None:
    """Build, split, check and write. DatasetError if a split is left empty; BlockedError for findings of severity error.

    `replies`: where replies of the generator are kept, for styles that ask one. `blocked`: the file that takes the rows of
    findings that stop the build.
    """
    semantic = recipe.build.semantic
    similarity = similarity_named(semantic) if semantic else None  # opened before anything is paid for
    read = _read(documents, redacted=recipe.build.redact)
    built, outcome, copies = _build(
        read, recipe, passage_words=passage_words, replies=replies, blocked=blocked, reporter=reporter
    )
    drawn = draw(built.examples, recipe=recipe, documents=read.documents, beside=beside, similarity=similarity)
    kept = drawn.splits
    findings = (*drawn.findings, *find_shares(kept))
    quality = measure_quality(kept)
    everything = [example for rows in kept.values() for example in rows]
    found = worst_first([*findings, *quality.findings])
    for finding in found:
        reporter.event(
            FindingReported(name=finding.name, severity=finding.severity, message=finding.message, count=finding.count)
        )
    stop_at_errors(found, everything, allow=recipe.allow, rows_file=blocked)
    encoded = {name: [chat.rows(e.messages, max_tokens=limit) for e in rows] for name, rows in kept.items()}
    numbers = _numbers(chat, kept, encoded, allow=recipe.allow)
    leaks = sum(f.count for f in findings if f.severity == "error")
    numbers |= {"dropped": dict(built.dropped), "leaks": leaks, "copies_dropped": copies, **drawn.numbers}
    numbers |= {"redacted": dict(read.redacted), "findings": [_told(finding) for finding in found]}
    if outcome is not None:
        numbers["synthesis"] = outcome.report()
    for name, rows in kept.items():
        write_jsonl(draft.path / f"{name}.jsonl", rows)
    report, page = dataset_report(
        kept,
        dropped=built.dropped,
        dropped_samples=built.dropped_samples,
        findings=findings,
        quality=quality,
        failures=documents.numbers["failures"],
        token_lengths={name: [len(row.ids) for rows in parts for row in rows] for name, parts in encoded.items()},
        rendered=[chat.pieces(row) for rows in encoded["train"][:3] for row in rows][:3],
        cut=numbers["cut"],
        documents=documents.numbers["documents"],
        notes=documents.numbers["notes"],
        synthesis=outcome.report() if outcome else None,
    )
    (draft.path / "report.json").write_bytes(to_json(report))
    (draft.path / "report.html").write_text(page, encoding="utf-8")
    draft.numbers |= numbers


@dataclass(frozen=True, slots=True)
class _Read:
    """What the documents stage wrote, with how many secrets and personal data of each kind were replaced."""

    documents: Sequence[Document]
    pairs: Sequence[Example]
    redacted: Counter[str]


def _read(artifact: Artifact, *, redacted: bool) -> _Read:
    documents = list(read_jsonl(artifact.path / "documents.jsonl", Document))
    pairs = list(read_jsonl(artifact.path / "pairs.jsonl", Example))
    counts: Counter[str] = Counter()
    if redacted:
        documents = [replace(one, text=redact(one.text, counts)) for one in documents]
        pairs = [
            replace(pair, messages=tuple(replace(turn, content=redact(turn.content, counts)) for turn in pair.messages))
            for pair in pairs
        ]
    return _Read(documents, pairs, counts)


def _told(finding: Finding) -> dict[str, Any]:
    return {"name": finding.name, "severity": finding.severity, "count": finding.count}


def _build(
    read: _Read, recipe: Recipe, *, passage_words: int, replies: Path, blocked: Path, reporter: Reporter
) -> tuple[Built, Outcome | None, int]:
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
        for name in sorted({"passage_words", "min_words"} & b.model_fields_set):
            reporter.warn(f"build.{name} has no effect: the sources hold pairs, which are taken as they are")
        return build_examples(pairs, system_prompt=b.system_prompt), None, copies
    passages = build_passages(documents, passage_words=passage_words, min_words=b.min_words, system_prompt=b.system_prompt)
    if style in {"qa", "rewrite"}:
        draw_splits(passages.examples, recipe, documents)  # too few documents is reported before anything is paid
        rows = rows_from_examples(passages.examples)  # and what must not leave this machine, before it does
        private = [*check_secrets(rows), *check_personal(rows)]
        stop_at_errors(private, passages.examples, allow=recipe.allow, rows_file=blocked)
        return (
            *build_with_generator(
                documents, passages.examples, build=b, generator=recipe.generator, replies=replies, reporter=reporter
            ),
            copies,
        )
    return passages, None, copies


def _numbers(
    chat: Chat, splits: Splits, encoded: Mapping[str, Sequence[Sequence[Encoded]]], *, allow: Sequence[str]
) -> dict[str, Any]:
    everything = [example for rows in splits.values() for example in rows]
    codes = [rows for parts in encoded.values() for rows in parts]
    found = check_labels(chat, everything, codes, allow=allow)
    train = [row for rows in encoded["train"] for row in rows]
    return {
        **{name: len(rows) for name, rows in splits.items()},
        "examples": len(everything),
        "documents": {name: len({e.group for e in rows}) for name, rows in splits.items()},
        "train_rows": len(train),
        "train_tokens": sum(len(row.ids) for row in train),
        "learned_tokens": sum(row.num_learned for row in train),
        "longest": max(len(row.ids) + row.dropped for rows in codes for row in rows),
        "answer_tokens": chat.usual_length([e.answer for e in everything]),
        "with_end": len(everything) - len(found.without_end),
        "cut": {"num_cut": len(found.cut), "share": found.cut_share, "examples": list(found.cut[:20])},
    }


def build_settings(build: BuildConfig, *, passage_words: int) -> dict[str, Any]:
    """The section `build` as a setting of the artifact; `redact` only where it is on, so that older datasets keep their id."""
    settings = {**build.model_dump(), "passage_words": passage_words}
    return settings if build.redact else {name: value for name, value in settings.items() if name != "redact"}


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
    )
