"""Numbers as table cells: rounded for the eye, with n, spread and method in the title that a hover shows."""

from __future__ import annotations

from tunesmith.core.page import Raw, text
from tunesmith.core.records import Interval
from tunesmith.eval.measure import Comparison
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import percent, signed, signed_range
from tunesmith.eval.proportions import Share
from tunesmith.eval.stats import Difference, Summary, holm

__all__ = ["gain_rows", "share_cell", "summary_cell", "tip"]


def tip(shown: str, hover: str) -> Raw:
    """Text with a hover."""
    return Raw(f'<span title="{text(hover)}">{text(shown)}</span>')


def _digits(metric: str) -> int:
    return 1 if metric_named(metric).unit == "words" else 3


def _ends(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return " [no interval]"
    if interval.low == interval.high:
        return " [all equal]"
    return f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def summary_cell(summary: Summary, metric: str) -> Raw:
    """Mean and interval; hover: n, documents, unscored, median, spread, range, method."""
    if summary.mean is None or summary.median is None:
        return tip("not measured", f"{summary.unscored} items unscored")
    digits = _digits(metric)
    spread = "" if summary.std is None else f", standard deviation {summary.std:.{digits}f}"
    hover = (
        f"n = {summary.n} items in {summary.num_groups} documents, {summary.unscored} unscored;"
        f" median {summary.median:.{digits}f}{spread}, from {summary.min:.{digits}f} to {summary.max:.{digits}f}; "
        + (summary.ci.method if summary.ci else f"no interval: {summary.no_interval}")
    )
    return tip(f"{summary.mean:.{digits}f}{_ends(summary.ci, digits)}", hover)


def share_cell(share: Share, greedy: Share | None = None) -> Raw:
    """A proportion in percent with its interval, and the `greedy` one in small print; hover: counts and method."""
    if share.share is None:
        return tip("not measured", "no answers") if greedy is None or greedy.share is None else _small(greedy)
    method = share.ci.method if share.ci else "no interval: fewer than two documents"
    shown = tip(percent(share), f"{share.count} of {share.n}; {method}")
    return shown if greedy is None or greedy.share is None else Raw(f"{shown}<br>{_small(greedy)}")


def _small(greedy: Share) -> Raw:
    hover = f"{greedy.count} of {greedy.n} answers of greedy decoding, for diagnosis"
    return Raw(f'<small class="soft">{tip(f"greedy {percent(greedy, interval=False)}", hover)}</small>')


def gain_rows(comparison: Comparison, *, matched: bool = False) -> list[list[object]]:
    """Rows of a table of gains: metric, gain with interval, relative, better on, p, p adjusted over the rows.

    A gain is positive where the second system is better; of a metric without a better side it is the plain difference.
    """
    differences = comparison.length_matched if matched else comparison.differences
    known = {name: d.p for name, d in differences.items() if d.p is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    rows: list[list[object]] = []
    for name, difference in differences.items():
        info = metric_named(name)
        label = tip(info.label, info.description)
        if difference.mean is None or difference.p is None:
            rows.append([label, tip("not measured", f"{difference.unscored} items unscored"), "–", "–", "–", "–"])
            continue
        hover = f"n = {difference.n} items in {difference.num_groups} documents, {difference.unscored} unscored; "
        hover += difference.ci.method if difference.ci else f"no interval: {difference.no_interval}"
        sign = -1.0 if info.higher_is_better is False else 1.0
        relative = "–" if difference.relative is None else f"{signed(sign * 100 * difference.relative, 1)} %"
        better = "neither is better" if info.higher_is_better is None else f"{difference.better} of {difference.n}"
        smallest = f"the smallest p that {difference.num_groups} documents allow is {difference.smallest_p:.3g}"
        shown = tip(_gain(difference, name), hover)
        rows.append([label, shown, relative, better, tip(_p(difference.p), smallest), _p(adjusted[name])])
    return rows


def _gain(difference: Difference, metric: str) -> str:
    digits, gain = _digits(metric), improvement(difference, metric)
    if gain is not None and gain[1] != gain[2]:
        return signed_range(gain, digits)
    sign = -1.0 if metric_named(metric).higher_is_better is False else 1.0
    why = "no interval" if gain is None else "all equal"
    return f"{signed(sign * (difference.mean or 0.0), digits)} [{why}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
