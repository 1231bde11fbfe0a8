"""Token counts and label audit of examples with a base's tokenizer and chat template, for `tunesmith check --base`."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter
from tunesmith.data.checks.tokens import TokenFacts
from tunesmith.models.audit import audit
from tunesmith.models.chat import Encoded, open_chat
from tunesmith.models.load import find_base
from tunesmith.pipeline.sections.run import TrainConfig

__all__ = ["token_facts"]


def token_facts(base: str, examples: Sequence[Example], *, max_tokens: int = 0, reporter: Reporter) -> TokenFacts:
    """Encode the examples as training would, and count cut examples, answers without target tokens, and missing end tokens.

    `max_tokens`: maximum tokens per example, limited by the base's context; 0: the recipe's default.
    ModelError for a base that cannot be found or has no chat template; rows that the template refuses are in `refused`.
    """
    folder = find_base(base)
    chat = open_chat(folder)
    limit = min(max_tokens or TrainConfig().max_tokens, folder.context)
    kept: list[Example] = []
    codes: list[list[Encoded]] = []
    lengths: list[int] = []
    refused: list[tuple[str, str]] = []
    with reporter.progress("encode", total=len(examples), unit="rows") as progress:
        for example in examples:
            try:
                whole = chat.rows(example.messages)
            except ModelError as error:
                refused.append((example.id, error.problems[0].what))
            else:
                kept.append(example)
                lengths.append(max(len(row.ids) for row in whole))
                codes.append([Encoded(row.ids[:limit], row.learned[:limit], sum(row.learned[limit:])) for row in whole])
            progress.advance(1)
    found = audit(chat, kept, codes)
    return TokenFacts(
        base=folder.name,
        limit=limit,
        lengths=tuple(lengths),
        num_learned=found.num_learned,
        cut=found.cut,
        cut_share=found.cut_share,
        without_end=found.without_end,
        without_labels=found.without_labels,
        prompt_differs=found.prompt_differs,
        rewritten=found.rewritten,
        begins=found.bos_counts,
        refused=tuple(refused),
    )
