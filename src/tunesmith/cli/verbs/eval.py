"""Measure the tuned model and judge it. Example: tunesmith eval --json"""

from __future__ import annotations

from tunesmith.cli.options import stage_command

__all__ = ["command"]

command = stage_command("eval")
