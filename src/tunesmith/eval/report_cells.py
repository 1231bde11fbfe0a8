"""Numbers as table cells: rounded for the eye, with n, spread and method in the title that a hover shows."""

from __future__ import annotations

from tunesmith.core.page import Raw, text
from tunesmith.core.records import Interval
from tunesmith.eval.measure import METRICS, Comparison, Share
from tunesmith.eval.stats import Summary, holm

__all__ = ["difference_rows", "share_cell", "summary_cell", "tip"]


def tip(shown: str, hover: str) -> Raw:
    """Text with a hover."""
    return Raw(f'<span title="{text(hover)}">{text(shown)}</span>')


def _digits(metric: str) -> int:
    return 1 if METRICS[metric].unit == "words" else 3


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _ends(interval: Interval | None, digits: int, *, signed: bool = False) -> str:
    if interval is None:
        return " [no interval]"
    if interval.low == interval.high:
        return " [all equal]"
    low, high = ((_signed(v, digits) if signed else f"{v:.{digits}f}") for v in (interval.low, interval.high))
    return f" [{low}, {high}]"


def summary_cell(summary: Summary, metric: str) -> Raw:
    """Mean and interval; hover: n, documents, unscored, median, spread, range, method."""
    if summary.mean is None or summary.median is None:
        return tip("not measured", f"{summary.unscored} items unscored")
    digits = _digits(metric)
    spread = "" if summary.std is None else f", standard deviation {summary.std:.{digits}f}"
    hover = (
        f"n = {summary.n} items in {summary.num_groups} documents, {summary.unscored} unscored;"
        f" median {summary.median:.{digits}f}{spread}, from {summary.min:.{digits}f} to {summary.max:.{digits}f}; "
        + (summary.ci.method if summary.ci else "no interval: fewer than two documents")
    )
    return tip(f"{summary.mean:.{digits}f}{_ends(summary.ci, digits)}", hover)


def share_cell(share: Share) -> Raw:
    """A proportion in percent; hover: counts and Wilson interval."""
    if share.share is None or share.ci is None:
        return tip("not measured", "no answers")
    return tip(
        f"{100 * share.share:.0f} %", f"{share.count} of {share.n}; {share.ci.method} {share.ci.low:.1%} to {share.ci.high:.1%}"
    )


def difference_rows(comparison: Comparison, *, matched: bool = False) -> list[list[object]]:
    """Rows of a difference table: metric, difference with interval, relative, better on, p, p adjusted over the rows."""
    differences = comparison.length_matched if matched else comparison.differences
    known = {name: d.p for name, d in differences.items() if d.p is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    rows: list[list[object]] = []
    for name, difference in differences.items():
        info, digits = METRICS[name], _digits(name)
        label = tip(info.label, info.description)
        if difference.mean is None or difference.p is None:
            rows.append([label, tip("not measured", f"{difference.unscored} items unscored"), "–", "–", "–", "–"])
            continue
        hover = f"n = {difference.n} items in {difference.num_groups} documents, {difference.unscored} unscored; "
        hover += difference.ci.method if difference.ci else "no interval: fewer than two documents"
        shown = f"{_signed(difference.mean, digits)}{_ends(difference.ci, digits, signed=True)}"
        relative = "–" if difference.relative is None else f"{_signed(100 * difference.relative, 1)} %"
        better = "–" if info.higher_is_better is None else f"{difference.better} of {difference.n}"
        smallest = f"the smallest p that {difference.num_groups} documents allow is {difference.smallest_p:.3g}"
        rows.append([label, tip(shown, hover), relative, better, tip(_p(difference.p), smallest), _p(adjusted[name])])
    return rows


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
