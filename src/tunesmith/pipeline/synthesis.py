"""Between the recipe's `generator` section and what a language model writes: the server, the kept replies, the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DatasetError, GeneratorError
from tunesmith.core.records import Document, Example, spread_over_documents
from tunesmith.core.reporter import Reporter
from tunesmith.data.dataset.passages import Built
from tunesmith.data.synth.endpoint import Endpoint
from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.ledger import Budget, Ledger
from tunesmith.data.synth.outcome import Outcome
from tunesmith.data.synth.qa import build_qa
from tunesmith.data.synth.replies import Replies
from tunesmith.data.synth.rewrite import build_rewrite
from tunesmith.pipeline.keys import key_of
from tunesmith.pipeline.sections.dataset import BuildConfig, GeneratorConfig

__all__ = ["build_with_generator", "generator_settings", "open_generator", "report_outcome"]

_WITHOUT_EFFECT = {  # on what is written
    *("api_key_env", "concurrency", "timeout_s", "max_tokens_total", "max_cost"),
    "top_logprobs",
}


def generator_settings(g: GeneratorConfig) -> dict[str, Any]:
    """The settings that can change what is written: they go into the id of a dataset. No key is among them."""
    return {name: value for name, value in g.model_dump().items() if name not in _WITHOUT_EFFECT}


@contextmanager
def open_generator(g: GeneratorConfig, replies: Path) -> Iterator[Generator]:
    """The generator of a recipe; its replies are kept below `replies`.

    Raises:
        GeneratorError: no address or model is named, the key's variable is not set, or the extra `synth` is missing.
    """
    if not g.url or not g.model:
        raise GeneratorError(
            "no language model is named",
            value=f"generator.url={g.url!r}, generator.model={g.model!r}",
            expected="the address of an OpenAI-compatible server and the name of a model there",
            hint="--set generator.url=http://127.0.0.1:11434/v1 --set generator.model=NAME; build.style=passages needs none",
        )
    key = key_of(g.api_key_env, whose="the generator's", setting="generator.api_key_env", error=GeneratorError)
    server = Endpoint(g.url, api_key=key, timeout_s=g.timeout_s)
    budget = Budget(
        max_tokens=g.max_tokens_total,
        max_cost=g.max_cost,
        price_in=g.price_per_million_in,
        price_out=g.price_per_million_out,
    )
    try:
        yield Generator(
            server,
            Replies(replies),
            Ledger(budget),
            model=g.model,
            temperature=g.temperature,
            seed=g.seed,
            max_tokens=g.max_reply_tokens,
            concurrency=g.concurrency,
        )
    finally:
        server.close()


def build_with_generator(
    documents: Sequence[Document],
    passages: Sequence[Example],
    *,
    build: BuildConfig,
    generator: GeneratorConfig,
    replies: Path,
    reporter: Reporter,
) -> tuple[Built[Example], Outcome]:
    """The examples of `build.style` qa, with `passages`, the author's own, mixed in by `build.real_share`; or those of rewrite.

    Raises:
        DatasetError: nothing that the model wrote passed the gates.
    """
    with open_generator(generator, replies) as asked:
        if build.style == "rewrite":
            examples, outcome = build_rewrite(passages, documents, generator=asked, reporter=reporter)
        else:
            examples, outcome = build_qa(
                documents,
                generator=asked,
                words_per_pair=build.words_per_pair,
                system_prompt=build.system_prompt,
                reporter=reporter,
            )
        report_outcome(asked, outcome, reporter)
    if not examples:
        raise DatasetError(
            "no text that the generator wrote passed the gates",
            value=", ".join(f"{count} {reason}" for reason, count in sorted(outcome.dropped.items())) or "no questions",
            expected="answers that quote the documents",
            hint="try a stronger model with --set generator.model=NAME, or --set build.style=passages, which needs none",
        )
    rows = examples
    if build.style == "qa":
        rows = _with_passages(examples, passages, documents, share=build.real_share)
    return Built(examples=rows, dropped=outcome.dropped, dropped_samples=outcome.dropped_samples), outcome


def _with_passages(
    made: Sequence[Example], passages: Sequence[Example], documents: Sequence[Document], *, share: float
) -> tuple[Example, ...]:
    """What was made and as many passages as give them `share` of the whole, in the order of the documents."""
    wanted = round(share / (1 - share) * len(made))
    chosen = spread_over_documents(passages, wanted) if wanted else []
    ids = {example.id for example in chosen}
    by_document: dict[str, list[Example]] = {}
    for example in [*made, *(passage for passage in passages if passage.id in ids)]:
        by_document.setdefault(example.document_id, []).append(example)
    return tuple(example for document in documents for example in by_document.get(document.id, ()))


def report_outcome(generator: Generator, outcome: Outcome, reporter: Reporter) -> None:
    """What it took, said after the work: the share that was paid for now is the one thing that no artifact holds."""
    usage, budget = outcome.usage, outcome.budget
    cost = budget.cost(usage.prompt_tokens, usage.completion_tokens)
    priced = f", {cost:,.4f} at the prices given" if cost else ""
    kept = usage.requests - generator.ledger.paid
    reporter.note(
        f"{outcome.kept:,} of {outcome.wanted:,} kept; {usage.requests:,} replies, {usage.tokens:,} tokens{priced}"
        + (f"; {kept:,} replies were cached from an earlier run and cost nothing now" if kept else "")
    )
    if outcome.withheld:
        reporter.warn(f"{outcome.withheld} blocks of documents contain instructions to a model and were withheld from it")
