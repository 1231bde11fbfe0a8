"""The dataset stage: documents and pairs in; examples in three splits out, checked, free of leaks, with a page about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.config import BuildConfig, Recipe
from tunesmith.core.errors import BlockedError, DatasetError
from tunesmith.core.records import Document, Example, Finding, read_jsonl, to_json, write_jsonl
from tunesmith.core.reporter import Reporter
from tunesmith.data.leaks import find_leaks, without_copies
from tunesmith.data.passages import Built, build_examples, build_passages
from tunesmith.data.report import dataset_report
from tunesmith.data.split import split
from tunesmith.models.chat import Chat, Encoded
from tunesmith.train.run import check_labels

__all__ = ["fill_dataset"]

Splits = Mapping[str, Sequence[Example]]


def fill_dataset(
    draft: Draft,
    *,
    recipe: Recipe,
    documents: Artifact,
    chat: Chat,
    passage_words: int,
    limit: int,
    reporter: Reporter,
) -> None:
    """Build, split, check and write. DatasetError if a split is left empty; BlockedError for leaks and ruined labels."""
    built = _build(documents, recipe.build, passage_words=passage_words, reporter=reporter)
    s = recipe.split
    kept, removed = _split(built.examples, by=s.by, val=s.val, test=s.test, seed=s.seed)
    findings = find_leaks(kept)
    _stop_at_leaks(findings, allow=recipe.allow)
    encoded = {name: [chat.encode(e.messages, max_tokens=limit) for e in rows] for name, rows in kept.items()}
    numbers = _numbers(chat, kept, encoded, allow=recipe.allow)
    leaks = sum(f.count for f in findings if f.severity == "error")
    numbers |= {"dropped": dict(built.dropped), "removed_copies": removed, "leaks": leaks}
    for name, rows in kept.items():
        write_jsonl(draft.path / f"{name}.jsonl", rows)
    report, page = dataset_report(
        kept,
        dropped=built.dropped,
        dropped_samples=built.dropped_samples,
        findings=findings,
        failures=documents.numbers["failures"],
        token_lengths={name: [len(e.ids) for e in rows] for name, rows in encoded.items()},
        rendered=[chat.pieces(e) for e in encoded["train"][:3]],
        cut=numbers["cut"],
        documents=documents.numbers["documents"],
        notes=documents.numbers["notes"],
    )
    (draft.path / "report.json").write_bytes(to_json(report))
    (draft.path / "report.html").write_text(page, encoding="utf-8")
    draft.numbers |= numbers


def _build(artifact: Artifact, b: BuildConfig, *, passage_words: int, reporter: Reporter) -> Built:
    documents = list(read_jsonl(artifact.path / "documents.jsonl", Document))
    pairs = list(read_jsonl(artifact.path / "pairs.jsonl", Example))
    style = ("examples" if pairs else "passages") if b.style == "auto" else b.style
    left, what, other = (documents, "documents", "passages") if style == "examples" else (pairs, "pairs", "examples")
    if left:
        reporter.warn(f"{len(left)} {what} are left aside; --set build.style={other} takes them instead")
    if style == "examples":
        for name in sorted({"passage_words", "min_words"} & b.model_fields_set):
            reporter.warn(f"build.{name} has no effect: the sources hold pairs, which are taken as they are")
        return build_examples(pairs, system_prompt=b.system_prompt)
    return build_passages(documents, passage_words=passage_words, min_words=b.min_words, system_prompt=b.system_prompt)


def _split(examples: Sequence[Example], *, by: Any, val: float, test: float, seed: int) -> tuple[Splits, int]:
    drawn = split(examples, by=by, val=val, test=test, seed=seed)
    kept, removed = without_copies({str(name): rows for name, rows in drawn.items()})
    if empty := [name for name, rows in kept.items() if not rows]:
        raise DatasetError(
            f"nothing is left in {empty[0]} once copies of the other splits are out",
            value=f"{removed} of {len(examples)} rows are copies",
            expected="different rows in train, val and test",
            hint="add data that is not repeated, or look at the copies: tunesmith check FILE",
        )
    return kept, removed


def _stop_at_leaks(findings: Sequence[Finding], *, allow: Sequence[str]) -> None:
    leaks = [finding for finding in findings if finding.severity == "error"]
    if leaks and "leak" not in allow:
        raise BlockedError(
            f"the test split leaks into training: {leaks[0].name}",
            name="leak",
            value=leaks[0].message,
            expected="no document and no passage on both sides",
            hint="set split.by: document in the recipe, or go on with --allow leak",
        )


def _numbers(chat: Chat, splits: Splits, encoded: Mapping[str, Sequence[Encoded]], *, allow: Sequence[str]) -> dict[str, Any]:
    everything = [example for rows in splits.values() for example in rows]
    codes = [code for rows in encoded.values() for code in rows]
    found = check_labels(chat, everything, codes, allow=allow)
    return {
        **{name: len(rows) for name, rows in splits.items()},
        "examples": len(everything),
        "documents": {name: len({e.group for e in rows}) for name, rows in splits.items()},
        "train_tokens": sum(len(code.ids) for code in encoded["train"]),
        "learned_tokens": sum(code.num_learned for code in encoded["train"]),
        "longest": max(len(code.ids) + code.dropped for code in codes),
        "answer_tokens": chat.usual_length([e.answer for e in everything]),
        "with_end": len(everything) - len(found.without_end),
        "cut": {"num_cut": len(found.cut), "share": found.cut_share, "examples": list(found.cut[:20])},
    }
