"""Serve tools for agents over MCP, on standard input and output. Example: tunesmith mcp --project ./voice"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import ProjectDir

__all__ = ["command"]


def command(
    project: ProjectDir = Path("."),
    skill: Annotated[bool, typer.Option("--skill", help="Print the SKILL.md for agents, and exit.")] = False,
) -> None:
    """An agent can plan, run (with a confirmation that works once), show, compare and judge in this one project."""
    from tunesmith.api import agents

    if skill:
        sys.stdout.write(agents.skill())
        return
    agents.mcp(project)
