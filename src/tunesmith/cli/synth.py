"""`synth`: a language model makes or grades a file of examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from tunesmith.cli.render import ConsoleReporter, console, print_json
from tunesmith.cli.run import Choice, open_recipe
from tunesmith.core.errors import DatasetError

if TYPE_CHECKING:
    from tunesmith.api.synth_file import SynthKind

__all__ = ["synth"]


def synth(kind: str, file: Path, out: Path, choice: Choice, *, count: int, threshold: float, json: bool) -> None:
    """Make `out` from the examples of `file`; `kind` is one of the verb's kinds. The generator comes from the recipe."""
    from tunesmith.api.synth_file import KINDS, synthesize

    wanted = kind.replace("-", "_")
    if wanted not in KINDS:
        raise DatasetError(
            "no such kind of synthesis",
            value=kind,
            expected="one of " + ", ".join(KINDS),
            hint="qa and rewrite make a dataset of documents: tunesmith build --set build.style=qa",
        )
    say = ConsoleReporter(console())
    made = synthesize(
        cast("SynthKind", wanted),
        file,
        out,
        generator=open_recipe(choice).generator,
        replies=choice.project / ".tunesmith" / "replies",
        reporter=say,
        count=count,
        threshold=threshold,
    )
    if json:
        print_json({"files": {name: str(path) for name, path in made.files.items()}, "report": dict(made.report)})
        return
    dropped = made.report["dropped"]
    say.stage("synth", f"{made.report['kept']:,} of {made.report['wanted']:,} kept", wanted)
    if dropped:
        say.detail("dropped: " + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items()))
    say.end({"open": str(made.files["report"]), "next": f"tunesmith check {out}"})
