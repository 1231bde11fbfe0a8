"""Run the full pipeline, from your writing to a verdict. Example: tunesmith run --source ./posts"""

from __future__ import annotations

from tunesmith.cli.launching import training_command

__all__ = ["command"]

command = training_command("run")
