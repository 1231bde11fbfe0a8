"""Weights & Biases, offline: files in a folder of the project, which `wandb sync` uploads if you want that."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["send"]


def send(run: Mapping[str, Any], folder: Path, name: str, address: str) -> str:
    """Write a payload as an offline run of the project `name`; an earlier one of the same run is replaced."""
    import wandb

    id = run["id"][:16]
    for earlier in (folder / "wandb").glob(f"offline-run-*-{id}"):
        shutil.rmtree(earlier)
    folder.mkdir(parents=True, exist_ok=True)
    quiet = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
    )
    config = {**run["settings"], **run["tags"]}
    with wandb.init(
        mode="offline",
        project=name,
        id=id,
        name=run["name"],
        dir=str(folder),
        config=config,
        settings=quiet,
        notes=run["summary"],
    ) as made:
        by_step: dict[int, dict[str, float]] = {}
        for row in run["curves"]:
            by_step.setdefault(int(row["step"]), {}).update({key: value for key, value in row.items() if key != "step"})
        for step in sorted(by_step):
            made.log(by_step[step], step=step)
        made.summary.update({f"result/{key}": value for key, value in run["numbers"].items()})
    return f"wandb sync {next((folder / 'wandb').glob(f'offline-run-*-{id}'))}   (this uploads it)"
