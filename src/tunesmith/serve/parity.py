"""Whether a served model reads prompts as its own files say (TRUST A1, A5): the same token ids, checked before it is served.

The served ids come the way of a request: from the JSON of its body through the engine. The others come from the tokenizer
files of the model itself, rendered and encoded by transformers in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.eval.parity_prompts import CONTROL, fixed_prompts
from tunesmith.models.chat import Chat
from tunesmith.serve.ask import Limits, read_chat
from tunesmith.serve.engine import Engine

__all__ = ["check_prompts", "own_folder", "own_ids"]

_ROOM = 512  # tokens of the long prompts
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def own_ids(folder: Path, chat: Chat) -> Callable[[Sequence[Message]], tuple[int, ...]]:
    """What transformers makes of a conversation with tokenizer and template of `folder`, under the options of `chat`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    own = tokenizer.chat_template
    same = own == chat.tokenizer.chat_template
    given: dict[str, Any] = {"chat_template": chat.template.text} if same else {}  # with its one date

    def ids(messages: Sequence[Message]) -> tuple[int, ...]:
        rows = [{"role": one.role, "content": one.content} for one in messages]
        found = tokenizer.apply_chat_template(
            rows, add_generation_prompt=True, tokenize=True, return_dict=False, **given, **chat.template.variables
        )
        return tuple(found)

    return ids


def own_folder(base: Path, adapter: Path | None) -> Path:
    """The folder whose tokenizer files are the model's own: the adapter's, if it brings some."""
    if adapter is not None and any((adapter / name).is_file() for name in _TOKENIZER_FILES):
        return adapter
    return base


async def check_prompts(
    engine: Engine, target: str, chat: Chat, wanted: Callable[[Sequence[Message]], tuple[int, ...]], *, name: str
) -> str:
    """What was found, in words. ModelError if a prompt is read otherwise; that model must not be served."""
    prompts = [
        prompt
        for prompt in fixed_prompts(lambda messages: len(chat.encode_prompt(messages)), _ROOM)
        if prompt.kind != CONTROL and _takes(chat, prompt.messages)
    ]
    if not prompts:
        return "not measured: the template takes none of the fixed prompts"
    for prompt in prompts:
        body = {"model": name, "messages": [{"role": one.role, "content": one.content} for one in prompt.messages]}
        found = await engine.prompt_ids(target, read_chat(body, Limits()).messages)
        if found is None:
            return f"not measured: {engine.name} does not tell the token ids of a prompt"
        own = wanted(prompt.messages)
        if found != own:
            raise _differs(name, engine.name, prompt.id, found, own)
    return f"{len(prompts)} of {len(prompts)} prompts have the same token ids"


def _takes(chat: Chat, messages: Sequence[Message]) -> bool:
    try:
        chat.render(messages, answer_next=True)
    except ModelError:
        return False
    return True


def _differs(name: str, engine: str, prompt: str, found: Sequence[int], own: Sequence[int]) -> ModelError:
    at = next((n for n, (a, b) in enumerate(zip(found, own, strict=False)) if a != b), min(len(found), len(own)))
    return ModelError(
        f"{name} is not served: {engine} reads its prompts otherwise than its own template and tokenizer say",
        value=f"prompt {prompt}, token {at}: {list(found[at : at + 4])}",
        expected=f"{list(own[at : at + 4])}, of {len(own)} token ids",
        hint="copy tokenizer and chat template from the folder that it was trained with; tunesmith parity shows the texts",
    )
