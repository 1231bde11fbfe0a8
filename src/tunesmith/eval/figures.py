"""Pictures for the report, as inline SVG: the paired differences that decide, distributions, lengths, training curves.

Text stays text, the background is left out, and equal input gives equal bytes (fixed hash salt, no date). Nothing is left
behind in matplotlib's global state. Dots beyond `MOST_DOTS` a row are thinned evenly by rank; the captions say so.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

__all__ = [
    "A_TOKEN",
    "LOSS_UNIT",
    "MOST_DOTS",
    "Strip",
    "confusion_figure",
    "curves_figure",
    "difference_figure",
    "distribution_figure",
    "training_figure",
]

MOST_DOTS = 300
_INK, _SOFT, _LINE, _BETTER, _WORSE, _SECOND = "#1d2126", "#5b6470", "#dfe3e8", "#1f6feb", "#b42318", "#c2410c"
A_TOKEN = "nats per token"
LOSS_UNIT = "unit of the training loss"  # the name of this fact in the numbers of evidence
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tunesmith",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": _INK,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "legend.frameon": False,
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One row of dots: `values` one an item; `middle` with `low` and `high` is the mean and its interval, where known."""

    label: str
    values: tuple[float, ...]
    middle: float | None = None
    low: float | None = None
    high: float | None = None


def difference_figure(strips: Sequence[Strip], *, axis: str, margin: float = 0.0) -> str:
    """The main figure: one dot per item, right of the zero line if the second system is better.

    Filled dots are gains, hollow ones losses; the bar is the interval of the mean, with its numbers. SVG.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    strips = [strip for strip in strips if strip.values]
    with rc_context(dict(_STYLE)):
        figure = Figure(figsize=(8.6, 0.75 + 1.15 * max(1, len(strips))), layout="constrained")
        axes = figure.add_subplot()
        reach = max([abs(v) for strip in strips for v in strip.values], default=1.0) or 1.0
        for row, strip in enumerate(reversed(strips)):
            x, y = _swarm(strip.values, reach / 85)
            y = row + 0.16 + y * 0.5
            for chosen, face, edge in ((x > 0, _BETTER, _BETTER), (x <= 0, "none", _WORSE)):
                axes.scatter(x[chosen], y[chosen], s=17, facecolors=face, edgecolors=edge, linewidths=0.9, alpha=0.8)
            _interval(axes, strip, row - 0.12)
        axes.axvline(0, color=_INK, linewidth=1.1)
        if margin > 0:
            axes.axvline(margin, color=_SECOND, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(strips)), [strip.label for strip in reversed(strips)], color=_INK)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.45, len(strips) - 0.2)
        low = min([0.0, *(v for strip in strips for v in (*strip.values, strip.low or 0.0))])
        high = max([0.0, *(v for strip in strips for v in (*strip.values, strip.high or 0.0))])
        pad = 0.06 * (high - low or 1.0)
        axes.set_xlim(low - pad, high + pad)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis)
        return _svg(figure, "; ".join(_told(strip) for strip in strips) or "no differences")


def distribution_figure(panels: Mapping[str, Sequence[Strip]]) -> str:
    """Panels side by side, one a metric (title → rows): a dot an item, the box from quartile to quartile, the median. SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(dict(_STYLE)):
        rows = max([len(strips) for strips in panels.values()], default=1)
        figure = Figure(figsize=(8.6, 0.8 + 0.55 * rows), layout="constrained")
        grid: Any = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
        for number, (axes, (title, strips)) in enumerate(zip(grid, panels.items(), strict=False)):
            _distributions(axes, strips, named=number == 0)
            axes.set_title(title, fontsize=9.5, loc="left", color=_INK)
        return _svg(figure, "; ".join(f"{title}: {', '.join(_told(s) for s in strips)}" for title, strips in panels.items()))


def training_figure(rows: Sequence[Mapping[str, float | None]], *, loss_unit: str = A_TOKEN) -> str:
    """Loss on both splits, learning rate and gradient norm by step, and how sample answers end; the best validation is marked.
    SVG.

    A loss in nats per token has its perplexity on the right.

    `rows` as in metrics.jsonl: step, loss, val_loss, learning_rate, grad_norm, answers_ended, answers_looped; what a row does
    not have is left out.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(dict(_STYLE)):
        figure = Figure(figsize=(8.6, 4.4), layout="constrained")
        answered = any(row.get("answers_ended") is not None for row in rows)
        grid: Any = figure.subplots(2, 3 if answered else 2, height_ratios=[2.3, 1], sharex=True, gridspec_kw={"wspace": 0.06})
        big = figure.add_subplot(grid[0, 0].get_gridspec()[0, :])
        for axes in grid[0]:
            axes.remove()
        description = _losses(big, rows, loss_unit)
        for axes, key, title in ((grid[1, 0], "learning_rate", "learning rate"), (grid[1, 1], "grad_norm", "gradient norm")):
            steps, values = _series(rows, key)
            axes.plot(steps, values, color=_SOFT, linewidth=1.1)
            axes.set_title(title, fontsize=9.5, loc="left", color=_INK)
            axes.set_xlabel("step")
            axes.set_ylim(0, 1.08 * max(values, default=1.0) or 1.0)
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_locator(MaxNLocator(4))
        if answered:
            description += _endings(grid[1, 2], rows)
        return _svg(figure, description)


def curves_figure(runs: Mapping[str, Sequence[Mapping[str, float | None]]]) -> str:
    """Losses of several runs over each other, by name: validation thick with its best value marked, training thin. SVG.

    Curves differ in colour (Okabe & Ito 2008, told apart by all eyes) and in dashes. `rows` as for `training_figure`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#1d2126")
    with rc_context(dict(_STYLE)):
        figure = Figure(figsize=(8.6, 4.2), layout="constrained")
        axes: Any = figure.add_subplot()
        told = []
        for number, (name, rows) in enumerate(runs.items()):
            colour, dashes = colours[number % len(colours)], ("-", "--", ":", "-.")[number % 4]
            axes.plot(*_series(rows, "loss"), color=colour, linewidth=0.7, alpha=0.35)
            at, losses = _series(rows, "val_loss")
            axes.plot(at, losses, color=colour, linestyle=dashes, linewidth=1.7, label=name)
            if losses:
                best = int(np.argmin(losses))
                axes.plot([at[best]], [losses[best]], marker="D", markersize=6, color="none", markeredgecolor=colour)
                told.append(f"{name}: validation loss best at step {at[best]:g}: {losses[best]:.3f}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("loss")
        axes.set_xlabel("step")
        if runs:
            axes.legend(loc="upper right", ncols=2)
        return _svg(figure, "; ".join(told) or "no validation losses")


def confusion_figure(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Right label (row) against given label (column), the last column being answers without a label; a shade is a share of its
    row, and each cell has its count. SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = [*labels, "no label"]
    table = np.asarray(counts, dtype=np.float64).reshape(len(labels), len(columns))
    shares = table / table.sum(1, keepdims=True).clip(1)
    with rc_context(dict(_STYLE)):
        side = 0.62 * len(columns) + 1.6
        figure = Figure(figsize=(side + 1.0, side), layout="constrained")
        axes = figure.add_subplot()
        for row in range(len(labels)):
            for column in range(len(columns)):
                share = float(shares[row, column])
                shade = _BETTER if column == row else _WORSE
                axes.add_patch(_cell(column, row, shade, 0.75 * share))
                axes.text(column, row, f"{table[row, column]:.0f}", ha="center", va="center", color=_INK)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", color=_INK)
        axes.set_yticks(range(len(labels)), labels, color=_INK)
        axes.tick_params(length=0)
        axes.set_xlabel("label that was given")
        axes.set_ylabel("right label")
        right = int(sum(table[i, i] for i in range(len(labels))))
        return _svg(figure, f"{right} of {int(table.sum())} answers have the right label of {len(labels)}")


def _cell(column: int, row: int, shade: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=shade, alpha=alpha, edgecolor=_LINE, linewidth=0.7)


def _endings(axes: Any, rows: Sequence[Mapping[str, float | None]]) -> str:
    """The shares of the sample answers of each validation that ended and that looped; the last ones in words."""
    told = ""
    for name, colour in (("ended", _BETTER), ("looped", _WORSE)):
        steps, shares = _series(rows, f"answers_{name}")
        axes.plot(steps, shares, color=colour, linewidth=1.1, marker="o", markersize=2.6, label=name)
        told += f"; at the last validation {shares[-1]:.0%} of the sample answers {name}" if shares else ""
    axes.set_title("sample answers", fontsize=9.5, loc="left", color=_INK)
    axes.set_xlabel("step")
    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(loc="best", fontsize=7.5)
    return told


def _losses(axes: Any, rows: Sequence[Mapping[str, float | None]], loss_unit: str) -> str:
    """Both losses on `axes`, the best validation marked; returns a description in words."""
    steps, values = _series(rows, "loss")
    axes.plot(steps, values, color=_BETTER, linewidth=0.9, alpha=0.45, label="train")
    at, losses = _series(rows, "val_loss")
    axes.plot(at, losses, color=_SECOND, linewidth=1.6, marker="o", markersize=3.2, label="validation")
    description = f"training loss over {len(steps)} steps"
    if losses:
        best = int(np.argmin(losses))
        axes.plot([at[best]], [losses[best]], marker="D", markersize=7, color="none", markeredgecolor=_INK, linestyle="none")
        axes.annotate(
            f"best: {losses[best]:.3f} at step {at[best]:g}",
            (at[best], losses[best]),
            xytext=(-6, 12),
            textcoords="offset points",
            ha="right" if at[best] > max(at) / 2 else "left",
        )
        description += f"; validation loss best at step {at[best]:g}: {losses[best]:.3f}"
    axes.set_ylabel(f"loss ({loss_unit})")
    if loss_unit == A_TOKEN:
        perplexity = axes.secondary_yaxis("right", functions=(_perplexity, _loss))
        perplexity.set_ylabel("perplexity")
    axes.set_xlabel("step")
    if values or losses:
        axes.legend(loc="upper right", ncols=2)
    return description


def _perplexity(loss: Any) -> Any:
    return np.exp(np.clip(loss, -50, 50))


def _loss(perplexity: Any) -> Any:
    return np.log(np.clip(perplexity, 1e-20, None))


def _series(rows: Sequence[Mapping[str, float | None]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one column, rows without it (or with one that is not finite) left out."""
    found = [(step, value) for row in rows if (step := row.get("step")) is not None and (value := row.get(key)) is not None]
    kept = [(step, value) for step, value in found if math.isfinite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def _distributions(axes: Any, strips: Sequence[Strip], *, named: bool) -> None:
    values = [v for strip in strips for v in strip.values]
    spread = (max(values) - min(values)) or 1.0 if values else 1.0
    for row, strip in enumerate(reversed(strips)):
        if not strip.values:
            axes.text(0.02, row, "not measured", transform=axes.get_yaxis_transform(), va="center", color=_SOFT)
            continue
        x, y = _swarm(strip.values, spread / 60)
        axes.scatter(x, row - 0.28 + y * 0.35, s=7, color=_BETTER, alpha=0.45, linewidths=0)
        quarter, middle, three = np.quantile(strip.values, (0.25, 0.5, 0.75))
        axes.barh(row + 0.24, three - quarter, left=quarter, height=0.16, color="#cfe0fb", edgecolor=_BETTER, linewidth=0.8)
        axes.plot([middle, middle], [row + 0.13, row + 0.35], color=_INK, linewidth=1.8)
    axes.set_ylim(-0.5, len(strips) - 0.4)
    axes.set_yticks(range(len(strips)), [strip.label for strip in reversed(strips)] if named else [], color=_INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _interval(axes: Any, strip: Strip, y: float) -> None:
    if strip.middle is None:
        return
    text = f"{strip.middle:+.3f}"
    if strip.low is not None and strip.high is not None:
        axes.plot([strip.low, strip.high], [y, y], color=_INK, linewidth=3.2, solid_capstyle="butt")
        text += f"  [{strip.low:+.3f}, {strip.high:+.3f}]"
    axes.plot([strip.middle], [y], marker="D", markersize=6.5, color="#ffffff", markeredgecolor=_INK, markeredgewidth=1.4)
    axes.annotate(
        text.replace("-", "−"),
        (strip.middle, y),
        xytext=(0, -8),
        textcoords="offset points",
        ha="center",
        va="top",
        weight="bold",
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 1.0},
    )


def _swarm(values: Sequence[float], width: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Dots side by side without overlap: sorted x (thinned to MOST_DOTS), and the height of each, 0 to about 1."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    if x.size > MOST_DOTS:
        x = x[np.round(np.linspace(0, x.size - 1, MOST_DOTS)).astype(int)]
    free: list[float] = []
    lanes = []
    for value in x:
        lane = next((i for i, end in enumerate(free) if value >= end), len(free))
        free[lane : lane + 1] = [value + width]
        lanes.append(lane)
    return x, np.asarray(lanes, dtype=np.float64) / max(8, len(free))


def _told(strip: Strip) -> str:
    if strip.middle is None or strip.low is None or strip.high is None:
        return f"{strip.label}: {len(strip.values)} items"
    return f"{strip.label}: mean {strip.middle:.3f}, interval {strip.low:.3f} to {strip.high:.3f}, {len(strip.values)} items"


def _svg(figure: Any, description: str) -> str:
    """The figure as an `<svg>` element with `description` for screen readers; ids that nothing refers to are dropped."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    text = re.sub(r"\n\s*", "\n", text)
    label = escape(description, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()
