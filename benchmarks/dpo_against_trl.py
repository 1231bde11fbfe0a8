"""DPO's loss on fixed batches: Tunesmith's, TRL's, and the difference. Needs `pip install trl`.

Usage: python benchmarks/dpo_against_trl.py [--base apprentice] [--pairs 8] [--record]

Both get the same base under the same adapter with drawn weights (not zero, or every loss would be log 2), in float32 without
dropout, and the same pairs: the prompt as the chat template renders it, and each answer with its end token. TRL computes its
loss with its own trainer, tokenisation, padding and reference pass; nothing of Tunesmith takes part in that.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from typing import Any

import torch

from record import write_result
from tunesmith.core.records import Message, Preference
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import open_method

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


def adapted(base: Any) -> Any:
    """The base in float32 under an adapter whose update is not zero."""
    model = load_model(base, "float32")
    made, _ = attach(model, kind="lora", rank=8, alpha=16.0, dropout=0.0, modules=choose_modules(model, "all", "all"), seed=7)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def ours(model: Any, chat: Chat, rows: list[Preference], *, beta: float) -> float:
    """The mean loss of the batch, as a token tree."""
    method: Any = open_method("dpo", {"beta": beta})
    with packed(model) as lean, torch.no_grad():
        path = ExecutionPath(lean, "token trees", shares=True)
        units = method.prepare(rows, chat, max_tokens=1024)
        with model.disable_adapter():
            found = method.reference(path, units, lambda _: None)
        units = [replace(unit, reference=numbers) for unit, numbers in zip(units, found, strict=True)]
        return float(method.loss(path, path.batch(units))) / len(units)


def theirs(base: Any, chat: Chat, rows: list[Preference], *, beta: float) -> float:
    """The loss of TRL's DPOTrainer for the same batch: the adapter merged is the policy, the base is the reference."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    end = chat.tokenizer.convert_ids_to_tokens(chat.turn_end if chat.turn_end is not None else chat.end_ids[0])
    data = [
        {"prompt": chat.render(row.prompt, answer_next=True), "chosen": row.chosen + end, "rejected": row.rejected + end}
        for row in rows
    ]
    tokenizer = chat.tokenizer
    tokenizer.eos_token = end
    trainer = DPOTrainer(
        model=adapted(base).merge_and_unload(),
        ref_model=load_model(base, "float32"),
        args=DPOConfig(
            output_dir=tempfile.mkdtemp(),
            beta=beta,
            per_device_train_batch_size=len(rows),
            max_length=None,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_dropout=True,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.eval()
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, batch))


def main() -> None:
    """Compare at three values of beta; fails above 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="apprentice")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--record", action="store_true", help="write a dated result file")
    chosen = parser.parse_args()
    base = find_base(chosen.base)
    rows, found = pairs(chosen.pairs), []
    for beta in (0.1, 0.3, 1.0):
        chat, model = open_chat(base), adapted(base)
        mine, other = ours(model, chat, rows, beta=beta), theirs(base, chat, rows, beta=beta)
        found.append({"beta": beta, "pairs": len(rows), "ours": mine, "TRL": other, "difference": abs(mine - other)})
        print(found[-1])
    if chosen.record:
        work = {"base": base.name, "adapter": "LoRA rank 8 on all linear layers, drawn weights", "type": "float32"}
        write_result("dpo-against-trl", work, found)
    if any(row["difference"] > 1e-5 for row in found):
        raise SystemExit("the losses differ by more than 1e-5")


if __name__ == "__main__":
    main()
