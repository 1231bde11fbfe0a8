"""The engine in this process: one copy of a base's weights, its adapters and itself in one continuous batch."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from tunesmith.core.errors import EngineError, ModelError, TunesmithError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat
from tunesmith.models.continuous.generator import Continuous, Order
from tunesmith.models.continuous.grammar import GrammarTokens, Start
from tunesmith.models.continuous.text import GrowingText
from tunesmith.models.continuous.thread import BatchThread
from tunesmith.models.generation.requests import Job, Sampling
from tunesmith.models.generation.sampling import seed_of
from tunesmith.models.token_bytes import ids_by_bytes
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, TextPlaces, Usage
from tunesmith.serve.engines.adapter_places import AdapterPlaces
from tunesmith.serve.engines.choice import Choice, Echo
from tunesmith.serve.engines.target import Target
from tunesmith.serve.engines.tool_use import ToolUse, compiled
from tunesmith.serve.errors import ApiError, as_api_error, bad_field

__all__ = ["Embedded"]

_HONOURS = frozenset(
    [
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "n",
        "seed",
        "stop",
        "logprobs",
        "top_logprobs",
        "response_format",
        "echo",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
    ]
)
_INLINE_CHARS = 20_000  # prompts above this are encoded in a thread, so that others do not wait


class Embedded:
    """The engine. `targets` by name. `context`: tokens of prompt and answer together. `base`: fingerprint of the weights."""

    name = "transformers"
    honours = _HONOURS

    def __init__(
        self, batch: Continuous, targets: dict[str, Target], *, base: str, context: int, most_adapters: int = 16
    ) -> None:
        self.batch = batch
        capacity, model = batch.capacity, batch.forward.model
        fitting = capacity.memory_bytes // batch.bytes_per_token
        self.context = min(context, self.batch.longest or context, max(256, 1 << (fitting.bit_length() - 1)))
        self.targets, self.at_once, self._base = targets, capacity.rows, base
        self._thread = BatchThread(self.batch, self._failed)
        self._places = AdapterPlaces(most_adapters, self._load, self._unload)
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._grammars: dict[int, GrammarTokens] = {}
        self._spelled: dict[int, Callable[[int], tuple[str, bytes]]] = {}
        self._sends: dict[int, Callable[[Any], None]] = {}
        self._tools: dict[int, ToolUse] = {}

    # --- answers ------------------------------------------------------------------------------------------------------

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        """See `serve.engine.Engine`."""
        model = self.targets[target]
        prompts = await self._prompts(model, ask)
        rooms = [self._room(ask, len(ids)) for ids in prompts]
        echoes = await self._echoes(model.chat, ask, prompts)
        grammar = await self._grammar(model, ask)
        async with AsyncExitStack() as held:
            if model.key:
                await held.enter_async_context(self._places.use(model.key))
            inbox: asyncio.Queue[Any] = asyncio.Queue()
            orders = self._orders(model, ask, prompts, rooms, echoes, grammar, inbox)
            held.callback(self._give_up, orders)
            for order in orders:
                self._thread.submit(order)
            open_choices = len(orders)
            while open_choices:
                item = await inbox.get()
                if isinstance(item, BaseException):
                    raise _failure(item)
                open_choices -= item.finish is not None
                yield item
            yield Usage(
                sum(len(ids) for ids in prompts),
                sum(len(order.tokens) for order in orders),
                sum(orders[at].cached for at in range(0, len(orders), ask.n)),
                sum(order.drafts for order in orders),
                sum(order.drafted for order in orders),
                sum(order.accepted for order in orders),
            )

    def _orders(
        self,
        model: Target,
        ask: Ask,
        prompts: Sequence[tuple[int, ...]],
        rooms: Sequence[int],
        echoes: Sequence[Echo],
        grammar: Start | None,
        inbox: asyncio.Queue[Any],
    ) -> list[Order]:
        loop = asyncio.get_running_loop()
        send = partial(self._thread.deliver, loop, inbox.put_nowait)
        sampling, orders, use = self._sampling(model, ask), [], self._tool_use(model.chat)
        for number, (ids, room) in enumerate(zip(prompts, rooms, strict=True)):
            for sample in range(ask.n):
                state = grammar() if grammar is not None else None
                choice = Choice(
                    index=number * ask.n + sample,
                    chat=model.chat,
                    text=GrowingText(model.chat, ask.stop, kept=() if ask.tools is None else use.controls.values()),
                    room=room,
                    send=send,
                    spell=self._speller(model.chat),
                    grammar=state,
                    reader=None if ask.tools is None else use.reader(ask.tools),
                    echo=echoes[number] if echoes else None,
                    scores=ask.logprobs is not None,
                )
                order = Order(
                    Job(ids, room, sampling, seed_of(sampling, ids, sample)),
                    model.key,
                    choice.took,
                    salt=model.key,
                    logprobs=ask.logprobs,
                    allow=None if state is None else state.allow,
                    heard=choice.heard if ask.echo and (ask.logprobs is not None or not room) else None,
                )
                self._sends[id(order)] = send
                orders.append(order)
        return orders

    def _give_up(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._sends.pop(id(order), None)
            self._thread.drop(order)

    def _failed(self, order: Order, error: BaseException) -> None:
        send = self._sends.get(id(order))
        if send is not None:
            send(error)

    # --- what a request means for this model ---------------------------------------------------------------------------

    async def _prompts(self, model: Target, ask: Ask) -> list[tuple[int, ...]]:
        size = sum(len(m.content) for m in ask.messages) + sum(map(len, ask.prompts))
        if ask.tools is not None or ask.turns:
            return [await asyncio.to_thread(self._tool_prompt, model.chat, ask)]
        encode = partial(_encode, model.chat, ask, self._vocabulary)
        return await asyncio.to_thread(encode) if size > _INLINE_CHARS else encode()

    async def _echoes(self, chat: Chat, ask: Ask, prompts: Sequence[tuple[int, ...]]) -> list[Echo]:
        if not ask.echo:
            return []
        return await asyncio.to_thread(lambda: list(map(partial(self._echo, chat), ask.prompts, prompts)))

    def _echo(self, chat: Chat, prompt: str | tuple[int, ...], ids: Sequence[int]) -> Echo:
        """The prompt as the beginning of an answer: as it was given, with the place in it where each token begins."""
        if isinstance(prompt, str):
            spans = chat.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
            return Echo(prompt, [begin for begin, _ in spans])
        raw, places = [self._speller(chat)(id)[1] for id in ids], TextPlaces()
        return Echo(b"".join(raw).decode("utf-8", errors="replace"), list(map(places.begin, raw)))

    def _tool_use(self, chat: Chat) -> ToolUse:
        return self._tools.setdefault(id(chat), ToolUse(chat))

    def _tool_prompt(self, chat: Chat, ask: Ask) -> tuple[int, ...]:
        use = self._tool_use(chat)
        use.check(ask)
        return use.prompt(ask)

    def _room(self, ask: Ask, size: int) -> int:
        param = "messages" if ask.kind == "chat" else "prompt"
        wanted = 1 if ask.max_tokens is None else ask.max_tokens
        if size + wanted > self.context:
            message = f"this model's context is {self.context} tokens: the prompt has {size}, and {wanted} more were asked for"
            raise bad_field("max_tokens" if size < self.context else param, message, code="context_length_exceeded")
        return ask.max_tokens if ask.max_tokens is not None else self.context - size

    def _sampling(self, model: Target, ask: Ask) -> Sampling:
        named = ("temperature", "top_p", "min_p", "repetition_penalty")
        given: dict[str, Any] = {name: value for name in named if (value := getattr(ask, name)) is not None}
        if ask.top_k is not None:
            given["top_k"] = max(0, ask.top_k)
        return replace(model.sampling, **given, seed=secrets.randbits(63) if ask.seed is None else ask.seed)

    async def _grammar(self, model: Target, ask: Ask) -> Start | None:
        tools = ask.tools
        if ask.schema is None and (tools is None or not (tools.must or any(one.strict for one in tools.callable))):
            return None
        return await asyncio.to_thread(self._compile, model.chat, ask)

    def _compile(self, chat: Chat, ask: Ask) -> Start | None:
        if id(chat) not in self._grammars:
            self._grammars[id(chat)] = GrammarTokens(chat.tokenizer, self._vocabulary, chat.end_ids)
        tokens = self._grammars[id(chat)]
        if ask.tools is not None:
            use, held = self._tool_use(chat), ask.tools.must or ask.schema is not None
            use.check_strict(tokens, ask.tools)
            return use.grammar(tokens, ask.tools, None if ask.tools.must else ask.schema) if held else None
        assert ask.schema is not None
        return compiled(tokens, ask.schema, "response_format")

    def _speller(self, chat: Chat) -> Callable[[int], tuple[str, bytes]]:
        if id(chat) not in self._spelled:
            known: dict[int, bytes] = {}

            def spell(id: int) -> tuple[str, bytes]:
                if not known:
                    known.update({number: raw for raw, number in ids_by_bytes(chat.tokenizer).items()})
                raw = known.get(id)
                raw = str(chat.tokenizer.decode([id])).encode() if raw is None else raw
                return raw.decode("utf-8", errors="replace"), raw

            self._spelled[id(chat)] = spell
        return self._spelled[id(chat)]

    # --- adapters -------------------------------------------------------------------------------------------------------

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        """Have an adapter in memory. ApiError if its files have changed or do not fit, ModelError if pins leave no place."""
        key = self.targets[target].key
        if not key:
            return
        async with self._places.use(key, pin=pin):
            pass
        others = {one.key for one in self.targets.values() if one.key} - self._places.pinned
        if others and len(self._places.pinned) == self._places.most:
            raise ModelError(
                "the pinned adapters leave no place for the others",
                value=f"{len(self._places.pinned)} pinned, {len(others)} others",
                expected=f"fewer pinned than serve.max_adapters, which is {self._places.most}",
                hint=f"--max-adapters {self._places.most + 1}, or pin fewer",
            )

    async def _load(self, key: str) -> None:
        files = next(one.adapter for one in self.targets.values() if one.key == key)
        assert files is not None
        try:
            updates = await asyncio.to_thread(files.read, self._base)
            await asyncio.wrap_future(self._thread.call(lambda: self.batch.bank.put(key, updates)))
        except TunesmithError as error:
            raise as_api_error(error) from error

    async def _unload(self, key: str) -> None:
        await asyncio.wrap_future(self._thread.call(lambda: self.batch.bank.remove(key)))

    # --- the rest ---------------------------------------------------------------------------------------------------------

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...]:
        """By the function that encodes for training, evaluation and here."""
        return tuple(self.targets[target].chat.encode_prompt(messages))

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """The mean over a text's tokens of the last layer's output, at length 1; texts take turns with the batch's passes."""
        model = self.targets[target]
        rows = await asyncio.to_thread(lambda: [tuple(model.chat.tokenizer(text)["input_ids"]) for text in texts])
        for ids in rows:
            if not 0 < len(ids) <= self.context:
                message = f"this model's context is {self.context} tokens: a text has {len(ids)}"
                raise bad_field("input", message, code="context_length_exceeded")
        vectors = []
        async with AsyncExitStack() as held:
            if model.key:
                await held.enter_async_context(self._places.use(model.key))
            for ids in rows:
                vectors.append(await asyncio.wrap_future(self._thread.call(partial(self.batch.embed, ids, model.key))))
        return vectors, sum(map(len, rows))

    async def health(self) -> str:
        """Empty while the thread of the batch works."""
        return "" if self._thread.is_alive else "the thread that runs the model has ended"

    async def close(self) -> None:
        """End the thread."""
        await asyncio.to_thread(self._thread.close)


def _encode(chat: Chat, ask: Ask, vocabulary: int) -> list[tuple[int, ...]]:
    if ask.kind == "chat":
        try:
            return [tuple(chat.encode_prompt(ask.messages))]
        except TunesmithError as error:
            raise bad_field(
                "messages", f"the model's chat template refuses this conversation: {error.problems[0].expected}"
            ) from error
    rows = []
    for prompt in ask.prompts:
        ids = tuple(chat.tokenizer(prompt)["input_ids"]) if isinstance(prompt, str) else prompt
        if not ids or not all(0 <= token < vocabulary for token in ids):
            raise bad_field("prompt", f"token ids must be from 0 to {vocabulary - 1}")
        rows.append(ids)
    return rows


def _failure(error: BaseException) -> Exception:
    if isinstance(error, ApiError):
        return error
    return EngineError(
        "the model failed while it answered", value=type(error).__name__, expected="an answer", hint="see the log of the server"
    )
