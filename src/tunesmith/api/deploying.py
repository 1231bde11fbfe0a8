"""`deploy`: files with which another machine serves models as `tunesmith serve` does here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DeployResult", "deploy"]


@dataclass(frozen=True, slots=True)
class DeployResult:
    """Written files. `memory_mib`: the limit that they set, an estimate. Nothing of it was run."""

    out: Path
    files: tuple[Path, ...]
    models: tuple[str, ...]
    memory_mib: int

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith deploy --json` prints."""
        return {
            "out": str(self.out),
            "files": [str(file) for file in self.files],
            "models": list(self.models),
            "memory_mib": self.memory_mib,
            "ran": False,
        }


def deploy(
    references: Sequence[str], target: str, out: str | Path, *, name: str = "tunesmith", project: str | Path = "."
) -> DeployResult:
    """Write the files of a target (`docker`, `systemd`, `kubernetes`, `ray`, `modal`, `runpod`) next to copies of the models.

    `references`: merged models, releases with one, or model folders, each optionally as `NAME=REFERENCE`.
    `name`: of the service.

    Raises:
        EngineError: an unknown target, a name or folder that cannot be used.
        ArtifactError, ModelError: a model that cannot be opened, or is not a whole one.
    """
    from tunesmith import __version__
    from tunesmith.core.artifacts import Store
    from tunesmith.serve.deploying.write import write_deployment
    from tunesmith.serve.loading.asked import named

    store = Store(Path(project) / ".tunesmith")
    found = write_deployment([named(one) for one in references], target, Path(out), name=name, version=__version__, store=store)
    return DeployResult(Path(out), found.files, found.models, found.memory_mib)
