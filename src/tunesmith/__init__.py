"""Tunesmith: fine-tune a small language model on your own writing, prove that it helped, and run it.

    import tunesmith
    tunesmith.check("train.jsonl").findings

Every name of `tunesmith.api` is here too, except `plan` and `train`: packages have these names. They are imported when they are
first used, so that `import tunesmith` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.api import (
        EXAMPLES,
        AnswerPiece,
        Artifact,
        BaseRow,
        CheckFinding,
        CheckResult,
        CompareResult,
        Conversation,
        ConvertResult,
        DedupResult,
        Documents,
        EventLog,
        FormatKind,
        FormatResult,
        GoldenAdded,
        GoldenList,
        GoldenState,
        Made,
        NewRecipe,
        Outcome,
        PipelineOptions,
        Plan,
        Project,
        ReviewApplied,
        ReviewPage,
        SelftestResult,
        SplitResult,
        Verdict,
        apply_review,
        artifact,
        artifacts,
        build,
        chat,
        check,
        compare,
        convert,
        dedup,
        detect_formats,
        evaluate,
        fetch_base,
        golden_add,
        golden_list,
        golden_verify,
        ingest,
        list_bases,
        merge,
        new_recipe,
        open_project,
        review,
        run,
        selftest,
        split,
        synth,
        verdict,
        verify,
        write_recipe,
    )

__version__ = "0.1.0"
__all__ = [
    "EXAMPLES",
    "AnswerPiece",
    "Artifact",
    "BaseRow",
    "CheckFinding",
    "CheckResult",
    "CompareResult",
    "Conversation",
    "ConvertResult",
    "DedupResult",
    "Documents",
    "EventLog",
    "FormatKind",
    "FormatResult",
    "GoldenAdded",
    "GoldenList",
    "GoldenState",
    "Made",
    "NewRecipe",
    "Outcome",
    "PipelineOptions",
    "Plan",
    "Project",
    "ReviewApplied",
    "ReviewPage",
    "SelftestResult",
    "SplitResult",
    "Verdict",
    "__version__",
    "apply_review",
    "artifact",
    "artifacts",
    "build",
    "chat",
    "check",
    "compare",
    "convert",
    "dedup",
    "detect_formats",
    "evaluate",
    "fetch_base",
    "golden_add",
    "golden_list",
    "golden_verify",
    "ingest",
    "list_bases",
    "merge",
    "new_recipe",
    "open_project",
    "review",
    "run",
    "selftest",
    "split",
    "synth",
    "verdict",
    "verify",
    "write_recipe",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tunesmith import api

    return getattr(api, name)
