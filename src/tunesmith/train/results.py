"""What a run leaves: the weights that it trained, its logs, their reading, and the page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.models.adapters import Coverage
from tunesmith.plan.reach import not_reached
from tunesmith.train.heads import save_head, without_head
from tunesmith.train.interpolation import Interpolation
from tunesmith.train.loop import Fitted
from tunesmith.train.method import Method, Sampled
from tunesmith.train.order import Place
from tunesmith.train.processes import ALONE, Processes
from tunesmith.train.reading import Reading, read_curves
from tunesmith.train.report import run_report
from tunesmith.train.settings import TrainSettings
from tunesmith.train.validation import holding
from tunesmith.train.weights.weights import Weights

__all__ = ["Trained", "covered", "save_weights", "write_report"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gave, apart from the files it wrote. `figures`: those of the validation at the best step.

    `interpolation`: how the update was scaled after that, if it was.
    """

    fitted: Fitted
    coverage: Coverage
    reading: Reading
    figures: dict[str, float]
    interpolation: Interpolation | None = None


def write_report(
    place: Place, fitted: Fitted, facts: Mapping[str, str], objective: Method, train: TrainSettings
) -> tuple[Reading, dict[str, float]]:
    """Write the logs, the reading and the page; the reading, and the validation figures of the best step."""
    metrics = [orjson.loads(line) for line in (place.workspace / "metrics.jsonl").read_bytes().split(b"\n") if line]
    reading = objective.read(metrics) if isinstance(objective, Sampled) else read_curves(metrics, min_delta=train.min_delta)
    best: Mapping[str, Any] = next((row for row in metrics if "val_loss" in row and row["step"] == fitted.best_step), {})
    figures = {name: float(best[f"val_{name}"]) for name in objective.figures if f"val_{name}" in best}
    for log in place.workspace.glob("*.jsonl"):  # metrics and, where steps were timed, timing
        shutil.copyfile(log, place.out / log.name)
    (place.out / "reading.json").write_bytes(orjson.dumps(asdict(reading)))
    page = run_report(metrics, fitted, reading, facts, figures=figures, loss_unit=objective.loss_unit)
    (place.out / "report.html").write_text(page, encoding="utf-8")
    return reading, figures


def covered(weights: Weights, dropout: float) -> dict[str, str]:
    """What was trained, what no adapter reaches, and which dropouts the run had: the adapter's own, never the base's."""
    coverage = weights.coverage
    trained = f"{coverage.num_trainable:,} of {coverage.num_parameters:,} parameters ({coverage.share:.1%})"
    beyond = not_reached(coverage.out_of_reach, coverage.num_parameters - coverage.num_trainable)
    off = ", ".join(f"{name} {value:g}" for name, value in coverage.dropouts.items())
    own = f"the base's own ({off}) switched off" if off else ""
    drops = "; ".join(filter(None, (f"adapter {dropout:g}" if weights.folder == "adapter" else "", own))) or "none"
    return {weights.folder: weights.words, "trained": trained + beyond, "dropout": drops}


def save_weights(
    weights: Weights, fitted: Fitted, objective: Method, figure: str, place: Place, processes: Processes = ALONE
) -> dict[str, str]:
    """Write the weights and, if they are of another step, the best ones by the other figure; what the report says of that."""
    _save(weights, objective, place.out / weights.folder, processes)
    if not fitted.other:
        return {f"best by {figure}": f"step {fitted.other_step}, the same"}
    own = {name: parameter for name, parameter in weights.model.named_parameters() if name in fitted.other}
    name = f"{weights.folder}-best-{figure}"
    with holding(own, fitted.other):
        _save(weights, objective, place.out / name, processes)
    return {f"best by {figure}": f"step {fitted.other_step}, saved as {name}, its update not scaled"}


def _save(weights: Weights, objective: Method, folder: Path, processes: Processes) -> None:
    with processes.whole(weights.model):
        if processes.rank:
            return
        with without_head(weights.model):
            weights.save(folder)
        save_head(weights.model, objective, folder)
