"""A project with an evaluation whose answers were made up, and the arena of its base and tuned model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evidence_fakes import items, system

from tunesmith.core.artifacts import Store
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.arena.arena import Arena, Choice
from tunesmith.eval.files import write_evidence
from tunesmith.eval.results import Evidence
from tunesmith.pipeline.arenas import Wanted, make_arena

__all__ = ["HTML", "cast_all", "evaluated", "made_arena"]

HTML = "<b>bold</b> <script>alert(1)</script> & “quotes”"


def evaluated(project: Path, *, documents: int = 10, each: int = 2, systems: tuple[str, ...] = ("base", "tuned")) -> Path:
    """A project whose evaluation holds three answers of each system to each item; one of the tuned model's is HTML."""
    of = items(documents, each)
    runs = []
    for name in systems:
        run = system(name, of, bits=1.2, draws=3)
        answers = [replace(g, text=f"{name} says {g.text} {g.draw}") for g in run.generations]
        if name == "tuned":
            answers = [replace(g, text=HTML) if g.item_id == of[0].id else g for g in answers]
        runs.append(replace(run, generations=tuple(answers)))
    evidence = Evidence(items=of, systems=tuple(runs), parity=None, general=None)
    store = Store(project / ".tunesmith")
    with store.create("run", inputs=[], settings={}) as draft:
        (draft.path / "log.txt").write_text("made up", encoding="utf-8")
    run_id = [one.reference() for one in store.all()]
    with store.create("eval", inputs=run_id, settings={}) as draft:
        write_evidence(draft.path, evidence)
    return project


def made_arena(project: Path, wanted: Wanted = Wanted()) -> Arena:  # noqa: B008
    return make_arena(evaluated(project), wanted, reporter=SilentReporter())


def cast_all(arena: Arena, voter: str = "me", *, prefer: str = "tuned", most: int = 1000) -> int:
    """Vote for one system wherever it is part of the pair; returns how many votes were cast."""
    for number in range(most):
        if (shown := arena.showing(voter)) is None:
            return number
        choice: Choice = "tie" if prefer not in shown.pair.systems else "left" if shown.left == prefer else "right"
        assert arena.cast(voter, shown.pair.id, choice, again=shown.again)
    return most
