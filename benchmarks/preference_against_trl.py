"""Losses and gradients of DPO and its relatives, KTO, ORPO and SimPO on fixed batches: Tunesmith's and TRL's.

Usage: python benchmarks/preference_against_trl.py [--base apprentice] [--pairs 8] [--record]        (needs `pip install trl`)

Both get the same base under the same adapter with drawn weights (not zero, or every DPO loss would be log 2), in float32
without dropout, and the same rows: the prompt as the chat template renders it, and each answer with its end token. TRL
tokenises, pads, computes its reference and the loss with its own trainers; nothing of Tunesmith takes part in that. Two losses
are put together from TRL's own parts, because none of its trainers has them: conservative DPO is `CPOTrainer.cpo_loss` over the
ratios to the reference, and ORPO leaves out the loss of the prompt, which TRL's trainer learns as well.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from against_trl import adapted, base_as_reference, compared, conclude, gradient
from tunesmith.core.labelled import labelled_of
from tunesmith.core.records import Message, Preference
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base
from tunesmith.models.packed.model import packed
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import Referenced, Signalled, open_method

_THINGS = ("kettle", "ladder", "needle", "candle", "button", "saddle", "barrel", "window")


def pairs(count: int) -> list[Preference]:
    """Short answers preferred to long ones, all different."""
    made = []
    for n in range(count):
        thing, about = f"{_THINGS[n % len(_THINGS)]} {n}", {"document_id": str(n), "group": str(n), "source": "made"}
        prompt = (Message(role="user", content=f"Tell me about the {thing}."),)
        rejected = f"The {thing} waits{', and waits' * (1 + n % 5)}, and it was a long day."
        made.append(Preference(id=str(n), prompt=prompt, chosen=f"The {thing} waits.", rejected=rejected, **about))
    return made


def ours(base: Any, rows: list[Preference], kind: str, settings: dict[str, Any]) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the batch as a token tree."""
    method: Any = open_method(kind, settings)
    model, chat = adapted(base), open_chat(base)
    examples = _one_answer_each(rows) if kind == "kto" else rows
    with packed(model) as lean:
        path = ExecutionPath(lean, "token trees", shares=True)
        units = method.prepare(examples, chat, max_tokens=1024)
        if isinstance(method, Referenced):
            with torch.no_grad(), model.disable_adapter():
                found = method.reference(path, units, lambda _: None)
            units = [replace(unit, reference=numbers) for unit, numbers in zip(units, found, strict=True)]
        if isinstance(method, Signalled):
            units = [replace(unit, signal=s) for unit, s in zip(units, method.signal(path, units), strict=True)]
        loss = method.loss(path, path.batch(units)) / len(units)
        return float(loss.detach()), gradient(model, loss)


def _one_answer_each(rows: list[Preference]) -> list[Any]:
    """The chosen answer of every second pair and the rejected one of the others, so that no prompt comes twice."""
    both = [labelled_of(row) for row in rows]
    return [answers[n % 2] for n, answers in enumerate(both)]


class Theirs:
    """Losses and gradients by TRL's trainers; `exact` computes them in float64."""

    def __init__(self, base: Any, chat: Chat, rows: list[Preference], *, exact: bool) -> None:
        self.model = adapted(base).double() if exact else adapted(base)
        self.tokenizer = chat.tokenizer
        end = chat.tokenizer.convert_ids_to_tokens(chat.turn_end if chat.turn_end is not None else chat.end_ids[0])
        self.tokenizer.eos_token = end
        self.end = end
        prompts = [chat.render(row.prompt, answer_next=True) for row in rows]
        self.rows = [{"prompt": p, "chosen": r.chosen, "rejected": r.rejected} for p, r in zip(prompts, rows, strict=True)]
        self.common = {
            "output_dir": tempfile.mkdtemp(),
            "per_device_train_batch_size": len(rows),
            "max_length": None,
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "disable_dropout": True,
        }

    def dpo(self, **settings: Any) -> tuple[float, torch.Tensor]:
        from trl import DPOConfig, DPOTrainer

        rows = [row | {"chosen": row["chosen"] + self.end, "rejected": row["rejected"] + self.end} for row in self.rows]
        return self._loss(DPOTrainer, DPOConfig(**self.common, **settings), rows)

    def kto(self, **settings: Any) -> tuple[float, torch.Tensor]:
        from trl import KTOConfig, KTOTrainer

        rows = [
            {"prompt": row["prompt"], "completion": row["rejected" if n % 2 else "chosen"] + self.end, "label": n % 2 == 0}
            for n, row in enumerate(self.rows)
        ]
        return self._loss(KTOTrainer, KTOConfig(**self.common, train_sampling_strategy="sequential", **settings), rows)

    def simpo(self, **settings: Any) -> tuple[float, torch.Tensor]:
        return self._loss(*self._cpo(loss_type="simpo", cpo_alpha=0.0, **settings))

    def conservative(self, **settings: Any) -> tuple[float, torch.Tensor]:
        trainer, batch = self._trainer(*self._cpo(loss_type="sigmoid", cpo_alpha=0.0, **settings))
        with torch.no_grad(), trainer.model.disable_adapter():
            base = trainer.concatenated_forward(trainer.model, batch)[:2]
        own = trainer.concatenated_forward(trainer.model, batch)[:2]
        losses, *_ = trainer.cpo_loss(own[0] - base[0], own[1] - base[1])
        return float(losses.mean().detach()), gradient(trainer.model, losses.mean())

    def orpo(self, **settings: Any) -> tuple[float, torch.Tensor]:
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        trainer, batch = self._trainer(ORPOTrainer, ORPOConfig(**self.common, **settings), self.rows)
        chosen, rejected, *_ = trainer.concatenated_forward(trainer.model, batch)
        kept = SimpleNamespace(beta=trainer.beta, accelerator=trainer.accelerator)
        ratio, *_ = ORPOTrainer.odds_ratio_loss(kept, chosen, rejected)
        loss = -chosen.mean() - ratio.mean()
        return float(loss.detach()), gradient(trainer.model, loss)

    def _cpo(self, **settings: Any) -> tuple[Any, Any, list[dict[str, str]]]:
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        return CPOTrainer, CPOConfig(**self.common, **settings), self.rows

    def _loss(self, trainer_class: Any, config: Any, rows: list[dict[str, Any]]) -> tuple[float, torch.Tensor]:
        trainer, batch = self._trainer(trainer_class, config, rows)
        loss = trainer.compute_loss(trainer.model, batch)
        return float(loss.detach()), gradient(trainer.model, loss)

    def _trainer(self, trainer_class: Any, config: Any, rows: list[dict[str, Any]]) -> tuple[Any, Any]:
        from datasets import Dataset

        data = Dataset.from_list(rows)
        trainer = trainer_class(model=self.model, args=config, train_dataset=data, processing_class=self.tokenizer)
        base_as_reference(trainer.model)
        trainer.model.train()
        return trainer, next(iter(trainer.get_train_dataloader()))


_CASES: list[tuple[str, str, dict[str, Any], Callable[[Theirs], tuple[float, torch.Tensor]]]] = [
    # name, method, our settings, TRL's loss
    *((f"DPO, beta {b}", "dpo", {"beta": b}, lambda t, b=b: t.dpo(beta=b)) for b in (0.1, 0.3, 1.0)),
    (
        "DPO, mean over tokens",
        "dpo",
        {"beta": 1.0, "per_token": True},
        lambda t: t.dpo(beta=1.0, loss_type=["sigmoid_norm"]),
    ),
    (
        "conservative DPO",
        "dpo",
        {"beta": 0.3, "label_smoothing": 0.1},
        lambda t: t.conservative(beta=0.3, label_smoothing=0.1),
    ),
    (
        "robust DPO",
        "dpo",
        {"beta": 0.3, "loss": "robust", "label_smoothing": 0.1},
        lambda t: t.dpo(beta=0.3, loss_type=["robust"], label_smoothing=0.1),
    ),
    ("IPO", "dpo", {"beta": 0.3, "loss": "ipo"}, lambda t: t.dpo(beta=0.3, loss_type=["ipo"])),
    ("KTO", "kto", {"beta": 0.3}, lambda t: t.kto(beta=0.3)),
    (
        "KTO, unequal weights",
        "kto",
        {"beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.5},
        lambda t: t.kto(beta=0.3, desirable_weight=1.0, undesirable_weight=1.5),
    ),
    ("ORPO", "orpo", {"weight": 0.2}, lambda t: t.orpo(beta=0.2)),
    ("SimPO", "simpo", {"beta": 2.0, "gamma": 1.0}, lambda t: t.simpo(beta=2.0, simpo_gamma=1.0)),
]


def main() -> None:
    """Compare all cases; fails above 1e-5, or for gradients above three times the rounding of TRL itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="apprentice")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--record", action="store_true", help="write a dated result file")
    chosen = parser.parse_args()
    base = find_base(chosen.base)
    rows, found = pairs(chosen.pairs), []
    for name, kind, settings, peer in _CASES:
        other, exact = (peer(Theirs(base, open_chat(base), rows, exact=exact)) for exact in (False, True))
        found.append(compared(name, ours(base, rows, kind, settings), other, exact))
    conclude("preference-against-trl", base.name, found, record=chosen.record)


if __name__ == "__main__":
    main()
