"""Which settings suit a real base: one training run a setting, compared on the validation posts. Resumes where it stopped.

    python recipes/voice/study.py STATE.jsonl --source POSTS            all settings of GRID
    python recipes/voice/study.py STATE.jsonl --source POSTS --only 2 4  some of them, by their place
    python recipes/voice/study.py STATE.jsonl --report                   the table

The test split is never read. A run is stopped by its number of steps, not by patience, so that curves can be compared.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tunesmith.api import Project
from tunesmith.pipeline.recipe_file import recipe_from

GRID: tuple[dict[str, Any], ...] = (
    {"rate": 5e-4, "layers": 10, "epochs": 3},
    {"rate": 2e-3, "layers": 10, "epochs": 3},
    {"rate": 1e-3, "layers": "all", "epochs": 2},
    {"rate": 2e-3, "layers": "all", "epochs": 1.5},
    {"rate": 5e-4, "layers": "all", "epochs": 2},
    {"rate": 1e-3, "layers": "all", "epochs": 2, "targets": "attention"},
    {"rate": 1e-3, "layers": "all", "epochs": 2, "rank": 4},
    {"rate": 1e-3, "layers": "all", "epochs": 2, "rank": 64},
    {"rate": 1e-3, "layers": "all", "epochs": 2, "words": 40},
    {"rate": 1e-3, "layers": "all", "epochs": 2, "words": 90},
)
VAL_ROWS = 24
_MEASURED = ("seconds", "curve")


def run(setting: dict[str, Any], source: str, base: str, seed: int) -> dict[str, Any]:
    """Train with one setting; the curve of the validation loss (nats a token) by step, and seconds."""
    rank = setting.get("rank", 16)
    recipe = recipe_from(
        {
            "base": base,
            "sources": [source],
            "build": {"passage_words": setting.get("words", 60)},
            "mix": {"own_answers": False},  # the loss on the author's own rows is what is compared
            "method": {
                "rank": rank,
                "alpha": 2.0 * rank,
                "layers": setting["layers"],
                "targets": setting.get("targets", "all"),
            },
            "train": {
                "learning_rate": setting["rate"],
                "epochs": setting["epochs"],
                "evaluate_every": 10,
                "patience": 0,
                "val_examples": VAL_ROWS,
                "gain_kept": 1,
                "seed": seed,
            },
        }
    )
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(recipe, Path(folder))
        rows = project.metrics(project.run)
    curve = {row["step"]: round(row["val_loss"], 4) for row in rows if "val_loss" in row}
    return {**setting, "seed": seed, "seconds": round(time.perf_counter() - begin), "curve": curve}


def report(state: Path) -> None:
    """The table of what was run, in Markdown."""
    print("| layers | targets | rank | rate | words | steps | before | best (step) | s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for line in state.read_text().splitlines():
        found = json.loads(line)
        curve = {int(step): loss for step, loss in found["curve"].items()}
        best = min(curve, key=lambda step: curve[step])
        print(
            f"| {found['layers']} | {found.get('targets', 'all')} | {found.get('rank', 16)} | {found['rate']:g} "
            f"| {found.get('words', 60)} | {max(curve)} | {curve[0]:.3f} | {curve[best]:.3f} ({best}) | {found['seconds']} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("state", type=Path)
    parser.add_argument("--source", default="")
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", type=int, nargs="*", default=list(range(len(GRID))))
    parser.add_argument("--report", action="store_true")
    chosen = parser.parse_args()
    if chosen.report:
        report(chosen.state)
        return
    done = [json.loads(line) for line in chosen.state.read_text().splitlines()] if chosen.state.exists() else []
    for setting in (GRID[number] for number in chosen.only):
        wanted = {**setting, "seed": chosen.seed}
        if not any({key: value for key, value in row.items() if key not in _MEASURED} == wanted for row in done):
            made = run(setting, chosen.source, chosen.base, chosen.seed)
            with chosen.state.open("a") as file:
                file.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
