"""Run the full pipeline on the bundled sample posts. Example: tunesmith demo --base apprentice"""

from __future__ import annotations

from pathlib import Path

from tunesmith.cli.options import Base, Json, Offline, ProjectDir, Settings

__all__ = ["command"]


def command(
    project: ProjectDir = Path("."),
    base: Base = None,
    set_: Settings = None,
    json: Json = False,
    offline: Offline = False,
) -> None:
    """The exit code is that of the verdict."""
    from tunesmith.cli import run as pipeline

    pipeline.demo(pipeline.Choice(project, None, [], base, set_ or [], [], False, offline), json=json)
