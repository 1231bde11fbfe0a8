"""Forms of one tiny tuned model with a planted fault each, and a server that shows only what servers show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from fakes import conversation
from tunesmith.core.artifacts import Store
from tunesmith.core.records import Message
from tunesmith.eval.parity_pair import compare_systems
from tunesmith.eval.parity_prompts import ParityPrompt
from tunesmith.eval.parity_result import ParityReport
from tunesmith.models.chat import Encoded
from tunesmith.models.generate import Completion, Request
from tunesmith.systems.comparable import Rendered
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.opening import OpenedSystem, Opening, open_system
from tunesmith.systems.system import TokenLogprobs

__all__ = ["PROMPTS", "Server", "as_server", "change_config", "change_weights", "compared", "copied", "opened"]

PROMPTS = tuple(
    ParityPrompt(id=f"p{n}", kind="test", messages=messages, reference=reference)
    for n, (messages, reference) in enumerate(
        [
            (conversation("Tell me about the kettle."), "The kettle waits, and I wait with it."),
            (conversation("It was a slow day, and the wind was in the west. " * 3), ""),
            (conversation("a"), ""),
            (conversation("One.", "Two.", "Three?", system="Be brief."), ""),
        ]
    )
)


@contextmanager
def opened(*references: str | Path, **how: Any) -> Iterator[list[OpenedSystem]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_system(str(one), Opening(store=Store(Path("nowhere")), **how))) for one in references]


def compared(
    a: str | Path | OpenedSystem, b: str | Path, *, b_as: Callable[[OpenedSystem], OpenedSystem] = lambda one: one, **how: Any
) -> ParityReport:
    """Both compared on a few short prompts; what is not open yet is opened, `b` as `how` says."""
    with ExitStack() as stack:
        one = a if isinstance(a, OpenedSystem) else stack.enter_context(opened(a))[0]
        other = stack.enter_context(opened(b, chat=one.chat, **how))[0]
        return compare_systems(one, b_as(other), PROMPTS, max_new_tokens=12)


def copied(folder: Path, out: Path) -> Path:
    shutil.copytree(folder, out)
    return out


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None], file: str = "model.safetensors") -> Path:
    tensors = load_file(folder / file)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / file, metadata={"format": "pt"})
    return folder


def change_config(folder: Path, name: str = "config.json", **changes: Any) -> Path:
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


@dataclass(frozen=True)
class Server:
    """A local system behind a wall: answers, prompts and the likeliest tokens come through, and no logits."""

    inner: LocalSystem

    name = "server"
    label = "a server"
    fingerprint = "server"

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
        return self.inner.answer(requests, on_done=on_done)

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None]) -> list[TokenLogprobs] | None:
        return None

    def rendered(self, prompts: Sequence[Sequence[Message]]) -> list[Rendered]:
        return self.inner.rendered(prompts)

    def top_tokens(
        self, rows: Sequence[Sequence[int]], begins: Sequence[int], count: int
    ) -> list[list[Mapping[int, float]]] | None:
        found: list[list[Mapping[int, float]]] = []
        coded = [Encoded(tuple(row), (False,) * len(row)) for row in rows]
        for row, begin, logits_TV in zip(rows, begins, self.inner.logits(coded), strict=True):
            places: list[Mapping[int, float]] = []
            for log_p_V in torch.log_softmax(logits_TV[begin - 1 : len(row) - 1], -1):
                top = log_p_V.topk(count)
                places.append(dict(zip(top.indices.tolist(), top.values.tolist(), strict=True)))
            found.append(places)
        return found


def as_server(side: OpenedSystem) -> OpenedSystem:
    assert isinstance(side.system, LocalSystem)
    return replace(side, system=Server(side.system), base=None, weights=None, engine="server")
