"""The Python face: a function for everything that Tunesmith does, and the records that they return.

Each takes plain values and returns a frozen record, whose `as_dict()` is what the command of the same name prints with
`--json`. `Project` is a recipe in a folder. A name is imported when it is first used, so that
reading a file does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.api.adapter_sizing import LoraSizes, ModelDimensions, lora_sizes
    from tunesmith.api.advising import AdviceResult, advise
    from tunesmith.api.agents import mcp
    from tunesmith.api.arenas import ArenaExport, arena_export, arena_results, open_arena
    from tunesmith.api.asgi import AsgiApp, asgi_app
    from tunesmith.api.auditing import audit
    from tunesmith.api.bases import BaseRow, fetch_base, list_bases
    from tunesmith.api.benching import bench_serve
    from tunesmith.api.carding import CardCheck, CardResult, card, verify_card
    from tunesmith.api.checking import CheckFinding, CheckResult, check
    from tunesmith.api.comparison import CompareResult, compare
    from tunesmith.api.conversation import AnswerPiece, Conversation, chat
    from tunesmith.api.conversion import ConvertResult, FormatKind, FormatResult, convert, detect_formats
    from tunesmith.api.deduplication import DedupResult, dedup
    from tunesmith.api.deploying import DeployResult, deploy
    from tunesmith.api.events import EventLog
    from tunesmith.api.experiments import RunRow, RunsTable, compare_runs, recommend_run, run_curves, runs
    from tunesmith.api.exporting import ExportResult, ExportTable, export, export_formats, export_table
    from tunesmith.api.feedback import ExportedFeedback, ForgottenFeedback, export_feedback, forget_feedback
    from tunesmith.api.golden_set import GoldenAdded, GoldenList, GoldenState, golden_add, golden_list, golden_verify
    from tunesmith.api.judges import (
        JudgeCalibration,
        JudgeComparison,
        JudgeGrades,
        JudgeWork,
        calibrate_judge,
        judge_compare,
        judge_grade,
    )
    from tunesmith.api.merging import MergeResult, merge_adapters
    from tunesmith.api.model_sizing import ModelSize, SizeSettings, model_size
    from tunesmith.api.parity_check import parity
    from tunesmith.api.pipeline import (
        PipelineOptions,
        build,
        crossfit,
        evaluate,
        ingest,
        merge,
        open_chain,
        open_project,
        plan,
        run,
        train,
    )
    from tunesmith.api.processes import launch, together
    from tunesmith.api.pushing import LeftOut, Pushed, PushFile, PushFinding, PushList, push
    from tunesmith.api.recipes import NewRecipe, new_recipe, write_recipe
    from tunesmith.api.releasing import ReleaseCheck, ReleaseResult, release, verify_release
    from tunesmith.api.reviewing import ReviewApplied, ReviewPage, apply_review, decide_documents, review, review_documents
    from tunesmith.api.routing import RouterResult, train_router
    from tunesmith.api.scoring import open_reward_model
    from tunesmith.api.selftesting import SelftestResult, selftest
    from tunesmith.api.serving import ServedModel, Serving, serve
    from tunesmith.api.splitting import SplitResult, split
    from tunesmith.api.stored import artifact, artifacts
    from tunesmith.api.sweeps import sweep
    from tunesmith.api.synth_file import Made, synth
    from tunesmith.api.tracking import mirror_runs
    from tunesmith.api.traffic import AbStatus, Rollback, ab_set, ab_status, rollback
    from tunesmith.api.verdicts import verdict, verify
    from tunesmith.core.artifacts import Artifact
    from tunesmith.data.similar.passage_index import Passage, PassageIndex, Recalled
    from tunesmith.eval.arena.arena import Arena, check_voter
    from tunesmith.eval.arena.rates import VoteRate
    from tunesmith.eval.arena.results import ArenaResults
    from tunesmith.eval.arena.shown import Showing
    from tunesmith.eval.parity_result import ParityReport
    from tunesmith.eval.questionnaire import TaskAnswers
    from tunesmith.eval.verdict import Verdict
    from tunesmith.ops.bench.bench import BenchedOption, ServeBench
    from tunesmith.ops.bench.figures import BenchCell, BenchFigure
    from tunesmith.ops.bench.recommending import BenchAdvice
    from tunesmith.ops.mirrors.mirror import Mirrored
    from tunesmith.ops.runs.comparing import Curves, RunChange, RunComparison
    from tunesmith.ops.runs.pairing import PairedRuns, RunGain
    from tunesmith.ops.runs.recommending import Recommendation, RunEfficiency, SizeStep
    from tunesmith.ops.sweep.sweeping import SweepResult, SweepTrial
    from tunesmith.pipeline.chain import Chain, ChainOutcome, ChainStage, StageResult
    from tunesmith.pipeline.evidence import EXAMPLES
    from tunesmith.pipeline.outcome import Outcome
    from tunesmith.pipeline.plan import Plan
    from tunesmith.pipeline.project import Project
    from tunesmith.pipeline.reading import Documents
    from tunesmith.train.scorer import Scorer

__all__ = [
    "EXAMPLES",
    "AbStatus",
    "AdviceResult",
    "AnswerPiece",
    "Arena",
    "ArenaExport",
    "ArenaResults",
    "Artifact",
    "AsgiApp",
    "BaseRow",
    "BenchAdvice",
    "BenchCell",
    "BenchFigure",
    "BenchedOption",
    "CardCheck",
    "CardResult",
    "Chain",
    "ChainOutcome",
    "ChainStage",
    "CheckFinding",
    "CheckResult",
    "CompareResult",
    "Conversation",
    "ConvertResult",
    "Curves",
    "DedupResult",
    "DeployResult",
    "Documents",
    "EventLog",
    "ExportResult",
    "ExportTable",
    "ExportedFeedback",
    "ForgottenFeedback",
    "FormatKind",
    "FormatResult",
    "GoldenAdded",
    "GoldenList",
    "GoldenState",
    "JudgeCalibration",
    "JudgeComparison",
    "JudgeGrades",
    "JudgeWork",
    "LeftOut",
    "LoraSizes",
    "Made",
    "MergeResult",
    "Mirrored",
    "ModelDimensions",
    "ModelSize",
    "NewRecipe",
    "Outcome",
    "PairedRuns",
    "ParityReport",
    "Passage",
    "PassageIndex",
    "PipelineOptions",
    "Plan",
    "Project",
    "PushFile",
    "PushFinding",
    "PushList",
    "Pushed",
    "Recalled",
    "Recommendation",
    "ReleaseCheck",
    "ReleaseResult",
    "ReviewApplied",
    "ReviewPage",
    "Rollback",
    "RouterResult",
    "RunChange",
    "RunComparison",
    "RunEfficiency",
    "RunGain",
    "RunRow",
    "RunsTable",
    "Scorer",
    "SelftestResult",
    "ServeBench",
    "ServedModel",
    "Serving",
    "Showing",
    "SizeSettings",
    "SizeStep",
    "SplitResult",
    "StageResult",
    "SweepResult",
    "SweepTrial",
    "TaskAnswers",
    "Verdict",
    "VoteRate",
    "ab_set",
    "ab_status",
    "advise",
    "apply_review",
    "arena_export",
    "arena_results",
    "artifact",
    "artifacts",
    "asgi_app",
    "audit",
    "bench_serve",
    "build",
    "calibrate_judge",
    "card",
    "chat",
    "check",
    "check_voter",
    "compare",
    "compare_runs",
    "convert",
    "crossfit",
    "decide_documents",
    "dedup",
    "deploy",
    "detect_formats",
    "evaluate",
    "export",
    "export_feedback",
    "export_formats",
    "export_table",
    "fetch_base",
    "forget_feedback",
    "golden_add",
    "golden_list",
    "golden_verify",
    "ingest",
    "judge_compare",
    "judge_grade",
    "launch",
    "list_bases",
    "lora_sizes",
    "mcp",
    "merge",
    "merge_adapters",
    "mirror_runs",
    "model_size",
    "new_recipe",
    "open_arena",
    "open_chain",
    "open_project",
    "open_reward_model",
    "parity",
    "plan",
    "push",
    "recommend_run",
    "release",
    "review",
    "review_documents",
    "rollback",
    "run",
    "run_curves",
    "runs",
    "selftest",
    "serve",
    "split",
    "sweep",
    "synth",
    "together",
    "train",
    "train_router",
    "verdict",
    "verify",
    "verify_card",
    "verify_release",
    "write_recipe",
]

_NAMES = {
    "tunesmith.api.agents": ("mcp",),
    "tunesmith.ops.sweep.sweeping": ("SweepResult", "SweepTrial"),
    "tunesmith.api.sweeps": ("sweep",),
    "tunesmith.ops.mirrors.mirror": ("Mirrored",),
    "tunesmith.api.tracking": ("mirror_runs",),
    "tunesmith.ops.runs.pairing": ("PairedRuns", "RunGain"),
    "tunesmith.ops.runs.recommending": ("Recommendation", "RunEfficiency", "SizeStep"),
    "tunesmith.ops.runs.comparing": ("Curves", "RunChange", "RunComparison"),
    "tunesmith.api.experiments": ("RunRow", "RunsTable", "compare_runs", "recommend_run", "run_curves", "runs"),
    "tunesmith.api.deploying": (
        "DeployResult",
        "deploy",
    ),
    "tunesmith.api.benching": ("bench_serve",),
    "tunesmith.ops.bench.bench": ("BenchedOption", "ServeBench"),
    "tunesmith.ops.bench.figures": ("BenchCell", "BenchFigure"),
    "tunesmith.ops.bench.recommending": ("BenchAdvice",),
    "tunesmith.api.routing": (
        "RouterResult",
        "train_router",
    ),
    "tunesmith.api.traffic": (
        "AbStatus",
        "Rollback",
        "ab_set",
        "ab_status",
        "rollback",
    ),
    "tunesmith.api.feedback": (
        "ExportedFeedback",
        "ForgottenFeedback",
        "export_feedback",
        "forget_feedback",
    ),
    "tunesmith.api.pipeline": (
        "run",
        "open_project",
        "open_chain",
        "ingest",
        "build",
        "plan",
        "train",
        "merge",
        "evaluate",
        "crossfit",
        "PipelineOptions",
    ),
    "tunesmith.api.adapter_sizing": ("LoraSizes", "ModelDimensions", "lora_sizes"),
    "tunesmith.api.model_sizing": ("ModelSize", "SizeSettings", "model_size"),
    "tunesmith.pipeline.outcome": ("Outcome",),
    "tunesmith.pipeline.project": ("Project",),
    "tunesmith.pipeline.chain": ("Chain", "ChainOutcome", "ChainStage", "StageResult"),
    "tunesmith.api.events": ("EventLog",),
    "tunesmith.pipeline.plan": ("Plan",),
    "tunesmith.pipeline.reading": ("Documents",),
    "tunesmith.eval.verdict": ("Verdict",),
    "tunesmith.core.artifacts": ("Artifact",),
    "tunesmith.api.stored": ("artifact", "artifacts"),
    "tunesmith.api.verdicts": ("verdict", "verify"),
    "tunesmith.api.pushing": ("LeftOut", "PushFile", "PushFinding", "PushList", "Pushed", "push"),
    "tunesmith.api.recipes": ("NewRecipe", "new_recipe", "write_recipe"),
    "tunesmith.api.checking": ("CheckFinding", "CheckResult", "check"),
    "tunesmith.api.conversion": ("ConvertResult", "FormatKind", "FormatResult", "convert", "detect_formats"),
    "tunesmith.api.deduplication": ("DedupResult", "dedup"),
    "tunesmith.api.splitting": ("SplitResult", "split"),
    "tunesmith.api.exporting": ("ExportResult", "ExportTable", "export", "export_formats", "export_table"),
    "tunesmith.api.arenas": ("ArenaExport", "arena_export", "arena_results", "open_arena"),
    "tunesmith.eval.arena.arena": ("Arena", "check_voter"),
    "tunesmith.eval.arena.results": ("ArenaResults",),
    "tunesmith.eval.arena.rates": ("VoteRate",),
    "tunesmith.eval.arena.shown": ("Showing",),
    "tunesmith.api.golden_set": ("GoldenAdded", "GoldenList", "GoldenState", "golden_add", "golden_list", "golden_verify"),
    "tunesmith.api.reviewing": (
        "ReviewApplied",
        "ReviewPage",
        "apply_review",
        "decide_documents",
        "review",
        "review_documents",
    ),
    "tunesmith.api.merging": ("MergeResult", "merge_adapters"),
    "tunesmith.api.releasing": ("ReleaseCheck", "ReleaseResult", "release", "verify_release"),
    "tunesmith.api.synth_file": ("Made", "synth"),
    "tunesmith.api.processes": ("launch", "together"),
    "tunesmith.api.comparison": ("CompareResult", "compare"),
    "tunesmith.api.asgi": ("AsgiApp", "asgi_app"),
    "tunesmith.api.auditing": ("audit",),
    "tunesmith.api.advising": ("AdviceResult", "advise"),
    "tunesmith.api.parity_check": ("parity",),
    "tunesmith.eval.parity_result": ("ParityReport",),
    "tunesmith.eval.questionnaire": ("TaskAnswers",),
    "tunesmith.api.conversation": ("AnswerPiece", "Conversation", "chat"),
    "tunesmith.api.scoring": ("open_reward_model",),
    "tunesmith.train.scorer": ("Scorer",),
    "tunesmith.api.serving": ("ServedModel", "Serving", "serve"),
    "tunesmith.api.selftesting": ("SelftestResult", "selftest"),
    "tunesmith.api.carding": ("CardCheck", "CardResult", "card", "verify_card"),
    "tunesmith.api.bases": ("BaseRow", "fetch_base", "list_bases"),
    "tunesmith.data.similar.passage_index": ("PassageIndex", "Passage", "Recalled"),
    "tunesmith.api.judges": (
        "JudgeCalibration",
        "JudgeComparison",
        "JudgeGrades",
        "JudgeWork",
        "calibrate_judge",
        "judge_compare",
        "judge_grade",
    ),
    "tunesmith.pipeline.evidence": ("EXAMPLES",),
}
MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(MODULES[name]), name)
    globals()[name] = value
    return value
