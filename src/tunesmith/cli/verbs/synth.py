"""Let a language model write or grade examples. Example: tunesmith synth score train.jsonl --out good.jsonl"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir, Settings

__all__ = ["command"]


def command(
    kind: Annotated[str, typer.Argument(help="self_instruct, evolve, distil, preference or score.")],
    file: Annotated[Path, typer.Argument(help="Examples (or prompts) to start from.")],
    out: Annotated[Path, typer.Option("--out", help="JSON Lines file to write; a report is saved in the same folder.")],
    count: Annotated[int, typer.Option(min=1, help="Number of new tasks (self_instruct).")] = 100,
    threshold: Annotated[float, typer.Option(min=1, max=5, help="Lowest mean grade to keep (score).")] = 3.5,
    project: ProjectDir = Path("."),
    set_: Settings = None,
    json: Json = False,
) -> None:
    """The language model is the one of the recipe's `generator` section."""
    from tunesmith.api.synth_file import synthesize
    from tunesmith.cli.render import ConsoleReporter, console, print_json
    from tunesmith.cli.run import Choice, open_recipe

    say = ConsoleReporter(console())
    choice = Choice(project, None, [str(file)], None, set_ or [], [], False)
    made = synthesize(
        kind,
        file,
        out,
        generator=open_recipe(choice).generator,
        replies=project / ".tunesmith" / "replies",
        reporter=say,
        count=count,
        threshold=threshold,
    )
    if json:
        print_json(made.as_dict())
        return
    dropped = made.report["dropped"]
    say.stage("synth", f"{made.report['kept']:,} of {made.report['wanted']:,} kept", kind.replace("-", "_"))
    if dropped:
        say.detail("dropped: " + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items()))
    say.end({"open": str(made.files["report"]), "next": f"tunesmith check {out}"})
