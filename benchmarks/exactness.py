"""Fifty steps of TRL with peft beside fifty of Tunesmith's engine: same tiny models, order, seeds, float32, dropout 0.

    python benchmarks/exactness.py --peer PYTHON_WITH_TRL

Writes a table of architectures: largest relative difference of the fifty losses, and of the final adapter (norm of the
difference over the norm).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

STEPS, BATCH, RATE = 50, 4, 1e-3
NAMES = (
    "Llama",
    "Llama, tied embeddings (SmolLM, SmolLM2)",
    "SmolLM3",
    "Mistral, sliding window",
    "Qwen2",
    "Qwen3",
    "Phi-3, fused projections",
    "Gemma 2, capped scores and logits",
    "Gemma 3, sliding and full layers",
)


def start(name: str) -> tuple[Any, list[Any]]:
    """The adapted model and the rows of fifty batches, the same on both sides."""
    from peft import LoraConfig, get_peft_model

    from architectures import PACKED, make, rows_alike

    torch.set_num_threads(1)
    model = make(PACKED[name])
    torch.manual_seed(0)
    leaves = sorted(
        {n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers." in n}
    )
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=leaves, task_type="CAUSAL_LM")
    return get_peft_model(model, config), rows_alike(STEPS * BATCH, seed=4)


def finish(model: Any, losses: list[float], out: Path) -> None:
    """Write losses and adapter for the comparison."""
    tensors = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    torch.save({"losses": losses, "adapter": tensors}, out)  # read back below, by this script alone


def run_trl(name: str, out: Path) -> None:
    """TRL's trainer over the rows in order."""
    import transformers
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from trl import SFTConfig, SFTTrainer

    model, rows = start(name)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "</s>": 2}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")
    data = [
        {"input_ids": list(r.ids), "labels": [i if m else -100 for i, m in zip(r.ids, r.learned, strict=True)]} for r in rows
    ]
    losses: list[float] = []

    class Log(transformers.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=tempfile.mkdtemp(),
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            warmup_steps=0,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            train_sampling_strategy="sequential",
            seed=0,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        callbacks=[Log()],
    ).train()
    finish(model, losses, out)


def run_ours(name: str, out: Path) -> None:
    """The engine over the same rows in the same order."""
    from tunesmith.models.packed.model import packed
    from tunesmith.train.execution import ExecutionPath
    from tunesmith.train.loop import _step
    from tunesmith.train.units import Unit

    model, rows = start(name)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    losses = []
    with packed(model) as lean:
        path = ExecutionPath(lean, "token trees")
        for step in range(STEPS):
            units = [Unit((row,), weight=sum(row.learned[1:])) for row in rows[step * BATCH : step * BATCH + BATCH]]
            loss, _ = _step(model, optimizer, path.nll, [path.batch(units)], rate=RATE, max_grad_norm=1.0, seed=step)
            losses.append(loss)
    finish(model, losses, out)


def main() -> None:
    """Both sides of every architecture, then the table."""
    from record import write_result

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--side", choices=["trl", "ours"])
    parser.add_argument("--name")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.side:
        (run_trl if given.side == "trl" else run_ours)(given.name, given.out)
        return
    table = []
    for name in NAMES:
        found = {}
        for side, python in (("trl", given.peer), ("ours", sys.executable)):
            out = Path(tempfile.mkdtemp()) / "side.pt"
            command = [python, __file__, "--side", side, "--name", name, "--out", str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            found[side] = torch.load(out, weights_only=True)
        a, b = found["trl"], found["ours"]
        losses = max(abs(x - y) / abs(x) for x, y in zip(a["losses"], b["losses"], strict=True))
        left, right = ({n.replace(".default", ""): t for n, t in side["adapter"].items()} for side in (a, b))
        gap = sum(float((left[n] - right[n]).square().sum()) for n in left) ** 0.5
        norm = sum(float(left[n].square().sum()) for n in left) ** 0.5
        table.append({"architecture": name, "losses": losses, "adapter": gap / norm})
        print(json.dumps(table[-1]), flush=True)
    write_result("exactness", {"steps": STEPS, "batch": BATCH, "rate": RATE, "type": "float32", "dropout": 0}, table)


if __name__ == "__main__":
    main()
