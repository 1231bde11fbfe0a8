"""Parity of two references: both are opened, asked the fixed prompts and those of a dataset, and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.data.dataset.load import load_examples
from tunesmith.eval.parity_pair import compare_systems
from tunesmith.eval.parity_prompts import ParityPrompt, dataset_prompts, fixed_prompts
from tunesmith.eval.parity_result import ParityReport
from tunesmith.models.load import StoredType
from tunesmith.pipeline.finished import dataset_rows
from tunesmith.systems.opening import OpenedSystem, Opening, open_system

__all__ = ["compare_opened", "compare_references", "parity_prompts"]

NUM_PROMPTS, MAX_NEW_TOKENS = 24, 64  # of the dataset; of each answer
_USUAL_TOKENS = 1024  # of the long prompts, where the length of training is not known


def compare_references(
    a: str,
    b: str,
    *,
    project: Path,
    dataset: str = "",
    num_prompts: int = NUM_PROMPTS,
    max_new_tokens: int = MAX_NEW_TOKENS,
    precision: StoredType = "float32",
    reporter: Reporter | None = None,
) -> ParityReport:
    """The comparison of two references; see `tunesmith.parity` for the arguments and errors."""
    _check_counts(num_prompts, max_new_tokens)
    store, reporter = Store(project / ".tunesmith"), reporter or SilentReporter()
    how = Opening(store=store, reporter=reporter)
    with open_system(a, how) as tested, open_system(b, replace(how, precision=precision, chat=tested.chat)) as other:
        return compare_opened(
            tested, other, store, dataset=dataset, num_prompts=num_prompts, max_new_tokens=max_new_tokens, reporter=reporter
        )


def _check_counts(num_prompts: int, max_new_tokens: int) -> None:
    if num_prompts < 0 or max_new_tokens < 1:
        raise EvaluationError(
            "a comparison needs prompts and answers",
            value=f"{num_prompts} prompts, {max_new_tokens} tokens",
            expected="0 prompts of the dataset or more, and at least 1 token for each answer",
            hint="--prompts 24 --max-new-tokens 64",
        )


def compare_opened(
    tested: OpenedSystem,
    other: OpenedSystem,
    store: Store,
    *,
    dataset: str = "",
    num_prompts: int = NUM_PROMPTS,
    max_new_tokens: int = MAX_NEW_TOKENS,
    saved: Path | None = None,
    reporter: Reporter,
) -> ParityReport:
    """The comparison of two open systems on the fixed prompts and `num_prompts` of the dataset. `saved`: a folder where the
    answers of both are kept as they come."""
    rows = _rows(store, dataset, tested) if num_prompts else []
    prompts = parity_prompts(tested, other, rows, num_prompts=num_prompts, max_new_tokens=max_new_tokens)
    return compare_systems(tested, other, prompts, max_new_tokens=max_new_tokens, saved=saved, reporter=reporter)


def parity_prompts(
    a: OpenedSystem, b: OpenedSystem, rows: list[Example], *, num_prompts: int, max_new_tokens: int
) -> list[ParityPrompt]:
    """The fixed prompts, the long ones nearly as long as the rows of training, and prompts of `rows`."""
    chat = a.chat or b.chat
    offered = min(a.context, b.context) if b.is_cut else a.context
    room = min(a.trained_tokens or b.trained_tokens or _USUAL_TOKENS, offered) - max_new_tokens
    fixed = fixed_prompts(
        lambda messages: sum(len(one.content) for one in messages) // 3 if chat is None else len(chat.encode_prompt(messages)),
        room,
    )
    return [*fixed, *(dataset_prompts(rows, num_prompts) if rows else [])]


def _rows(store: Store, dataset: str, tested: OpenedSystem) -> list[Example]:
    """The test split of an artifact, or the rows of a file; without a name, of the dataset of training or the latest one."""
    if dataset and Path(dataset).expanduser().exists():
        return list(load_examples(Path(dataset).expanduser()).examples)
    if dataset:
        return dataset_rows(store.resolve(dataset), "test")
    found = store.find("dataset", tested.dataset) if tested.dataset else None
    if found is None and any(artifact.kind == "dataset" for artifact in store.all()):
        found = store.resolve("dataset:latest")
    return [] if found is None else dataset_rows(found, "test")
