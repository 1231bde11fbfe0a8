"""Datasets of rated answers, preference rows and labelled rows; and what becomes of those under other objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.core.errors import DatasetError
from tunesmith.core.labelled import Labelled, labelled_of
from tunesmith.core.records import Document, Example, Preference, as_example
from tunesmith.core.reporter import Reporter
from tunesmith.data.dataset.labelled import build_labelled
from tunesmith.data.dataset.passages import Built
from tunesmith.data.dataset.preferences import build_preferences, preferred_both_ways
from tunesmith.pipeline.draw import drop_copies
from tunesmith.pipeline.recipe import Recipe

__all__ = ["SourceRows", "labelled_built", "leave", "none_of", "pairs_of_rated", "preferences_built"]


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What the sources hold, of every kind."""

    documents: Sequence[Document]
    pairs: Sequence[Example]
    preferences: Sequence[Preference]
    labelled: Sequence[Labelled]

    def others(self, *kinds: str) -> str:
        """What there is of the other kinds, in words; empty if nothing."""
        names = {"documents": "documents", "pairs": "pairs", "preferences": "preference rows", "labelled": "labelled rows"}
        return ", ".join(f"{n} {name}" for kind, name in names.items() if kind not in kinds and (n := len(getattr(self, kind))))


def preferences_built(rows: SourceRows, recipe: Recipe, *, reporter: Reporter) -> tuple[Built[Preference], int]:
    """Preference rows without copies, and how many copies went; whatever else the sources hold is left aside and reported."""
    if not rows.preferences:
        raise none_of(recipe, rows.others(), "preference rows", "rows with a prompt, a chosen and a rejected answer")
    leave(recipe, rows.others("preferences"), "preference rows", reporter)
    built = build_preferences(rows.preferences, system_prompt=recipe.build.system_prompt, allow=recipe.allow)
    _, kept, copies = drop_copies([], list(built.examples), threshold=recipe.build.dedup, reporter=reporter)
    return replace(built, examples=tuple(kept)), copies


def labelled_built(rows: SourceRows, recipe: Recipe, *, reporter: Reporter) -> tuple[Built[Labelled], int]:
    """Labelled rows, and two of each preference row, without copies; whatever else the sources hold is left aside."""
    if not (rows.labelled or rows.preferences):
        expected = "rows with a prompt, an answer and a label, true or false; or preference rows"
        raise none_of(recipe, rows.others(), "labelled rows", expected)
    leave(recipe, rows.others("labelled", "preferences"), "labelled rows", reporter)
    threshold, allow = recipe.build.dedup, recipe.allow
    both = preferred_both_ways(
        rows.preferences
    )  # no copies of each other: each answer is good and bad, which is reported below
    clear = [row for row in rows.preferences if row not in both]
    _, preferences, copies = drop_copies([], clear, threshold=threshold, reporter=reporter)
    every = [*rows.labelled, *(one for row in (*preferences, *both) for one in labelled_of(row))]
    built = build_labelled(every, system_prompt=recipe.build.system_prompt, allow=allow)
    given = {row.id for row in rows.labelled}
    kept: set[Labelled] = {row for row in built.examples if row.id not in given}  # whose copies went as preferences
    for label in (True, False):  # a good answer is no copy of a bad one to the same prompt
        own = [row for row in built.examples if row.id in given and row.label is label]
        _, left, gone = drop_copies([], own, threshold=threshold, reporter=reporter)
        kept, copies = kept | set(left), copies + gone
    return replace(built, examples=tuple(row for row in built.examples if row in kept)), copies


def pairs_of_rated(rows: SourceRows, *, reporter: Reporter) -> list[Example]:
    """The labelled answers that are good, as examples; other rated rows are left aside. DatasetError without any other."""
    good = [as_example(row) for row in rows.labelled if row.label]
    if bad := len(rows.labelled) - len(good):
        reporter.warn(f"{bad} answers marked as bad are left aside; --set objective.kind=kto learns from them as well")
    if not rows.preferences:
        if rows.labelled and not (good or rows.documents or rows.pairs):
            raise DatasetError(
                "the sources hold answers that are marked as bad, and this objective would learn them as good ones",
                value=f"{bad} labelled rows",
                expected="documents, or rows with a prompt and a good answer",
                hint="--set objective.kind=kto learns from both kinds",
            )
        return good
    if good or rows.documents or rows.pairs:
        reporter.warn(
            f"{len(rows.preferences)} preference rows are left aside; --set objective.kind=dpo learns from them instead"
        )
        return good
    raise DatasetError(
        "the sources hold preference rows, and this objective learns from answers",
        value=f"{len(rows.preferences)} preference rows",
        expected="documents, or rows with a prompt and an answer",
        hint="--set objective.kind=dpo   or   tunesmith convert FILE --to prompt_completion --lossy (keeps the chosen answers)",
    )


def none_of(recipe: Recipe, others: str, what: str, expected: str) -> DatasetError:
    """The error where the sources hold nothing that the objective learns from. `others`: what they hold instead."""
    synth = "   or   tunesmith synth preference FILE (a language model writes them)" if what.startswith("pref") else ""
    return DatasetError(
        f"objective.kind {recipe.objective.kind} learns from {what}, and the sources hold none",
        value=others or "no rows",
        expected=expected,
        hint=f"--set objective.kind=sft{synth}",
    )


def leave(recipe: Recipe, others: str, what: str, reporter: Reporter) -> None:
    """Say what of the sources is left aside, and which settings of `build` have no effect on rows of the kind `what`."""
    if others:
        reporter.warn(f"{others} are left aside: objective.kind {recipe.objective.kind} learns from {what}")
    for name in sorted(recipe.build.model_fields_set - {"dedup", "redact", "semantic", "system_prompt"}):
        reporter.warn(f"build.{name} has no effect: {what} are taken as they are")
