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


def commands(
    work: Path, shared: Path, *, stable_steps: int, decay_steps: int, polish_steps: int, seed: int
) -> list[tuple[Path, list[str]]]:
    """[(what it leaves behind, the command)], in order."""
    corpus, shards, stable, decayed, final = (work / name for name in ("corpus", "shards", "stable", "decayed", "final"))
    half, whole, package, judged = work / "half", work / "whole", work / "package", work / "judged.json"
    learn = ["pretrain.py", "--shards", str(shards), "--seed", str(seed)]
    going_on = ["--from", str(stable / "latest")] if (stable / "latest").is_dir() else []
    first = ["--out", str(stable), "--steps", str(stable_steps), "--rows", "8", *going_on]
    falling = ["--rows", "12", "--decay"]
    then = ["--out", str(decayed), "--steps", str(decay_steps), *falling, "--from", str(stable / "latest")]
    last = ["--out", str(final), "--steps", str(polish_steps), *falling, "--peak", "0.3", "--from", str(decayed / "latest")]
    pack = ["package.py", "--shards", str(shards), "--checkpoint"]
    packed = [*pack, str(final / "latest"), "--out", str(package)]
    more = ["--questions", "1200"]
    against = ["--against", str(shared / "data/models/bootstrap")]
    return [
        (corpus, ["corpus.py", "--shared", str(shared), "--out", str(corpus)]),
        (corpus / "lessons", ["lessons.py", "--shared", str(shared), "--corpus", str(corpus)]),
        (shards, ["tokenizer.py", "--corpus", str(corpus), "--out", str(shards)]),
        (stable / "done", [*learn, *first]),
        (half, [*pack, str(stable / "latest"), "--out", str(half)]),
        (shards / "own", ["own.py", "--model", str(half), "--corpus", str(corpus), "--shards", str(shards)]),
        (decayed / "done", [*learn, *then]),
        (whole, [*pack, str(decayed / "latest"), "--out", str(whole)]),
        (shards / "own-again", ["own.py", "--model", str(whole), "--corpus", str(corpus), "--shards", str(shards), *more]),
        (final / "done", [*learn, *last]),
        (package, packed),
        (judged, ["judge.py", "--corpus", str(corpus), "--model", str(package), *against, "--out", str(judged)]),
        (work / "done", [*packed, "--judged", str(judged)]),
    ]


def main(given: argparse.Namespace) -> None:
    """Run the commands whose result is missing."""
    given.work.mkdir(parents=True, exist_ok=True)
    steps = {"stable_steps": given.stable_steps, "decay_steps": given.decay_steps, "polish_steps": given.polish_steps}
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
    parser.add_argument("--stable-steps", type=int, default=5700)
    parser.add_argument("--decay-steps", type=int, default=2080)
    parser.add_argument("--polish-steps", type=int, default=350)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
