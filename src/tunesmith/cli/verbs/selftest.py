"""Check on this machine that training keeps its promises. Example: tunesmith selftest --json"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]


def command(
    base: Annotated[str, typer.Option("--base", help="Base model: a name, a folder, a GGUF file, or a hub id.")] = "apprentice",
    json: Json = False,
) -> None:
    """Exit code 0 if every check holds, 2 if one does not."""
    from tunesmith.api.selftesting import selftest
    from tunesmith.cli.render import ConsoleReporter, console, print_json, table

    say = ConsoleReporter(console())
    found = selftest(base, reporter=say)
    if json:
        print_json(found.as_dict())
    else:
        rows = [
            [
                c.name,
                "pass" if c.passed else "FAIL",
                f"{c.measured:.2g}",
                f"≤ {c.tolerance:.0e}" if c.tolerance else "0",
                c.text,
            ]
            for c in found.checks
        ]
        table("", ["check", "", "measured", "allowed", ""], rows)
        say.end({"result": _sentence(found.passed, base, found.seconds)})
    sys.exit(0 if found.passed else 2)


def _sentence(passed: bool, base: str, seconds: float) -> str:
    if passed:
        return f"training keeps its promises on this machine with {base} ({seconds:.0f} s)"
    return f"a check failed on this machine with {base}: do not train with it until you know why"
