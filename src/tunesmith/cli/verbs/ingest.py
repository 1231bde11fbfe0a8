"""Read sources into documents. Example: tunesmith ingest ./posts https://example.org/feed.xml --json"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Base, Include, Json, Private, ProjectDir, RecipeFile, Settings, Sources

__all__ = ["command"]

_MOST_WARNINGS = 6


def command(  # noqa: PLR0913 (the options of a verb)
    sources: Annotated[list[str] | None, typer.Argument(help="Folders, files, addresses or hub data sets of writing.")] = None,
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    source: Sources = None,
    base: Base = None,
    set_: Settings = None,
    json: Json = False,
    allow_private: Private = False,
    include: Include = None,
) -> None:
    """Read the sources of the command line, or of the recipe where it names none. Every file that is not used is named."""
    from tunesmith.cli.render import ConsoleReporter, console, print_json
    from tunesmith.cli.run import Choice, open_recipe
    from tunesmith.core.artifacts import Store

    choice = Choice(
        project, recipe, [*(sources or []), *(source or [])], base, set_ or [], [], allow_private, include=include or []
    )
    wanted, say = open_recipe(choice), ConsoleReporter(console())
    from tunesmith.api.reading import read_sources  # the readers of all formats: not needed to say what is wrong above

    found = read_sources(wanted, Store(project / ".tunesmith"), reporter=say, allow_private=allow_private)
    numbers, folder = found.artifact.numbers, found.artifact.path
    failed = numbers["failures"]
    read = " · ".join(
        f"{numbers[kind]:,} {kind}" for kind in ("documents", "pairs", "preferences", "labelled") if numbers.get(kind)
    )
    say.stage("documents", f"{read}, {numbers['words']:,} words", f"{len(failed)} could not be used")
    if found.traffic:
        say.detail(", ".join(f"{count} {what}" for what, count in sorted(found.traffic.items())))
    for note in numbers["notes"]:
        say.detail(note)
    for failure in failed[:_MOST_WARNINGS]:
        say.warn(f"{failure['source']}: {failure['reason']}")
    if (more := len(failed) - _MOST_WARNINGS) > 0:
        say.warn(f"and {more} more, listed in {folder / 'failures.jsonl'}")
    if json:
        print_json(found.as_dict())
    else:
        say.end({"open": str(folder), "next": choice.then("build")})
