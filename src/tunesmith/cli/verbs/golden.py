"""Freeze examples that no training may ever see. Example: tunesmith golden add questions.jsonl"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(
    action: Annotated[str, typer.Argument(help="add, list or verify.")],
    files: Annotated[list[Path] | None, typer.Argument(help="With add: files of examples or documents.")] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """`verify` exits with 2 if any byte changed, and with 3 if there is no golden set."""
    from tunesmith.core.errors import DatasetError

    if action not in {"add", "list", "verify"}:
        raise DatasetError(
            "golden can do three things", value=action, expected="add, list or verify", hint="tunesmith golden list"
        )
    if files and action != "add":
        raise DatasetError(
            f"golden {action} takes no files",
            value=str(files[0]),
            expected="nothing behind it",
            hint=f"tunesmith golden {action}",
        )
    if action == "add":
        _add(files or [], project, json=json)
    elif action == "list":
        _list(project, json=json)
    else:
        _verify(project, json=json)


def _add(files: Sequence[Path], project: Path, *, json: bool) -> None:
    from tunesmith.api.golden_set import golden_add
    from tunesmith.cli.render import console, print_json

    found = golden_add(*files, project=project)
    if json:
        print_json(found.as_dict())
        return
    console().print(
        f"  {found.added:,} items frozen as version {found.version}; {found.items:,} in all"
        + (f"; {found.known:,} were there already" if found.known else "")
    )
    for failure in found.failed:
        console().print(f"  ! {failure.source}: {failure.reason}")
    console().print(f"  stored in {found.folder}: commit it together with the recipe; it is never used for training")


def _list(project: Path, *, json: bool) -> None:
    from tunesmith.api.golden_set import golden_list
    from tunesmith.cli.render import console, print_json, table

    found = golden_list(project=project)
    versions = found.golden.versions
    if json:
        print_json(found.as_dict())
    elif not versions:
        console().print("  the golden set is empty; hint: tunesmith golden add questions.jsonl")
    else:
        table("", ["version", "added", "seal"], [[str(v.number), f"{v.added:,}", v.seal[:16]] for v in versions])


def _verify(project: Path, *, json: bool) -> None:
    from tunesmith.api.golden_set import golden_verify
    from tunesmith.cli.render import console, print_json

    found = golden_verify(project=project)
    if json:
        print_json(found.as_dict())
    elif found.faults:
        for fault in found.faults:
            console().print(f"  ✗ {fault}")
    else:
        nothing = f"  not measured: there is no golden set in {found.folder}"
        console().print(f"  {found.items:,} items, every byte as it was frozen" if found.items else nothing)
    if not found.ok:
        sys.exit(2 if found.faults else 3)
