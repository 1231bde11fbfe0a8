"""The base's own chat format: messages to token ids, with the tokens that are learned marked.

One function encodes for training, evaluation and serving alike, so the three cannot differ. The learned span of a turn
is found by rendering with and without it; a template in which it cannot be found is an error, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Example, Message, digest
from tunesmith.models.load import BaseFolder, load_tokenizer

__all__ = ["Audit", "Chat", "Encoded", "audit", "open_chat"]


_PRIVATE = 0x10F000  # first of the private characters that stand for control tokens written in a text
_PROBE = chr(_PRIVATE - 1)  # stands for a text whose place is looked for
_GAP = 64  # characters that a template may write between the header of a turn and its words


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a whole conversation and, of equal length, whether each is learned. `dropped`: learned tokens cut off."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    dropped: int = 0

    @property
    def num_learned(self) -> int:
        return sum(self.learned)


@dataclass(frozen=True)
class Chat:
    """A tokenizer with its chat template. `end_ids`: tokens that end an answer; `turn_end` is the one the template writes."""

    tokenizer: Any
    end_ids: tuple[int, ...]
    turn_end: int | None
    pad_id: int
    fingerprint: str

    def render(self, messages: Sequence[Message], *, answer_next: bool = False) -> str:
        """The template's text of the conversation; with `answer_next`, up to where the assistant begins to speak.

        Control tokens that somebody wrote into a message stand as single private characters, which `_tokens` spells out:
        a post about `<|end|>` must not end the answer.
        """
        rows = [{"role": m.role, "content": self._masked(m.content)} for m in messages]
        try:
            return str(self.tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=answer_next))
        except (TemplateError, TypeError) as error:
            roles = ", ".join(m.role for m in messages)
            raise ModelError(
                "the base's chat template refuses this conversation",
                value=roles,
                expected=f"roles that it knows, in its order ({error})",
                hint="set build.system_prompt to empty, or choose a base whose template takes these roles",
            ) from error

    @cached_property
    def _controls(self) -> dict[str, str]:
        """Text of every control token → the private character that stands for it in a rendered message."""
        named = {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special} | set(
            self.tokenizer.all_special_tokens
        )
        return {text: chr(_PRIVATE + i) for i, text in enumerate(sorted(named, key=lambda text: (-len(text), text)))}

    def _masked(self, content: str) -> str:
        for text, stand_in in self._controls.items():
            content = content.replace(text, stand_in)
        return content

    def _tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a rendered text and the characters that each covers; stand-ins become the plain letters of their token."""
        spelled = {stand_in: control for control, stand_in in self._controls.items()}
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        begin = 0
        for piece in re.split(f"([{chr(_PRIVATE)}-{chr(_PRIVATE + len(spelled))}])", text):
            if piece in spelled:
                plain = self.tokenizer(spelled[piece], add_special_tokens=False, split_special_tokens=True)["input_ids"]
                ids += plain
                offsets += [(begin, begin + 1)] * len(plain)
            elif piece:
                coded = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
                ids += coded["input_ids"]
                offsets += [(begin + low, begin + high) for low, high in coded["offset_mapping"]]
            begin += len(piece)
        return ids, offsets

    def with_system(self, messages: Sequence[Message], text: str) -> tuple[Message, ...]:
        """The conversation under a further system text; for templates without a system role it opens the first user turn."""
        own = "".join(m.content + "\n\n" for m in messages if m.role == "system")
        rest = [m for m in messages if m.role != "system"]
        led = (Message(role="system", content=own + text), *rest)
        try:
            self.render(led, answer_next=True)
        except ModelError:
            first = Message(role=rest[0].role, content=f"{own}{text}\n\n{rest[0].content}")
            return (first, *rest[1:])
        return led

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a text alone, as it stands in a message: control tokens in it are letters."""
        return self._tokens(self._masked(text))[0]

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the assistant begins to speak: what generation is given."""
        return self._tokens(self.render(messages, answer_next=True))[0]

    def encode(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Encoded:
        """All turns as ids; assistant turns with their end token are learned. Cut at `max_tokens` from the right, counted."""
        whole = self.render(messages)
        spans = [self._span(messages, i, whole) for i, m in enumerate(messages) if m.role == "assistant"]
        ids, offsets = self._tokens(whole)
        learned = [
            # A token of no width is white space that the tokenizer trims off; at `low` it ends the header, not the answer.
            any(low <= start and low < stop <= high for low, high in spans)
            for start, stop in offsets
        ]
        learned = self._until_end(ids, learned)
        if max_tokens is not None and len(ids) > max_tokens:
            return Encoded(tuple(ids[:max_tokens]), tuple(learned[:max_tokens]), sum(learned[max_tokens:]))
        return Encoded(tuple(ids), tuple(learned))

    def encode_answer(self, messages: Sequence[Message]) -> Encoded:
        """The ids of `encode`, of which only the words of the last answer and its end token are marked.

        What the template itself writes into the turn (an empty thinking block, say) is nobody's words and is not marked; a
        token across the border that holds a part of the answer is. ModelError where the template rewrites the answer.
        """
        whole, span = self.encode(messages), self._words_span(messages)
        if span is None:
            raise ModelError(
                "the chat template rewrites the text of an answer",
                value=messages[-1].content[:120],
                expected="a template that writes an answer as it is",
                hint="take the tags of the template (</think>, say) out of this text, or choose another base",
            )
        low, high = span
        _, offsets = self._tokens(self.render(messages))
        marks = [
            (start < high and stop > low) if start < stop else low < start <= high  # trimmed white space stands at its own end
            for start, stop in offsets
        ]
        last = max((i for i, mark in enumerate(whole.learned) if mark), default=None)
        if last is not None and whole.ids[last] in self.end_ids:
            marks[last] = True
        return Encoded(whole.ids, tuple(marks))

    def keeps_words(self, messages: Sequence[Message]) -> bool:
        """Whether the template writes the text of the last message as it is, white space around it aside."""
        return self._words_span(messages) is not None

    def rewrites(self, messages: Sequence[Message]) -> bool:
        """Whether the template leaves out or changes words of an answer, white space aside: what it drops is never learned."""
        written = "".join(self.render(messages).split())
        return not all("".join(self._masked(m.content).split()) in written for m in messages if m.role == "assistant")

    def _words_span(self, messages: Sequence[Message]) -> tuple[int, int] | None:
        """Characters of the last message's own text in the rendered conversation, found by writing another in its place.

        None where the template rewrites it.
        """
        whole = self.render(messages)
        probe = Message(role=messages[-1].role, content=_PROBE)
        head, found, tail = self.render([*messages[:-1], probe]).rpartition(_PROBE)
        low, high = len(head), len(whole) - len(tail)
        words = self._masked(messages[-1].content).strip()
        kept = found and whole.startswith(head) and whole.endswith(tail) and whole[low:high].strip() == words
        return (low, high) if kept else None

    def _span(self, messages: Sequence[Message], turn: int, whole: str) -> tuple[int, int]:
        """Characters of the assistant's turn in the rendered text, its end token included."""
        before = self.render(messages[:turn], answer_next=True)
        after = self.render(messages[: turn + 1])
        if whole.startswith(before):
            if whole.startswith(after) and len(after) > len(before):
                return len(before), len(after)
            # Some templates write an earlier turn otherwise than the last one (without its empty thinking, say).
            content = self._masked(messages[turn].content).strip()
            at = whole.find(content, len(before))
            if content and 0 <= at - len(before) <= _GAP:
                end = at + len(content)
                closing = "" if self.turn_end is None else str(self.tokenizer.convert_ids_to_tokens(self.turn_end))
                return len(before), end + (len(closing) if whole.startswith(closing, end) else 0)
        raise ModelError(
            "the chat template hides where an answer begins",
            value=whole[:120],
            expected="a template whose text with the answer begins with its text without it",
            hint="choose a base with another chat template: what this one asks for in use is not what it trains on",
        )

    def _until_end(self, ids: list[int], learned: list[bool]) -> list[bool]:
        """What a template writes after the end token of a turn (a line break, say) is not learned."""
        out, ended = [], False
        for token, mark in zip(ids, learned, strict=True):
            ended = ended and mark
            out.append(mark and not ended)
            ended = ended or (mark and token in self.end_ids)
        return out

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def usual_length(self, texts: Sequence[str]) -> int:
        """Tokens that 99 of 100 texts do not exceed."""
        lengths = sorted(len(self.encode_text(text)) for text in texts)
        return lengths[min(len(lengths) - 1, round(0.99 * len(lengths)))]

    def pieces(self, encoded: Encoded) -> list[tuple[str, bool]]:
        """The conversation as text pieces with the learned ones marked, for people to look at. Special tokens are shown."""
        pieces: list[tuple[str, bool]] = []
        begin = 0
        for i in range(1, len(encoded.ids) + 1):
            if i == len(encoded.ids) or encoded.learned[i] != encoded.learned[begin]:
                text = self.tokenizer.decode(
                    list(encoded.ids[begin:i]), skip_special_tokens=False, clean_up_tokenization_spaces=False
                )
                pieces.append((str(text), encoded.learned[begin]))
                begin = i
        return pieces


def open_chat(base: BaseFolder) -> Chat:
    """The chat format of a base. ModelError if it has no template, or one that cannot be used."""
    tokenizer = load_tokenizer(base)
    if not tokenizer.chat_template:
        raise ModelError(
            "the base has no chat template",
            value=str(base.path),
            expected="chat_template.jinja or one in tokenizer_config.json",
            hint="choose an instruct or chat model as base, or add its template to the folder",
        )
    if not tokenizer.is_fast:
        raise ModelError(
            "the base has no fast tokenizer",
            value=type(tokenizer).__name__,
            expected="a tokenizer.json",
            hint="convert the tokenizer",
        )
    largest, size = len(tokenizer), int(base.config.get("vocab_size", 0))
    if size and largest > size:
        raise ModelError(
            "the tokenizer knows more tokens than the model",
            value=f"{largest} tokens, {size} embeddings",
            expected="a tokenizer that belongs to these weights",
            hint="copy both from the same base",
        )
    ends = _declared_ends(base, tokenizer)
    turn_end = _turn_end(tokenizer)
    if turn_end is not None and turn_end not in ends:
        ends = (*ends, turn_end)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else 0)
    template = (
        tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else str(sorted(tokenizer.chat_template.items()))
    )
    fingerprint = digest(
        template, tokenizer.backend_tokenizer.to_str() if hasattr(tokenizer, "backend_tokenizer") else base.fingerprint
    )
    return Chat(tokenizer, ends, turn_end, int(pad), fingerprint)


def _declared_ends(base: BaseFolder, tokenizer: Any) -> tuple[int, ...]:
    import json

    ends = [tokenizer.eos_token_id]
    settings = base.path / "generation_config.json"
    if settings.is_file():
        try:
            declared = dict(json.loads(settings.read_bytes())).get("eos_token_id")
        except ValueError as error:
            raise ModelError(
                "the base's generation_config.json cannot be read",
                value=str(settings),
                expected=f"a JSON object ({error})",
                hint="copy the file again from the base, or delete it",
            ) from error
        ends += declared if isinstance(declared, list) else [declared]
    return tuple(dict.fromkeys(int(e) for e in ends if e is not None))


def _turn_end(tokenizer: Any) -> int | None:
    """The special token that the template writes right after an answer, or None if it writes none."""
    probe = "zebra"
    rows = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": probe}]
    try:
        text = str(tokenizer.apply_chat_template(rows, tokenize=False))
    except (TemplateError, TypeError) as error:
        raise ModelError(
            "the base's chat template cannot render a question and an answer",
            value=type(error).__name__,
            expected=f"a chat template for user and assistant turns ({error})",
            hint="choose an instruct or chat model as base",
        ) from error
    tail = text.rpartition(probe)[2] if probe in text else ""
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    return next((int(i) for i in tokenizer(tail, add_special_tokens=False)["input_ids"] if i in special), None)


@dataclass(frozen=True, slots=True)
class Audit:
    """What the labels of a dataset hold. The lists name example ids at fault."""

    num_examples: int
    num_learned: int
    num_cut: int
    cut_share: float
    without_end: tuple[str, ...]
    without_labels: tuple[str, ...]
    cut: tuple[str, ...]
    prompt_differs: tuple[str, ...]
    rewritten: tuple[str, ...]
    bos_counts: tuple[int, ...]


def audit(chat: Chat, examples: Sequence[Example], encoded: Sequence[Encoded]) -> Audit:
    """Count the faults that ruin a run in silence: cut answers, a missing end token, nothing learned, doubled BOS.

    `cut_share` is learned tokens lost by cutting over all learned tokens. `prompt_differs`: examples whose prompt, tokenised
    alone as generation will see it, is not how the training ids begin. `rewritten`: the template drops words of an answer.
    """
    learned = sum(e.num_learned for e in encoded)
    lost = sum(e.dropped for e in encoded)
    bos = chat.tokenizer.bos_token_id
    no_end, no_labels, cut, differs, rewritten, counts = [], [], [], [], [], set()
    for example, code in zip(examples, encoded, strict=True):
        if code.dropped:
            cut.append(example.id)
        if not code.num_learned:
            no_labels.append(example.id)
        last = max((i for i, mark in enumerate(code.learned) if mark), default=None)
        if last is None or code.ids[last] not in chat.end_ids:
            no_end.append(example.id)
        prompt = chat.encode_prompt(example.prompt)
        if tuple(prompt) != code.ids[: len(prompt)] and not code.dropped:
            differs.append(example.id)
        if chat.rewrites(example.messages):
            rewritten.append(example.id)
        if bos is not None:  # at the start only: some templates open every turn with this token
            counts.add(next((n for n, token in enumerate(code.ids) if token != bos), len(code.ids)))
    return Audit(
        len(examples),
        learned,
        lost,
        lost / max(1, lost + learned),
        tuple(no_end),
        tuple(no_labels),
        tuple(cut),
        tuple(differs),
        tuple(rewritten),
        tuple(sorted(counts)),
    )
