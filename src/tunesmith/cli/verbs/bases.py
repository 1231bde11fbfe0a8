"""List the known base models, or download one. Example: tunesmith bases --fetch smollm2"""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]

_EMBEDDED = ["apprentice", "6", "11", "CC BY-SA 4.0", "yes", "an offline demo in minutes; its sentences make no sense"]


def command(
    fetch: Annotated[str, typer.Option("--fetch", help="Name of a base to download.")] = "",
    json: Json = False,
) -> None:
    """Downloads only with `--fetch`."""
    from tunesmith.api.bases import fetch_base, list_bases
    from tunesmith.cli.render import ConsoleReporter, console, print_json, table

    say = ConsoleReporter(console())
    if fetch:
        found = fetch_base(fetch, reporter=say)
        if json:
            print_json({"base": found.name, "path": str(found.path), "origin": found.origin, "fingerprint": found.fingerprint})
        else:
            say.end({"base": f"{found.name}: {found.origin}", "folder": str(found.path)})
        return
    rows = list_bases()
    if json:
        print_json([row.as_dict() for row in rows])
        return
    named = [
        [
            r.base.name,
            str(r.base.parameters),
            str(r.base.size_mb),
            r.base.licence,
            "yes" if r.path else "no",
            r.base.good_for,
        ]
        for r in rows
    ]
    table("", ["name", "M weights", "MB", "licence", "here", "good for"], [_EMBEDDED, *named])
    say.end({"fetch": "tunesmith bases --fetch smollm2", "use": "tunesmith run --base smollm2 --source ./posts"})
