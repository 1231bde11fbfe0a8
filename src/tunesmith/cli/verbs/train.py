"""Train the adapter, then stop before the evaluation. Example: tunesmith train"""

from __future__ import annotations

from tunesmith.cli.launching import training_command

__all__ = ["command"]

command = training_command("train")
