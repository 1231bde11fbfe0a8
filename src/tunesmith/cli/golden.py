"""`golden add | list | verify`: the frozen examples of a project that no training may see."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.errors import ArtifactError, DatasetError
from tunesmith.core.records import Example
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.golden import FOLDER, add_golden, golden_damage, golden_example, read_golden
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather

__all__ = ["golden"]


def golden(action: str, files: Sequence[Path], project: Path, *, json: bool) -> None:
    """Do one of the three. `verify` exits with 2 if a byte is not as it was frozen, with 3 if there is nothing to verify."""
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
        _add(files, project, json=json)
    elif action == "list":
        _list(project, json=json)
    else:
        _verify(project, json=json)


def _add(files: Sequence[Path], project: Path, *, json: bool) -> None:
    rows: list[Example] = []
    failed = []
    if files:
        found = extract(gather([str(file) for file in files]), reporter=SilentReporter())
        rows = [*found.pairs, *map(golden_example, found.documents)]
        failed = [{"source": failure.source, "reason": failure.reason} for failure in found.failures]
    kept, added = add_golden(project, rows)
    summary = {"added": added, "items": len(kept.items), "version": len(kept.versions), "id": kept.id, "failed": failed}
    if json:
        print_json(summary)
        return
    known = len(rows) - added
    console().print(
        f"  {added:,} items frozen as version {len(kept.versions)}; {len(kept.items):,} in all"
        + (f"; {known:,} were there already" if known else "")
    )
    for row in failed:
        console().print(f"  ! {row['source']}: {row['reason']}")
    console().print(f"  kept in {project / FOLDER}: commit it beside the recipe; it is never trained on")


def _list(project: Path, *, json: bool) -> None:
    kept = read_golden(project)
    if json:
        items = [{"id": item.id, "source": item.source, "answer": item.answer[:200]} for item in kept.items]
        versions = [{"version": v.number, "added": v.added, "seal": v.seal} for v in kept.versions]
        print_json({"id": kept.id, "versions": versions, "items": items})
        return
    if not kept.versions:
        console().print("  the golden set is empty; hint: tunesmith golden add questions.jsonl")
        return
    table("", ["version", "added", "seal"], [[str(v.number), f"{v.added:,}", v.seal[:16]] for v in kept.versions])


def _verify(project: Path, *, json: bool) -> None:
    if not project.is_dir():
        raise ArtifactError(
            "there is no such project", value=str(project), expected="a folder", hint="tunesmith golden verify --project DIR"
        )
    faults = golden_damage(project)
    items = 0 if faults else len(read_golden(project).items)
    if json:
        print_json({"ok": not faults if items or faults else None, "items": items, "faults": list(faults)})
    elif faults:
        for fault in faults:
            console().print(f"  ✗ {fault}")
    else:
        nothing = f"  not measured: there is no golden set in {project / FOLDER}"
        console().print(f"  {items:,} items, every byte as it was frozen" if items else nothing)
    if faults or not items:
        sys.exit(2 if faults else 3)
