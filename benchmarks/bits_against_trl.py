"""Held-out bits per byte after the same training by Tunesmith and by TRL: same rows, steps, rate and seeds, on a real base.

    python benchmarks/bits_against_trl.py FOLDER_OF_POSTS --peer PYTHON_WITH_TRL --state FOLDER [--steps 40] [--record]

The data set is what Tunesmith builds from the posts. Both train LoRA of rank 16 (alpha 32, dropout 0.05) on all linear layers
in float32, batches of 8, at a constant rate, the rows as the same token ids; each draws its own order and first weights from
the seed. TRL runs with gradient checkpointing off, and otherwise as it comes. Both adapters are then opened by Tunesmith, which
measures bits per byte of the same test items. The interval is over documents, of the mean over the seeds.

`--state` keeps rows, adapters and figures, so that the benchmark can be stopped and continued.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from tunesmith.core.records import Example, read_jsonl
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base

TRAINERS = ("Tunesmith", "TRL")
_RANK, _ALPHA, _DROPOUT, _BATCH = 16, 32.0, 0.05, 8
_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_MOST_TOKENS = 1024
_ADAPTER = "adapter_model.safetensors"


def rows_of(state: Path, name: str) -> list[Example]:
    """The rows of a split, as they were built."""
    return list(read_jsonl(state / f"{name}.jsonl", Example))


def build(given: argparse.Namespace) -> None:
    """Build the dataset and keep its splits; one that is there already is kept."""
    from tunesmith.api import Project
    from tunesmith.pipeline.recipe_file import recipe_from

    if (given.state / "test.jsonl").exists():
        return
    wanted = ["mix.own_answers=false", f"build.passage_words={given.passage_words}"]
    recipe = recipe_from({"sources": [str(given.posts)], "base": given.base}, wanted)
    project = Project(recipe, given.state / "project")
    for name in ("train", "val", "test"):
        (given.state / f"{name}.jsonl").write_bytes((project.dataset.path / f"{name}.jsonl").read_bytes())


def train_ours(given: argparse.Namespace, seed: int, out: Path) -> None:
    """Through the trainer of the product."""
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
    from tunesmith.train.method import open_method
    from tunesmith.train.order import Place
    from tunesmith.train.run import train_adapter

    base = find_base(given.base)
    train = {"max_steps": given.steps, "batch_examples": _BATCH, "learning_rate": given.rate, "schedule": "constant"}
    train |= {"warmup": 0.0, "evaluate_every": 0, "patience": 0, "val_examples": 2, "seed": seed, "max_tokens": _MOST_TOKENS}
    train_adapter(
        base,
        open_chat(base),
        {"train": rows_of(given.state, "train"), "val": rows_of(given.state, "val")},
        objective=open_method("sft", {}),
        method=MethodConfig.model_validate({"rank": _RANK, "alpha": _ALPHA, "dropout": _DROPOUT}),
        train=TrainConfig.model_validate(train),
        precision="float32",
        place=Place(out.name, out.parent / f"{out.name}-work", out),
        reporter=SilentReporter(),
    )


def train_theirs(given: argparse.Namespace, seed: int, out: Path) -> None:
    """Through TRL's SFTTrainer."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, set_seed
    from trl import SFTConfig, SFTTrainer

    base = find_base(given.base)
    chat: Chat = open_chat(base)
    coded = [chat.encode(row.messages, max_tokens=_MOST_TOKENS) for row in rows_of(given.state, "train")]
    labels = [[i if mark else -100 for i, mark in zip(row.ids, row.learned, strict=True)] for row in coded]
    data = Dataset.from_list([{"input_ids": list(row.ids), "labels": own} for row, own in zip(coded, labels, strict=True)])
    set_seed(seed)  # the adapter's first weights
    lora = LoraConfig(r=_RANK, lora_alpha=_ALPHA, lora_dropout=_DROPOUT, target_modules=_LAYERS, task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(out.parent / f"{out.name}-work"),
            max_steps=given.steps,
            per_device_train_batch_size=_BATCH,
            learning_rate=given.rate,
            lr_scheduler_type="constant",
            warmup_steps=0,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            seed=seed,
        ),
        train_dataset=data,
        processing_class=chat.tokenizer,
        peft_config=lora,
    )
    trainer.train()
    trainer.save_model(str(out))


def bits_per_byte(given: argparse.Namespace, adapter: Path | None) -> dict[str, float]:
    """Bits per byte of each test item, by its id, under the base or under one adapter."""
    from tunesmith.eval.likelihood import encode_items, likelihoods
    from tunesmith.models.adapters import open_adapter
    from tunesmith.models.load import load_model

    base = find_base(given.base)
    chat, model = open_chat(base), load_model(base, "float32")
    model = model if adapter is None else open_adapter(model, adapter)
    items = test_items(given)
    coded = encode_items(chat, items, [item.prompt for item in items], context=base.context)
    found = likelihoods(model, chat, items, coded, batch_examples=8)
    return {one.item_id: one.nats / math.log(2) / one.num_bytes for one in found}


def test_items(given: argparse.Namespace) -> Any:
    """At most so many items of the test split, spread over its documents; the group of each names its document."""
    from tunesmith.eval.evaluate import choose_items
    from tunesmith.pipeline.recipe_file import recipe_from

    group = recipe_from({"sources": [str(given.posts)], "base": given.base}, []).split.group
    return choose_items(rows_of(given.state, "test"), given.items, group)


def one(given: argparse.Namespace, trainer: str, seed: int) -> None:
    """Train one adapter and keep it, in this process."""
    torch.set_num_threads(1)
    out, begin = given.state / f"{trainer}-{given.steps}-{seed}", time.process_time()
    (train_ours if trainer == "Tunesmith" else train_theirs)(given, seed, out)
    (given.state / f"{out.name}.json").write_text(json.dumps({"cpu": time.process_time() - begin}))


def table(given: argparse.Namespace, found: dict[str, dict[str, float]], cpu: dict[str, float]) -> list[dict[str, Any]]:
    """A line for each seed and one for their mean: bits per byte, and TRL's less ours with its interval over documents."""
    from tunesmith.eval.stats import paired

    items = test_items(given)

    def line(name: str, ours: list[float], theirs: list[float], seconds: list[float | str]) -> dict[str, Any]:
        gain = paired(ours, theirs, [item.group for item in items])  # theirs less ours: above zero, ours is better
        low, high = (gain.ci.low, gain.ci.high) if gain.ci else (math.nan, math.nan)
        made = {"seed": name, "base": statistics.fmean(found["base"].values()), "Tunesmith": gain.mean_a, "TRL": gain.mean_b}
        made |= {"TRL less Tunesmith": f"{gain.mean:+.4f} [{low:+.4f}, {high:+.4f}]", "items": gain.n}
        return made | {"documents": gain.num_groups, "CPU s": seconds[0], "TRL's CPU s": seconds[1]}

    both: dict[str, list[list[float]]] = {trainer: [] for trainer in TRAINERS}
    lines = []
    for seed in given.seeds:
        names = [f"{trainer}-{given.steps}-{seed}" for trainer in TRAINERS]
        for trainer, name in zip(TRAINERS, names, strict=True):
            both[trainer].append([found[name][item.id] for item in items])
        lines.append(line(str(seed), both["Tunesmith"][-1], both["TRL"][-1], [round(cpu[name]) for name in names]))
    means = {trainer: [statistics.fmean(column) for column in zip(*values, strict=True)] for trainer, values in both.items()}
    return [*lines, line(f"mean of {len(given.seeds)}", means["Tunesmith"], means["TRL"], ["", ""])]


def main() -> None:
    """Build, train by turns, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("posts", type=Path)
    parser.add_argument("--peer", default=sys.executable, help="Python that has TRL installed")
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--passage-words", type=int, default=40, help="as a draft has them")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    parser.add_argument("--one", nargs=2, metavar=("TRAINER", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    if given.one:
        one(given, given.one[0], int(given.one[1]))
        return
    build(given)
    file = given.state / f"bits-{given.steps}-{given.items}.json"
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    cpu: dict[str, float] = {}
    for name, seed in [("base", 0), *((trainer, seed) for seed in given.seeds for trainer in TRAINERS)]:
        key = name if name == "base" else f"{name}-{given.steps}-{seed}"
        place = given.state / key
        if name != "base" and not (given.state / f"{key}.json").exists():
            python = given.peer if name == "TRL" else sys.executable
            subprocess.run([python, __file__, *sys.argv[1:], "--one", name, str(seed)], check=True)
        if name != "base":
            cpu[key] = json.loads((given.state / f"{key}.json").read_text())["cpu"]
        if key not in found:
            adapter = None if name == "base" else next(place.rglob(_ADAPTER)).parent
            found[key] = bits_per_byte(given, adapter)
            file.write_text(json.dumps(found))
        print(key, f"{statistics.fmean(found[key].values()):.4f}", flush=True)
    lines = table(given, found, cpu)
    for row in lines:
        print(json.dumps(row))
    if given.record:
        from record import write_result

        work = {"base": given.base, "posts": given.posts.name, "steps": given.steps, "batch": _BATCH, "rate": given.rate}
        work |= {"adapter": f"LoRA rank {_RANK} on all linear layers", "passage words": given.passage_words}
        write_result("bits-against-trl", work, lines)


if __name__ == "__main__":
    main()
