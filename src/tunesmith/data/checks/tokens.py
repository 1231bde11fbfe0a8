"""Findings about tokens: what would be cut, what is never learned, and answers that do not end. The counting is a model's part.

`data` knows no tokenizer: whoever has one fills in `TokenFacts`, and this file says what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.core.records import Finding

__all__ = ["TokenFacts", "token_findings"]

_MOST_CUT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What a tokenizer and chat template make of examples; lists name ids. `lengths`: tokens of each example, before any cut.

    `cut_share`: learned tokens beyond `limit` over all learned ones. `begins`: how many tokens of the beginning of text each
    example opens with. `refused`: ids that the template cannot render, with its reason.
    """

    base: str
    limit: int
    lengths: tuple[int, ...]
    num_learned: int
    cut: tuple[str, ...] = ()
    cut_share: float = 0.0
    without_end: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    prompt_differs: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    begins: tuple[int, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def token_findings(facts: TokenFacts) -> Iterator[Finding]:
    """`cut` (an error above 1 % of the tokens to learn), and the errors `no_end_token`, `zero_labels`, `prompt_differs`,
    `rewritten`, `template` and `begin_tokens`. A row that is cut is not named again for its missing end.
    """
    whole = len(facts.lengths) + len(facts.refused)
    longest = max(facts.lengths, default=0)

    def made(name: str, severity: Literal["error", "warning"], rows: Sequence[str], reason: str, fix: str) -> Iterator[Finding]:
        if rows:
            message = f"{len(rows):,} of {whole:,} rows {reason} Fix: {fix}"
            yield Finding(name=name, severity=severity, message=message, count=len(rows), rows=tuple(dict.fromkeys(rows)))

    yield from made(
        "cut",
        "error" if facts.cut_share > _MOST_CUT else "warning",
        facts.cut,
        f"are longer than {facts.limit:,} tokens of {facts.base} (longest {longest:,}): {facts.cut_share:.1%} of the tokens to "
        "learn would be cut.",
        "split or shorten them, or train with more tokens (--set train.max_tokens=…), if the base has the context.",
    )
    yield from made(
        "no_end_token",
        "error",
        [id for id in facts.without_end if id not in set(facts.cut)],
        "do not end with an end token: the model would never learn to stop.",
        "choose a base whose template writes one after every answer.",
    )
    yield from made(
        "zero_labels",
        "error",
        facts.without_labels,
        "have no token that would be learned.",
        "write or complete their answers; drop those whose prompt alone fills the context.",
    )
    yield from made(
        "prompt_differs",
        "error",
        facts.prompt_differs,
        "start with other token ids in training than the same prompt does in use.",
        "choose a base whose template does not rewrite earlier turns, or remove the rows with earlier answers.",
    )
    yield from made(
        "rewritten",
        "error",
        facts.rewritten,
        f"have answers of which the chat template of {facts.base} leaves out or changes words.",
        "take the tags of the template (</think>, say) out of these answers, or choose another base.",
    )
    yield from made(
        "template",
        "error",
        [id for id, _ in facts.refused],
        f"are refused by the chat template of {facts.base}{f' ({facts.refused[0][1]})' if facts.refused else ''}.",
        "put their turns into the order it wants, or choose a base whose template takes them.",
    )
    if any(count > 1 for count in facts.begins):
        counts = " or ".join(map(str, facts.begins))
        reason = f"rows open with {counts} beginning-of-text tokens, but at most one is expected."
        fix = "take the token out of the texts, or choose a base whose template writes it once."
        yield Finding(name="begin_tokens", severity="error", message=f"{reason} Fix: {fix}", count=whole)
