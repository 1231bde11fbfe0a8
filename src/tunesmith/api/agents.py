"""`mcp`: the tools for agents, served over the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

__all__ = ["mcp", "skill"]


def mcp(project: str | Path = ".") -> None:
    """Serve a project's tools to an agent over standard input and output, until the client closes them.

    The tools are plan, run (with a confirmation that works once), audit, status, runs, show, compare and verdict. They have the
    checks and gates of the commands; an agent cannot change sources, addresses, the base or what is allowed.

    Raises:
        EngineError: the package `mcp` is not installed.
        SourceError: a folder that does not exist.
    """
    from tunesmith.ops.agents.server import serve

    serve(Path(project))


def skill() -> str:
    """The SKILL.md that tells an agent how to work with Tunesmith."""
    from tunesmith.ops.agents.server import SKILL

    return SKILL.read_text(encoding="utf-8")
