"""DPO, GRPO, QLoRA, continued pre-training and full fine-tuning on a real base: TRL and Tunesmith in turn, one thread each.

    python benchmarks/bench_methods.py WHAT [WHAT …] --peer PYTHON_WITH_TRL [--rounds 2] [--state FILE] [--record]

"One at a time" is TRL with a batch of one (with GRPO: one prompt) and accumulated gradients, which takes less memory.

WHAT is `dpo`, `grpo`, `qlora`, `cpt`, `full`, or `losses` (30 steps of DPO in the same order from the same weights, float32:
both loss curves). Each run is a process of its own. Counted is what happens from the first forward pass to the end of the last
step, the reference's log-probabilities and the drawing of answers included; loading and the last validation are not. Seconds
are of the processor with one thread, so that other work on the machine disturbs little; peak memory is that of the process.
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

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from tunesmith.core.records import Example, Message, Preference
from tunesmith.core.reporter import SilentReporter
from tunesmith.core.texts import Text
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base

_POSTS = Path(__file__).parents[1] / "src" / "tunesmith" / "examples" / "posts"
_PROMPT, _CHOSEN, _REJECTED = 270, 50, 70  # tokens of a pair; with the template the prompt has about 300
_STEPS = {"dpo": 4, "losses": 30, "grpo": 1, "qlora": 6, "cpt": 4, "full": 4}
_BATCH = {"dpo": 4, "losses": 2, "grpo": 8, "qlora": 8, "cpt": 4, "full": 4}
_ROW = 512  # tokens of a row of plain text
_RATE = 1e-4
_SAMPLES, _NEW = 8, 128
_RANK, _ALPHA = 16, 32.0
_LORA = {"rank": _RANK, "alpha": _ALPHA, "dropout": 0.0}
_MODES = {
    "dpo": ("TRL float32", "TRL bfloat16", "TRL bfloat16, one at a time", "Tunesmith"),
    "losses": ("TRL float32", "Tunesmith float32"),
    "grpo": ("TRL float32", "TRL bfloat16, one at a time", "Tunesmith"),
    "qlora": ("TRL nf4", "TRL nf4, one at a time", "Tunesmith nf4", "Tunesmith bfloat16"),
    "cpt": ("TRL float32", "TRL bfloat16", "TRL bfloat16, one at a time", "Tunesmith"),
    "full": (
        "TRL float32",
        "TRL float32, one at a time",
        "TRL float32, one at a time, checkpointing",
        "Tunesmith float32",
        "Tunesmith float32, states on disk",
        "Tunesmith float32, states on disk, one at a time",
        "Tunesmith float32, states on disk, checkpointing",
    ),
}


def posts(chat: Chat) -> list[int]:
    """The token ids of the sample posts, one after the other."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(_POSTS.rglob("*.md"))]
    return [int(i) for i in chat.tokenizer("\n\n".join(texts), add_special_tokens=False)["input_ids"]]


def cuts(chat: Chat, sizes: tuple[int, ...], count: int) -> list[list[str]]:
    """`count` rows of consecutive pieces of the posts with about so many tokens each; from the beginning again if they end."""
    ids, place, made = posts(chat), 0, []
    for _ in range(count):
        if place + sum(sizes) > len(ids):
            place = place % 97
        row = []
        for size in sizes:
            row.append(chat.tokenizer.decode(ids[place : place + size]).strip())
            place += size
        made.append(row)
    return made


def pairs(chat: Chat, count: int, *, short: bool = False) -> list[Preference]:
    """Prompts of about 300 tokens, or of 90, with two answers."""
    made = []
    for n, (asked, better, worse) in enumerate(cuts(chat, (60 if short else _PROMPT, _CHOSEN, _REJECTED), count)):
        prompt = (Message(role="user", content=f"Continue this text:\n\n{asked}"),)
        about = {"document_id": str(n), "group": str(n), "source": "made"}
        made.append(Preference(id=str(n), prompt=prompt, chosen=better, rejected=worse, **about))
    return made


def examples(chat: Chat, count: int) -> list[Example]:
    """A short request and an answer of 120 tokens."""
    made = []
    for n, (asked, told) in enumerate(cuts(chat, (30, 120), count)):
        messages = (Message(role="user", content=f"Continue: {asked}"), Message(role="assistant", content=told))
        made.append(Example(id=str(n), messages=messages, document_id=str(n), group=str(n), source="made"))
    return made


def texts(chat: Chat, count: int) -> list[Text]:
    """Documents of 100 to 511 tokens, as many as fill `count` rows."""
    made, left, n = [], count * _ROW, 0
    for n, size in enumerate((100, 380, 240, _ROW - 1, 170) * count):
        if left < 100:
            break
        (text,) = cuts(chat, (min(size, left),), n + 1)[-1]
        made.append(Text(id=str(n), text=text, document_id=str(n), group=str(n), source="made"))
        left -= size
    return made


def questions(count: int) -> list[Example]:
    """Requests for long answers: what is drawn counts, the reference does not."""
    made = []
    for n in range(count):
        asked = f"Write a long story in many paragraphs about a journey to island number {n + 1}."
        messages = (Message(role="user", content=asked), Message(role="assistant", content="Once upon a time."))
        made.append(Example(id=str(n), messages=messages, document_id=str(n), group=str(n), source="made"))
    return made


class Timed(SilentReporter):
    """Processor and wall seconds from the first progress until the last step."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None
        self.ended = (0.0, 0.0)

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Any:
        self.began = self.began or (time.process_time(), time.perf_counter())
        timed = self

        class Steps:
            def advance(self, amount: float = 1, text: str | None = None) -> None:
                if name == "train" and amount:
                    timed.ended = time.process_time(), time.perf_counter()

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: Any) -> None:
                pass

        return Steps()


def run_ours(what: str, mode: str, base_name: str) -> dict[str, Any]:
    """A few steps through the trainer of the product."""
    from tunesmith.models.precision import choose_precision
    from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
    from tunesmith.train.method import open_method
    from tunesmith.train.order import Place
    from tunesmith.train.run import train_adapter

    base = find_base(base_name)
    chat, place = open_chat(base), Path(tempfile.mkdtemp())
    count, steps = _BATCH[what] * _STEPS[what], _STEPS[what]
    kind, options, method, rows = "sft", {}, dict(_LORA), None
    if what in ("dpo", "losses"):
        kind, options, rows = "dpo", {"beta": 0.1}, pairs(chat, count + 1, short=what == "losses")
    elif what == "grpo":
        (place / "reward.py").write_text("def reward(answer):\n    return answer.count('e') / (1 + len(answer))\n")
        reward = {"file": str(place / "reward.py"), "name": "reward"}
        kind, options, rows = (
            "grpo",
            {"rewards": [reward], "samples": _SAMPLES, "max_new_tokens": _NEW},
            questions(_BATCH[what] + 1),
        )
    elif what == "cpt":
        kind, rows = "cpt", texts(chat, count)
    else:
        rows = examples(chat, count + 1)
    method |= {"quantise": "nf4"} if "nf4" in mode else {}
    method = {"kind": "full"} if what == "full" else method
    named = next((name for name in ("float32", "bfloat16") if name in mode), None)
    precision = "float32" if what == "full" else named or choose_precision(None, width=576, inner=1536, rank=_RANK).name
    train = {"max_steps": steps, "batch_examples": _BATCH[what], "learning_rate": _RATE, "schedule": "constant", "warmup": 0.0}
    train |= {"evaluate_every": 0, "patience": 0, "val_examples": 1, "checkpoint_every": 10_000, "checkpoint_minutes": 0}
    train |= {"batch_tokens": _BATCH[what] * _ROW} if what == "cpt" else {}
    train |= {"optimizer_states": "disk"} if "states on disk" in mode else {}
    train |= {"gradient_checkpointing": True} if "checkpointing" in mode else {}
    train |= {"tokens_at_once": 16} if "one at a time" in mode else {}  # a row is never parted
    timed = Timed()
    train_adapter(
        base,
        chat,
        {"train": rows[:-1], "val": rows[-1:]},
        objective=open_method(kind, options),
        method=MethodConfig.model_validate(method),
        train=TrainConfig.model_validate(train),
        precision=precision,
        place=Place(what, place / "work", place / "out"),
        reporter=timed,
    )
    logged = [json.loads(line) for line in (place / "work" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in logged if "loss" in row]
    assert timed.began
    tokens = sum(json.loads(line)["tokens"] for line in (place / "work" / "timing.jsonl").read_text().splitlines())
    return _figures(what, timed.began, timed.ended, losses) | {"type": precision, "tokens": tokens}


def in_our_order(rows: list[Preference], chat: Chat, batch: int, steps: int) -> list[Preference]:
    """The rows as Tunesmith's batches take them."""
    from tunesmith.train.batches import Batches, Sizes
    from tunesmith.train.method import open_method

    units = open_method("dpo", {"beta": 0.1}).prepare(rows, chat, max_tokens=1024)
    places = {id(unit): n for n, unit in enumerate(units)}
    batches: Any = Batches(units, sizes=Sizes(examples=batch), seed=7, most_tokens=10**9, lay_out=lambda chosen: chosen)
    return [rows[places[id(unit)]] for step in range(steps) for part in batches.at(step) for unit in part]


def run_trl(what: str, mode: str, base_name: str) -> dict[str, Any]:
    """The same through TRL's own trainer, in its fastest order."""
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    base = find_base(base_name)
    chat, count, steps = open_chat(base), _BATCH[what] * _STEPS[what], _STEPS[what]
    tokenizer = chat.tokenizer
    end = tokenizer.convert_ids_to_tokens(chat.turn_end if chat.turn_end is not None else chat.end_ids[0])
    marks: list[tuple[float, float]] = []
    losses: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            marks.append((time.process_time(), time.perf_counter()))

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.process_time(), time.perf_counter()))

        def on_log(self, _a: Any, _s: Any, _c: Any, logs: Any = None, **__: Any) -> None:
            if "loss" in (logs or {}):
                losses.append(logs["loss"])

    common: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "max_steps": steps,
        "per_device_train_batch_size": _BATCH[what],
        "learning_rate": _RATE,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": "checkpointing" in mode,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "seed": 7,
    }
    ours_names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    if "one at a time" in mode:
        common |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": _BATCH[what]}
    lora: Any = LoraConfig(r=_RANK, lora_alpha=_ALPHA, lora_dropout=0.0, target_modules=ours_names, task_type="CAUSAL_LM")
    dtype = torch.bfloat16 if "bfloat16" in mode else torch.float32
    quantised = {}
    if "nf4" in mode:
        quantised["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model: Any = AutoModelForCausalLM.from_pretrained(base.path, dtype=dtype, **quantised)
    tokenizer.eos_token = end
    if what in ("dpo", "losses"):
        from trl import DPOConfig, DPOTrainer

        rows = pairs(chat, count + 1, short=what == "losses")[:-1]
        strategy = "random"
        if what == "losses":
            rows, strategy, model, lora = in_our_order(rows, chat, _BATCH[what], steps), "sequential", _our_start(base), None
        data = [
            {"prompt": chat.render(r.prompt, answer_next=True), "chosen": r.chosen + end, "rejected": r.rejected + end}
            for r in rows
        ]
        own: dict[str, Any] = {"beta": 0.1, "max_length": None, "disable_dropout": True, "train_sampling_strategy": strategy}
        trainer: Any = DPOTrainer(
            model=model,
            args=DPOConfig(**common | own),
            train_dataset=Dataset.from_list(data),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[Clock()],
        )
    elif what == "grpo":
        from trl import GRPOConfig, GRPOTrainer

        def reward(completions: list[str], **_: Any) -> list[float]:
            return [c.count("e") / (1 + len(c)) for c in completions]

        data = [{"prompt": chat.render(q.prompt, answer_next=True)} for q in questions(_BATCH[what])]
        own = {"num_generations": _SAMPLES, "max_completion_length": _NEW, "beta": 0.0, "temperature": 1.0}
        at_once = 1 if "one at a time" in mode else _BATCH[what]  # prompts with their answers
        own |= {"per_device_train_batch_size": at_once * _SAMPLES, "gradient_accumulation_steps": _BATCH[what] // at_once}
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(**common | own),
            train_dataset=Dataset.from_list(data),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[Clock()],
        )
    else:
        from trl import SFTConfig, SFTTrainer

        own = {"max_length": None, "train_sampling_strategy": "group_by_length"}
        if what == "cpt":
            data = [{"text": row.text} for row in texts(chat, count)]
            own = {"max_length": _ROW, "packing": True}
        else:
            coded = [chat.encode(row.messages, max_tokens=1024) for row in examples(chat, count + 1)[:-1]]
            data = [
                {
                    "input_ids": list(r.ids),
                    "labels": [i if mark else -100 for i, mark in zip(r.ids, r.learned, strict=True)],
                }
                for r in coded
            ]
            own |= {"dataset_kwargs": {"skip_prepare_dataset": True}}
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**common | own),
            train_dataset=Dataset.from_list(data),
            processing_class=tokenizer,
            peft_config=None if what == "full" else lora,
            callbacks=[Clock()],
        )
    trainer.train()
    tokens = int(trainer.state.num_input_tokens_seen or 0)
    return _figures(what, marks[0], marks[-1], losses) | {"type": str(dtype).removeprefix("torch."), "tokens": tokens}


def _our_start(base: Any) -> Any:
    """The base in float32 under the adapter that a run of ours begins with."""
    from tunesmith.models.adapters import attach
    from tunesmith.models.load import load_model
    from tunesmith.models.reach import choose_modules

    model = load_model(base, "float32").requires_grad_(False)
    modules = choose_modules(model, "all", "all")
    adapted, _ = attach(model, kind="lora", rank=_RANK, alpha=_ALPHA, dropout=0.0, modules=modules, seed=7)
    return adapted


def _figures(what: str, began: tuple[float, float], ended: tuple[float, float], losses: list[float]) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"cpu": ended[0] - began[0], "wall": ended[1] - began[1], "steps": _STEPS[what], "peak_gib": peak, "losses": losses}


def measured(what: str, mode: str, number: int, given: argparse.Namespace) -> dict[str, Any] | None:
    """One run in a process of its own, or what an earlier call kept of it; None if it is not kept and nothing is to be run."""
    kept = json.loads(given.state.read_text()) if given.state and given.state.exists() else {}
    key = f"{what}, {mode}, run {number}"
    if key not in kept and given.kept:
        return None
    if key not in kept:
        python = given.peer if mode.startswith("TRL") else sys.executable
        command = [python, __file__, what, "--base", given.base, "--run", mode]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{key}: {done.stderr[-2500:]}")
        kept[key] = json.loads(done.stdout.strip().splitlines()[-1])
        if given.state:
            given.state.write_text(json.dumps(kept, indent=1))
    return dict(kept[key])


def rows_of(what: str, runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A line for each mode: medians over its rounds, its processor time in ours, and our memory in its own."""

    def middle(mode: str, name: str) -> float:
        return float(statistics.median(run[name] for run in runs[mode]))

    ours = next(mode for mode in runs if mode.startswith("Tunesmith"))
    lines = []
    for mode, every in runs.items():
        line = {"what": what, "run": mode, "rounds": len(every), "type": every[0]["type"]}
        line |= {"CPU s a step": middle(mode, "cpu") / _STEPS[what], "wall s a step": middle(mode, "wall") / _STEPS[what]}
        line |= {"peak GiB": middle(mode, "peak_gib"), "CPU s / ours": middle(mode, "cpu") / middle(ours, "cpu")}
        line |= {"memory ours / this": middle(ours, "peak_gib") / middle(mode, "peak_gib")}
        lines.append(line)
    if what == "losses":
        both = [every[0]["losses"] for every in runs.values()]
        furthest = max(abs(a - b) for a, b in zip(*both, strict=True))
        print(f"30 steps of DPO: losses differ by at most {furthest:.2e}; the last: {both[0][-1]:.6f} and {both[1][-1]:.6f}")
        lines[-1]["losses differ by at most"] = furthest
        lines[0]["losses differ by at most"] = furthest
    return lines


def main() -> None:
    """What was asked for, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=[*_MODES])
    parser.add_argument("--peer", default=sys.executable, help="Python that has TRL installed")
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--state", type=Path, help="a file that keeps what was measured, so that a later call goes on")
    parser.add_argument("--kept", action="store_true", help="run nothing: the table of what the state holds")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        torch.set_num_threads(1)
        run = run_trl if given.run.startswith("TRL") else run_ours
        print(json.dumps(run(given.what[0], given.run, given.base)))
        return
    table = []
    for what in given.what:
        runs: dict[str, list[dict[str, Any]]] = {}
        for number in range(1 if what == "losses" else given.rounds):
            for mode in _MODES[what]:
                if (run_of := measured(what, mode, number, given)) is None:
                    continue
                runs.setdefault(mode, []).append(run_of)
                print(what, mode, {k: v for k, v in run_of.items() if k != "losses"}, flush=True)
        table += rows_of(what, runs)
    head = list(dict.fromkeys(key for row in table for key in row))
    table = [{key: row.get(key, "") for key in head} for row in table]
    if given.record:
        from record import write_result

        work = {"threads": 1, "adapter": f"LoRA rank {_RANK} on all linear layers", "steps": _STEPS, "batch": _BATCH}
        write_result("methods", {"base": given.base, **work}, table)


if __name__ == "__main__":
    main()
