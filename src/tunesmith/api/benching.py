"""`bench_serve`: what it costs to serve a model on this machine, each way as a real server, and which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they load torch
    from tunesmith.core.reporter import Reporter
    from tunesmith.ops.bench.bench import ServeBench

__all__ = ["bench_serve"]


def bench_serve(  # noqa: PLR0913 (what is measured, and how)
    reference: str = "run:latest",
    *,
    project: str | Path = ".",
    options: Sequence[str] = (),
    clients: Sequence[int] = (1, 4, 16),
    tokens: int = 64,
    prompts: str | Path = "",
    rows: Sequence[int] = (),
    context: int = 0,
    requests: int = 20,
    rounds: int = 5,
    seconds: float = 0.0,
    price_hour: float | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> ServeBench:
    """Measure time to the first token, tokens per second, memory and cost of every way to serve a model, and recommend one.

    `reference`: as in `tunesmith.serve`. `options`: their names (`float32`, `bfloat16`, `ngram`, `gguf` for its exports,
    `vllm`), or further ones as `NAME=REFERENCE`: a GGUF file or an address; by default all that can be had here. Each is a
    server of its own, started in every round and asked over HTTP with streaming: for every number of `clients` at once,
    `requests` prompts (two for each client at least), up to `tokens` tokens of an answer. All get the same prompts in the same
    order: those of the file `prompts`, else of the run's test split, else some that come with Tunesmith. `rows`: answers at
    once in a server; several make an option each. `context`: tokens of prompt and answer, 0 for the model's own limit.

    `rounds`: figures have intervals over them. No round begins later than `seconds`; 0 sets no limit. `price_hour`: what an
    hour of the machine costs; without it the cost is not measured. `out`: a file for the JSON object, written after each round.

    What goes wrong with one option is in its `problem`, and Ctrl-C keeps what was measured: `result.ended` then says so. An
    option whose answers were not tested is recommended only where none ended in SHIP, and `result.advice` says so.

    Raises:
        ArtifactError, ModelError: a reference that cannot be opened.
        EvaluationError: no such option, no prompt, or a number that nothing can be measured with.
        DatasetError, SourceError: prompts that cannot be read; `out` is a folder.
        StorageError: `out` cannot be written.
    """
    from tunesmith.core.artifacts import Store
    from tunesmith.core.files import check_out, replace_file, storage_errors
    from tunesmith.core.records import to_json
    from tunesmith.ops.bench.bench import bench_serving
    from tunesmith.ops.bench.measuring import Work
    from tunesmith.ops.bench.options import find_options
    from tunesmith.ops.bench.prompts import find_prompts

    file = None if out is None else Path(out)
    if file is not None:
        check_out(file, [Path(prompts)] if prompts else [], hint="--out bench.json")

    def write(found: ServeBench) -> None:
        if file is not None:
            with storage_errors("writing what was measured", file):
                replace_file(file, to_json(found.as_dict()))

    store = Store(Path(project) / ".tunesmith")
    found = bench_serving(
        reference,
        find_options(reference, store, wanted=options, rows=tuple(dict.fromkeys(rows)), context=context),
        find_prompts(reference, store, prompts),
        Work(clients=tuple(dict.fromkeys(clients)), tokens=tokens, requests=requests, rounds=rounds, seconds=seconds),
        price_hour=price_hour,
        on_round=write,
        reporter=reporter,
    )
    write(found)
    return found
