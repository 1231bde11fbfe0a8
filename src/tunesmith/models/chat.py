"""The base's own chat format: messages to token ids, with the tokens that are learned marked.

One function encodes for training, evaluation and serving alike, so the three cannot differ: an answer is learned right after
the prompt by which it is asked for in use. A template in which it cannot be found is an error, never a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message, canonical_json, digest
from tunesmith.models.answers import Answer, Frame, find_frame, write_answer
from tunesmith.models.load import BaseFolder, load_tokenizer
from tunesmith.models.template import PRIVATE, PROBE, ChatTemplate, Scalar

__all__ = ["Chat", "Encoded", "open_chat"]

_Offsets = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a whole conversation and, of equal length, whether each is learned. `dropped`: target tokens cut off."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    dropped: int = 0

    @property
    def num_learned(self) -> int:
        return sum(self.learned)


@dataclass(slots=True)
class _Row:
    """A row being made: its text in tokens, the characters that are learned, and the turns of the conversation they are."""

    text: str
    ids: list[int]
    offsets: _Offsets
    spans: list[tuple[int, int]]
    turns: list[int]


@dataclass(frozen=True)
class Chat:
    """A tokenizer with its chat template and the options in effect.

    `end_ids`: tokens that end an answer; `turn_end` is the one that the template writes, with the rest of its `frame`.
    """

    tokenizer: Any
    end_ids: tuple[int, ...]
    turn_end: int | None
    pad_id: int
    fingerprint: str
    template: ChatTemplate
    frame: Frame

    @property
    def options(self) -> dict[str, Scalar]:
        """The template's options in effect, by the names of the recipe: empty for a template without any."""
        return dict(self.template.options)

    @property
    def described(self) -> tuple[str, str]:
        """The options in effect, and the end of every prompt, for people to read."""
        question = Message(role="user", content=PROBE)
        shown = (f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in self.options.items())
        return ", ".join(shown), self.render([question], answer_next=True).rpartition(PROBE)[2]

    def render(self, messages: Sequence[Message], *, answer_next: bool = False) -> str:
        """The template's text of the conversation; with `answer_next`, up to the start of the assistant's answer."""
        return self.template.render(messages, answer_next=answer_next)

    def _tokens(self, text: str) -> tuple[list[int], _Offsets]:
        """Ids of a rendered text and the characters that each covers; stand-ins become the plain letters of their token."""
        spelled = {stand_in: control for control, stand_in in self.template.controls.items()}
        ids: list[int] = []
        offsets: _Offsets = []
        begin = 0
        for piece in re.split(f"([{chr(PRIVATE)}-{chr(PRIVATE + len(spelled))}])", text):
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
        """The conversation under a further system text, which opens the first user turn where no system role keeps it.

        Some templates have no such role; others (Mistral's) write it only while the conversation ends with a question.
        """
        own = "".join(m.content + "\n\n" for m in messages if m.role == "system")
        rest = [m for m in messages if m.role != "system"]
        led = (Message(role="system", content=own + text), *rest)
        if self._keeps_system(led):
            return led
        first = Message(role=rest[0].role, content=f"{own}{text}\n\n{rest[0].content}")
        return (first, *rest[1:])

    def _keeps_system(self, led: Sequence[Message]) -> bool:
        """Whether the prompt contains the system text, before and after the answer is written."""
        told = self.template.masked(led[0].content).strip()
        try:
            asked = self.render(led, answer_next=True)
            answered = self.render([*led, Message(role="assistant", content=PROBE)])
        except ModelError:
            return False
        return told in asked and told in answered

    def tokens(self, masked: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of a masked text alone, and the characters of it that each covers."""
        return self._tokens(masked)

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a text alone, as in a message: control tokens in it are letters."""
        return self._tokens(self.template.masked(text))[0]

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to the start of the assistant's answer: the input of generation."""
        return self._tokens(self.render(messages, answer_next=True))[0]

    def encode_turns(self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None) -> list[int]:
        """The same of a conversation with tools (`ChatTemplate.render_turns`)."""
        return self._tokens(self.template.render_turns(turns, tools, answer_next=True))[0]

    def rows(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> tuple[Encoded, ...]:
        """The rows by which every answer of a conversation is learned, its end token included, each after its own prompt.

        One row where the template writes an earlier answer as it was learned. Templates that write it otherwise once the
        conversation goes on (without its thinking block, say) take a further row. Cut at `max_tokens` from the right, counted.
        """
        return tuple(self._cut(row.ids, self._learned(row), max_tokens) for row in self._rows(messages))

    def turns(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> tuple[tuple[int, ...], ...]:
        """Of each token of each of `rows`, the number of the message by which it is learned; −1 where it is not."""
        found = []
        for row in self._rows(messages):
            turn_T = [-1] * len(row.ids)
            for span, turn in zip(row.spans, row.turns, strict=True):
                for place, learned in enumerate(self._learned(replace(row, spans=[span]))):
                    turn_T[place] = turn if learned else turn_T[place]
            found.append(tuple(turn_T[:max_tokens]))
        return tuple(found)

    def _rows(self, messages: Sequence[Message]) -> list[_Row]:
        made: list[_Row] = []
        for turn in range(len(messages) - 1, -1, -1):
            if messages[turn].role != "assistant":
                continue
            answer = write_answer(self.template, messages[: turn + 1], self.frame)
            prompt, _ = self._tokens(answer.text[: answer.begin])
            learned = answer.text[: answer.stop]
            host = next((r for r in made if r.text.startswith(learned) and r.ids[: len(prompt)] == prompt), None)
            if host is None:
                ids, offsets = self._after(prompt, answer)
                host = _Row(answer.text, ids, offsets, [], [])
                made.append(host)
            host.spans.append((answer.begin, answer.stop))
            host.turns.append(turn)
        if not made:
            whole = self.render(messages)
            ids, offsets = self._tokens(whole)
            made.append(_Row(whole, ids, offsets, [], []))
        return made[::-1]

    def answer_row(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Encoded:
        """The row of the last answer, in which that answer alone is learned, its end token included. Cut as in `rows`."""
        row = self.rows(messages)[-1]
        begin = len(self.encode_prompt(messages[:-1]))
        marks = [mark and place >= begin for place, mark in enumerate(row.learned)]
        return self._cut(row.ids, marks, max_tokens)

    def encode(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Encoded:
        """The one row of a conversation. ModelError if it takes several: see `rows`."""
        made = self.rows(messages, max_tokens=max_tokens)
        if len(made) > 1:
            raise ModelError(
                "the conversation does not fit into one row",
                value=f"{len(made)} rows: the chat template rewrites earlier answers, so they differ from what is trained",
                expected="a conversation whose answers can be learned in one row",
                hint="keep the last question and its answer alone",
            )
        return made[0]

    def _after(self, prompt: list[int], answer: Answer) -> tuple[list[int], _Offsets]:
        """Ids and offsets of an answer's text, which begin with those of its prompt as generation is given it."""
        ids, offsets = self._tokens(answer.text)
        if ids[: len(prompt)] == prompt:
            return ids, offsets
        rest, places = self._tokens(answer.text[answer.begin :])  # a token would lie across the border
        _, before = self._tokens(answer.text[: answer.begin])
        return [*prompt, *rest], [*before, *((answer.begin + low, answer.begin + high) for low, high in places)]

    def _learned(self, row: _Row) -> list[bool]:
        """Which tokens lie in the learned characters. What a template writes behind an end token there is not learned."""
        marks, ended = [], False
        for token, (start, stop) in zip(row.ids, row.offsets, strict=True):
            # A token of no width is white space that the tokenizer trims off; at `low` it ends the header, not the answer.
            inside = any(low <= start and low < stop <= high for low, high in row.spans)
            ended = ended and inside
            marks.append(inside and not ended)
            ended = ended or (inside and token in self.end_ids)
        return marks

    @staticmethod
    def _cut(ids: Sequence[int], learned: Sequence[bool], max_tokens: int | None) -> Encoded:
        if max_tokens is None or len(ids) <= max_tokens:
            return Encoded(tuple(ids), tuple(learned))
        return Encoded(tuple(ids[:max_tokens]), tuple(learned[:max_tokens]), sum(learned[max_tokens:]))

    def encode_answer(self, messages: Sequence[Message]) -> Encoded:
        """The row of the last answer, of which only its words and its end token are marked.

        What the template itself writes into the turn (an empty thinking block, say) is nobody's words and is not marked; a
        token across the border that holds a part of the answer is. ModelError where the template rewrites the answer.
        """
        answer = write_answer(self.template, messages, self.frame)
        if answer.words is None:
            raise ModelError(
                "the chat template rewrites the text of an answer",
                value=messages[-1].content[:120],
                expected="a template that writes an answer as it is",
                hint="take the tags of the template (</think>, say) out of this text, or choose another base",
            )
        low, high = answer.words
        prompt, _ = self._tokens(answer.text[: answer.begin])
        ids, offsets = self._after(prompt, answer)
        marks = [
            (start < high and stop > low) if start < stop else low < start <= high  # trimmed white space stands at its own end
            for start, stop in offsets
        ]
        learned = self._learned(_Row(answer.text, ids, offsets, [(answer.begin, answer.stop)], []))
        last = max((i for i, mark in enumerate(learned) if mark), default=None)
        if last is not None and ids[last] in self.end_ids:
            marks[last] = True
        return Encoded(tuple(ids), tuple(marks))

    def keeps_words(self, messages: Sequence[Message]) -> bool:
        """Whether the template writes the text of the last message as it is, white space around it aside."""
        try:
            return write_answer(self.template, messages, self.frame).words is not None
        except ModelError:
            return False

    def rewrites(self, messages: Sequence[Message]) -> bool:
        """Whether the template leaves out or changes words of an answer, white space aside: what it drops is never learned."""
        for turn, message in enumerate(messages):
            if message.role == "assistant":
                answer = write_answer(self.template, messages[: turn + 1], self.frame)
                written = "".join(answer.text[answer.begin :].split())
                if "".join(self.template.masked(message.content).split()) not in written:
                    return True
        return False

    @cached_property
    def _opening(self) -> list[int]:
        return self._tokens(self.frame.opening)[0]

    def control_ids(self) -> frozenset[int]:
        """Tokens that are never written as text: the end tokens, and all that the tokenizer declares as special."""
        special = {token for token, about in self.tokenizer.added_tokens_decoder.items() if about.special}
        return frozenset(self.end_ids) | special

    def words(self, ids: Sequence[int]) -> list[int]:
        """Generated ids of an answer without what the template has a model write before its words (the name of a channel, say).

        Nothing while they may still become that, and all of them where the model wrote something else.
        """
        most = min(len(ids), len(self._opening))
        return list(ids[most:]) if list(ids[:most]) == self._opening[:most] else list(ids)

    def decode(self, ids: Sequence[int], *, kept: Collection[int] = ()) -> str:
        """Text of generated ids without special tokens, but for those `kept`."""
        if kept:
            shown = [token for token in ids if token in kept or token not in self.control_ids()]
            return str(self.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def usual_length(self, texts: Sequence[str]) -> int:
        """Tokens that 99 of 100 texts do not exceed; 0 without any."""
        if not texts:
            return 0
        lengths = sorted(len(self.encode_text(text)) for text in texts)
        return lengths[min(len(lengths) - 1, round(0.99 * len(lengths)))]

    def pieces(self, encoded: Encoded) -> list[tuple[str, bool]]:
        """The conversation as text pieces with the learned ones marked, for people to read. Special tokens are shown."""
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


def open_chat(base: BaseFolder, options: Mapping[str, Scalar | date] | None = None) -> Chat:
    """The chat format of a base under the `options` of its template that were set on purpose (see `TemplateConfig`).

    ModelError if it has no template, one that cannot be used, or one that does not read an option.
    """
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
    template = ChatTemplate(tokenizer, dict(options or {}))
    ends = _declared_ends(base, tokenizer)
    frame = find_frame(template, ends)
    if frame.end is not None and frame.end not in ends:
        ends = (*ends, frame.end)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else 0)
    return Chat(tokenizer, ends, frame.end, int(pad), _fingerprint(template, base), template, frame)


def _fingerprint(template: ChatTemplate, base: BaseFolder) -> str:
    """The hash of template, tokenizer and the options in effect, if the template reads any."""
    tokenizer = template.tokenizer
    written = tokenizer.chat_template
    text = written if isinstance(written, str) else str(sorted(written.items()))
    own = digest(text, tokenizer.backend_tokenizer.to_str() if hasattr(tokenizer, "backend_tokenizer") else base.fingerprint)
    return digest(own, canonical_json(template.options)) if template.options else own


def _declared_ends(base: BaseFolder, tokenizer: Any) -> tuple[int, ...]:
    """The tokenizer's end token and those of generation_config.json, or of config.json where that file is missing."""
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
    else:
        declared = base.config.get("eos_token_id")
    ends += declared if isinstance(declared, list) else [declared]
    return tuple(dict.fromkeys(int(e) for e in ends if e is not None))
