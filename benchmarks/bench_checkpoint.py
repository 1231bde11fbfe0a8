"""What checkpoints cost: the share of a run's time that goes into them, counted inside real runs.

Two works: the embedded base on its own examples, and the reference work (135 M random weights, LoRA r16 on q, k, v, o, in
bfloat16). The loop runs as it always does; each save is timed from the sync of the metric log to the removal of the oldest.

    python benchmarks/bench_checkpoint.py --record
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from record import write_result
from reference_work import reference_examples, reference_model
from tunesmith.api.selftesting import example_rows
from tunesmith.core.reporter import SilentReporter
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Encoded, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.reach import choose_modules
from tunesmith.train.batches import Batches, Sizes
from tunesmith.train.checkpoint import Checkpoints
from tunesmith.train.execution import execution_path
from tunesmith.train.loop import FitSettings, fit
from tunesmith.train.method import DEFAULT, open_method
from tunesmith.train.units import Unit
from tunesmith.train.validation import Validation
from tunesmith.train.weights.low_rank import adapter_weights


class Timed(Checkpoints):
    """Checkpoints that time each save."""

    seconds: list[float]

    def save(self, *arguments: Any, **named: Any) -> None:
        begin = time.perf_counter()
        super().save(*arguments, **named)
        self.seconds.append(time.perf_counter() - begin)


def run(model: Any, rows: Sequence[Encoded], *, kind: str, steps: int, every: int, batch: int, modules: str) -> dict[str, Any]:
    """Train for `steps` steps with a checkpoint every `every`; times of saves and of the whole."""
    adapted, coverage = attach(
        model, kind="lora", rank=16, alpha=32.0, dropout=0.0, modules=choose_modules(model, modules, "all"), seed=7
    )
    settings = FitSettings(
        num_steps=steps,
        accumulate=1,
        learning_rate=1e-3,
        schedule="cosine",
        warmup=0.05,
        weight_decay=0.0,
        max_grad_norm=1.0,
        evaluate_every=0,
        patience=0,
        best_by="loss",
        min_delta=0.0,
        checkpoint_every=every,
        checkpoint_minutes=0.0,
        seed=7,
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        checkpoints = Timed(Path(folder), "bench")
        checkpoints.seconds = []
        quiet = SilentReporter()
        units, method = [Unit((row,), weight=sum(row.learned[1:])) for row in rows], open_method(DEFAULT)
        with execution_path(adapted, units, [], pad_id=0, share=True, trunk=None, compile=False, reporter=quiet) as path:
            batches = Batches(units, sizes=Sizes(examples=batch), seed=7, most_tokens=1 << 20, lay_out=path.batch)
            begin = time.perf_counter()
            fit(
                adapter_weights(adapted, coverage, name="lora", address="none"),
                batches,
                lambda batch: method.loss(path, batch),
                settings=settings,
                figures=method.figures,
                validation=Validation(2, lambda n, on_done: method.validate(path, units[:n], on_done), lambda on_done: []),
                checkpoints=checkpoints,
                reporter=SilentReporter(),
            )
            whole = time.perf_counter() - begin
        newest = sorted((Path(folder) / "checkpoints").glob("step-*"))[-1]
        size = sum(p.stat().st_size for p in newest.iterdir())
    a_save, a_step = statistics.median(checkpoints.seconds), (whole - sum(checkpoints.seconds)) / steps
    return {
        "work": kind,
        "trainable": coverage.num_trainable,
        "checkpoint MiB": size / 2**20,
        "saves": len(checkpoints.seconds),
        "s a save (median)": a_save,
        "s a step": a_step,
        f"share, every {every} steps (measured)": f"{sum(checkpoints.seconds) / whole:.2%}",
        "share, every 50 steps (the default)": f"{a_save / (50 * a_step + a_save):.2%}",
    }


def main() -> None:
    """Both works, written to a dated result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60, help="of the embedded base; the reference work does a third of them")
    parser.add_argument("--record", action="store_true", help="write a dated result file")
    chosen = parser.parse_args()
    base = find_base("apprentice")
    chat = open_chat(base)
    rows = [chat.encode(example.messages) for example in example_rows()]
    small = run(
        load_model(base, "float32"), rows, kind="apprentice", steps=chosen.steps, every=chosen.every, batch=8, modules="all"
    )
    wide = [
        Encoded((*prompt, *answer), (*[False] * len(prompt), *[True] * len(answer)))
        for prompt, answer in reference_examples(64)
    ]
    large = run(
        reference_model(torch.bfloat16),
        wide,
        kind="reference, 135 M",
        steps=max(10, chosen.steps // 3),
        every=chosen.every,
        batch=4,
        modules="attention",
    )
    if chosen.record:
        write_result("checkpoint", {"checkpoint every": f"{chosen.every} steps"}, [small, large])
    else:
        print(small, large, sep="\n")


if __name__ == "__main__":
    main()
