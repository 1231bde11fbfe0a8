"""A model's chat template as Ollama's, proved: both must give the same token ids for a set of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat
from tunesmith.ship.ollama.go_render import render_go
from tunesmith.ship.ollama.go_write import Around, find_around, opened, refused, write_go
from tunesmith.ship.ollama.modelfile import read_modelfile, write_modelfile

__all__ = ["GoTemplate", "adds_bos", "conversations", "go_template", "prompt_ids", "prove"]

_SYSTEM = 'Answer in one sentence; name {{ .System }} and """three marks""" as they are.'
_TEXTS = (
    "What is a hinge?",
    "A patient thing.",
    "Привет, 世界! नमस्ते. שלום 🙂👩‍🔧",
    'def f(x):\n    return {"a": [x, {}]}  # {{ .Content }} {% if x %}',
    "1,024.5 = 2^10 + ½\n\n- one\n- two",
    "And a screw?\n\tHonest, on the whole.",
    "He said \"no\" and 'yes' \\n `code`.",
    "- -- … “quoted” – dashes\u00a0and a no-break space",
    "One more.",
)
_PADDED = "  A question with space around it.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoTemplate:
    """A proved template. `adds_bos`: Ollama itself puts the beginning-of-text token in front, so the template leaves it out.

    `num_checked`: conversations with equal ids. `notes`: what differs in cases that were not required to be equal.
    """

    text: str
    adds_bos: bool
    folded: bool
    num_checked: int
    notes: tuple[str, ...]


def adds_bos(chat: Chat) -> bool:
    """Whether the tokenizer puts a beginning-of-text token in front of a text by itself, as a GGUF made from it then does."""
    tokenizer = chat.tokenizer
    ids = tokenizer("a", add_special_tokens=True)["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def go_template(chat: Chat, *, bos: bool | None = None) -> GoTemplate:
    """The Go template of a chat format. `bos`: `tokenizer.ggml.add_bos_token` of the GGUF; None: as the tokenizer has it.

    ModelError with the reason if there is none that gives the same ids.
    """
    bos = adds_bos(chat) if bos is None else bos
    around = find_around(chat)
    text = write_go(_without_bos(around, chat) if bos else around)
    checked = prove(chat, text, folded=around.folded, bos=bos)
    return GoTemplate(text=text, adds_bos=bos, folded=around.folded, num_checked=checked, notes=_notes(chat, text, around, bos))


def prove(chat: Chat, text: str, *, folded: bool, bos: bool) -> int:
    """Require the same token ids by the Go template `text`, read back from a Modelfile, as by the chat's own; how many times.

    ModelError with the first conversation that has others.
    """
    held = read_modelfile(write_modelfile([("TEMPLATE", text)]))[0][1]
    asked = conversations()
    for messages in asked:
        wanted = chat.encode_prompt(opened(chat, messages, folded=folded))
        got = prompt_ids(chat, render_go(held, messages), bos=bos)
        if got != wanted:
            raise _unequal(chat, messages, wanted, got)
    return len(asked)


def conversations() -> list[list[Message]]:
    """The conversations of the proof: one to five questions, with and without a system text, over scripts, code and marks."""
    made: list[list[Message]] = []
    for questions in range(1, 6):
        for begin in (0, 3, 6):
            turns = [
                Message(role="assistant" if i % 2 else "user", content=_TEXTS[(begin + i) % len(_TEXTS)])
                for i in range(2 * questions - 1)
            ]
            made += [turns, [Message(role="system", content=_SYSTEM), *turns]]
    return made


def prompt_ids(chat: Chat, text: str, *, bos: bool) -> list[int]:
    """Token ids of a prompt as llama.cpp, and so Ollama, reads it."""
    ids = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [chat.tokenizer.bos_token_id, *ids] if bos else list(ids)


def _without_bos(around: Around, chat: Chat) -> Around:
    token = str(chat.tokenizer.bos_token)
    return replace(around, before={key: text.removeprefix(token) if key[1] else text for key, text in around.before.items()})


def _unequal(chat: Chat, messages: Sequence[Message], wanted: list[int], got: list[int]) -> ModelError:
    at = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), min(len(wanted), len(got)))
    token = chat.tokenizer.bos_token_id
    if token is not None and got[:1] == [token] != wanted[:1]:
        return refused(
            "Ollama puts the beginning-of-text token in front and the model's own template does not",
            "a GGUF whose tokenizer.ggml.add_bos_token is what the template was trained with",
        )
    shown: list[Any] = [chat.tokenizer.decode(ids[max(0, at - 3) : at + 5]) for ids in (wanted, got)]
    roles = ", ".join(m.role for m in messages)
    return refused(
        f"{shown[1]!r} at token {at} of a prompt of {roles}", f"the token ids of the model's own template: {shown[0]!r}"
    )


def _notes(chat: Chat, text: str, around: Around, bos: bool) -> tuple[str, ...]:
    """What is not equal outside the proof."""
    notes: list[str] = []
    if around.folded:
        notes.append("The model's template has no place for a system text: it opens the first question.")
    padded = [Message(role="user", content=_PADDED)]
    if prompt_ids(chat, render_go(text, padded), bos=bos) != chat.encode_prompt(padded):
        notes.append("The model's template trims white space around messages; Ollama does not: send messages without it.")
    if chat.template.controls:
        notes.append("Ollama reads control tokens written in a message as control tokens; Tunesmith reads them as letters.")
    notes.append("Tools, images and thinking are not in the template.")
    return tuple(notes)
