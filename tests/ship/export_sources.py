"""What an export is made from, on the tiny base: a trained adapter, its merged folder, and training rows."""

from __future__ import annotations

from pathlib import Path

import torch

from fakes import examples
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.use import GREEDY_USE
from tunesmith.ship.format import ExportSource
from tunesmith.systems.system import GivesLogits, System

__all__ = ["far", "source_of"]


def source_of(base: BaseFolder, chat: Chat, adapter: Path, place: Path) -> ExportSource:
    """The source of an export, with its merged folder in `place`."""
    merge(base, adapter, place)
    return ExportSource(
        name="tiny",
        base=base,
        adapter=adapter,
        merged=find_base(str(place)),
        chat=chat,
        rows=[chat.encode(row.messages) for row in examples(12)],
        context=256,
        use=GREEDY_USE,
    )


def far(source: ExportSource, system: System) -> tuple[float, float]:
    """Mean KL from the merged model in float32, in nats per position, and the share of positions with the same first choice."""
    assert isinstance(system, GivesLogits)
    wanted = load_model(source.merged, "float32")
    kl, same, count = 0.0, 0, 0
    for row, given in zip(source.rows, system.logits(source.rows), strict=True):
        with torch.inference_mode():
            log_a = torch.log_softmax(wanted(input_ids=torch.tensor([row.ids])).logits[0].float(), -1)
        log_b = torch.log_softmax(given.float(), -1)
        kl += float((log_a.exp() * (log_a - log_b)).sum())
        same += int((log_a.argmax(-1) == log_b.argmax(-1)).sum())
        count += len(row.ids)
    return kl / count, same / count
