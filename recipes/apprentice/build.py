"""From raw corpus to packaged weights in one command: `python build.py --work work`. What is there is not made again."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["commands", "main"]

log = logging.getLogger("apprentice.build")

POLISH_PEAK = 0.25  # of the full learning rate, falling to nothing within each round


def commands(
    work: Path, shared: Path, *, stable_steps: int, decay_steps: int, polish_steps: int, rounds: int, seed: int
) -> list[tuple[Path, list[str]]]:
    """[(what it leaves behind, the command)], in order."""
    corpus, shards, stable, decayed = (work / name for name in ("corpus", "shards", "stable", "decayed"))
    package, judged = work / "package", work / "judged.json"
    learn = ["pretrain.py", "--shards", str(shards), "--seed", str(seed)]
    falling = ["--rows", "16", "--decay"]
    against = ["--against", str(shared / "data/models/bootstrap")]

    def pack(phase: Path, out: Path) -> list[str]:
        return ["package.py", "--shards", str(shards), "--checkpoint", str(phase / "latest"), "--out", str(out)]

    def own(model: Path, number: int, questions: int) -> list[str]:
        where = ["--model", str(model), "--corpus", str(corpus), "--shards", str(shards)]
        return ["own.py", *where, "--round", str(number), "--questions", str(questions)]

    def phase(out: Path, before: Path, steps: int, *how: str) -> list[str]:
        start = out if (out / "latest").is_dir() else before  # cut off: it goes on from its own checkpoint
        return [*learn, "--out", str(out), "--steps", str(steps), *falling, *how, "--from", str(start / "latest")]

    going_on = ["--from", str(stable / "latest")] if (stable / "latest").is_dir() else []
    made = [
        (corpus, ["corpus.py", "--shared", str(shared), "--out", str(corpus)]),
        (corpus / "lessons", ["lessons.py", "--shared", str(shared), "--corpus", str(corpus)]),
        (shards, ["tokenizer.py", "--corpus", str(corpus), "--out", str(shards)]),
        (stable / "done", [*learn, "--out", str(stable), "--steps", str(stable_steps), "--rows", "16", *going_on]),
        (work / "half", pack(stable, work / "half")),
        (shards / "own-0", own(work / "half", 0, 600)),
        (decayed / "done", phase(decayed, stable, decay_steps)),
    ]
    last = decayed
    for number in range(1, rounds + 1):
        name, mix = ("finished", "finish") if number == rounds else ("polished", "polish")
        whole, polished = work / f"whole-{number}", work / f"{name}-{number}"
        how = ("--mix", mix, "--peak", str(POLISH_PEAK))
        made += [
            (whole, pack(last, whole)),
            (shards / f"own-{number}", own(whole, number, 1000)),
            (polished / "done", phase(polished, last, polish_steps, *how)),
        ]
        last = polished
    return [
        *made,
        (package / last.name, pack(last, package)),  # with more rounds than last time, all three are made anew
        (judged / last.name, ["judge.py", "--corpus", str(corpus), "--model", str(package), *against, "--out", str(judged)]),
        (work / f"done-{last.name}", [*pack(last, package), "--judged", str(judged)]),
    ]


def main(given: argparse.Namespace) -> None:
    """Run the commands whose result is missing."""
    given.work.mkdir(parents=True, exist_ok=True)
    steps = {
        "stable_steps": given.stable_steps,
        "decay_steps": given.decay_steps,
        "polish_steps": given.polish_steps,
        "rounds": given.rounds,
    }
    todo = commands(given.work, given.shared, **steps, seed=given.seed)
    for left_behind, command in todo:
        marker = given.work / f".{left_behind.parent.name}-{left_behind.name}.done"
        if marker.exists():
            log.info("there already: %s", left_behind)
            continue
        log.info("%s", " ".join(command))
        subprocess.run([sys.executable, str(Path(__file__).with_name(command[0])), *command[1:]], check=True)
        marker.touch()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("TUNESMITH_SHARED", "../../../shared")))
    parser.add_argument("--stable-steps", type=int, default=8000)
    parser.add_argument("--decay-steps", type=int, default=1100)
    parser.add_argument("--polish-steps", type=int, default=110, help="of each round")
    parser.add_argument("--rounds", type=int, default=7, help="of polish: own answers, then steps that learn from them")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
