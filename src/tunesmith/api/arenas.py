"""`arena`: blind votes between the answers of systems, their results, and votes as rows for other stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import make_folders, replace_file, storage_errors
from tunesmith.core.records import to_json
from tunesmith.core.reporter import Reporter, SilentReporter

if TYPE_CHECKING:  # they load scipy
    from tunesmith.eval.arena.arena import Arena
    from tunesmith.eval.arena.results import ArenaResults

__all__ = ["ArenaExport", "arena_export", "arena_results", "open_arena"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaExport:
    """Votes written as rows. `left_out`: judged pairs that are not among them, by reason."""

    kind: str
    out: Path
    rows: int
    left_out: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith arena export --json` prints."""
        return {"as": self.kind, "out": str(self.out), "rows": self.rows, "left_out": dict(self.left_out)}


def open_arena(  # noqa: PLR0913 (all that an arena is made of)
    *,
    project: str | Path = ".",
    systems: Sequence[str] = (),
    questions: str | Path | None = None,
    ask: str = "",
    pairs: int = 100,
    seed: int = 7,
    max_new_tokens: int = 200,
    evaluation: str = "eval:latest",
    reporter: Reporter | None = None,
) -> Arena:
    """The arena of these systems and questions, with the votes so far; it is made if it is not there.

    `systems`: two to eight names of systems of the evaluation, or references to models as `open_system` takes them; base and
    tuned by default. Answers are those of the evaluation; with a file of `questions`, or for systems that it does not have,
    they are generated with the same sampling settings. `ask`: what voters are asked.

    Raises:
        ArtifactError: there is no evaluation, or the pairs of the arena are damaged.
        EvaluationError: fewer than two systems or more than eight, or no pair of different answers.
        SourceError: questions that cannot be read. ModelError, EngineError: a system that cannot be opened.
    """
    from tunesmith.pipeline.arenas import ASK, Wanted, make_arena

    wanted = Wanted(
        systems=tuple(systems) or Wanted().systems,
        evaluation=evaluation,
        questions=None if questions is None else Path(questions),
        ask=ask or ASK,
        most=pairs,
        seed=seed,
        max_new_tokens=max_new_tokens,
    )
    return make_arena(Path(project), wanted, reporter=reporter or SilentReporter())


def arena_results(id: str = "arena:latest", *, project: str | Path = ".") -> ArenaResults:
    """What the votes of an arena say. ArtifactError without an arena; EvaluationError for a damaged line of votes."""
    from tunesmith.pipeline.arenas import find_arena

    return find_arena(Path(project), id).results()


def arena_export(out: str | Path, *, kind: str, id: str = "arena:latest", project: str | Path = ".") -> ArenaExport:
    """Write the votes as rows: `kind` is `preference` (prompt, chosen, rejected; never of golden items) or `labels` (prompt, a,
    b, human or annotators), which `judge calibrate` reads.

    Raises:
        EvaluationError: another kind. ArtifactError: no arena, or a damaged golden set. StorageError: no place to write to.
    """
    from tunesmith.eval.arena.exports import exported
    from tunesmith.pipeline.arenas import find_arena, golden_check

    if kind not in ("preference", "labels"):
        raise EvaluationError(
            "votes cannot be exported as that",
            value=kind,
            expected="preference or labels",
            hint="tunesmith arena export --as preference --out FILE.jsonl",
        )
    found = exported(find_arena(Path(project), id), kind, is_golden=golden_check(Path(project)))  # type: ignore[arg-type]
    path = Path(out)
    with storage_errors("writing the votes", path):
        make_folders(path.parent)
        replace_file(path, b"".join(to_json(row).replace(b"\n", b"") + b"\n" for row in found.rows))
    return ArenaExport(kind=kind, out=path, rows=len(found.rows), left_out=found.left_out)
