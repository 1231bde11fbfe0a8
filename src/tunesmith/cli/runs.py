"""Runs in a terminal: the table, two side by side, the recommended one; 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.cli.render import console, table

if TYPE_CHECKING:
    from tunesmith.api import Curves, Mirrored, Recommendation, RunComparison, RunRow, RunsTable

__all__ = [
    "duration",
    "mebibytes",
    "print_comparison",
    "print_curves",
    "print_mirrored",
    "print_recommendation",
    "print_runs",
    "range_",
    "short_setting",
]

_MOST_SETTINGS = 4
_SHARED = ("method.kind", "method.rank", "train.learning_rate", "train.epochs")


def print_runs(found: RunsTable, *, limit: int) -> None:
    """The rows on stdout, what they share and what is left out on stderr."""
    say = console()
    if not found.rows:
        left_out = f"; the filter leaves out all {found.num_runs}" if found.num_runs else ""
        say.print(f"no runs{left_out}\nhint:  {'tunesmith runs' if found.num_runs else 'tunesmith run --source ./posts'}")
        return
    shown = found.rows[:limit] if limit else found.rows
    several = len(found.projects) > 1
    table(
        "",
        ["run", "val loss", "gain over base", "verdict", "cost", "differs in" if found.differing else ""],
        [_cells(row, found.differing, several=several) for row in shown],
    )
    counts = (
        f"{len(found.rows):,} of " * (len(found.rows) < found.num_runs) + f"{found.num_runs:,} run{'s' * (found.num_runs != 1)}"
    )
    rest = f"; the first {len(shown)} are shown, --limit 0 shows all" if len(shown) < len(found.rows) else ""
    say.print(f"\n{counts}{f' in {len(found.projects)} projects' if several else ''}{rest}")
    same = [short_setting(name, found.shared[name]) for name in _SHARED if name in found.shared]
    if same and len(found.rows) > 1:
        say.print(f"the same in all: {' · '.join(same)}")
    for note in found.notes:
        say.print(f"! {note}")


def _cells(row: RunRow, differing: Sequence[str], *, several: bool) -> list[str]:
    made = (row.created or "")[5:16].replace("T", " ")
    name = [row.id[:8], made, *([row.project.rstrip("/").rpartition("/")[2][:14]] if several else [])]
    if row.state == "damaged":
        return ["\n".join(name[:1] + name[2:]), "", row.note, "damaged", "", ""]
    loss = [_number(row.loss), f"at {row.best_step}/{row.steps}" if row.steps is not None else ""]
    verdict = [row.verdict or ("not judged" if row.state == "done" else row.state)]
    verdict += [f"evaluation {row.look}"] if (row.look or 1) > 1 else []
    verdict += ["loosened gate"] if row.loosened else []
    return [
        "\n".join(name),
        "\n".join(loss),
        "\n".join(_gain(row)),
        "\n".join(verdict),
        "\n".join(part for part in (duration(row.seconds), mebibytes(row.memory_bytes), mebibytes(row.bytes)) if part),
        _own(row.settings, differing) if row.state == "done" else row.note,
    ]


def _gain(row: RunRow) -> list[str]:
    score = [f"{(row.metric or '').replace('_', ' ')} {_number(row.score)}"] if row.score is not None else []
    if row.gain is None:
        return ["not measured", *score]
    return [*range_(row.gain, row.gain_ci, signed=True).split(" ", 1), *score]


def _own(settings: Mapping[str, Any], differing: Sequence[str]) -> str:
    own = [short_setting(name, settings[name]) for name in differing if name in settings]
    return "\n".join(own[:_MOST_SETTINGS]) + (f"\n+{len(own) - _MOST_SETTINGS} more" if len(own) > _MOST_SETTINGS else "")


def short_setting(name: str, value: object) -> str:
    """A setting by the last word of its name: `rank 16`."""
    section, _, last = name.rpartition(".")
    named = f"{section} {last}" if last == "kind" and section else last
    return f"{named.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"


def range_(value: float, ends: Sequence[float] | None, *, signed: bool = False) -> str:
    """A number and its interval: +0.012 [+0.004, +0.020]."""
    shown = [_number(one, signed=signed) for one in (value, *(ends or ()))]
    return shown[0] + (f" [{shown[1]}, {shown[2]}]" if ends else "")


def _number(value: float | None, *, signed: bool = False) -> str:
    return "not known" if value is None else f"{value:{'+' if signed else ''}.3f}".replace("-", "−")


def print_comparison(found: RunComparison) -> None:
    """What differed, the paired gains, costs, and the losses as a line of blocks."""
    a, b = found.a.id[:8], found.b.id[:8]
    rows = [[c.name, _value(c.a), _value(c.b)] for c in (*found.settings, *found.data[:_MOST_DATA])]
    if found.same_data:
        rows.append(["dataset", "the same", "the same"])
    table("", ["differs in", a, b], rows)
    if found.paired.gains:
        gains = [
            [
                g.metric.replace("_", " "),
                _number(g.a),
                _number(g.b),
                "not measured" if g.gain is None else _measured(g.gain, g.ci),
            ]
            for g in found.paired.gains.values()
        ]
        console().print(f"\non {found.paired.items} common test items of {found.paired.documents} documents")
        table("", ["metric", a, b, f"gain of {b}"], gains)
    else:
        console().print(f"\ngain: not measured: {found.paired.reason}")
    if found.paired.note:
        console().print(f"! {found.paired.note}")
    console().print("")
    lines = [[c.name, _value(c.a), _value(c.b)] for c in found.results]
    table("", ["", a, b], [["validation loss", *(_spark(losses) for losses in found.losses.values())], *lines])
    console().print(f"\nopen  {found.page}")


def print_curves(found: Curves) -> None:
    """The losses as lines of blocks, and where the page is."""
    rows = [[name, _spark(losses), f"{min(losses):.3f}" if losses else ""] for name, losses in found.losses.items()]
    table("", ["run", "validation loss", "best"], rows)
    console().print(f"\nopen  {found.page}")


def print_recommendation(found: Recommendation) -> None:
    """The run to take, what was compared, and efficiency alongside quality."""
    say = console()
    say.print(f"take {found.id[:8]}: {found.why}" if found.id else found.why)
    for text in found.left_out:
        say.print(f"left out: {text}")
    if found.considered:
        head = ["run", (found.metric or "score").replace("_", " "), "gain", "trained", "time", "gain per hour"]
        rows = [
            [
                c.id[:8],
                _number(c.score),
                _number(c.gain, signed=True),
                _value(c.trained),
                duration(c.seconds),
                _per_hour(c.gain_per_hour),
            ]
            for c in found.considered
        ]
        table("", head, rows)
    for step in found.steps:
        say.print(f"{step.larger[:8]} against {step.smaller[:8]}: {step.why}")
    if found.id:
        say.print(f"\nnext  tunesmith show {found.id[:8]}")


def print_mirrored(found: Sequence[Mirrored]) -> None:
    """How many runs each tracker got, and how to open it."""
    for tracker in dict.fromkeys(one.to for one in found):
        own = [one for one in found if one.to == tracker]
        console().print(f"{tracker}: {len(own)} runs\nopen  {own[-1].open}")
        if refused := sorted({place for one in own for place in one.refused}):
            console().print(f"tried to reach {', '.join(refused)}, an address that was not named: refused, nothing was sent")
    if not found:
        console().print("no finished runs to mirror\nhint:  tunesmith runs")


_MOST_DATA = 8
_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_BLOCKS = 24


def _spark(values: Sequence[float]) -> str:
    """At most 24 values as blocks, from the lowest to the highest of them."""
    if not values:
        return "not known"
    count = min(_MOST_BLOCKS, len(values))
    chosen = [values[round(i * (len(values) - 1) / max(1, count - 1))] for i in range(count)]
    low, span = min(chosen), (max(chosen) - min(chosen)) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in chosen)


def _measured(gain: float, ends: Sequence[float] | None) -> str:
    return range_(gain, ends, signed=True) if ends else f"{_number(gain, signed=True)}, interval not measured"


def _per_hour(value: float | None) -> str:
    return "not known" if value is None else f"{value:+.2f}".replace("-", "−")


def _value(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def duration(seconds: float | None) -> str:
    """Time in words of at most seven characters; empty if it is not known."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def mebibytes(size: int | None) -> str:
    """A size in KiB, MiB or GiB; empty if it is not known."""
    if size is None:
        return ""
    if size < 2**20:
        return f"{size / 2**10:.1f} KiB"
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"
