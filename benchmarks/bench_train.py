"""Supervised fine-tuning on the reference work: TRL at its defaults, TRL at its best settings here, and Tunesmith, in turn.

    python benchmarks/bench_train.py --peer PYTHON_WITH_TRL [--rounds 5] [--examples 128] [--state FILE]

Every run is a process of its own (so that peak memory is its own) and sees one epoch of the same examples, batch 4, LoRA
rank 16 on q, k, v and o, dropout 0; its first two steps warm up and do not count. `--state` keeps finished runs, so that the
benchmark can be stopped and gone on with. Rows by length come in each trainer's own grouped order.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "30000")  # the same for all: threads wait a little before they sleep

import torch

from reference_work import END, reference_examples, reference_model

BATCH, RANK, SKIPPED = 4, 16, 2
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]
TRL_MODES = {
    "TRL defaults": {"dtype": "float32"},
    "TRL fp32, by length": {"dtype": "float32", "by_length": True},
    "TRL bf16, by length": {"dtype": "bfloat16", "by_length": True},
}
OUR_MODES: dict[str, dict[str, Any]] = {  # in the type that Tunesmith would choose here, unless one is named
    "Tunesmith": {},
    "Tunesmith, fp32": {"dtype": "float32"},
    "Tunesmith, compiled": {"compile": True},
    "Tunesmith, top 8 layers, later epochs": {"layers": 8},
}
GROWTH_MODES: dict[str, dict[str, Any]] = {  # against "Tunesmith" on the same number of examples
    "Tunesmith, 10 times the examples": {"times": 10},
    "Tunesmith, 4 times the length": {"stretch": 4},
    "Tunesmith, 8 times the rank": {"rank": 8 * RANK},
}
EVAL_MODES: dict[str, dict[str, Any]] = {
    "TRL evaluate": {"dtype": "float32"},
    "TRL evaluate, bf16": {"dtype": "bfloat16"},
    "Tunesmith evaluate": {},
}
FLOPS_A_TOKEN = 2 * 2 * 106_168_320  # linear layers, forward and backward to the activations
FLOPS_A_PREDICTION = 2 * 2 * 49_152 * 576


def peak_gib() -> float:
    """Largest resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run_trl(mode: str, count: int) -> dict[str, float]:
    """One epoch through TRL's SFTTrainer, or a pass of its `evaluate`."""
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models
    from trl import SFTConfig, SFTTrainer

    how = (TRL_MODES | EVAL_MODES)[mode]
    rows = reference_examples(count)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "</s>": END}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")
    data = Dataset.from_list([{"input_ids": p + a, "labels": [-100] * len(p) + a} for p, a in rows])
    steps: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            steps.append(time.perf_counter())

    settings: dict[str, Any] = {"train_sampling_strategy": "group_by_length"} if how.get("by_length") else {}
    trainer = SFTTrainer(
        model=reference_model(getattr(torch, how["dtype"])),
        args=SFTConfig(
            output_dir=tempfile.mkdtemp(),
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-4,
            logging_steps=1000,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            seed=0,
            **settings,
        ),
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer,
        callbacks=[Clock()],
        peft_config=LoraConfig(r=RANK, lora_alpha=32, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM"),
    )
    if mode in EVAL_MODES:
        begin = time.perf_counter()
        trainer.evaluate()
        return {"seconds": time.perf_counter() - begin, "examples": count, "peak_gib": peak_gib()}
    trainer.train()
    end = time.perf_counter()
    return {"seconds": end - steps[SKIPPED], "examples": count - SKIPPED * BATCH, "peak_gib": peak_gib()}


def run_ours(mode: str, count: int, chosen: str) -> dict[str, Any]:
    """One epoch through Tunesmith's own loop, or a pass of its validation loss."""
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.models.adapters import attach
    from tunesmith.models.chat import Encoded
    from tunesmith.models.reach import choose_modules
    from tunesmith.train.batches import Batches, Sizes
    from tunesmith.train.checkpoint import Checkpoints
    from tunesmith.train.loop import FitSettings, fit
    from tunesmith.train.passes import Look, TrunkCache, look, passes
    from tunesmith.train.validation import Validation

    how = (OUR_MODES | GROWTH_MODES | EVAL_MODES)[mode]
    dtype = how.get("dtype") or chosen
    count *= how.get("times", 1)
    drawn = reference_examples(count, stretch=how.get("stretch", 1))
    rows = [Encoded((*p, *a), (False,) * len(p) + (True,) * len(a)) for p, a in drawn]
    model = reference_model(getattr(torch, dtype)).requires_grad_(False)
    layers = how.get("layers", "all")
    modules = choose_modules(model, TARGETS, layers)
    adapted, _ = attach(model, kind="lora", rank=how.get("rank", RANK), alpha=32.0, dropout=0.0, modules=modules, seed=0)
    place = Path(tempfile.mkdtemp())
    trunk = None if layers == "all" else TrunkCache(place / "trunk", modules, "reference")
    began: list[float] = []
    compiling, quiet = bool(how.get("compile")), SilentReporter()
    with passes(adapted, rows, rows[:4], pad_id=0, share=True, trunk=trunk, compile=compiling, reporter=quiet) as way:
        if mode in EVAL_MODES:
            begin = time.perf_counter()
            look(adapted, rows, way)
            return {"seconds": time.perf_counter() - begin, "examples": count, "peak_gib": peak_gib(), "type": dtype}
        batches = Batches(rows, sizes=Sizes(examples=BATCH), seed=0, most_tokens=16_384, lay_out=way.lay_out)

        class Timed:
            """The same batches; notes when each is asked for."""

            def at(self, index: int) -> Any:
                began.append(time.perf_counter())
                return batches.at(index)

            def shrink(self) -> bool:
                return batches.shrink()

        def validate() -> Look:
            began.append(time.perf_counter())
            return Look(1.0, 0.0)

        settings: dict[str, Any] = {"warmup": 0.0, "weight_decay": 0.0, "max_grad_norm": 1.0, "seed": 0, "patience": 0}
        settings |= {"num_steps": len(batches), "accumulate": 1, "learning_rate": 1e-4, "schedule": "constant"}
        settings |= {
            "evaluate_every": 0,
            "min_delta": 0.0,
            "best_by": "loss",
            "checkpoint_every": 10_000,
            "checkpoint_minutes": 0.0,
        }
        fit(
            adapted,
            Timed(),
            way.objective,
            settings=FitSettings(**settings),
            validation=Validation(1, lambda n, on_done: validate(), lambda on_done: []),
            checkpoints=Checkpoints(place, "bench"),
            reporter=SilentReporter(),
        )
    first = 6 if compiling else SKIPPED  # compiling goes on over the first lengths
    done = {"seconds": began[-1] - began[first], "examples": count - first * BATCH, "peak_gib": peak_gib()}
    return {**done, "tokens": sum(len(row.ids) for row in rows) / count, "type": dtype}


def matmul_peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a square product, best of several."""
    a, b, best = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype), float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begin)
    return 2 * 2048**3 / best / 1e9


def measured(mode: str, peer: str, count: int, state: Path | None, number: int, chosen: str) -> dict[str, Any]:
    """One run in a process of its own, or what an earlier call kept of it."""
    kept = json.loads(state.read_text()) if state and state.exists() else {}
    key = f"{mode}, {count} examples, run {number}"
    if key not in kept:
        python = peer if mode.startswith("TRL") else sys.executable
        command = [python, __file__, "--run", mode, "--examples", str(count), "--type", chosen]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        kept[key] = json.loads(done.stdout.strip().splitlines()[-1])
        if state:
            state.write_text(json.dumps(kept, indent=1))
    return dict(kept[key])


def main() -> None:
    """All modes, in turn, so often as asked; then the table."""
    from record import write_result
    from tunesmith.models.precision import choose_precision

    given = arguments()
    chosen = given.type or choose_precision(None, width=576, inner=1536, rank=RANK).name  # once, for all runs of ours
    modes = [m for m in (*TRL_MODES, *OUR_MODES, *GROWTH_MODES, *EVAL_MODES) if not given.only or m in given.only]
    runs: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
    beside = [mode for mode in modes if mode in TRL_MODES or mode == "Tunesmith"]
    others = [mode for mode in modes if mode not in beside]
    schedule = [(number, mode) for number in range(given.rounds) for mode in beside]
    schedule += [(n, mode) for n in range(given.other_rounds) for mode in others if n == 0 or mode not in GROWTH_MODES]
    for number, mode in schedule:
        count = 212 if mode in EVAL_MODES else given.examples
        runs[mode].append(measured(mode, given.peer, count, given.state, number, chosen))
        print(mode, runs[mode][-1], flush=True)
    rows = reference_examples(given.examples)
    tokens = sum(len(p) + len(a) for p, a in rows) / len(rows)
    learned = sum(len(a) for _, a in rows) / len(rows)
    flops = tokens * FLOPS_A_TOKEN + learned * FLOPS_A_PREDICTION
    peaks = {name: matmul_peak(getattr(torch, name)) for name in ("float32", "bfloat16")}
    table = []
    for mode in modes:
        every = [r["examples"] / r["seconds"] for r in runs[mode]]
        row: dict[str, Any] = {"run": mode, "rounds": len(every), "examples/s": statistics.median(every)}
        row |= {"least": min(every), "most": max(every), "tokens/s": "", "type": "", "share of its peak": ""}
        row["type"] = kind = (TRL_MODES | EVAL_MODES).get(mode, {}).get("dtype") or runs[mode][0]["type"]
        row["peak GiB"] = statistics.median(r["peak_gib"] for r in runs[mode])
        if mode not in EVAL_MODES:
            row["tokens/s"] = row["examples/s"] * runs[mode][0].get("tokens", tokens)
        if mode in TRL_MODES or (mode in OUR_MODES and "layers" not in OUR_MODES[mode]):
            row["share of its peak"] = row["examples/s"] * flops / 1e9 / peaks[kind]
        table.append(row)
    work = {"examples": given.examples, "batch": BATCH, "mean tokens": round(tokens, 1)}
    work |= {f"{name} matmul GFLOP/s": round(peak) for name, peak in peaks.items()} | {"GOMP_SPINCOUNT": 30000}
    write_result("train", work, table)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="Python that has TRL installed")
    parser.add_argument("--rounds", type=int, default=5, help="of training, TRL and Tunesmith in turn")
    parser.add_argument(
        "--other-rounds", type=int, default=5, help="of what comes after: upper layers, evaluation; growth runs once"
    )
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--type", choices=("float32", "bfloat16"), help="of our frozen weights; by default what is faster here")
    parser.add_argument("--run", help="one mode, in this process: prints a line of JSON")
    return parser.parse_args()


if __name__ == "__main__":
    wanted = arguments()
    if wanted.run:
        torch.set_num_threads(os.cpu_count() or 1)
        if wanted.run.startswith("TRL"):
            print(json.dumps(run_trl(wanted.run, wanted.examples)))
        else:
            print(json.dumps(run_ours(wanted.run, wanted.examples, wanted.type)))
    else:
        main()
