"""Whether a merged folder differs from base + adapter by more than the rounding of float32: both are computed in float64 too.

    python benchmarks/bench_merge_rounding.py --base smollm2 --adapter RUN/adapter --merged MODEL --rows ROWS.jsonl

In float64 the order of sums hardly shows, so what is left between the two there is the rounding of the stored sum W + BA to
float32. `float32` is what a user sees; `adapter` and `merged` are each one's own distance from itself in float64.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from bench_parity_forms import encoded
from record import write_result
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.systems.logits import model_logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--merged", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=96)
    arguments = parser.parse_args()
    base = find_base(arguments.base)
    rows = encoded(open_chat(base), arguments.rows, arguments.tokens, arguments.count)
    adapted, merged = (
        open_adapter(load_model(base, "float32"), arguments.adapter),
        load_model(find_base(arguments.merged), "float32"),
    )
    narrow = [[model_logits(model, row) for row in rows] for model in (adapted, merged)]
    wide = [[model_logits(model.double(), row) for row in rows] for model in (adapted, merged)]
    pairs = {
        "float32": (narrow[0], narrow[1]),
        "float64": (wide[0], wide[1]),
        "adapter": (narrow[0], wide[0]),
        "merged": (narrow[1], wide[1]),
    }
    found = []
    for name, (a, b) in pairs.items():
        apart = torch.cat([(x.double() - y.double()).abs().flatten() for x, y in zip(a, b, strict=True)])
        same = torch.cat([x.argmax(-1) == y.argmax(-1) for x, y in zip(a, b, strict=True)])
        found.append(
            {
                "compared": name,
                "max_abs": float(apart.max()),
                "mean_abs": float(apart.mean()),
                "same_top": float(same.double().mean()),
            }
        )
    work = {"base": base.name, "positions": sum(len(row.ids) for row in rows), "load": os.getloadavg()[0]}
    write_result("merge-rounding", work, found)
    print(work, *found, sep="\n")


if __name__ == "__main__":
    main()
