"""Train the adapter, then stop before the evaluation. Example: tunesmith train"""

from __future__ import annotations

from tunesmith.cli.options import stage_command

__all__ = ["command"]

command = stage_command("train")
