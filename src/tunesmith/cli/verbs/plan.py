"""Print every number of the run with its reason, without training. Example: tunesmith plan --source ./posts"""

from __future__ import annotations

from tunesmith.cli.options import stage_command

__all__ = ["command"]

command = stage_command("plan")
