"""One answer of a conversation as text to learn: the prompt as use sees it, the answer's words, and the token that ends it.

Where the template writes a finished conversation as its prompt and more, that text is taken as it is. Where it does not (it
opens a thinking block for an answer that is to come, or moves the system text to the last question), the text is put together
from the prompt, the words as the template writes them, and the end that it writes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.template import PROBE, ChatTemplate

__all__ = ["Answer", "Frame", "find_frame", "write_answer"]

_QUESTION = Message(role="user", content="Say it.")
_TAGS = (("<", ">"), ("[", "]"))  # a border inside a tag is moved in front of it
_THOUGHT = "</think>"


@dataclass(frozen=True, slots=True)
class Frame:
    """What the template writes around the words of an answer.

    `opening`: what the model has to write before the words, after the prompt (a channel's name, say). `tail`: what follows the
    words of the last answer; `close`: its beginning, up to and with the token that ends the answer, or empty if there is none.
    `late`: what must be added to the tail for that, in templates that write the end only when a next turn follows. `end`: the
    id of that token.
    """

    opening: str = ""
    tail: str = ""
    close: str = ""
    late: str = ""
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A conversation up to one answer: `text[:begin]` is the prompt, `text[begin:stop]` what is learned, its end included.

    `words`: the characters of the answer's own text, or None where the template writes other words.
    """

    text: str
    begin: int
    stop: int
    words: tuple[int, int] | None


def find_frame(template: ChatTemplate, declared: Collection[int]) -> Frame:
    """The frame that a template puts around answers. `declared`: the tokens that the base says end one.

    ModelError if the template cannot render a question and an answer.
    """
    probe = Message(role="assistant", content=PROBE)
    try:
        head, found, tail = template.render([_QUESTION, probe]).rpartition(PROBE)
        before = template.render([_QUESTION], answer_next=True)
    except ModelError as error:
        raise ModelError(
            "the base's chat template cannot render a question and an answer",
            value="user, assistant",
            expected=f"a chat template for user and assistant turns: {error.problems[0].expected}",
            hint="set what it lacks under `template` in the recipe, or choose an instruct or chat model as base",
        ) from error
    if not found:
        raise ModelError(
            "the base's chat template leaves out the text of an answer",
            value="a question and an answer as plain texts",
            expected="a template that writes the text of a message as it is given",
            hint="choose a base for text alone: some templates of bases that see images take only lists of parts",
        )
    opening = head[len(before) :] if head.startswith(before) else _missing_opening(template, before, head)
    close, end = _through_end(template.tokenizer, tail, declared)
    if close:
        return Frame(opening, tail, close, "", end)
    try:
        following = template.render([_QUESTION, probe, _QUESTION]).rpartition(PROBE)[2]
    except ModelError:
        return Frame(opening, tail)  # it takes one question alone: then there is no end to be found
    close, end = _through_end(template.tokenizer, following, declared)
    if end in declared and close.startswith(tail):
        return Frame(opening, tail, close, close[len(tail) :], end)
    return Frame(opening, tail)


def _missing_opening(template: ChatTemplate, before: str, head: str) -> str:
    """The control tokens that a template writes before an answer's words, and not already at the end of the prompt."""
    common = before[: next((at for at, (a, b) in enumerate(zip(before, head, strict=False)) if a != b), len(before))]
    for left, right in _TAGS:
        if common.rfind(left) > common.rfind(right):
            common = common[: common.rfind(left)]
    if _QUESTION.content not in common:
        return ""
    opening, asked = head[len(common) :], before[len(common) :]
    return opening if any(token in opening for token in template.controls) and not asked.endswith(opening) else ""


def _through_end(tokenizer: Any, tail: str, declared: Collection[int]) -> tuple[str, int | None]:
    """The beginning of `tail` through the first control token, or through a declared one right behind it; and its id."""
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    coded = tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True)
    ids, stops = coded["input_ids"], [stop for _, stop in coded["offset_mapping"]]
    first = next((at for at, token in enumerate(ids) if token in special), None)
    if first is None:
        return "", None
    last = next((at for at in range(first, len(ids)) if ids[at] not in special), len(ids))
    end = next((at for at in range(first, last) if ids[at] in declared), first)
    return tail[: stops[end]], int(ids[end])


def write_answer(template: ChatTemplate, messages: Sequence[Message], frame: Frame) -> Answer:
    """The last message of `messages` as an answer to those before it.

    ModelError if the template writes the answer in a way that shows neither where it begins nor its words.
    """
    prompt, answer = messages[:-1], messages[-1]
    before = template.render(prompt, answer_next=True)
    after = template.render(messages)
    head, found, tail = template.render([*prompt, Message(role=answer.role, content=PROBE)]).rpartition(PROBE)
    kept = bool(found) and after.startswith(head) and after.endswith(tail) and len(after) >= len(head) + len(tail)
    low, high = len(head), len(after) - len(tail)
    same = kept and after[low:high].strip() == template.masked(answer.content).strip()
    if after.startswith(before) and len(after) > len(before):
        closed = frame.close and after.endswith(frame.tail)
        stop = len(after) - len(frame.tail) + len(frame.close) if closed else len(after)
        return Answer(after + frame.late if closed else after, len(before), stop, (low, high) if same else None)
    if not kept:
        raise _hidden(template, answer, after)
    begin = len(before) + len(frame.opening)
    text = before + frame.opening + after[low:high] + frame.close
    return Answer(text, len(before), len(text), (begin, begin + high - low) if same else None)


def _hidden(template: ChatTemplate, answer: Message, after: str) -> ModelError:
    """Why an answer cannot be learned, with what helps."""
    if _THOUGHT in answer.content and template.options.get("enable_thinking") is False:
        return ModelError(
            "an answer contains its own thinking, but template.enable_thinking is off",
            value=answer.content[:120],
            expected="answers without a thinking block, or a prompt that opens one",
            hint="--set template.enable_thinking=true, or take the blocks out of the answers",
        )
    return ModelError(
        "the chat template hides where an answer begins",
        value=after[:120],
        expected="a template that writes every answer as it is, after the text by which it asks for it",
        hint="take the tags of the template (</think>, say) out of the answers, or choose a base with another chat template",
    )
