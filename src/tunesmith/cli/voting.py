"""`arena`: voting in a page or in the terminal, results as text, votes as rows."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.core.errors import EvaluationError

if TYPE_CHECKING:
    from tunesmith.api import Arena, ArenaResults, Showing, VoteRate

__all__ = ["export", "in_page", "in_terminal", "results"]

_NOT_MEASURED = 3
_KEYS: dict[str, Literal["left", "right", "tie", "skip"]] = {"1": "left", "2": "right", "0": "tie", "s": "skip"}
_HELP = "1 or 2 for the better answer, 0 for a tie, s to skip, q to stop for now, e to end and see the results"


def in_page(arena: Arena, voter: str, port: int) -> None:
    """Serve the page until Ctrl-C."""
    from tunesmith.cli.render import console
    from tunesmith.web.serving import serve_arena

    out = console()

    def ready(address: str) -> None:
        out.print(f"  {len(arena.pairs)} pairs; open {address} in a browser. Ctrl-C ends; every vote is kept")

    serve_arena(arena, port=port, voter=voter, ready=ready)
    out.print("  resume: tunesmith arena      results: tunesmith arena results")


def in_terminal(arena: Arena, voter: str) -> None:
    """Ask pair after pair until the end, `q` or the end of the input."""
    from tunesmith.cli.render import console

    out = console()
    out.print(f"  {arena.ask}  ({_HELP})")
    known = False
    while (showing := arena.showing(voter)) is not None:
        state = arena.decision().state if not known else ""
        if state in ("enough", "never"):
            known = True
            what = "that is enough to tell" if state == "enough" else "more votes will hardly decide it"
            out.print(f"\n  {what}; e shows the results, any other key goes to the next pair")
        _show(arena, voter, showing)
        line = _read()
        if line in ("q", None):
            out.print("  stopped; the votes are kept. Resume: tunesmith arena --terminal")
            return
        if line == "e":
            break
        if line in _KEYS:
            arena.cast(voter, showing.pair.id, _KEYS[line], again=showing.again)
        else:
            out.print(f"  {_HELP}")
    arena.end(voter)
    _print(arena.results())


def _show(arena: Arena, voter: str, showing: Showing) -> None:
    from tunesmith.cli.render import console

    done, total = arena.progress(voter)
    width = min(shutil.get_terminal_size().columns, 100) - 4
    out = console()
    out.print(f"\n  {done + 1} of {total}  {arena.ask}", markup=False, highlight=False)
    turns = [turn.content for turn in showing.pair.prompt]
    for title, text in (("", "\n\n".join(turns)), *zip("12", (side.text for side in showing.sides), strict=True)):
        out.print("")
        for number, paragraph in enumerate(text.strip().split("\n")):
            lead = f"  {title:<2}" if number == 0 else "    "
            for line in textwrap.wrap(paragraph, width) or [""]:
                out.print(_plain(lead + line), markup=False, highlight=False)
                lead = "    "


def _plain(text: str) -> str:
    """Without control characters: an answer must not move the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _read() -> str | None:
    if sys.stdin.isatty():
        sys.stderr.write("\n  1 2 0 s q e > ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    return line.strip().lower() if line else None


def results(id: str, project: Path, *, json: bool) -> int:
    """Print what the votes say; the exit code."""
    from tunesmith.api import arena_results
    from tunesmith.cli.render import print_json

    found = arena_results(id, project=project)
    if json:
        print_json(found.as_dict())
    else:
        _print(found)
    return 0 if found.decision.state == "enough" else _NOT_MEASURED


def _print(found: ArenaResults) -> None:
    from tunesmith.cli.render import table

    wins = ", ".join(f"{name} {count}" for name, count in found.wins.items())
    rows = [
        ["votes", f"{found.votes}: {wins}, ties {found.ties}; {found.skips} skipped, {found.excluded} not counted"],
        [f"win rate of {found.subject}", _share(found.win_rate)],
        *([["by document", _share(found.by_document)]] if found.by_document is not None else []),
        ["consistency", _share(found.consistency)],
        ["longer answer preferred", _share(found.longer)],
        ["win rate at equal length", _share(found.at_equal_length)],
        ["words per answer", ", ".join(f"{name} {words:.0f}" for name, words in found.words.items())],
    ]
    rows += [[f"strength of {s.system}", f"{s.value:+.2f} [{s.ci.low:+.2f}, {s.ci.high:+.2f}]"] for s in found.strengths]
    rows += [[f"voter {voter.name}", voter.why or f"{voter.votes} votes"] for voter in found.voters]
    table(found.sentence, ["", ""], rows)


def _share(rate: VoteRate) -> str:
    if rate.value is None:
        return f"not measured: {rate.why}"
    ends = f" ({rate.why})" if rate.ci is None else f" [{100 * rate.ci.low:.0f}, {100 * rate.ci.high:.0f}]"
    return f"{100 * rate.value:.0f} %{ends}, n = {rate.n}"


def export(id: str, project: Path, *, kind: str, out: Path | None, json: bool) -> None:
    """Write the votes as rows."""
    from tunesmith.api import arena_export
    from tunesmith.cli.render import console, print_json

    if out is None:
        raise EvaluationError(
            "export needs a file to write",
            value="no --out",
            expected="a path",
            hint=f"tunesmith arena export --as {kind} --out {kind}.jsonl",
        )
    found = arena_export(out, kind=kind, id=id, project=project)
    if json:
        print_json(found.as_dict())
        return
    say = console()
    say.print(f"  {found.rows} rows in {found.out}")
    for reason, count in found.left_out.items():
        say.print(f"  {count} left out: {reason}")
    if kind == "preference" and found.rows:
        say.print("  their questions are those of the arena: after training on them, evaluate on other questions")
