"""Build and check the dataset, and stop there. Example: tunesmith build --source ./posts"""

from __future__ import annotations

from tunesmith.cli.options import stage_command

__all__ = ["command"]

command = stage_command("build")
