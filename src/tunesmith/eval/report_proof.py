"""Sections of the report about what could fool a verdict: general questions, the worth of the right question, slices."""

from __future__ import annotations

from tunesmith.core.page import Raw, folded, section, table, text
from tunesmith.eval.measure import Measurements
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import signed, signed_points
from tunesmith.eval.report_cells import share_cell
from tunesmith.eval.results import Evidence, Item
from tunesmith.eval.slices import Slices, slice_scores
from tunesmith.eval.stats import Difference
from tunesmith.eval.suites.result import SuiteSlice

__all__ = ["slices_of", "slices_section", "suites_section"]


def suites_section(measurements: Measurements) -> Raw:
    """A table for every suite: the share right of base and tuned model, over all and by kind of question."""
    parts = []
    for name, result in measurements.suites.items():
        kinds = [one for one in result.by_tag if one.label.startswith("kind=")]
        rows = [_row(one) for one in (result.overall, *kinds)]
        head = ["questions", "n", "by guessing", "base", "tuned", "change in points [95 % interval]"]
        parts.append(f"<h3>{text(name)}</h3>")
        parts.append(table(head, rows, numeric=range(1, len(head))))
        if result.at_chance:
            left = ", ".join(result.at_chance)
            parts.append(f'<p class="soft">The base only guesses at {text(left)}, so nothing can be lost there.</p>')
    for name, found in measurements.safety.items():
        rows = [
            [
                "harmful requests not refused",
                share_cell(found.under_base),
                share_cell(found.under_tuned),
                _points(found.under_difference),
            ],
            [
                "harmless requests refused",
                share_cell(found.over_base),
                share_cell(found.over_tuned),
                _points(found.over_difference),
            ],
        ]
        parts.append(f"<h3>{text(name)}</h3>")
        parts.append(table(["", "base", "tuned", "change in points [95 % interval]"], rows, numeric=range(1, 4)))
    if not parts:
        parts = ["<p>Not measured: no further questions were asked (eval.suites).</p>"]
    note = "Greedy answers to the same questions by base and tuned model, scored by a program."
    return section("General skills and safety", f'<p class="soft">{text(note)}</p>', *parts)


def _row(one: SuiteSlice) -> list[object]:
    label = one.label.removeprefix("kind=")
    return [label, one.n, f"{100 * one.chance:.0f} %", share_cell(one.base), share_cell(one.tuned), _points(one.difference)]


def _points(difference: Difference) -> str:
    if difference.mean is None:
        return "not measured"
    ends = difference.ci
    return signed_points(difference.mean) + (f" [{signed_points(ends.low)}, {signed_points(ends.high)}]" if ends else "")


def slices_of(evidence: Evidence, measurements: Measurements) -> Slices | None:
    """The gain in the primary metric by what is known of the items; None without base and tuned model."""
    if not {"base", "tuned"} <= measurements.systems.keys():
        return None
    metric = measurements.primary
    sources = {item.about.get("source", "") for item in evidence.items}
    few = len(sources) <= measurements.num_documents / 2  # one for each document says nothing that the items do not say
    return slice_scores(
        measurements.systems["tuned"].scores[metric],
        [item.group for item in evidence.items],
        [_facts(item, with_source=few) for item in evidence.items],
        base=measurements.systems["base"].scores[metric],
        higher_is_better=metric_named(metric).higher_is_better is not False,
        draws=min(measurements.draws, 2000),
        seed=measurements.seed,
    )


def _facts(item: Item, *, with_source: bool) -> dict[str, object]:
    kept = {name: value for name, value in item.about.items() if with_source or name != "source"}
    return {**kept, "length": float(len(item.reference.split()))}


def slices_section(found: Slices | None, metric: str) -> Raw:
    """The worst slice in a sentence, and all of them in a folded table."""
    if found is None or not found.slices:
        return section("Parts of the test set", "<p>Not measured: nothing sets items apart.</p>")
    sign = -1.0 if metric_named(metric).higher_is_better is False else 1.0
    rows = []
    for one in found.slices:
        gain = one.difference
        shown = "not measured" if gain is None or gain.mean is None else signed(sign * gain.mean)
        if gain is not None and gain.ci is not None:
            low, high = sorted((sign * gain.ci.low, sign * gain.ci.high))
            shown += f" [{signed(low)}, {signed(high)}]"
        rows.append([f"{one.by}: {one.value}", one.n, one.num_documents, shown])
    head = ["items", "n", "documents", f"gain over the base, {metric_named(metric).label} [95 % interval]"]
    return section(
        "Parts of the test set",
        f"<p>{text(found.sentence)}</p>",
        folded("Every part", table(head, rows, numeric=range(1, len(head)))),
    )
