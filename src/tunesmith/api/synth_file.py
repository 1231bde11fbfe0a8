"""`synth`: a language model writes or grades a file of examples; a page about the result is saved with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from tunesmith.api.recipes import as_overrides, find_recipe
from tunesmith.core.errors import DatasetError
from tunesmith.core.files import check_out, replace_file, storage_errors
from tunesmith.core.page import Raw, histogram, page, section, table, text
from tunesmith.core.records import Example, Message, digest, to_json
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.instruct import distil, evolve, self_instruct
from tunesmith.data.synth.outcome import Outcome
from tunesmith.data.synth.page import work_section
from tunesmith.data.synth.preference import prefer
from tunesmith.data.synth.replies import Replies
from tunesmith.data.synth.score import RUBRIC, Grade, score
from tunesmith.pipeline.sections.dataset import GeneratorConfig
from tunesmith.pipeline.synthesis import open_generator, report_outcome

__all__ = ["KINDS", "Made", "SynthKind", "read_rows", "synth", "synthesize"]

SynthKind = Literal["self_instruct", "evolve", "distil", "preference", "score"]
KINDS: tuple[str, ...] = get_args(SynthKind)


@dataclass(frozen=True, slots=True)
class Made:
    """The files written, by name (`out`, `report`, `scores`, `logprobs`), and the figures of the report."""

    files: Mapping[str, Path]
    report: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith synth --json` prints."""
        return {"files": {name: str(path) for name, path in self.files.items()}, "report": dict(self.report)}


@dataclass(frozen=True, slots=True)
class _Work:
    rows: Sequence[Any]
    outcome: Outcome
    grades: Sequence[Grade] = ()


def synth(
    kind: str,
    file: str | Path,
    out: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    project: str | Path = ".",
    count: int = 100,
    threshold: float = 3.5,
    reporter: Reporter | None = None,
) -> Made:
    """Let a language model write or grade examples: `self_instruct`, `evolve`, `distil`, `preference` or `score`.

    The model is that of the `generator` section of the project's recipe, with `settings` such as `{"generator.url": …}`; its
    replies are cached in the project and paid for once. Everything else, including errors, is as in `synthesize`.

    Raises:
        RecipeError: settings that are wrong.
    """
    recipe = find_recipe({"sources": [str(file)]}, as_overrides(settings or {}), project=project)
    return synthesize(
        kind,
        Path(file),
        Path(out),
        generator=recipe.generator,
        replies=Path(project) / ".tunesmith" / "replies",
        reporter=reporter or SilentReporter(),
        count=count,
        threshold=threshold,
    )


def synthesize(
    kind: str,
    file: Path,
    out: Path,
    *,
    generator: GeneratorConfig,
    replies: Path,
    reporter: Reporter,
    count: int = 100,
    threshold: float = 3.5,
) -> Made:
    """Make `out` (JSON lines of Example, or Preference) from the examples of `file`, and a report in the same folder.

    `kind`: one of `KINDS`, in which `-` may stand for `_`.
    `count`: number of new tasks (self_instruct). `threshold`: lowest mean grade to keep (score). Only the paid replies are
    written before the work is done; after an interruption the same command resumes.

    Raises:
        DatasetError: an unknown kind, a file without prompts, or an empty result.
        GeneratorError: the server cannot be used, or the budget is used up.
        SourceError: `out` is `file`, or a folder.
    """
    wanted = kind.replace("-", "_")
    if wanted not in KINDS:
        raise DatasetError(
            "no such kind of synthesis",
            value=kind,
            expected="one of " + ", ".join(KINDS),
            hint="qa and rewrite make a dataset of documents: tunesmith build --set build.style=qa",
        )
    check_out(out, [file], hint="--out made.jsonl")  # before anything is paid for
    rows = read_rows(file, prompts_alone=wanted in {"distil", "preference"})
    works: Mapping[str, Callable[[Generator], _Work]] = {
        "distil": lambda g: _Work(*distil(rows, generator=g, reporter=reporter, top_logprobs=generator.top_logprobs)),
        "evolve": lambda g: _Work(*evolve(rows, generator=g, reporter=reporter)),
        "self_instruct": lambda g: _Work(
            *self_instruct(rows, count=count, seed=generator.seed, generator=g, reporter=reporter)
        ),
        "preference": lambda g: _Work(*prefer(rows, generator=g, reporter=reporter)),
        "score": lambda g: _scored(rows, threshold, g, reporter),
    }
    with open_generator(generator, replies) as asked:
        done = works[wanted](asked)
        told = _logprobs(done.rows, Replies(replies)) if wanted == "distil" and generator.top_logprobs else b""
        report_outcome(asked, done.outcome, reporter)
    if not done.rows:
        raise DatasetError(
            "no example passed the gates",
            value=", ".join(f"{n} {reason}" for reason, n in sorted(done.outcome.dropped.items())) or "no rows",
            expected="replies that can be used",
            hint="try a stronger model with --set generator.model=NAME"
            + (", or a lower --threshold" if wanted == "score" else ""),
        )
    return _written(done, out, threshold=threshold, logprobs=told)


def _logprobs(rows: Sequence[Any], replies: Replies) -> bytes:
    """Of each row, under the hash of the request that it answers, the log-probabilities that came with the reply."""
    lines = []
    for row in rows:
        reply = replies.find(row.origin.prompt_sha256)
        if reply is not None and reply.logprobs:
            lines.append(orjson.dumps({"request": row.origin.prompt_sha256, "tokens": orjson.loads(reply.logprobs)}) + b"\n")
    return b"".join(lines)


def read_rows(file: Path, *, prompts_alone: bool) -> list[Example]:
    """The examples of a file; with `prompts_alone`, also JSON lines that hold a `prompt` or messages without an answer.

    Raises:
        DatasetError: there are none.
    """
    gathered = gather([str(file)])
    rows = _unanswered(file) if prompts_alone and file.suffix in {".jsonl", ".ndjson"} else []
    try:
        rows = [*extract(gathered, reporter=SilentReporter()).pairs, *rows]
    except DatasetError as error:
        why = error.problems[0].expected
        if not rows:
            raise DatasetError(
                "no prompts in this file" if prompts_alone else "no examples in this file",
                value=str(file),
                expected=f"JSON lines with messages, prompt and completion, or instruction and output; {why}",
                hint="tunesmith build --source FILE --set build.style=passages makes examples of plain text",
            ) from error
    return rows


def _unanswered(file: Path) -> list[Example]:
    rows = []
    for line in file.read_bytes().split(b"\n"):
        try:
            value = orjson.loads(line) if line.strip() else None
        except orjson.JSONDecodeError:
            value = None
        turns = _prompt_of(value) if isinstance(value, dict) else ()
        if turns:
            id = digest("prompt", *(f"{turn.role}\n{turn.content}" for turn in turns))[:16]
            answerless = (*turns, Message(role="assistant", content=""))
            rows.append(Example(id=id, messages=answerless, document_id=id, group=id, source=file.name))
    return rows


def _prompt_of(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns of a row that holds a prompt and no answer; empty for any other row."""
    others = {"completion", "response", "output", "answer", "chosen", "text"}
    if isinstance(row.get("prompt"), str) and row["prompt"].strip() and not others & row.keys():
        return (Message(role="user", content=row["prompt"]),)
    turns = row.get("messages")
    if not isinstance(turns, list) or not turns or not all(isinstance(t, dict) for t in turns):
        return ()
    known = [t for t in turns if t.get("role") in {"system", "user", "assistant"} and isinstance(t.get("content"), str)]
    if len(known) < len(turns) or known[-1]["role"] != "user" or not known[-1]["content"].strip():
        return ()
    return tuple(Message(role=t["role"], content=t["content"]) for t in known)


def _scored(rows: Sequence[Example], threshold: float, generator: Generator, reporter: Reporter) -> _Work:
    kept, grades, outcome = score(rows, threshold=threshold, generator=generator, reporter=reporter)
    return _Work(kept, outcome, grades)


def _written(done: _Work, out: Path, *, threshold: float, logprobs: bytes = b"") -> Made:
    report: dict[str, Any] = done.outcome.report()
    sections = [work_section(report)]
    files = {"out": out, "report": out.with_suffix(".report.html")}
    data = {out: b"".join(to_json(row) + b"\n" for row in done.rows)}
    if logprobs:
        files["logprobs"] = out.with_suffix(".logprobs.jsonl")
        data[files["logprobs"]] = logprobs
    if done.grades:
        files["scores"] = out.with_suffix(".scores.jsonl")
        data[files["scores"]] = b"".join(to_json(grade) + b"\n" for grade in done.grades)
        report["scores"] = _spread(done.grades, threshold)
        sections.insert(0, _grades_section(done.grades, report["scores"]))
    lead = f"{done.outcome.kept:,} of {done.outcome.wanted:,} kept, by {done.outcome.model}."
    head = Raw(f'<header><h1>{text(done.outcome.kind)}</h1><p class="lead">{text(lead)}</p></header>')
    data[files["report"]] = page(done.outcome.kind, [head, *sections]).encode()
    data[out.with_suffix(".report.json")] = to_json(report) + b"\n"
    with storage_errors("writing the results", out):
        for path, content in data.items():
            replace_file(path, content)
    return Made(files, report)


def _spread(grades: Sequence[Grade], threshold: float) -> dict[str, Any]:
    means = [grade.mean for grade in grades if grade.mean is not None]
    counts = {name: [sum(getattr(g, name) == mark for g in grades) for mark in range(1, 6)] for name in RUBRIC}
    return {
        "rubric": dict(RUBRIC),
        "threshold": threshold,
        "scored": len(means),
        "unscored": len(grades) - len(means),
        "kept": sum(mean >= threshold for mean in means),
        "grades_1_to_5": counts,
        "means": means,
    }


def _grades_section(grades: Sequence[Grade], spread: Mapping[str, Any]) -> str:
    rows = [[name, *(f"{n:,}" for n in counts), RUBRIC[name]] for name, counts in spread["grades_1_to_5"].items()]
    lowest = sorted((g for g in grades if g.mean is not None), key=lambda g: (g.mean or 0.0, g.id))[:5]
    worst = [[g.id, f"{g.mean:.2f}", asdict(g)["reason"]] for g in lowest]
    note = f"{spread['kept']:,} reach {spread['threshold']:g}; {spread['unscored']:,} could not be graded and are left out."
    return section(
        "Grades",
        Raw(f"<p>{text(note)}</p>"),
        histogram(spread["means"], unit="(mean grade)"),
        table(["point", "1", "2", "3", "4", "5", "the rubric"], rows, numeric=range(1, 6)),
        table(["lowest", "mean", "why"], worst, numeric=[1]),
    )
