"""`show` and `path`: find artifacts again."""

from __future__ import annotations

import sys
from pathlib import Path

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.artifacts import Store

__all__ = ["path", "show"]


def show(id: str, project: Path, *, json: bool) -> None:
    """List all artifacts, or print one."""
    store = Store(project / ".tunesmith")
    if not id:
        found = store.all()
        if json:
            print_json([{"kind": a.kind, "id": a.id, "path": str(a.path), "created": a.manifest["created"]} for a in found])
        elif found:
            table(
                "",
                ["kind", "id", "made", "folder"],
                [[a.kind, a.id[:8], str(a.manifest["created"])[:16].replace("T", " "), str(a.path)] for a in found],
            )
        else:
            console().print("nothing here yet\nhint:  tunesmith run --source ./posts")
        return
    artifact = store.resolve(id)
    if json:
        print_json(dict(artifact.manifest))
        return
    m = artifact.manifest
    rows = [
        ["kind", artifact.kind],
        ["id", artifact.id],
        ["folder", str(artifact.path)],
        ["made", f"{m['created']} by Tunesmith {m['version']}"],
    ]
    rows += [["from", f"{i['kind']} {i['id'][:8]}"] for i in m["inputs"]]
    rows += [["file", f"{f['path']}, {f['size']:,} bytes"] for f in m["files"]]
    rows += [[k, str(v)[:160]] for k, v in artifact.numbers.items()]
    table("", ["", ""], rows)


def path(id: str, project: Path) -> None:
    """Print the folder of one artifact, for scripts."""
    sys.stdout.write(f"{Store(project / '.tunesmith').resolve(id).path}\n")
