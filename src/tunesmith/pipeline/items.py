"""The items of an evaluation. All stages take them here: rows that the split keeps together are one cluster everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.records import Example
from tunesmith.eval.clusters import Clusters
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.item_clusters import cluster_rows
from tunesmith.eval.results import Item
from tunesmith.pipeline.recipe import Recipe

__all__ = ["clusters_of", "golden_items", "test_items"]


def test_items(rows: Sequence[Example], settings: Recipe) -> tuple[Item, ...]:
    """What is asked of these rows: at most `eval.max_items`, spread over as many clusters as possible.

    The `group` of an item names its cluster.
    """
    return choose_items(rows, settings.eval.max_items, settings.split.group)


def golden_items(rows: Sequence[Example], settings: Recipe) -> tuple[Item, ...]:
    """What is measured of the golden set: its items with a question and an answer, at most `eval.max_items`."""
    return choose_items([row for row in rows if row.prompt and row.answer], settings.eval.max_items, settings.split.group)


def clusters_of(rows: Sequence[Example], settings: Recipe) -> Clusters:
    """Which of these rows belong together, and why."""
    return cluster_rows(rows, settings.split.group)
