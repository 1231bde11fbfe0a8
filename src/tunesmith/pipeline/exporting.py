"""Exports: the tuned model in another format, with what was measured of exactly that file. An artifact of its own.

The folder of an export holds `files/` (what ships), `export.json` (what it is, hashes and marks), and, where the form was
judged, `parity.json` and what every evaluation holds: evidence, verdict, report.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.errors import ArtifactError, EngineError, StorageError, TunesmithError
from tunesmith.core.files import make_folders, new_temporary, sha256_file, storage_errors
from tunesmith.core.records import digest, to_json
from tunesmith.core.reporter import Reporter
from tunesmith.eval.files import write_evaluation
from tunesmith.eval.gate import State
from tunesmith.eval.measured import improvement
from tunesmith.eval.parity_result import ParityReport
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.merge import merge
from tunesmith.models.use import GREEDY_USE
from tunesmith.pipeline.choosing_use import fields_for
from tunesmith.pipeline.evidence import EXAMPLES, measuring_code
from tunesmith.pipeline.finished import FinishedRun
from tunesmith.pipeline.parity import compare_opened
from tunesmith.pipeline.shipped import Shipped, judge_shipped
from tunesmith.ship.format import ExportSource, Format
from tunesmith.systems.opening import Opening, open_system
from tunesmith.systems.system import TakesMemory

__all__ = ["KIND", "SHEET", "check_target", "exports_of", "make_export", "publish_files", "recommended"]

KIND = "export"
FILES, SHEET = "files", "export.json"
_UNASKED = "the questions of the evaluation were not put to it"
_JUDGED = ("eval", "gates", "look", "use", "max_new_tokens", "suites")  # of an evaluation, for its rules and its questions
_AT_ONCE = 4  # questions that an engine answers at the same time


def make_export(run: FinishedRun, form: Format, quant: str, *, judged: bool, reporter: Reporter) -> Artifact:
    """The export of a run in a format, found or made. `judged`: whether the form is asked the evaluation's questions.

    Raises:
        EvaluationError: a quantisation that the format has not, or questions that cannot be put to the form.
        EngineError: the engine dies while it answers. An engine that cannot be had is a mark, and no error.
        ModelError: the base is gone, or the format cannot hold this model.
    """
    chosen = form.checked_quant(quant)
    evaluation = run.evaluation if judged else None
    inputs = [one.reference() for one in (run.run, run.merged, evaluation) if one is not None]
    asked = evaluation.manifest["settings"] if evaluation else {}
    settings = {
        "form": form.name,
        "quant": chosen,
        "engine": form.engine_version,  # by another version it is another export
        "sampling": asdict(run.use or GREEDY_USE),
        "code": digest(measuring_code(), _exporting_code()),
        **{name: asked[name] for name in _JUDGED if name in asked},
    }

    def fill(draft: Draft) -> None:
        with _source(run) as source:
            _fill(draft, run, source, form, chosen, evaluation=evaluation, judged=judged, reporter=reporter)

    known = run.store.find(KIND, run.store.identify(KIND, inputs, settings))
    if known is not None and evaluation is not None and known.numbers["verdict"] is None:
        with run.store.create(KIND, inputs=inputs, settings=settings) as draft:
            fill(draft)  # its engine could not be had then, and may be here by now
            shutil.rmtree(known.path)
    made = run.store.obtain(KIND, inputs, settings, fill)
    run.store.clear_workspace(made.id)
    return made


def _exporting_code() -> str:
    """The hash of what writes formats, runs them and judges them: an export by other code is another export."""
    package = EXAMPLES.parent
    parts = [file for part in ("ship", "engines") for file in (package / part).rglob("*.py")]
    judging = [package / "pipeline" / name for name in ("exporting.py", "shipped.py", "ruling.py")]
    return digest(*(part for file in sorted([*parts, *judging]) for part in (file.name, sha256_file(file))))


@contextmanager
def _source(run: FinishedRun) -> Iterator[ExportSource]:
    """What formats are made from. A run without a merged folder is merged for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        yield ExportSource(
            name=f"{Path(run.base.name).name}-{run.run.id[:8]}",
            base=run.base,
            adapter=run.tuned,
            merged=_merged(run, Path(folder)),
            chat=run.chat,
            rows=run.encoded(),
            context=run.context,
            use=run.use or GREEDY_USE,
            system=run.opening[0].content if run.opening else "",
        )


def _merged(run: FinishedRun, temporary: Path) -> BaseFolder:
    if (found := run.merged) is not None:
        return find_base(str(found.path), offline=True)
    merge(run.base, run.tuned, temporary, generation=fields_for(run.base, run.use or GREEDY_USE))
    return find_base(str(temporary), offline=True)


def _fill(
    draft: Draft,
    run: FinishedRun,
    source: ExportSource,
    form: Format,
    quant: str,
    *,
    evaluation: Artifact | None,
    judged: bool,
    reporter: Reporter,
) -> None:
    place, saved = draft.path / FILES, run.store.workspace(draft.id)
    place.mkdir()
    reporter.note(f"writing {form.title} {quant}".rstrip())
    written = form.write(source, place, quant)
    shipped, parity, memory, reason = None, None, None, _UNASKED
    if judged and evaluation is None:
        reason = "there is no evaluation of this run to hold it against"
    elif evaluation is not None:
        shipped, memory, reason = _judged(run, source, form, place / written.main, evaluation, saved, reporter)
    if shipped is not None:
        write_evaluation(draft.path, shipped.evidence, shipped.measurements, shipped.verdict)
        parity, marks = _parity(run, source, form, place / written.main, saved, reporter)
        (draft.path / "parity.json").write_bytes(to_json(parity.as_dict() if parity else {"reason": marks[0]}))
    else:
        marks = [f"Whether this form is the model that was tested is not measured: {reason}."]
    draft.numbers |= {
        "form": form.name,
        "quant": quant,
        "engine": form.engine,
        "main": written.main,
        "bytes": sum(file.stat().st_size for file in place.rglob("*") if file.is_file()),
        **_measured(shipped),
        "memory_bytes": memory,
        **_apart(parity),
        "state": _state(shipped, parity),
        "marks": [*(shipped.marks if shipped else ()), *marks],
        "notes": [*written.notes, *_doubts(shipped)],
        **written.numbers,
    }
    sheet = {"run": run.run.id, "base": run.base.name, **draft.numbers, "files": _hashes(place)}
    (draft.path / SHEET).write_text(json.dumps(sheet, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _judged(
    run: FinishedRun,
    source: ExportSource,
    form: Format,
    file: Path,
    evaluation: Artifact,
    saved: Path,
    reporter: Reporter,
) -> tuple[Shipped | None, int | None, str]:
    """The form as measured, and the bytes of memory that its engine took; or why the engine cannot be had. `saved`: a folder in
    which its answers are kept as they come, for an export that is interrupted."""
    with ExitStack() as stack:
        try:
            system = stack.enter_context(form.open(source, file, at_once=_AT_ONCE)).system
        except EngineError as error:
            return None, None, f"{form.engine} did not open it ({error.problems[0].what})"
        shipped = judge_shipped(run, evaluation, system, saved=saved, reporter=reporter)
        return shipped, system.memory_bytes() if isinstance(system, TakesMemory) else None, ""


def _parity(
    run: FinishedRun, source: ExportSource, form: Format, file: Path, saved: Path, reporter: Reporter
) -> tuple[ParityReport | None, list[str]]:
    """The file against the adapter on fixed prompts, and what that says against it. None: it could not be compared."""
    tested_as = Opening(store=run.store, reporter=reporter)
    try:
        with open_system(run.run.id, tested_as) as tested, form.open(source, file, name=form.name) as other:
            found = compare_opened(tested, other, run.store, saved=saved, reporter=reporter)
    except TunesmithError as error:
        return None, [f"Parity is not measured: {error.problems[0].what}."]
    if found.passed is None:
        return found, [f"Parity is not measured: {'; '.join(found.missing)}."]
    if found.passed:
        return found, []
    cause = f" The likely cause: {found.causes[0].name}." if found.causes else ""
    return found, [f"It differs from the adapter beyond the limits of its format: {'; '.join(found.failed)}.{cause}"]


def _doubts(shipped: Shipped | None) -> list[str]:
    """What to know about the comparison with the adapter, though it passed."""
    return [f"Of the comparison with the adapter: {shipped.kept.warning}."] if shipped and shipped.kept.warning else []


def _apart(parity: ParityReport | None) -> dict[str, Any]:
    """How far the form is from the adapter, and whether it reads prompts as the adapter does."""
    if parity is None:
        return dict.fromkeys(("kl", "top1", "greedy_match", "parity"))
    found = parity.as_dict()
    return {"kl": found["kl"], "top1": found["top1"], "greedy_match": found["greedy_match"], "parity": found["pass"]}


def _measured(shipped: Shipped | None) -> dict[str, Any]:
    """What was measured of the form; None is not measured. `tokens_per_s` is of one answer, which only an engine that times
    its answers can tell: where a batch is timed as a whole it would be another figure."""
    if shipped is None:
        return dict.fromkeys(("verdict", "primary", "against_adapter", "tokens_per_s"))
    m, kept = shipped.measurements, shipped.kept
    form = shipped.evidence.system("tuned")
    cost = form.cost if form else None
    gain = m.comparison("base", "tuned")
    mean = improvement(gain.differences[m.primary], m.primary) if gain else None
    return {
        "verdict": shipped.verdict.verdict,
        "primary": {"name": m.primary, "mean": mean[0] if mean else None, "ci": list(mean[1:]) if mean else None},
        "against_adapter": {"mean": kept.value, "ci": list(kept.interval) if kept.interval else None},
        "tokens_per_s": cost.generated_tokens / cost.seconds if cost and cost.seconds and cost.at_once == 1 else None,
    }


def _state(shipped: Shipped | None, parity: ParityReport | None) -> State:
    """Whether the form is as good as the adapter that was tested: by its verdict, and by an engine that reads prompts and ends
    answers as the adapter does. Without parity the latter is not measured, whatever the verdict. How far the numbers are apart
    is reported; what that costs, the verdict says."""
    if shipped is None:
        return "not measured"
    if parity is None:
        return "not measured" if shipped.state == "pass" else shipped.state
    prompts, answers = parity.prompts, parity.answers
    if False in (prompts.tokens_equal, prompts.template_equal) or (answers is not None and answers.run_on):
        return "fail"
    if None in (prompts.tokens_equal, prompts.template_equal) and shipped.state == "pass":
        return "not measured"
    return shipped.state


def _hashes(place: Path) -> dict[str, str]:
    return {file.relative_to(place).as_posix(): sha256_file(file) for file in sorted(place.rglob("*")) if file.is_file()}


def exports_of(run: FinishedRun) -> list[Artifact]:
    """The exports of a run, the newest of each format and quantisation, smallest file first."""
    newest = {
        (one.numbers["form"], one.numbers["quant"]): one
        for one in run.store.all()
        if one.kind == KIND and run.run.reference() in one.manifest["inputs"]
    }
    return sorted(newest.values(), key=lambda one: (int(one.numbers["bytes"]), str(one.numbers["form"])))


def recommended(exports: Sequence[Artifact], evaluation: Artifact | None) -> Artifact | None:
    """The smallest file that ends in SHIP and is as good as the adapter, by the run's evaluation; None if none is known to be.
    A form of a model that may not ship is never recommended, however faithful it is."""
    reference = evaluation.reference() if evaluation else None
    good = [
        one
        for one in exports
        if one.numbers["state"] == "pass" and one.numbers["verdict"] == "SHIP" and reference in one.manifest["inputs"]
    ]
    return min(good, key=lambda one: int(one.numbers["bytes"]), default=None)


def check_target(out: Path) -> None:
    """StorageError unless `out` is a folder that can be made: found before anything is written or asked."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(
            "the folder to export to is not empty",
            value=str(out),
            expected="a folder that does not exist yet",
            hint="--out another folder, or remove that one",
        )


def publish_files(export: Artifact, out: Path) -> None:
    """Copy what ships, with `export.json`, into the new folder `out`: whole or not at all.

    Raises:
        StorageError: `out` is there already and not empty, or the disk is full.
        ArtifactError: a file of the export does not match its hash.
    """
    check_target(out)
    with storage_errors("copying the export", out):
        make_folders(out.parent)
        temporary = new_temporary(out)
        try:
            shutil.copytree(export.path / FILES, temporary, dirs_exist_ok=True)
            shutil.copyfile(export.path / SHEET, temporary / SHEET)
            if wrong := [name for name, mark in _sheet(temporary)["files"].items() if sha256_file(temporary / name) != mark]:
                raise ArtifactError(
                    "a file of the export is not what was written",
                    value=str(export.path / FILES / wrong[0]),
                    expected="the bytes of its hash",
                    hint=f"delete {export.path} and export again",
                )
            if out.is_dir():
                out.rmdir()
            temporary.rename(out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sheet(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / SHEET).read_bytes())
    return found
