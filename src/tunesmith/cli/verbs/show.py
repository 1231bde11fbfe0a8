"""Show the contents of an artifact. Example: tunesmith show run:latest"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(
    id: Annotated[str, typer.Argument(help="First digits of an id, or KIND:latest; without it, list all.")] = "",
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """Without an id, list all artifacts, arenas included."""
    from tunesmith.api import stored
    from tunesmith.cli.render import console, print_json, table

    if not id:
        found = stored.artifacts(project=project)
        if json:
            print_json([{"kind": a.kind, "id": a.id, "path": str(a.path), "created": a.manifest["created"]} for a in found])
        elif found:
            table(
                "",
                ["kind", "id", "made", "folder"],
                [[a.kind, a.id[:8], str(a.manifest["created"])[:16].replace("T", " "), str(a.path)] for a in found],
            )
        else:
            console().print("no artifacts yet\nhint:  tunesmith run --source ./posts")
        return
    artifact = stored.artifact(id, project=project)
    if json:
        print_json(dict(artifact.manifest))
        return
    m = artifact.manifest
    rows = [
        ["kind", artifact.kind],
        ["id", artifact.id],
        ["folder", str(artifact.path)],
        ["made", f"{str(m['created'])[:19]} by Tunesmith {m['version']}"],
    ]
    rows += [["from", f"{i['kind']} {i['id'][:8]}"] for i in m["inputs"]]
    rows += [["file", f"{f['path']}, {f['size']:,} bytes"] for f in m["files"]]
    if artifact.kind == "arena":  # its votes are added later, and are in no manifest
        from tunesmith.api import arena_results

        held = arena_results(artifact.id, project=project)
        rows += [["asked", str(m["settings"]["ask"])], ["votes", f"{held.votes:,}"], ["result", held.sentence]]
    table("", ["", ""], rows)
    if artifact.numbers:  # a table of its own: long names would break the id over two lines
        table("", ["", ""], [[k, str(v)[:160]] for k, v in artifact.numbers.items()])
