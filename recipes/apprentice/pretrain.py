"""Train from scratch or from packaged weights: a stable phase of any length, then a decay that ends in a finished model.

    python pretrain.py --shards work/shards --out work/stable --minutes 50
    python pretrain.py --shards work/shards --out work/final --from work/stable/latest --decay --minutes 20

The learning rate rises, stays, and falls only in the decay (warm-up, stable, decay), so a later run can go on from the
stable checkpoint as if nothing had ended. Matrices are trained with Muon, everything else with AdamW; in bf16 autocast
where this machine multiplies that faster, which is measured.

A checkpoint is a folder: model.safetensors (fp32), optimiser.safetensors, state.json. It is written whole, then renamed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: spinning threads starve each other on a busy machine

import numpy as np
import torch
from losses import WEIGHTS, mean_loss, word_kinds
from mixes import MIXES
from model import Llama, Shape
from rows import Batches, Shard
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from tunesmith.models.load import PrecisionName
from tunesmith.models.precision import choose_precision, without_denormals

__all__ = [
    "State",
    "bits_per_byte",
    "greedy",
    "load_checkpoint",
    "load_weights",
    "main",
    "make_optimizers",
    "save_checkpoint",
    "scale_at",
]

log = logging.getLogger("apprentice.pretrain")

WARMUP_STEPS = 60
LOOP_SHARE = 0.3  # of conversation rows in the decay: one answer in such a row is made to loop, as a thing to avoid
LONGEST_STEP_S = 5.0  # what a step adds to the phase's clock at most: a machine that is paused does not spend the phase
MUON_RATE, ADAM_RATE = 0.02, 3e-3
PROMPTS = (
    "What do you say about friendship?",
    "How do I make a good cup of coffee?",
    "Tell me about the sea.",
    "What is your view on writing every day?",
    "A reader asks about mobile apps. What do you tell them?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a run stands. `step` and `spent_s` count within the phase, `tokens` and `seconds` over all phases."""

    shape: dict[str, int]
    seed: int
    phase: int = 0
    step: int = 0
    spent_s: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    precision: PrecisionName | None = None  # measured at the start of the phase: a second measurement may differ
    history: list[dict[str, Any]] = field(default_factory=list)


def scale_at(step: int, done: float, *, decay: bool, first_phase: bool) -> float:
    """The learning rate as a share of its peak. `done` is how much of the phase is over, 0 to 1.

    The first phase warms up, whether its weights are new or packaged ones: the optimisers know nothing yet.
    """
    if decay:
        return max(0.0, 1 - done)
    return min(1.0, (step + 1) / WARMUP_STEPS) if first_phase else 1.0


def make_optimizers(model: Llama) -> list[tuple[torch.optim.Optimizer, float]]:
    """[(optimiser, peak learning rate)]: Muon for the matrices of the layers, AdamW for embedding and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        (torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"), MUON_RATE),
        (torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0), ADAM_RATE),
    ]


def save_checkpoint(folder: Path, model: Llama, optimizers: list[tuple[torch.optim.Optimizer, float]], state: State) -> None:
    """Write a checkpoint whole or not at all."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file({n: p.detach().contiguous() for n, p in model.named_parameters()}, fresh / "model.safetensors")
    tensors = {
        f"{i}.{index}.{key}": value.detach().contiguous()
        for i, (optimizer, _) in enumerate(optimizers)
        for index, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }
    save_file(tensors, fresh / "optimiser.safetensors")
    (fresh / "state.json").write_text(json.dumps(asdict(state), indent=1))
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[Llama, list[tuple[torch.optim.Optimizer, float]], State]:
    """Model, optimisers and state as they were saved."""
    state = State(**json.loads((folder / "state.json").read_text()))
    model = Llama(Shape(**state.shape))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    optimizers = make_optimizers(model)
    tensors = load_file(folder / "optimiser.safetensors")
    for i, (optimizer, _) in enumerate(optimizers):
        whole = optimizer.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            which, index, key = name.split(".", 2)
            if int(which) == i:
                entries.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": entries, "param_groups": whole["param_groups"]})
    return model, optimizers, state


def load_weights(folder: Path, seed: int) -> tuple[Llama, list[tuple[torch.optim.Optimizer, float]], State]:
    """A packaged model to go on from, with new optimisers; what it has seen stands in the metadata of its weights."""
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        mlp_width=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        context=config["max_position_embeddings"],
    )
    model = Llama(shape)
    with safe_open(folder / "model.safetensors", "pt") as file:
        model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
        facts = file.metadata() or {}
    state = State(shape=asdict(shape), seed=seed, tokens=int(facts.get("tokens", 0)), seconds=float(facts.get("seconds", 0)))
    return model, make_optimizers(model), state


@torch.no_grad()
def bits_per_byte(model: Llama, tokenizer: Tokenizer, shards: dict[str, Shard], *, rows: int, length: int) -> dict[str, float]:
    """Held-out bits per byte of each source over its first rows; bytes are those of the tokens that carry loss."""
    sizes = np.array(
        [
            len(tokenizer.decode([i], skip_special_tokens=True).encode()) if i > 7 else 0
            for i in range(tokenizer.get_vocab_size())
        ]
    )
    for i in range(8, len(sizes)):  # a token may be part of a character: count its bytes, not its replacement sign
        piece = tokenizer.id_to_token(i)
        sizes[i] = len(piece) if piece else 0
    result = {}
    for name, shard in shards.items():
        picked = [shard.row(int(s), length) for s in shard.row_starts(length, 0)[:rows]]
        ids = torch.from_numpy(np.stack([i for i, _ in picked]))
        mask = torch.from_numpy(np.stack([m for _, m in picked]))[:, 1:].bool()
        losses = model.losses(ids[:, :-1], ids[:, 1:])
        result[name] = float(losses[mask].sum()) / math.log(2) / max(1, int(sizes[ids[:, 1:][mask].numpy()].sum()))
    return result


@torch.no_grad()
def greedy(model: Llama, tokenizer: Tokenizer, question: str, *, limit: int = 90) -> str:
    """A plain greedy answer, without a cache: a look at the model while it trains."""
    ids = tokenizer.encode(f"<|user|>\n{question}<|end|>\n<|assistant|>\n", add_special_tokens=False).ids
    start = len(ids)
    while len(ids) < start + limit and (len(ids) == start or ids[-1] != 7):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return tokenizer.decode(ids[start:], skip_special_tokens=False)


def evaluate(model: Llama, tokenizer: Tokenizer, held: dict[str, Shard], num_samples: int) -> dict[str, float]:
    """Log held-out bits per byte and a few answers."""
    scores = bits_per_byte(model, tokenizer, held, rows=8, length=512)
    log.info("held out %s", " ".join(f"{name}={value:.3f}" for name, value in scores.items()))
    for question in PROMPTS[:num_samples]:
        log.info("sample | %s → %s", question, greedy(model, tokenizer, question).replace("\n", "⏎"))
    return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a phase needs beside its checkpoint. It ends after `steps`, or else after `minutes` spent in steps."""

    shards: Path
    out: Path
    decay: bool = False
    mix: str = "stable"
    minutes: float = 1.0
    steps: int = 0
    rows: int = 16
    length: int = 512
    evaluate_every: int = 250
    samples: int = 3
    save_every: int = 50
    peak: float = 1.0
    bf16: bool = False


def train(model: Llama, optimizers: list[tuple[torch.optim.Optimizer, float]], state: State, settings: Settings) -> State:
    """One phase. Order of a step: evaluate, save, stop, learn, log."""
    mix = MIXES[settings.mix]
    shards = {name: Shard(settings.shards, name) for name in mix}
    has_held = (name for name in mix if (settings.shards / f"{name}.held.bin").stat().st_size)  # a lesson has none
    held = {name: Shard(settings.shards, name, "held") for name in has_held}
    tokenizer = Tokenizer.from_file(str(settings.shards / "tokenizer" / "tokenizer.json"))
    pieces = (tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size()))
    batches = Batches(
        shards,
        mix,
        seed=state.seed,
        phase=state.phase,
        rows=settings.rows,
        length=settings.length,
        loops=LOOP_SHARE if settings.decay else 0.0,
        word_starts=np.array([p.startswith("Ġ") or p.isdigit() for p in pieces]),  # runs of figures loop as well
    )

    kinds_V3 = word_kinds(tokenizer)
    compiled = torch.compile(
        lambda x_BT, y_BT, mask_BT: mean_loss(model, x_BT, y_BT, mask_BT, weights=WEIGHTS[settings.mix], kinds_V3=kinds_V3)
    )
    mark = time.monotonic()
    first, seen, recent = state.step, 0, []
    while True:
        begin = time.monotonic()
        done = state.step / settings.steps if settings.steps else state.spent_s / 60 / settings.minutes
        due = state.step % settings.evaluate_every == 0 and state.step > first
        if due or done >= 1:
            scores = evaluate(model, tokenizer, held, settings.samples)
            entry = {"phase": state.phase, "step": state.step, "tokens": state.tokens, "held": scores}
            state = replace(state, history=[*state.history, entry])
            mark, seen = time.monotonic(), 0
        if done >= 1 or (state.step % settings.save_every == 0 and state.step > first):
            save_checkpoint(settings.out / "latest", model, optimizers, state)
            begin = time.monotonic()
        if done >= 1:
            return state
        scale = scale_at(state.step, done, decay=settings.decay, first_phase=state.phase == 0)
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * settings.peak * scale
        ids, mask = (torch.from_numpy(a) for a in batches.at(state.step))
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
            loss = compiled(ids[:, :-1], ids[:, 1:], mask[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen += settings.rows * settings.length
        if state.step == first:  # the first step compiles: it does not count
            begin, mark, seen = time.monotonic(), time.monotonic(), 0
        took = min(time.monotonic() - begin, LONGEST_STEP_S)
        state = replace(
            state,
            step=state.step + 1,
            spent_s=state.spent_s + took,
            tokens=state.tokens + settings.rows * settings.length,
            seconds=state.seconds + took,
        )
        recent = [*recent[-49:], float(loss.detach())]
        if state.step % 50 == 0:
            log.info(
                "phase %d step %d done %.0f%% loss %.3f rate %.2f %.1f M tokens, %.0f tokens/s",
                state.phase,
                state.step,
                100 * done,
                sum(recent) / len(recent),
                scale,
                state.tokens / 1e6,
                seen / (time.monotonic() - mark),
            )


@without_denormals()  # probabilities near nothing made the backward pass 2.3 times slower
def main(given: argparse.Namespace) -> State:
    """Start or go on, and train one phase."""
    torch.set_num_threads(given.threads)
    settings = Settings(
        shards=given.shards,
        out=given.out,
        decay=given.decay,
        mix=given.mix or ("decay" if given.decay else "stable"),
        minutes=given.minutes,
        steps=given.steps,
        rows=given.rows,
        length=given.length,
        evaluate_every=given.evaluate_every,
        samples=given.samples,
        save_every=given.save_every,
        peak=given.peak,
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    if given.start:
        model, optimizers, state = load_checkpoint(given.start)
        resumed = given.start.parent.resolve() == given.out.resolve()  # its own checkpoint: the same phase goes on
        if not resumed:
            state = replace(state, precision=None)
            if given.decay or given.new_phase:
                state = replace(state, phase=state.phase + 1, step=0, spent_s=0.0)
    elif given.weights:
        model, optimizers, state = load_weights(given.weights, given.seed)
    else:
        torch.manual_seed(given.seed)
        shape = Shape(**json.loads(given.shape))
        model = Llama(shape)
        optimizers, state = make_optimizers(model), State(shape=asdict(shape), seed=given.seed)
    wanted: PrecisionName | None = state.precision if given.precision == "auto" else given.precision
    because = "told" if given.precision != "auto" else "as this phase began; --precision sets another"
    precision = choose_precision(wanted, width=model.shape.width, inner=model.shape.mlp_width, rank=8, because=because)
    settings, state = replace(settings, bf16=precision.name == "bfloat16"), replace(state, precision=precision.name)
    log.info("%s: %s", precision.name, precision.reason)
    log.info(
        "%s: %d parameters, %.1f M tokens seen, phase %d",
        state.shape,
        Shape(**state.shape).num_parameters,
        state.tokens / 1e6,
        state.phase,
    )
    return train(model, optimizers, state, settings)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--from", dest="start", type=Path, help="checkpoint folder to go on from; one of --out resumes its phase"
    )
    parser.add_argument("--weights", type=Path, help="packaged model to start from, with new optimisers")
    parser.add_argument("--decay", action="store_true", help="let the learning rate fall to nothing over this phase")
    parser.add_argument(
        "--new-phase", action="store_true", help="count steps anew, with data in a new order (another row length, say)"
    )
    parser.add_argument("--mix", choices=sorted(MIXES), help="what is read; by default that of the phase")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument(
        "--steps", type=int, default=0, help="length of the phase in steps, in place of minutes: repeatable to the bit"
    )
    parser.add_argument("--shape", default="{}", help="JSON with fields of model.Shape")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--evaluate-every", type=int, default=250)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--peak", type=float, default=1.0, help="peak learning rates as a share of those for new weights")
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="auto measures which is faster"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main(arguments().parse_args())
