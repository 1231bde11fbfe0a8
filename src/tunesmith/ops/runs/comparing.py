"""Two runs side by side: what differed in settings and data, what changed in results and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import make_folders, replace_file, storage_errors
from tunesmith.core.page import Raw, badge, folded, page, section, table, text
from tunesmith.eval.figures import curves_figure
from tunesmith.eval.metrics.registry import find_metric
from tunesmith.eval.numbers import signed, signed_range
from tunesmith.ops.runs.facts import flat
from tunesmith.ops.runs.pairing import PairedRuns, RunGain, pair_runs
from tunesmith.ops.runs.row import RunRow

__all__ = ["Curves", "RunChange", "RunComparison", "compare_two", "curves_of", "told", "write_curves"]

_COSTS = {
    "loss": "best validation loss",
    "best_step": "best step",
    "steps": "steps",
    "seconds": "seconds of training",
    "memory_bytes": "peak memory, bytes",
    "bytes": "size of the trained weights, bytes",
    "trained": "trained parameters",
    "parameters": "parameters of the model",
}
_OF_DATA = ("train", "val", "test", "learned_tokens", "leaks", "removed_copies")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChange:
    """A value of both runs; None is not known, or not set."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs: settings and data that differ, results and costs of both, and the paired difference of their answers.

    `same_data` is None if a run does not say which dataset it learned from. `page` is the file with the curves.
    """

    a: RunRow
    b: RunRow
    settings: tuple[RunChange, ...]
    same_data: bool | None
    data: tuple[RunChange, ...]
    results: tuple[RunChange, ...]
    paired: PairedRuns
    losses: Mapping[str, Sequence[float]]
    page: str

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith runs compare --json` prints."""
        return asdict(self) | {"a": self.a.as_dict(), "b": self.b.as_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Curves of several runs over each other: validation losses by run, and the page."""

    losses: Mapping[str, Sequence[float]]
    page: str

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith runs curves --json` prints."""
        return asdict(self)


def compare_two(a: RunRow, b: RunRow, *, out: Path | None = None) -> RunComparison:
    """Compare two finished runs, and write the page to `out` or below the first one's project.

    ArtifactError for a run and itself, and for files that do not match their manifest. StorageError if no page can be written.
    """
    if a.id == b.id:
        raise ArtifactError(
            "both are the same run", value=a.id[:16], expected="two runs", hint="tunesmith runs   lists them with their ids"
        )
    artifacts = [_verified(row) for row in (a, b)]
    rows = {row.id[:8]: _metrics(artifact) for row, artifact in zip((a, b), artifacts, strict=True)}
    own = {"base": a.base} | dict(a.settings), {"base": b.base} | dict(b.settings)
    same = None if a.dataset is None or b.dataset is None else a.dataset == b.dataset
    results = {"verdict": "verdict", **_COSTS}
    found = RunComparison(
        a=a,
        b=b,
        settings=_changes(*own),
        same_data=same,
        data=() if same else _changes(*(_data(artifact) for artifact in artifacts)),
        results=tuple(RunChange(name=label, a=getattr(a, name), b=getattr(b, name)) for name, label in results.items()),
        paired=pair_runs(a, b),
        losses={name: _losses(metrics) for name, metrics in rows.items()},
        page=str(out or _page_file(a, f"compare-{a.id[:8]}-{b.id[:8]}")),
    )
    _write(Path(found.page), _comparison_page(found, rows))
    return found


def write_curves(rows: Sequence[RunRow], *, out: Path | None = None) -> Curves:
    """The curves of runs over each other, as a page. Errors as `compare_two`, and for fewer than two runs."""
    if len(rows) < 2:
        raise ArtifactError(
            "curves are laid over each other", value=len(rows), expected="two runs or more", hint="tunesmith runs curves A B"
        )
    metrics = {row.id[:8]: _metrics(_verified(row)) for row in rows}
    file = out or _page_file(rows[0], "curves-" + "-".join(metrics)[:80])
    body = [Raw(f"<header><h1>Curves of {len(rows)} runs</h1></header>"), _curves(metrics), _listed(rows)]
    _write(file, page("Curves of runs", body))
    return Curves(losses={name: _losses(own) for name, own in metrics.items()}, page=str(file))


def curves_of(row: RunRow) -> list[dict[str, Any]]:
    """The rows of a finished run's metric log. ArtifactError if its files do not match its manifest."""
    return _metrics(_verified(row))


def _verified(row: RunRow) -> Artifact:
    found = Store(Path(row.project) / ".tunesmith").find("run", row.id)
    if found is None:
        raise ArtifactError(
            "this run is damaged: a file does not match its manifest",
            value=f"{row.project}: {row.id[:16]}",
            expected="files as they were written",
            hint="delete the folder and run the command that made it again",
        )
    return found


def _metrics(run: Artifact) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (run.path / "metrics.jsonl").read_bytes().split(b"\n") if line]


def _losses(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["val_loss"] for row in rows if row.get("val_loss") is not None]


def _data(run: Artifact) -> dict[str, Any]:
    """What the dataset of a run was made from and came to; {} if it is gone."""
    id = next((one["id"] for one in run.manifest["inputs"] if one["kind"] == "dataset"), "")
    folder = run.path.parent.parent / "datasets" / id[:16]
    try:
        manifest = orjson.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return {"dataset": id[:16]}
    inputs = {one["kind"]: one["id"][:16] for one in manifest["inputs"]}
    numbers = {name: manifest["numbers"].get(name) for name in _OF_DATA}
    return {"dataset": id[:16], **inputs, **flat(manifest["settings"]), **numbers}


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[RunChange, ...]:
    return tuple(RunChange(name=n, a=a.get(n), b=b.get(n)) for n in dict.fromkeys([*a, *b]) if a.get(n) != b.get(n))


def _page_file(row: RunRow, name: str) -> Path:
    return Path(row.project) / ".tunesmith" / "pages" / f"{name}.html"


def _write(file: Path, content: str) -> None:
    with storage_errors("writing the page", file):
        make_folders(file.parent)
        replace_file(file, content.encode())


# --- the page ---------------------------------------------------------------------------------------------------------


def _curves(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> Raw:
    plain = {name: [{k: v for k, v in row.items() if k != "samples"} for row in rows] for name, rows in metrics.items()}
    caption = "Thick: validation loss, with its best value marked. Thin: training loss."
    return section(
        "The curves",
        Raw(f'<figure class="light">{curves_figure(plain)}<figcaption>{caption}</figcaption></figure>'),
    )


def _listed(rows: Sequence[RunRow]) -> Raw:
    """What each curve is: the results of its run, and the settings in which the runs differ."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    differing = [name for name in names if len({str(row.settings.get(name)) for row in rows}) > 1]
    head = ["run", "base", "best validation loss", "at step", "verdict", *differing]
    cells = [
        [row.id[:8], row.base or "", *map(_shown, (row.loss, row.best_step)), row.verdict or "not judged"]
        + [_shown(row.settings.get(name)) for name in differing]
        for row in rows
    ]
    return section("The runs", table(head, cells, numeric=(2, 3)))


def _label(metric: str) -> str:
    found = find_metric(metric)
    return metric.replace("_", " ") if found is None else found.label


def _comparison_page(found: RunComparison, metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    a, b = found.a.id[:8], found.b.id[:8]
    head = Raw(f'<header><h1>Run {text(a)} and run {text(b)}</h1><p class="lead">{text(told(found))}</p></header>')
    gains = [
        (_label(gain.metric), _shown(gain.a), _shown(gain.b), _gain_cell(gain), f"{gain.better} of {found.paired.items}")
        for gain in found.paired.gains.values()
    ]
    reasons: dict[str, list[str]] = {}
    for gain in found.paired.gains.values():
        if gain.gain is None or gain.ci is None:
            reasons.setdefault(gain.reason, []).append(_label(gain.metric))
    on = f"{found.paired.items} items of {found.paired.documents} documents, intervals at {100 * found.paired.level:.3g} %"
    answers = (
        [
            table(["metric", a, b, f"gain of {b}", "better on"], gains, numeric=(1, 2)),
            Raw(f'<p class="soft">{text(on)}</p>'),
            *(Raw(f'<p class="soft">Not measured for {", ".join(of)}: {text(why)}.</p>') for why, of in reasons.items()),
        ]
        if gains
        else [Raw(f"<p>{badge('not measured', 'unsure')} {text(found.paired.reason)}</p>")]
    )
    note = [Raw(f'<p class="soft">{text(found.paired.note)}</p>')] if found.paired.note else []
    differs = [(c.name, _shown(c.a), _shown(c.b)) for c in found.settings]
    data = [(c.name, _shown(c.a), _shown(c.b)) for c in found.data]
    same = "Both learned from the same dataset." if found.same_data else "The datasets differ."
    return page(
        "Two runs",
        [
            head,
            section("What differed in the settings", table(["setting", a, b], differs) if differs else Raw("<p>Nothing.</p>")),
            section("The answers on the same test items", *answers, *note),
            _curves(metrics),
            section("The data", Raw(f"<p>{same}</p>"), *([folded("what differs", table(["", a, b], data))] if data else [])),
            section("Results and cost", table(["", a, b], [(c.name, _shown(c.a), _shown(c.b)) for c in found.results])),
        ],
    )


def told(found: RunComparison) -> str:
    """The result in a sentence: the primary metric of the first run, with its interval where the items are paired."""
    gain = found.paired.gains.get(found.a.metric or "")
    if gain is None or gain.gain is None:
        return f"The answers were not compared: {found.paired.reason or 'no metric in common'}."
    metric = _label(gain.metric)
    if gain.ci is None:
        return f"Improvement in {metric}: {signed(gain.gain)}, interval not measured: {gain.reason}."
    low, high = gain.ci
    word = "better" if low > 0 else "worse" if high < 0 else "not measurably different"
    return f"Run {found.b.id[:8]} is {word} in {metric}: improvement {signed_range((gain.gain, low, high))}."


def _gain_cell(gain: RunGain) -> str:
    if gain.gain is None or gain.ci is None:
        return "not measured"
    return signed_range((gain.gain, *gain.ci))


def _shown(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
