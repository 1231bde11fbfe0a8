"""`ingest`: sources into documents, with every file that could not be used named."""

from __future__ import annotations

from tunesmith.cli.render import ConsoleReporter, console, print_json
from tunesmith.cli.run import Choice, open_recipe
from tunesmith.core.artifacts import Store

__all__ = ["ingest"]

_MOST_WARNINGS = 6


def ingest(choice: Choice, *, json: bool) -> None:
    """Read the sources of the command line, or of the recipe where it names none.

    With `json`, `{"documents": n, "failed": [{"source", "reason"} …], "artifact": DIR}` goes to stdout.
    """
    recipe, say = open_recipe(choice), ConsoleReporter(console())
    from tunesmith.api.documents import read_sources  # the readers of all formats: not needed to say what is wrong above

    found = read_sources(recipe, Store(choice.project / ".tunesmith"), reporter=say, allow_private=choice.allow_private)
    numbers, folder = found.artifact.numbers, found.artifact.path
    failed = numbers["failures"]
    read = " · ".join(f"{numbers[kind]:,} {kind}" for kind in ("documents", "pairs") if numbers[kind])
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
        print_json({"documents": numbers["documents"], "failed": failed, "artifact": str(folder)})
    else:
        say.end({"open": str(folder), "next": choice.then("build")})
