"""Sources read into documents, and into pairs where a source holds examples already."""

from __future__ import annotations

from tunesmith.core.artifacts import Artifact
from tunesmith.core.reporter import Line, StageBegan
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.stage import Serves, StageText
from tunesmith.pipeline.words import short

__all__ = ["STAGE"]

_MOST_WARNINGS = 6
_COUNTED = ("documents", "pairs", "preferences", "labelled")


class _Documents:
    """Its artifact is named by what the sources hold, which is known once they have been read."""

    kind = "documents"
    title = "documents"
    order = 10
    serves: Serves = "all"

    def obtain(self, project: Context) -> Artifact:
        project.reporter.event(StageBegan(kind=self.kind, title=self.title))
        return project.sources.artifact

    def describe(self, project: Context, artifact: Artifact) -> StageText:
        n = artifact.numbers
        read = " · ".join(f"{n[kind]:,} {kind}" for kind in _COUNTED if n.get(kind))
        sources = ", ".join(short(source) for source in project.recipe.sources)
        failures = n["failures"]
        left_out = ", ".join(note.removesuffix(" left out") for note in n["notes"] if note.endswith("left out"))
        lines = [Line(f"left out: {left_out}")] if left_out else []
        lines += [Line(f"{failure['source']}: {failure['reason']}", "warning") for failure in failures[:_MOST_WARNINGS]]
        if (more := len(failures) - _MOST_WARNINGS) > 0:
            lines.append(Line(f"and {more} more, listed in {artifact.path / 'failures.jsonl'}", "warning"))
        return StageText(text=f"{read} from {sources}", note=f"{len(failures)} could not be used", lines=tuple(lines))


STAGE = _Documents()
