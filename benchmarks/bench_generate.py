"""Generation for an evaluation: 212 prompts answered by the base and by the adapted model, against `model.generate`.

Usage: python benchmarks/bench_generate.py passes STATE.jsonl [SECONDS]   (a window of passes, all ways in turn; repeat)
       python benchmarks/bench_generate.py measure STATE.jsonl PIECE ...  (whole answers; each call adds a measurement)
       python benchmarks/bench_generate.py report STATE.jsonl             (writes the result files)
       python benchmarks/bench_generate.py evaluate STATE.jsonl --base FOLDER --adapter FOLDER --dataset FOLDER PIECE ...
       python benchmarks/bench_generate.py evaluate STATE.jsonl --report  (a real base, whole runs: see real_answers.py)

`passes` times single passes (one token of every row) in the middle of a 200-token answer, where a pass costs what the mean
pass costs, because its cost grows evenly with length. Ways take turns: ours with 64 prompts for both systems, and the
library's with 1, 16, 32, 64 or 128 rows, adapted and base. The library's cache is filled with random numbers and has no
padding, which costs it nothing. Each way takes two turns, and both are reported: after another way's pass, a pass is slower,
because the processor's caches are full of other things; `repeated` is what a run of one way alone is like. Prompts are not
counted: sharing the system message saves us more there.

Pieces of `measure`: `one` (model.generate, one prompt at a time), `peer-B` (B prompts at a time, sorted by length), `ours`,
each also with `-uneven`: answers then end at lengths like those of real ones. `-bf16`: bfloat16 weights. Each takes a
random part of the prompts. Random weights never say the end token by themselves: ends are forced on both sides through
the rule that decides when an answer stops, which neither side sees beforehand.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig

from real_answers import evaluate
from record import write_result
from reference_work import NUM_PROMPTS, VOCABULARY, reference_examples, reference_model
from tunesmith.models.adapters import attach
from tunesmith.models.generate import cache_budget
from tunesmith.models.generation.engine import Engine, Limits
from tunesmith.models.generation.fits import fits
from tunesmith.models.generation.requests import Job
from tunesmith.models.reach import choose_modules

NEW_TOKENS = 200
MIDDLE = 100
SLOTS = 256
OURS = (128, SLOTS)  # answers at once, in passes
WIDE = 128  # rows from which a measurement takes one system, base and adapted in turn
ONE = 2  # prompts of a measurement one by one


def adapted_model(dtype: torch.dtype) -> Any:
    """The reference model with a LoRA adapter of rank 16 on its attention that moves it."""
    base = reference_model(dtype).eval().requires_grad_(False)
    model, _ = attach(
        base, kind="lora", rank=16, alpha=32, dropout=0.05, modules=choose_modules(base, "attention", "all"), seed=0
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model.eval().requires_grad_(False)


class Work:
    """Prompts, and how long each answer is."""

    def __init__(self, *, uneven: bool) -> None:
        self.uneven = uneven
        examples = reference_examples(NUM_PROMPTS)
        self.prompts = [prompt for prompt, _ in examples]
        self.lengths = [min(len(answer), NEW_TOKENS) if uneven else NEW_TOKENS for _, answer in examples]

    def batch(self, count: int, seed: int) -> list[int]:
        """Neighbours in the order of length, from a random place: how one would batch them."""
        order = sorted(range(NUM_PROMPTS), key=lambda i: len(self.prompts[i]))
        begin = random.Random(seed).randrange(0, NUM_PROMPTS - count + 1)
        return order[begin : begin + count]


def by_library(model: Any, work: Work, chosen: Sequence[int], systems: Sequence[bool] = (True, False)) -> tuple[int, float]:
    """Answers by `model.generate`, adapted (True) and base: (tokens that count, seconds)."""
    longest = max(len(work.prompts[i]) for i in chosen)
    rows = [[0] * (longest - len(work.prompts[i])) + work.prompts[i] for i in chosen]
    masks = [[0] * (longest - len(work.prompts[i])) + [1] * len(work.prompts[i]) for i in chosen]
    ids, mask, lengths = torch.tensor(rows), torch.tensor(masks), torch.tensor([work.lengths[i] for i in chosen])
    settings = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0, eos_token_id=None)

    def ended(now: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return now.shape[1] - longest >= lengths

    begin = time.perf_counter()
    for adapter in systems:
        with nullcontext() if adapter else model.disable_adapter(), torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, stopping_criteria=[ended])
    return len(systems) * int(lengths.sum()), time.perf_counter() - begin


def by_slots(model: Any, work: Work, chosen: Sequence[int]) -> tuple[int, float]:
    """Answers by Tunesmith, base and adapted, the trial of the model included."""
    begin = time.perf_counter()
    limits = Limits(SLOTS, fits(model).bytes_per_token, cache_budget(model.device))
    which = [(i, adapter) for i in chosen for adapter in (False, True)]
    jobs = [Job(tuple(work.prompts[i]), NEW_TOKENS, adapter=adapter) for i, adapter in which]
    engine = Engine(model, jobs, ends=lambda job, said: len(said) >= work.lengths[which[job][0]], limits=limits)
    print(engine.plan.words(), flush=True)
    made = sum(len(tokens) for tokens in engine.run())
    return made, time.perf_counter() - begin


def measure(state: Path, pieces: Sequence[str]) -> None:
    """Run each piece once more and add its figures to the state file."""
    done = [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []
    models: dict[torch.dtype, Any] = {}
    for piece in pieces:
        dtype = torch.bfloat16 if piece.endswith("-bf16") else torch.float32
        if dtype not in models:
            models = {dtype: adapted_model(dtype)}
        model = models[dtype]
        work = Work(uneven="-uneven" in piece)
        seed = sum(row["piece"] == piece for row in done)
        name = piece.removesuffix("-bf16").removesuffix("-uneven")
        if name == "ours":
            tokens, seconds = by_slots(model, work, work.batch(NUM_PROMPTS if work.uneven else SLOTS // 2, seed))
        elif name == "one":
            parts = [by_library(model, work, work.batch(1, 1000 * seed + n)) for n in range(ONE)]
            tokens, seconds = sum(t for t, _ in parts), sum(s for _, s in parts)
        else:
            size = int(name.removeprefix("peer-"))
            systems = (True, False) if size < WIDE else (seed % 2 == 0,)
            tokens, seconds = by_library(model, work, work.batch(size, seed), systems)
        row = {"piece": piece, "tokens": tokens, "seconds": seconds, "at": time.strftime("%H:%M:%S", time.gmtime())}
        done.append(row)
        with state.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{piece}: {tokens} tokens in {seconds:.1f} s, {tokens / seconds:.0f} tokens/s", flush=True)


class LibraryPasses:
    """The library's decoding of `rows` answers, its cache filled up to `length` tokens; each step is one pass."""

    def __init__(self, model: Any, rows: int, length: int) -> None:
        config = model.config
        self._model, self.rows = model, rows
        self._cache = DynamicCache(config=config)
        for layer in range(config.num_hidden_layers):
            kv = torch.randn(2, rows, config.num_key_value_heads, length, config.head_dim, dtype=model.dtype)
            self._cache.update(kv[0], kv[1], layer)
        self._mask = torch.ones(rows, length, dtype=torch.long)
        self._token = torch.full((rows, 1), 11)

    def step(self, *, adapter: bool) -> float:
        """Seconds of one pass, the choice of tokens included, as model.generate does it."""
        begin = time.perf_counter()
        with nullcontext() if adapter else self._model.disable_adapter(), torch.inference_mode():
            self._mask = torch.cat([self._mask, self._mask.new_ones(self.rows, 1)], 1)
            out = self._model(
                input_ids=self._token,
                attention_mask=self._mask,
                position_ids=self._mask.sum(1, keepdim=True) - 1,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            self._token = out.logits[:, -1].to(torch.float32, copy=True).argmax(-1, keepdim=True)
        return time.perf_counter() - begin


_TURN = ("after-another", "repeated")


def passes(state: Path, seconds: float, sizes: Sequence[int]) -> None:
    """Time passes of all ways in turn for about `seconds`, and add them to the state file."""
    model, end = adapted_model(torch.float32), time.perf_counter() + seconds
    draw = random.Random(5)
    work = Work(uneven=False)
    mine, length = {}, 0
    for slots in OURS:
        chosen = work.batch(slots // 2, 1)
        half = [tuple(work.prompts[i] + [draw.randrange(10, VOCABULARY) for _ in range(MIDDLE)]) for i in chosen]
        jobs = [Job(ids, NEW_TOKENS, adapter=adapter) for ids in half for adapter in (False, True)]
        limits = Limits(slots, fits(model).bytes_per_token, 2 * cache_budget(model.device))
        mine[f"ours-{slots}"] = Engine(model, jobs, ends=lambda job, said: False, limits=limits).run()
        while len(next(mine[f"ours-{slots}"])) < slots:
            continue
        length = sum(map(len, half)) // len(half)
    peers = [LibraryPasses(model, rows, length) for rows in sizes]
    done = 0
    while time.perf_counter() < end:
        figures: list[tuple[str, int, float]] = []
        for peer in peers:
            for again in (False, True):  # the first pass after another way finds the processor's caches full of other things
                figures.append(
                    (f"{_TURN[again]} peer-{peer.rows}", 2 * peer.rows, peer.step(adapter=True) + peer.step(adapter=False))
                )
            for name, engine in mine.items():
                for again in (False, True):
                    begin = time.perf_counter()
                    made = len(next(engine))
                    figures.append((f"{_TURN[again]} {name}", made, time.perf_counter() - begin))
        with state.open("a") as file:
            for way, tokens, took in figures:
                file.write(json.dumps({"piece": f"pass {way}", "tokens": tokens, "seconds": took}) + "\n")
        done += 1
    print(f"{done} rounds of {', '.join(map(str, sizes))}", flush=True)


def _spread(values: Sequence[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{low:.0f}-{high:.0f}"


def _kind(piece: str) -> str:
    return piece.rsplit(" ", 1)[0] if piece.startswith("pass ") else "uneven" if "-uneven" in piece else "whole"


def report(state: Path) -> None:
    """Medians of every piece, and the times of all of the work."""
    done = [json.loads(line) for line in state.read_text().splitlines()]
    rows = []
    for kind in ("pass repeated", "pass after-another", "whole", "uneven"):
        uneven = kind == "uneven"
        total = 2 * sum(Work(uneven=uneven).lengths)
        pieces = sorted({row["piece"] for row in done if _kind(row["piece"]) == kind})
        speed = {p: [row["tokens"] / row["seconds"] for row in done if row["piece"] == p] for p in pieces}
        own = {"whole": "ours", "uneven": "ours-uneven"}.get(kind, f"{kind} ours-{SLOTS}")
        for piece in sorted(pieces, key=lambda p: statistics.median(speed[p])):
            middle = statistics.median(speed[piece])
            rows.append(
                {
                    "way": piece,
                    "measured": len(speed[piece]),
                    "tokens_per_s": middle,
                    "half_of_them_between": _spread(speed[piece]),
                    "all_of_the_work_s": total / middle,
                    "ours_is_times_as_fast": statistics.median(speed[own]) / middle if own in speed else "not measured",
                    "runs": [round(one, 1) for one in speed[piece]],
                }
            )
    work = {"prompts": NUM_PROMPTS, "systems": "base and LoRA r16", "new_tokens": NEW_TOKENS, "slots": SLOTS}
    write_result("generate", {**work, "threads": torch.get_num_threads(), "order": "pieces in turn, several rounds"}, rows)


if __name__ == "__main__":
    verb, where, *named = sys.argv[1:]
    if verb == "evaluate":
        evaluate([where, *named])
    elif verb == "measure":
        measure(Path(where), named or ["one", "peer-64", "ours", "one-uneven", "peer-64-uneven", "ours-uneven"])
    elif verb == "passes":
        passes(Path(where), float(named[0]) if named else 75.0, [int(size) for size in named[1:]] or [1, 16, 64, 128, 212])
    else:
        report(Path(where))
