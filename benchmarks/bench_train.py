"""Supervised fine-tuning on the reference work: TRL at its defaults, TRL at its best settings here, and Tunesmith, in turn.

    python benchmarks/bench_train.py --peer PYTHON_WITH_TRL [--rounds 5] [--examples 128] [--state FILE]
    python benchmarks/bench_train.py --peer PYTHON_WITH_TRL --base FOLDER [--rounds 5] [--steps 8] [--state FILE]

Every run is a process of its own (so that peak memory is its own) and sees one epoch of the same examples, batch 4, LoRA
rank 16 on q, k, v and o, dropout 0; its first two steps warm up and do not count. `--state` keeps finished runs, so that the
benchmark can be stopped and continued. Rows by length come in each trainer's own grouped order.

With `--base` the work is the sample posts on a real base: batch 8, LoRA rank 16 on all linear layers, dropout 0.05, every step
counts. "TRL, nothing set" is SFTConfig as it comes (bfloat16 autocast, gradient checkpointing); it and TRL in bfloat16 run
`--bf16-rounds` times, because they are many times slower where a machine has no bfloat16 products.
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

from train_work import Work, real_work, reference_work, write_post_rows

RANK = 16
TRL_MODES: dict[str, dict[str, Any]] = {
    "TRL defaults": {"dtype": "float32"},
    "TRL fp32, by length": {"dtype": "float32", "by_length": True},
    "TRL bf16, by length": {"dtype": "bfloat16", "by_length": True},
    "TRL, nothing set": {"dtype": "float32", "literal": True},
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
REAL_MODES = ("TRL defaults", "TRL fp32, by length", "Tunesmith")
REAL_BF16_MODES = ("TRL bf16, by length", "TRL, nothing set")


def peak_gib() -> float:
    """Largest resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run_trl(mode: str, work: Work) -> dict[str, float]:
    """One epoch through TRL's SFTTrainer, or a pass of its `evaluate`."""
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    how, count = (TRL_MODES | EVAL_MODES)[mode], len(work.rows)
    labels = [[i if mark else -100 for i, mark in zip(ids, marks, strict=True)] for ids, marks in work.rows]
    data = Dataset.from_list([{"input_ids": ids, "labels": own} for (ids, _), own in zip(work.rows, labels, strict=True)])
    steps: list[float] = []
    processor: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            steps.append(time.perf_counter())
            processor.append(time.process_time())

    settings: dict[str, Any] = {} if how.get("literal") else {"bf16": False, "gradient_checkpointing": False}
    if how.get("by_length"):
        settings["train_sampling_strategy"] = "group_by_length"
    lora = LoraConfig(
        r=RANK, lora_alpha=32, lora_dropout=work.dropout, target_modules=list(work.targets), task_type="CAUSAL_LM"
    )
    trainer = SFTTrainer(
        model=work.model(getattr(torch, how["dtype"])),
        args=SFTConfig(
            output_dir=tempfile.mkdtemp(),
            num_train_epochs=1,
            per_device_train_batch_size=work.batch,
            learning_rate=1e-4,
            logging_steps=1000,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            seed=0,
            **settings,
        ),
        train_dataset=data,
        eval_dataset=data,
        processing_class=work.tokenizer(),
        callbacks=[Clock()],
        peft_config=lora,
    )
    if mode in EVAL_MODES:
        begin = time.perf_counter()
        trainer.evaluate()
        return {"seconds": time.perf_counter() - begin, "examples": count, "peak_gib": peak_gib()}
    trainer.train()
    end, cpu = time.perf_counter(), time.process_time() - processor[work.skipped]
    done = {"seconds": end - steps[work.skipped], "cpu": cpu, "examples": count - work.skipped * work.batch}
    return done | {"peak_gib": peak_gib()}


def run_ours(mode: str, work: Work, chosen: str) -> dict[str, Any]:
    """One epoch through Tunesmith's own loop, or a pass of its validation loss."""
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.models.adapters import attach
    from tunesmith.models.chat import Encoded
    from tunesmith.models.precision import without_denormals
    from tunesmith.models.reach import choose_modules
    from tunesmith.train.batches import Batches, Sizes
    from tunesmith.train.checkpoint import Checkpoints
    from tunesmith.train.execution import TrunkCache, execution_path
    from tunesmith.train.loop import FitSettings, fit
    from tunesmith.train.method import DEFAULT, open_method
    from tunesmith.train.optimizer import Rates, open_optimizer
    from tunesmith.train.units import Unit
    from tunesmith.train.validation import Validation
    from tunesmith.train.weights.low_rank import adapter_weights

    how = (OUR_MODES | GROWTH_MODES | EVAL_MODES)[mode]
    dtype = how.get("dtype") or chosen
    count = len(work.rows)
    rows = [Encoded(tuple(ids), tuple(learned)) for ids, learned in work.rows]
    units, method = [Unit((row,), weight=sum(row.learned[1:])) for row in rows], open_method(DEFAULT)
    model = work.model(getattr(torch, dtype)).requires_grad_(False)
    layers = how.get("layers", "all")
    modules, rank = choose_modules(model, list(work.targets), layers), how.get("rank", RANK)
    adapted, coverage = attach(model, kind="lora", rank=rank, alpha=32.0, dropout=work.dropout, modules=modules, seed=0)
    place = Path(tempfile.mkdtemp())
    trunk = None if layers == "all" else TrunkCache(place / "trunk", modules, "reference")
    began: list[float] = []
    processor: list[float] = []
    compiling, quiet = bool(how.get("compile")), SilentReporter()
    opened = execution_path(
        adapted, units, units[:4], pad_id=work.pad_id, share=True, trunk=trunk, compile=compiling, reporter=quiet
    )
    with without_denormals(), opened as path:
        if mode in EVAL_MODES:
            begin = time.perf_counter()
            method.validate(path, units, lambda _: None)
            return {"seconds": time.perf_counter() - begin, "examples": count, "peak_gib": peak_gib(), "type": dtype}
        batches = Batches(units, sizes=Sizes(examples=work.batch), seed=0, most_tokens=16_384, lay_out=path.batch)

        class Timed:
            """The same batches; notes when each is asked for."""

            def at(self, index: int) -> Any:
                began.append(time.perf_counter())
                processor.append(time.process_time())
                return batches.at(index)

            def shrink(self) -> bool:
                return batches.shrink()

        def validate() -> dict[str, float]:
            began.append(time.perf_counter())
            processor.append(time.process_time())
            return {"loss": 1.0, "accuracy": 0.0}

        settings: dict[str, Any] = {"warmup": 0.0, "floor": 0.1, "decay": 0.2, "max_grad_norm": 1.0, "seed": 0, "patience": 0}
        settings |= {"num_steps": len(batches), "accumulate": 1, "learning_rate": 1e-4, "schedule": "constant"}
        settings |= {
            "evaluate_every": 0,
            "min_delta": 0.0,
            "best_by": "loss",
            "checkpoint_every": 10_000,
            "checkpoint_minutes": 0.0,
        }
        groups = [{"params": [parameter for parameter in adapted.parameters() if parameter.requires_grad]}]
        fit(
            adapter_weights(adapted, coverage, name="lora", address="none"),
            Timed(),
            lambda batch: method.loss(path, batch),
            optimizer=open_optimizer("adamw", {}, model=adapted, groups=groups, rates=Rates(1e-4, 0.0)),
            settings=FitSettings(**settings),
            figures=method.figures,
            validation=Validation(1, lambda n, on_done: validate(), lambda on_done: []),
            checkpoints=Checkpoints(place, "bench"),
            reporter=SilentReporter(),
        )
    first = 6 if compiling else work.skipped  # compiling goes on over the first lengths
    done = {"seconds": began[-1] - began[first], "cpu": processor[-1] - processor[first]}
    done |= {"examples": count - first * work.batch, "peak_gib": peak_gib()}
    return {**done, "tokens": sum(len(row.ids) for row in rows) / count, "type": dtype}


def matmul_peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a square product, best of several; of one where a product takes long."""
    a, b, best = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype), float("inf")
    start = time.perf_counter()
    while time.perf_counter() - start < 1.0:
        begin = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begin)
    return 2 * 2048**3 / best / 1e9


def measured(mode: str, number: int, chosen: str, given: argparse.Namespace) -> dict[str, Any]:
    """One run in a process of its own, or what an earlier call kept of it."""
    state: Path | None = given.state
    kept = json.loads(state.read_text()) if state and state.exists() else {}
    count = 212 if mode in EVAL_MODES else given.examples
    key = f"{mode}, {count} examples, run {number}" + (f", base {given.work_id}" if given.base else "")
    if key not in kept:
        python = given.peer if mode.startswith("TRL") else sys.executable
        command = [python, __file__, "--run", mode, "--examples", str(count), "--type", chosen]
        if given.base:
            command += ["--base", str(given.base), "--rows", str(given.rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        kept[key] = json.loads(done.stdout.strip().splitlines()[-1])
        if state:
            state.write_text(json.dumps(kept, indent=1))
    return dict(kept[key])


def schedule_of(given: argparse.Namespace) -> list[tuple[int, str]]:
    """(number of the run, mode), modes that are compared in turn."""
    if given.base:
        schedule = [(n, mode) for n in range(given.rounds) for mode in REAL_MODES]
        schedule += [(n, mode) for n in range(given.bf16_rounds) for mode in REAL_BF16_MODES]
    else:
        compared = [mode for mode in (*TRL_MODES, "Tunesmith") if not TRL_MODES.get(mode, {}).get("literal")]
        others = [mode for mode in (*OUR_MODES, *GROWTH_MODES, *EVAL_MODES) if mode not in compared]
        schedule = [(n, mode) for n in range(given.rounds) for mode in compared]
        schedule += [(n, mode) for n in range(given.other_rounds) for mode in others if n == 0 or mode not in GROWTH_MODES]
    return [(n, mode) for n, mode in schedule if not given.only or mode in given.only]


def work_of(given: argparse.Namespace, mode: str = "Tunesmith") -> Work:
    """What a mode trains on."""
    if given.base:
        return real_work(given.base, given.rows, given.examples)
    how = GROWTH_MODES.get(mode, {})
    return reference_work(given.examples * how.get("times", 1), stretch=how.get("stretch", 1))


def main(given: argparse.Namespace) -> None:
    """All modes, in turn, so often as asked; then the table."""
    from record import write_result
    from tunesmith.models.precision import choose_precision

    chosen = given.type or choose_precision(None, width=576, inner=1536, rank=RANK).name  # once, for all runs of ours
    if given.base:
        given.rows = given.rows or Path(given.state or Path(tempfile.mkdtemp()) / "state").with_suffix(".rows.json")
        given.work_id = write_post_rows(given.base, given.rows)[:12]
        given.examples = given.steps * 8
    runs: dict[str, list[dict[str, Any]]] = {}
    for number, mode in schedule_of(given):
        runs.setdefault(mode, []).append(measured(mode, number, chosen, given))
        print(mode, runs[mode][-1], flush=True)
    work = work_of(given)
    tokens = sum(len(ids) for ids, _ in work.rows) / len(work.rows)
    peaks = {name: matmul_peak(getattr(torch, name)) for name in ("float32", "bfloat16")}
    ours = statistics.median(r["examples"] / r["seconds"] for r in runs["Tunesmith"]) if "Tunesmith" in runs else 0.0
    table = [row_of(mode, every, ours, tokens, work.flops, peaks) for mode, every in runs.items()]
    facts: dict[str, Any] = {"examples": len(work.rows), "batch": work.batch, "mean tokens": round(tokens, 1)}
    facts |= {"mean learned": round(sum(sum(marks) for _, marks in work.rows) / len(work.rows), 1)}
    facts |= {"adapters": f"rank {RANK} on {len(work.targets)} projections, dropout {work.dropout}"}
    facts |= {f"{name} matmul GFLOP/s": round(peak) for name, peak in peaks.items()} | {"GOMP_SPINCOUNT": 30000}
    write_result("train-real" if given.base else "train", facts, table)


def row_of(
    mode: str, every: list[dict[str, Any]], ours: float, tokens: float, flops: float, peaks: dict[str, float]
) -> dict[str, Any]:
    """A line of the table: medians over the rounds of a mode, and how many times as fast Tunesmith is (median by median)."""
    speeds = [r["examples"] / r["seconds"] for r in every]
    kind = (TRL_MODES | EVAL_MODES).get(mode, {}).get("dtype") or every[0]["type"]
    row: dict[str, Any] = {"run": mode, "rounds": len(every), "examples/s": statistics.median(speeds)}
    row |= {"least": min(speeds), "most": max(speeds), "CPU s an example": "", "tokens/s": "", "type": kind}
    row |= {"share of its peak": "", "peak GiB": statistics.median(r["peak_gib"] for r in every), "ours is times as fast": ""}
    if mode in EVAL_MODES:
        return row
    row["tokens/s"] = row["examples/s"] * every[0].get("tokens", tokens)
    if "cpu" in every[0]:
        row["CPU s an example"] = statistics.median(r["cpu"] / r["examples"] for r in every)
    if mode in TRL_MODES or (mode in OUR_MODES and "layers" not in OUR_MODES[mode]):
        row["share of its peak"] = row["examples/s"] * flops / 1e9 / peaks[kind]
    if mode in TRL_MODES and ours:
        row["ours is times as fast"] = ours / row["examples/s"]
    return row


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="Python that has TRL installed")
    parser.add_argument("--rounds", type=int, default=5, help="of training, TRL and Tunesmith in turn")
    parser.add_argument(
        "--other-rounds", type=int, default=5, help="of what comes after: upper layers, evaluation; growth runs once"
    )
    parser.add_argument("--examples", type=int, default=128, help="of the reference work")
    parser.add_argument("--base", type=Path, help="folder of a real base: the sample posts on it are the work")
    parser.add_argument("--steps", type=int, default=8, help="of 8 rows, with --base")
    parser.add_argument("--bf16-rounds", type=int, default=1, help="of TRL in bfloat16, with --base")
    parser.add_argument("--rows", type=Path, help="file of token ids, with --base; made beside --state if it is not there")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--type", choices=("float32", "bfloat16"), help="of our frozen weights; by default what is faster here")
    parser.add_argument("--run", help="one mode, in this process: prints a line of JSON")
    return parser.parse_args()


if __name__ == "__main__":
    wanted = arguments()
    if wanted.run:
        torch.set_num_threads(os.cpu_count() or 1)
        trains = work_of(wanted, wanted.run)
        done = run_trl(wanted.run, trains) if wanted.run.startswith("TRL") else run_ours(wanted.run, trains, wanted.type)
        print(json.dumps(done))
    else:
        main(wanted)
