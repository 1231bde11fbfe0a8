"""Build and check the dataset, then stop. Example: tunesmith build --source ./posts"""

from __future__ import annotations

from tunesmith.cli.options import stage_command

__all__ = ["command"]

command = stage_command("build")
