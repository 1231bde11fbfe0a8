"""Datasets of plain text, for continued pre-training: what becomes of the sources, and what the plan says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunesmith.core.errors import Problem, RecipeError
from tunesmith.core.records import Finding, Row
from tunesmith.core.reporter import Reporter
from tunesmith.core.texts import Text
from tunesmith.data.checks.rows import FIX
from tunesmith.data.dataset.passages import Built
from tunesmith.data.dataset.texts import Cut, build_texts, cut_rows
from tunesmith.models.chat import Chat
from tunesmith.models.text_rows import cut_text
from tunesmith.pipeline.draw import OtherSets, drop_copies
from tunesmith.pipeline.plan_lines import Line
from tunesmith.pipeline.rated_rows import SourceRows, leave, none_of
from tunesmith.pipeline.recipe import Recipe
from tunesmith.train.method import Method

__all__ = ["check_texts", "cutting", "for_texts", "plan_of_texts", "texts_built", "with_cut_texts", "without_general"]

_GENERAL = "mix.general"


def check_texts(recipe: Recipe, objective: Method) -> None:
    """RecipeError for a text objective whose verdict would be decided by answers, of which there are none."""
    if objective.record is Text and recipe.eval.primary != "bits_per_byte":
        raise RecipeError(
            [
                Problem(
                    what="this metric needs answers, and nothing is asked of plain texts",
                    value=f"eval.primary: {recipe.eval.primary}, with objective.kind {recipe.objective.kind}",
                    expected="bits_per_byte: how surprised the model is by held-out text",
                    hint="--set eval.primary=bits_per_byte",
                )
            ]
        )


def for_texts(recipe: Recipe, objective: Method) -> Recipe:
    """The recipe without systems that differ in their prompts alone, where the objective learns from plain texts."""
    if objective.record is not Text:
        return recipe
    return recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"baselines": [], "additions": []})})


def cutting(chat: Chat, *, limit: int) -> Cut:
    """What cuts a document into rows of at most `limit` tokens."""
    return lambda text: cut_text(chat, text, max_tokens=limit)


def texts_built(rows: SourceRows, recipe: Recipe, *, cut: Cut, reporter: Reporter) -> tuple[Built[Text], int]:
    """The documents of the sources as rows of text, without copies, and how many copies went; other rows are left aside."""
    if not rows.documents:
        raise none_of(recipe, rows.others(), "texts", 'documents, or rows with a text: {"text": …}')
    leave(recipe, rows.others("documents"), "texts", reporter)
    documents, _, copies = drop_copies(rows.documents, [], threshold=recipe.build.dedup, reporter=reporter)
    return build_texts(documents, cut=cut), copies


def without_general(sets: OtherSets) -> tuple[Finding, ...]:
    """The warning for texts that are learned without any general text beside them."""
    if sets.general:
        return ()
    message = f"no general text is mixed in, so the model may forget what it knew{FIX}--set {_GENERAL}=[FILE]"
    return (Finding(name="no_general_text", severity="warning", message=message, count=1),)


def with_cut_texts(sets: OtherSets, cut: Cut) -> OtherSets:
    """The same with general texts, if there are any, cut into rows like the others."""
    general: Sequence[Row] = sets.general
    texts = [row for row in general if isinstance(row, Text)]
    return replace(sets, general=cut_rows(texts, cut)) if texts else sets


def plan_of_texts(objective: Method, numbers: Mapping[str, Any]) -> tuple[Line, ...]:
    """The line of the plan about general text among the training rows, by the numbers of the dataset; none for other rows."""
    if objective.record is not Text:
        return ()
    share = numbers["mix"]["general_share"]
    if not share:
        why = f"10 to 30 % of general text is usual in continued pre-training: --set {_GENERAL}=[FILE]"
        return (Line("general text", "none: the model may forget what it knew", why),)
    return (Line("general text", f"{share:.0%} of an epoch's characters", f"{_GENERAL} and mix.share, against forgetting"),)
