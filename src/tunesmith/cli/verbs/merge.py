"""Merge base and adapter into one model folder. Example: tunesmith merge"""

from __future__ import annotations

from tunesmith.cli.options import stage_command

__all__ = ["command"]

command = stage_command("merge")
