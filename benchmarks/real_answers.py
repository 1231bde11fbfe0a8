"""The answers of a whole evaluation on a real base: four systems, all test items, ours against `model.generate`.

Systems: base, base under a system text with passages of the author's, base with adapter, merged. The library gets what it is
fastest with: prompts sorted by length and filled up on the left, key-value cache, inference mode, end tokens that stop a row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from record import write_result
from tunesmith.core.records import Example, digest, read_jsonl
from tunesmith.eval.evaluate import choose_items
from tunesmith.models.adapters import open_adapter, without_adapter
from tunesmith.models.chat import open_chat
from tunesmith.models.generate import cache_budget
from tunesmith.models.generation.engine import Engine, Limits
from tunesmith.models.generation.fits import fits
from tunesmith.models.generation.requests import Job
from tunesmith.models.load import find_base, load_model
from tunesmith.systems.prompted import style_prompts

__all__ = ["SYSTEMS", "Answers", "RealWork", "evaluate"]

SYSTEMS = ("base", "prompted", "tuned", "merged")
_SLOTS = 256
_TOGETHER = {"base": ("base", "tuned"), "prompted": ("prompted",), "merged": ("merged",)}  # what the evaluation asks at once


@dataclass(frozen=True, slots=True)
class Answers:
    """Tokens of every answer (a system after the other), and what they took: wall seconds, seconds of processor time."""

    tokens: list[list[int]]
    seconds: float
    cpu_seconds: float

    @property
    def num_tokens(self) -> int:
        """Tokens of all answers, end tokens included."""
        return sum(map(len, self.tokens))

    def marks(self) -> list[str]:
        """A short hash of every answer, so that two runs can be compared."""
        return [digest(str(answer))[:8] for answer in self.tokens]


class RealWork:
    """A base, an adapter on it, and the items of a dataset's test split. Answers end at `tokens` at most."""

    def __init__(self, base: str, adapter: Path, dataset: Path, tokens: int) -> None:
        folder = find_base(base)
        self.room, self.adapter = tokens, adapter
        chat = open_chat(folder)
        train, test = (list(read_jsonl(dataset / f"{name}.jsonl", Example)) for name in ("train", "test"))
        items = choose_items(test, 0)
        shown = style_prompts(chat, train, items, context=folder.context, room=tokens)
        assert shown is not None, "no training passage fits into the prompt"
        plain = [tuple(chat.encode_prompt(item.prompt)) for item in items]
        prompted = [tuple(chat.encode_prompt(prompt)) for prompt in shown.prompts]
        self.prompts = {"base": plain, "prompted": prompted, "tuned": plain, "merged": plain}
        self.ends, self.pad = chat.end_ids, chat.pad_id
        self._folder = folder
        self._models: dict[bool, Any] = {}

    def model(self, system: str) -> Any:
        """The model behind a system: one with the adapter, which can be switched off, or the merged one."""
        merged = system == "merged"
        if merged not in self._models:
            model = open_adapter(load_model(self._folder, "float32"), self.adapter).eval()
            self._models = {merged: model.merge_and_unload(safe_merge=True) if merged else model}
        return self._models[merged]

    def by_library(self, system: str, batch: int, cache: str) -> Answers:
        """One system's answers by `model.generate`, `batch` prompts at a time."""
        model, prompts = self.model(system), self.prompts[system]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        settings = GenerationConfig(
            max_new_tokens=self.room,
            do_sample=False,
            pad_token_id=self.pad,
            eos_token_id=sorted(self.ends),
            cache_implementation=None if cache == "dynamic" else cache,
        )
        said: list[list[int]] = [[] for _ in prompts]
        wall, cpu = time.perf_counter(), time.process_time()
        with nullcontext(model) if system in ("tuned", "merged") else without_adapter(model), torch.inference_mode():
            for begin in range(0, len(order), batch):
                chosen = order[begin : begin + batch]
                longest = max(len(prompts[i]) for i in chosen)
                ids = torch.tensor([[self.pad] * (longest - len(prompts[i])) + list(prompts[i]) for i in chosen])
                mask = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen])
                made = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)[:, longest:]
                for number, row in zip(chosen, made.tolist(), strict=True):
                    said[number] = self._until_end(row)
        return Answers(said, time.perf_counter() - wall, time.process_time() - cpu)

    def by_slots(self, systems: Sequence[str]) -> Answers:
        """The answers of systems that share a model, as the evaluation makes them; the trial of the model included."""
        model = self.model(systems[0])
        which = [(system, prompt) for system in systems for prompt in self.prompts[system]]
        alone = [system in ("base", "prompted") for system in systems]
        jobs = [Job(prompt, self.room, adapter=system in ("tuned", "merged")) for system, prompt in which]
        said: list[list[int]] = [[] for _ in which]
        wall, cpu = time.perf_counter(), time.process_time()
        limits = Limits(_SLOTS, fits(model).bytes_per_token, cache_budget(model.device))
        with without_adapter(model) if all(alone) else nullcontext(model):
            engine = Engine(model, jobs, ends=lambda job, tokens: tokens[-1] in self.ends, limits=limits)
            for made in engine.run():
                for one in made:
                    said[one.job].append(one.token)
        return Answers(said, time.perf_counter() - wall, time.process_time() - cpu)

    def _until_end(self, row: Sequence[int]) -> list[int]:
        end = next((at for at, token in enumerate(row, start=1) if token in self.ends), len(row))
        return list(row[:end])


def evaluate(words: Sequence[str]) -> None:
    """`evaluate STATE.jsonl --base FOLDER --adapter FOLDER --dataset FOLDER PIECE ...`, or `--report` instead of pieces."""
    parser = argparse.ArgumentParser(prog="bench_generate.py evaluate")
    parser.add_argument("state", type=Path)
    for name in ("--base", "--adapter", "--dataset"):
        parser.add_argument(name, default="")
    parser.add_argument("--tokens", type=int, default=220, help="tokens of an answer at most")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("pieces", nargs="*", help="ours, library-B or library-B-CACHE, each with /SYSTEM for one system")
    given = parser.parse_intermixed_args(words)
    if given.report:
        _report(given.state)
        return
    work = RealWork(given.base, Path(given.adapter), Path(given.dataset), given.tokens)
    for piece in given.pieces or ["library-42", "ours"]:
        way, _, only = piece.partition("/")
        if way == "ours":
            for systems in [_TOGETHER[only]] if only else _TOGETHER.values():
                _note(given.state, work, way, systems, work.by_slots(systems))
        else:
            _, size, cache = [*way.split("-"), "dynamic"][:3]
            for system in [only] if only else SYSTEMS:
                _note(given.state, work, way, (system,), work.by_library(system, int(size), cache))


def _note(state: Path, work: RealWork, way: str, systems: Sequence[str], made: Answers) -> None:
    """Add a measurement to the state file."""
    row = {"way": way, "systems": list(systems), "limit": work.room, "tokens": made.num_tokens, "seconds": made.seconds}
    row |= {"cpu_seconds": made.cpu_seconds, "marks": made.marks(), "lengths": [len(answer) for answer in made.tokens]}
    with state.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(
        f"{way} {'+'.join(systems)}: {made.num_tokens} tokens, {made.seconds:.0f} s, {made.cpu_seconds:.0f} CPU s", flush=True
    )


def _report(state: Path) -> None:
    """The best of each way's takes, by system and for all, and how many answers are the same."""
    done = [json.loads(line) for line in state.read_text().splitlines()]
    ways = sorted({row["way"] for row in done}, key=lambda way: way != "ours")
    marks = {name: m for row in done if row["way"] == "ours" for name, m in _by_system(row)}
    rows = []
    for systems in [*map(list, _TOGETHER.values()), list(SYSTEMS)]:
        own: dict[str, float] | None = None
        for way in ways:
            takes = {name: [row for row in done if row["way"] == way and name in row["systems"]] for name in systems}
            if not all(takes.values()):
                continue
            best = {name: min(found, key=lambda row: row["cpu_seconds"]) for name, found in takes.items()}
            used = {id(row): row for row in best.values()}.values()
            cost = {key: sum(row[key] for row in used) for key in ("cpu_seconds", "seconds")}
            own = own or cost
            same = [m == n for name, row in best.items() for m, n in zip(dict(_by_system(row))[name], marks[name], strict=True)]
            lengths = [n for row in used for n in row["lengths"]]
            rows.append(
                {
                    "systems": " + ".join(systems),
                    "way": way,
                    "takes": min(map(len, takes.values())),
                    "cpu_s": cost["cpu_seconds"],
                    "wall_s": cost["seconds"],
                    "tokens_per_cpu_s": sum(lengths) / cost["cpu_seconds"],
                    "ours_is_times_as_fast": cost["cpu_seconds"] / own["cpu_seconds"],
                    "answers_same_as_ours": f"{sum(same)} of {len(same)}",
                    "answer_tokens": f"median {statistics.median(lengths):.0f}, {min(lengths)} to {max(lengths)}",
                }
            )
    facts = {"items": len(marks["base"]), "new_tokens": done[0]["limit"], "slots": _SLOTS, "threads": torch.get_num_threads()}
    write_result("generate", {**facts, "figures": "the take with the least processor time of each piece"}, rows)


def _by_system(row: dict[str, Any]) -> list[tuple[str, list[str]]]:
    share = len(row["marks"]) // len(row["systems"])
    return [(name, row["marks"][n * share : (n + 1) * share]) for n, name in enumerate(row["systems"])]
