"""The faults of labels that ruin a run in silence: a dataset that has one is refused, unless it is allowed by name."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.errors import BlockedError
from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Preference, Row
from tunesmith.core.texts import Text
from tunesmith.models.audit import Audit, audit
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.text_rows import encode_text_row

__all__ = ["audit_labels", "encode_row"]

_CUT_LIMIT = 0.01


def encode_row(chat: Chat, row: Row, *, max_tokens: int) -> tuple[Encoded, ...]:
    """The encoded rows by which a row is learned: those of a conversation, the two answers of a preference, chosen first, the
    answer that is labelled, or the row of a text, which has no template.

    Of a preference or a labelled row, the last answer alone is learned; both rows of a preference begin with the same prompt.
    """
    if isinstance(row, Text):
        return (encode_text_row(chat, row.text, before=row.before, ends=row.ends, max_tokens=max_tokens),)
    if isinstance(row, Labelled):
        return (chat.answer_row(row.messages, max_tokens=max_tokens),)
    if not isinstance(row, Preference):
        return chat.rows(row.messages, max_tokens=max_tokens)
    return tuple(chat.answer_row(said, max_tokens=max_tokens) for said in (row.messages, row.rejected_messages))


def audit_labels(chat: Chat, examples: Sequence[Row], encoded: Sequence[Sequence[Encoded]], *, allow: Sequence[str]) -> Audit:
    """The label audit of each example's rows; BlockedError for faults that ruin a run in silence, unless allowed by name.

    The names are cut, rewritten, stop and zero_labels; a template whose prompt differs cannot be allowed.
    """
    found = audit(chat, examples, encoded)
    if found.without_labels and "zero_labels" not in allow:
        raise BlockedError(
            "some examples have no target tokens",
            name="zero_labels",
            value=f"{len(found.without_labels)} of {found.num_examples}, first {found.without_labels[0]}",
            expected="an answer in every example",
            hint="--set train.max_tokens=… if they were cut, or --allow zero_labels",
        )
    if found.cut_share > _CUT_LIMIT and "cut" not in allow:
        lengths = sorted(
            ((max(len(r.ids) + r.dropped for r in rows), x.title or x.id) for rows, x in zip(encoded, examples, strict=True)),
            reverse=True,
        )
        shown = ", ".join(f"{title!r} {length:,} tokens" for length, title in lengths[:3])
        raise BlockedError(
            f"{found.cut_share:.1%} of the target tokens would be cut",
            name="cut",
            value=f"{len(found.cut)} of {found.num_examples} examples; the longest: {shown}",
            expected="at most 1 %; the rest of a cut answer is never trained",
            hint=f"--set train.max_tokens={lengths[0][0]}, or --set build.passage_words=60, or --allow cut",
        )
    endless = set(found.without_end) - set(found.cut)
    if endless and "stop" not in allow:
        raise BlockedError(
            "the end token is missing from the labels: the model would never learn to stop",
            name="stop",
            value=f"{len(endless)} of {found.num_examples} examples, first {sorted(endless)[0]}",
            expected="an end token after every answer, written by the chat template or declared in generation_config.json",
            hint="choose a base with such a template, or --allow stop",
        )
    if found.rewritten and "rewritten" not in allow:
        raise BlockedError(
            "the base's chat template changes the words of answers",
            name="rewritten",
            value=f"{len(found.rewritten)} of {found.num_examples} examples, first {found.rewritten[0]}",
            expected="a template that writes an answer as it is: what it leaves out is never learned",
            hint="take the tags of the template (</think>, say) out of these answers, or --allow rewritten",
        )
    if found.prompt_differs or max(found.bos_counts, default=0) > 1:
        raise BlockedError(
            "the prompt in training is not the prompt in use",
            name="template",
            value=f"{len(found.prompt_differs)} prompts tokenise differently; BOS tokens per example {list(found.bos_counts)}",
            expected="the same token ids with and without the answer, and at most one BOS",
            hint="repair the base's chat template or tokenizer",
        )
    return found
