"""Examples in train, val and test, split by document, free of copies between them, checked, labels audited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.reporter import Line
from tunesmith.core.texts import Text
from tunesmith.pipeline.building import build_settings, fill_dataset, report_findings, split_settings
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.stage import FilledStage, Reference, StageText
from tunesmith.pipeline.synthesis import generator_settings
from tunesmith.pipeline.training import record_setting
from tunesmith.pipeline.words import page_of, short

__all__ = ["STAGE"]

_MOST_SOURCES = 5
_MOST_FINDINGS = 4


def _inputs(project: Context) -> list[Reference]:
    return [project.documents.reference(), {"kind": "chat", "id": project.chat.fingerprint}]


def _settings(project: Context) -> Mapping[str, Any]:
    r = project.recipe
    return {
        "build": build_settings(r.build, passage_words=project.passage_words),
        **({"generator": generator_settings(r.generator)} if r.build.style in {"qa", "rewrite"} else {}),
        "split": split_settings(r.split),
        "mix": project.settings.mix.model_dump(),
        "beside": project.other_sets.id,
        "max_tokens": project.limit,
        "allow": sorted(r.allow),
        **record_setting(project.objective),
        **project.template_settings,
    }


def _fill(project: Context, draft: Draft) -> None:
    fill_dataset(
        draft,
        recipe=project.recipe,
        documents=project.documents,
        chat=project.chat,
        passage_words=project.passage_words,
        limit=project.limit,
        replies=project.store.root / "replies",
        blocked=project.store.root / "blocked.jsonl",
        other_sets=project.other_sets,
        record=project.objective.record,
        base=project.origin if project.settings.build.fit_by_base else None,
        reporter=project.reporter,
    )


def _words(project: Context, artifact: Artifact) -> StageText:
    n, split = artifact.numbers, project.recipe.split
    by = {"document": "post", "group": split.group}.get(split.by, split.by)
    sizes = " · ".join(f"{n[name]:,} {name}" for name in ("train", "val", "test"))
    leaks = f"{n['leaks']} leaks" if n["leaks"] else "no leaks"
    return StageText(
        text=f"{sizes}, split by {by}",
        note=f"{leaks} · {n['cut']['num_cut']} cut · end token in {n['with_end']}/{n['examples']}",
        lines=tuple(Line(text) for text in _details(project, artifact)),
    )


def _details(project: Context, artifact: Artifact) -> Iterator[str]:
    n = artifact.numbers
    if found := _worth_reading(n.get("findings", ())):
        yield f"checks: {found}; see {page_of(artifact.path)}"
    if redacted := n.get("redacted"):
        yield "redacted: " + ", ".join(f"{count:,} {kind}" for kind, count in redacted.items())
    if options := project.chat.described[0]:
        yield f"chat template: {options}"
    if n["dropped"]:
        yield "dropped: " + ", ".join(f"{count:,} {reason}" for reason, count in n["dropped"].items())
    if n["removed_copies"]:
        kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in n["removed_by_kind"].items())
        yield f"{n['removed_copies']} rows removed because they copy a row of val or test: {kinds}"
    if joined := n["near_copy_documents"]["documents"]:
        yield f"{joined} documents are near copies of others; each such group stays in one split"
    yield "leaks not looked for: " + "; ".join(n["not_looked_for"])
    if n["copies_dropped"]:
        yield f"{n['copies_dropped']} documents or pairs left out: near copies of a better one (build.dedup)"
    if n["golden"]["held_out"]:
        yield f"{n['golden']['held_out']} rows held out: they are in the golden set, or copy it"
    if (earlier := n.get("earlier_stages")) is not None:
        yield _apart(earlier["seen"], earlier["tested"])
    if n["mix"]["general_share"]:
        of = "the characters of the training texts" if project.objective.record is Text else "the training rows"
        yield f"{n['mix']['general_share']:.0%} of {of} are general ones"
    if project.recipe.mix.model_fields_set:
        mixed = [
            f"{short(s['source'])} {s['rows']:,} rows × {s['epochs']:.3g} epochs" for s in n["mix"]["sources"][:_MOST_SOURCES]
        ]
        more = n["mix"]["num_sources"] - len(mixed)
        yield "mixed: " + ", ".join(mixed) + (f" and {more} more sources" if more else "")


def _apart(seen: int, tested: int) -> str:
    """That no stage is tested on what an earlier one has learned, and what that took."""
    if not seen + tested:
        return "earlier stages: their rows and these are apart; none had to be left out"
    parts = [f"{seen:,} test rows that an earlier stage has learned"] if seen else []
    parts += [f"{tested:,} training rows that an earlier stage is tested on"] if tested else []
    return f"earlier stages: left out {' and '.join(parts)}"


def _worth_reading(findings: Sequence[Mapping[str, Any]]) -> str:
    """The warnings of the checks by name, and the errors that were allowed."""
    kinds = [f for f in findings if f["severity"] != "info"]
    named = [f"{f['name'].replace('_', ' ')} ({f['count']:,}{', allowed' * (f['severity'] == 'error')})" for f in kinds]
    more = len(named) - _MOST_FINDINGS
    return ", ".join(named[:_MOST_FINDINGS]) + (f" and {more} more" if more > 0 else "")


def _finish(project: Context, artifact: Artifact) -> None:
    """Findings are reported also where the dataset was there already."""
    report_findings(artifact.numbers.get("findings", ()), project.reporter)


STAGE = FilledStage(
    kind="dataset",
    title="dataset",
    order=20,
    inputs=_inputs,
    settings=_settings,
    fill=_fill,
    words=_words,
    finish=_finish,
)
