"""From built examples to the splits of a dataset: golden items held out, copies out, general rows mixed into train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tunesmith.core.errors import DatasetError
from tunesmith.core.labelled import Labelled
from tunesmith.core.records import MIXED, Document, Example, Finding, Preference, Row, digest, to_json
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.core.texts import Text
from tunesmith.data.dataset.golden import read_golden
from tunesmith.data.dataset.leaks import find_leaks, not_looked_for, without_copies
from tunesmith.data.dataset.mix import general_rows, mix
from tunesmith.data.dataset.split import Drawn, Fold, split
from tunesmith.data.dataset.texts import text_of
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.similar.records import find_rewordings, near_copy_groups, without_near_copies
from tunesmith.data.similar.semantic import Similarity
from tunesmith.pipeline.recipe import Recipe

__all__ = ["Draw", "OtherSets", "draw", "draw_splits", "drop_copies", "gather_other_sets"]

_EXPECTED: Mapping[type, str] = {
    Preference: "rows with a prompt, a chosen and a rejected answer",
    Labelled: "rows with a prompt, an answer and a label, true or false",
    Text: 'documents, or rows with a text: {"text": …}',
}
_MANY_COPIES = 0.3
_SOURCES_SHOWN = 20
Splits = Mapping[str, Sequence[Row]]
R = TypeVar("R", bound=Row)
E = TypeVar("E", Example, Preference, Labelled)


@dataclass(frozen=True, slots=True)
class OtherSets:
    """Examples from other sets: `general` ones to mix in, `golden` ones to hold out; of the earlier stages of a chain, the rows
    that they were `seen` in (train and val) and `tested` on. `id` is the hash of all."""

    general: tuple[Row, ...] = ()
    golden: tuple[Example, ...] = ()
    seen: tuple[Row, ...] = ()
    tested: tuple[Row, ...] = ()
    id: str = ""

    def after(self, datasets: Sequence[Mapping[str, Sequence[Row]]], *, id: str) -> OtherSets:
        """The same for a stage that follows those of these `datasets` (the splits of each), which `id` names."""
        seen = tuple(row for splits in datasets for name in ("train", "val") for row in splits[name])
        tested = tuple(row for splits in datasets for row in splits["test"])
        return replace(self, seen=seen, tested=tested, id=digest(self.id, id))


@dataclass(frozen=True, slots=True)
class Draw:
    """The splits as they are learned and measured, what was found in them, and figures for the manifest."""

    splits: Splits
    findings: tuple[Finding, ...]
    numbers: Mapping[str, Any]


def gather_other_sets(recipe: Recipe, project: Path, *, record: type = Example, own: Sequence[Example] = ()) -> OtherSets:
    """Read the general set of the recipe, of the kind `record`, and the golden set of the project. `own`: general rows that
    the base wrote.

    Raises:
        ArtifactError: the golden set is not as it was frozen.
        DatasetError: the general set holds no examples.
    """
    golden = read_golden(project)
    pairs: tuple[Row, ...] = ()
    if recipe.mix.general:
        found = extract(gather(recipe.mix.general), reporter=SilentReporter())
        of_kind: Mapping[type, tuple[Row, ...]] = {
            Preference: found.preferences,
            Labelled: found.labelled,
            Text: tuple(map(text_of, found.documents)),
        }
        pairs = of_kind.get(record, found.pairs)
        if not pairs:
            raise DatasetError(
                "the general set holds no examples",
                value=", ".join(recipe.mix.general),
                expected=_EXPECTED.get(record, "rows with a prompt and an answer"),
                hint="tunesmith convert FILE says what a file holds",
            )
        pairs = tuple(replace(row, meta={**row.meta, MIXED: "general"}) for row in {row.id: row for row in pairs}.values())
    pairs = (*pairs, *own)
    marks = [digest(row.id, to_json(row.messages), *row.answers[1:]) for row in pairs]
    return OtherSets(pairs, golden.items, id=digest(golden.id, *marks) if pairs or golden.items else "")


def drop_copies(
    documents: Sequence[Document], pairs: Sequence[E], *, threshold: float, reporter: Reporter
) -> tuple[list[Document], list[E], int]:
    """Documents and pairs without near copies of each other, and how many went; 0 as threshold keeps all."""
    if not threshold:
        return list(documents), list(pairs), 0
    kept_documents, kept_pairs = without_near_copies(documents, threshold), without_near_copies(pairs, threshold)
    total, left = len(documents) + len(pairs), len(kept_documents) + len(kept_pairs)
    if total - left > _MANY_COPIES * total:
        reporter.warn(f"{total - left} of {total} documents and pairs are copies of others; check how they were collected")
    return kept_documents, kept_pairs, total - left


def draw_splits(examples: Sequence[R], recipe: Recipe, documents: Sequence[Document] = ()) -> Drawn[R]:
    """The splits as the recipe says, by author and date of the documents where rows do not bring their own."""
    s = recipe.split
    known = {
        document.id: {name: value for name, value in (("author", document.author), ("date", document.date)) if value}
        for document in documents
    }
    rows = [
        replace(row, meta={**known[row.document_id], **row.meta}) if known.get(row.document_id) else row for row in examples
    ]
    fold = Fold(number=s.fold, of=s.folds) if s.folds else None
    return split(rows, by=s.by, val=s.val, test=s.test, seed=s.seed, column=s.group, stratify=s.stratify, fold=fold)


def draw(
    examples: Sequence[Row],
    *,
    recipe: Recipe,
    documents: Sequence[Document],
    other_sets: OtherSets,
    similarity: Similarity | None = None,
) -> Draw:
    """Split the rows, remove copies and golden items, mix general rows in, and search for remaining leaks.

    Documents that are near copies of each other become one group before the split, so that they stay on one side.
    With `similarity`, paraphrases of every other split are searched in train; without it, only those of golden items, by words.

    DatasetError if a split is left empty.
    """
    m, joined = recipe.mix, near_copy_groups(examples)
    golden = [_joined(item, joined) for item in other_sets.golden]
    drawn = draw_splits([_joined(row, joined) for row in examples], recipe, documents)
    parts: dict[str, Sequence[Row]] = {str(name): rows for name, rows in drawn.parts.items()}
    parts, held_out = _without(parts, golden, ("train", "val", "test"))
    parts, seen = _without(parts, other_sets.seen, ("test",))
    parts, tested = _without(parts, other_sets.tested, ("train", "val"))
    own = {row.id for row in parts["train"]}
    num_own = sum(map(_size, parts["train"]))
    parts["train"] = (*parts["train"], *general_rows(other_sets.general, num_own=num_own, share=m.share, size=_size))
    kept, removed = without_copies(parts)
    if empty := [name for name, rows in kept.items() if not rows]:
        raise DatasetError(
            f"nothing is left in {empty[0]} once copies of the other splits are out",
            value=f"{sum(removed.values()) + held_out + seen + tested} of {len(examples)} rows are copies"
            + (f", {seen + tested} of them of rows of earlier stages" if seen + tested else ""),
            expected="different rows in train, val and test" + (", and in each stage" if seen + tested else ""),
            hint="add data that is not repeated, or list the copies: tunesmith check FILE",
        )
    watched: dict[str, Sequence[Row]] = {**kept, **({"golden": tuple(golden)} if golden else {})}
    leaks = find_leaks(watched)
    if similarity is not None:
        leaks = (*leaks, *find_rewordings(watched, similarity=similarity))
    elif golden:
        leaks = (*leaks, *find_rewordings({"train": kept["train"], "golden": golden}))
    mixture = mix(
        [row for row in kept["train"] if row.id in own],
        [row for row in kept["train"] if row.id not in own],
        weights=m.weights,
        max_source=m.max_source,
        share=m.share,
        size=_size,
    )
    numbers = {
        "removed_copies": sum(removed.values()),
        "removed_by_kind": removed,
        "near_copy_documents": {"documents": len(joined), "groups": len(set(joined.values()))},
        "not_looked_for": not_looked_for(paraphrases=similarity is not None),
        "golden": {"items": len(golden), "held_out": held_out},
        **({"earlier_stages": {"seen": seen, "tested": tested}} if other_sets.seen else {}),
        "mix": _mix_numbers(mixture, recipe.train.epochs),
        "labels": {label: dict(counts) for label, counts in drawn.labels.items()},
        "borders": list(drawn.borders),
    }
    return Draw({**kept, "train": mixture.rows}, (*leaks, *drawn.findings, *mixture.findings), numbers)


def _size(row: Row) -> int:
    """What a row counts in a mixture: texts by their length, since some fill a row and others do not."""
    return len(row.text) if isinstance(row, Text) else 1


def _joined(row: R, names: Mapping[str, str]) -> R:
    """The row in the group of its document's near copies."""
    return replace(row, group=names[row.group]) if row.group in names else row


def _without(
    parts: Mapping[str, Sequence[Row]], held: Sequence[Row], names: Sequence[str]
) -> tuple[dict[str, Sequence[Row]], int]:
    """The splits, of which those in `names` have lost the rows that share a document with one of `held` or copy it; and how
    many rows that is."""
    left = dict(parts)
    documents = {name for row in held for name in (row.group, row.document_id)}
    for name in names if held else ():
        apart = [row for row in parts[name] if not {row.group, row.document_id} & documents]
        left[name] = without_copies({"golden": held, name: apart})[0][name]
    return left, sum(map(len, parts.values())) - sum(map(len, left.values()))


def _mix_numbers(mixture: Any, epochs: float) -> dict[str, Any]:
    shown = [
        {"source": s.source, "rows": s.rows, "seen": s.seen, "left_out": s.left_out, "epochs": round(s.passes * epochs, 3)}
        for s in mixture.sources[:_SOURCES_SHOWN]
    ]
    return {"general_share": mixture.general_share, "sources": shown, "num_sources": len(mixture.sources)}
