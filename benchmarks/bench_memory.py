"""Is the plan's memory the memory that a command takes: each configuration in a fresh process, planned beside measured.

Training, merging and evaluation run with few steps, rows and answers; the largest resident size of each stage is read from
the kernel and set back before the next one (Linux). The sample posts are the data; for preferences, pieces of them.

    python benchmarks/bench_memory.py --base FOLDER --state FILE --project FOLDER --record

A call with the same state and project continues; with `--replan` it measures nothing and plans again beside what was measured.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FEW = {"train.max_steps": 3, "train.val_examples": 8, "eval.max_items": 6, "eval.max_new_tokens": 24, "train.patience": 0}
FEW |= {"use.temperature": 0.7, "use.top_p": 0.9, "use.repetition_penalty": 1.1}  # nothing is to be chosen
FEW |= {"eval.suites": "[]", "mix.own_answers": False}  # minutes of answers, with no more memory than those that are asked
FLOAT32 = {"train.precision": "float32"}
WHOLE_POSTS = {"build.passage_words": 400}
REWARDS = "REWARDS"  # a file's, which `opened` writes: the share of the letter e
DRAWN = {"objective.rewards": REWARDS, "train.batch_examples": 2, "train.max_steps": 2, "train.val_examples": 4}
PAIRS = {"train.batch_examples": 2, "train.max_steps": 2}  # each is a part of its own
OF_PAIRS = ("dpo", "simpo", "orpo", "reward")
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "embedded base": ("apprentice", FLOAT32),
    "embedded base, batch of 32": ("apprentice", FLOAT32 | {"train.batch_examples": 32}),
    "batch of 8": ("real", FLOAT32),
    "batch of 2": ("real", FLOAT32 | {"train.batch_examples": 2}),
    "top 10 layers": ("real", FLOAT32 | {"method.layers": 10}),
    "attention alone": ("real", FLOAT32 | {"method.targets": "attention"}),
    "checkpointing": ("real", FLOAT32 | {"train.gradient_checkpointing": True}),
    "bfloat16, batch of 2": ("real", {"train.precision": "bfloat16", "train.batch_examples": 2, "train.max_steps": 2}),
    "long examples": ("real", FLOAT32 | WHOLE_POSTS | {"train.batch_examples": 4}),
    "2,048 tokens at once": ("real", FLOAT32 | {"train.batch_examples": 16, "train.tokens_at_once": 2048}),
    "suite of general questions": ("real", FLOAT32 | {"eval.suites": '["general"]', "train.max_steps": 2}),
    "dora": ("real", FLOAT32 | {"method.kind": "dora"}),
    "qlora": ("real", {"method.quantise": "nf4"}),
    "full": ("real", {"method.kind": "full", "train.learning_rate": 1e-5}),
    "full, states on disk": (
        "real",
        {"method.kind": "full", "train.learning_rate": 1e-5, "train.optimizer_states": "disk"},
    ),
    "cpt": ("real", FLOAT32 | {"objective.kind": "cpt"}),
    "adalora": ("real", FLOAT32 | {"method.kind": "adalora", "train.max_steps": 10, "train.batch_examples": 2}),
    "dpo": ("real", FLOAT32 | PAIRS | {"objective.kind": "dpo"}),
    "orpo": ("real", FLOAT32 | PAIRS | {"objective.kind": "orpo"}),
    "reward": ("real", FLOAT32 | PAIRS | {"objective.kind": "reward"}),
    "grpo": ("real", FLOAT32 | DRAWN | {"objective.kind": "grpo", "objective.samples": 4, "objective.max_new_tokens": 32}),
    "gkd, its own base as teacher": (
        "real",
        FLOAT32
        | {
            "objective.kind": "gkd",
            "objective.teacher": "BASE",
            "objective.max_new_tokens": 32,
            "train.batch_examples": 2,
            "train.max_steps": 2,
        },
    ),
    "20 items, answers of 200": ("real", FLOAT32 | {"eval.max_items": 20, "eval.max_new_tokens": 200, "train.max_steps": 1}),
}
_POSTS = Path(__file__).parents[1] / "src" / "tunesmith" / "examples" / "posts"
STAGES = ("training", "merging", "evaluation")
GIB = 2**30


def pairs_of_posts(folder: Path) -> Path:
    """A file of 24 preferences: of 230 words of the posts 90 are in the prompt, 60 in the chosen answer, 80 in the rejected."""
    words = [word for path in sorted(_POSTS.rglob("*.md")) for word in path.read_text(encoding="utf-8").split()]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pairs.jsonl"
    rows = []
    for n in range(0, 24 * 230, 230):
        asked, better, worse = (" ".join(words[n + a : n + b]) for a, b in ((0, 90), (90, 150), (150, 230)))
        rows.append({"prompt": f"Continue this text:\n\n{asked}", "chosen": better, "rejected": worse})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def opened(base: str, settings: dict[str, Any], project: Path) -> Any:
    """The project of a configuration; its folder holds the datasets of all."""
    from tunesmith.api import Project
    from tunesmith.pipeline.recipe_file import recipe_from

    settings = {name: base if value == "BASE" else value for name, value in settings.items()}
    if settings.get("objective.rewards") == REWARDS:
        file = project / "rewards.py"
        project.mkdir(parents=True, exist_ok=True)
        file.write_text("def reward(answer):\n    return answer.count('e') / (1 + len(answer))\n", encoding="utf-8")
        settings["objective.rewards"] = json.dumps([{"file": str(file), "name": "reward"}])
    if settings.get("objective.kind") == "reward":  # its model writes no answers
        settings = {name: value for name, value in settings.items() if not name.startswith(("eval.", "use."))}
    overrides = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in settings.items()]
    pairs = settings.get("objective.kind") in OF_PAIRS
    source = pairs_of_posts(project) if pairs else _POSTS
    if pairs:
        overrides += ["build.dedup=0", "split.by=row"]
    return Project(recipe_from({"sources": [str(source)], "base": base}, overrides), project)


def measure(base: str, settings: dict[str, Any], project: Path, last: str = STAGES[-1]) -> dict[str, Any]:
    """Plan, train, merge and evaluate in this process: planned and measured bytes and seconds of each stage, up to `last`."""
    from tunesmith.models.memory import release_memory

    made = opened(base, settings, project)
    numbers = made.plan.numbers
    found: dict[str, Any] = {"planned": dict(numbers["stage_bytes"]), "measured": {}, "cpu_s": {}, "busy": numbers["busy"]}
    found["planned_s"] = {
        "training": numbers["seconds"] + numbers["validation_seconds"],
        "evaluation": numbers["evaluation_seconds"],
    }
    for name, stage in zip(STAGES, ("run", "model", "outcome"), strict=True):
        release_memory()  # what the stage before left is not this stage's
        Path("/proc/self/clear_refs").write_text("5")
        begin = time.process_time()
        getattr(made, stage)
        found["cpu_s"][name] = time.process_time() - begin
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if peak is None:
            raise OSError("the kernel does not tell the peak of this process")
        found["measured"][name] = 1024 * int(peak[1])
        if name == last:
            break
    return found


def row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """A line of the table: GiB planned and measured, stage by stage and for the whole command."""
    measured = found["measured"]
    planned = {stage: found["planned"][stage] for stage in measured}
    line: dict[str, Any] = {"configuration": name}
    for stage in STAGES:
        both = (f"{of[stage] / GIB:.2f}" if stage in of else "" for of in (planned, measured))
        line[f"{stage} planned"], line[stage] = both
    whole = max(planned.values()), max(measured.values())
    line["peak planned"], line["peak"] = (f"{size / GIB:.2f}" for size in whole)
    return line | {"off": f"{whole[0] / whole[1] - 1:+.0%}"}


def main() -> None:
    """Run the configurations that were asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="folder or id of the real base; without it the embedded one alone is measured")
    parser.add_argument("--only", action="append", choices=[*CONFIGURATIONS], help="one configuration; may be given again")
    parser.add_argument("--last", choices=STAGES, default=STAGES[-1], help="leave out what comes after this stage")
    parser.add_argument("--state", type=Path, help="a file that keeps what was measured, so that a later call goes on")
    parser.add_argument("--project", type=Path, help="a folder that keeps dataset and runs, so that a later call goes on")
    parser.add_argument("--replan", action="store_true", help="measure nothing: plan again what the state holds")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "PROJECT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        kind, settings = CONFIGURATIONS[asked.one[0]]
        base = asked.base if kind == "real" else kind
        print(json.dumps(measure(base, FEW | settings, Path(asked.one[1]), asked.last)))
        return
    known = json.loads(asked.state.read_text()) if asked.state and asked.state.exists() else {}
    with tempfile.TemporaryDirectory() as kept:  # of all, so that the dataset is made once
        project = str(asked.project or kept)
        for name in asked.only or [n for n, (kind, _) in CONFIGURATIONS.items() if asked.base or kind != "real"]:
            if asked.replan and name in known:
                kind, settings = CONFIGURATIONS[name]
                made = opened(asked.base if kind == "real" else kind, FEW | settings, Path(project))
                known[name]["planned"] = dict(made.plan.numbers["stage_bytes"])
            elif asked.replan:
                continue
            elif name not in known:
                command = [sys.executable, __file__, "--base", asked.base or "", "--last", asked.last, "--one", name, project]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                known[name] = json.loads(done.stdout.splitlines()[-1])
                if asked.state:
                    asked.state.write_text(json.dumps(known, indent=1))
            print(json.dumps(row(name, known[name])), flush=True)
    if asked.record:
        from record import write_result

        rows = [row(name, found) | {"all": [found]} for name, found in known.items()]
        write_result("memory", {"data": "the sample posts", **FEW}, rows)


if __name__ == "__main__":
    main()
