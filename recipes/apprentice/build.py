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


def commands(work: Path, shared: Path, *, stable_steps: int, decay_steps: int, seed: int) -> list[tuple[Path, list[str]]]:
    """[(what it leaves behind, the command)], in order."""
    shards, stable, final, package = work / "shards", work / "stable", work / "final", work / "package"
    judged = work / "judged.json"
    bootstrap = shared / "data/models/bootstrap"
    learn = ["pretrain.py", "--shards", str(shards), "--seed", str(seed)]
    pack = ["package.py", "--checkpoint", str(final / "latest"), "--shards", str(shards), "--out", str(package)]
    going_on = ["--from", str(stable / "latest")] if (stable / "latest").is_dir() else []
    return [
        (work / "corpus", ["corpus.py", "--shared", str(shared), "--out", str(work / "corpus")]),
        (shards, ["tokenizer.py", "--corpus", str(work / "corpus"), "--out", str(shards)]),
        (stable / "done", [*learn, "--out", str(stable), "--steps", str(stable_steps), "--rows", "8", *going_on]),
        (
            final / "done",
            [
                *learn,
                "--out",
                str(final),
                "--steps",
                str(decay_steps),
                "--rows",
                "12",
                "--decay",
                "--from",
                str(stable / "latest"),
            ],
        ),
        (package, pack),
        (
            judged,
            [
                "judge.py",
                "--corpus",
                str(work / "corpus"),
                "--model",
                str(package),
                "--against",
                str(bootstrap),
                "--out",
                str(judged),
            ],
        ),
        (work / "done", [*pack, "--judged", str(judged)]),
    ]


def main(given: argparse.Namespace) -> None:
    """Run the commands whose result is missing."""
    given.work.mkdir(parents=True, exist_ok=True)
    todo = commands(given.work, given.shared, stable_steps=given.stable_steps, decay_steps=given.decay_steps, seed=given.seed)
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
    parser.add_argument("--stable-steps", type=int, default=2133)
    parser.add_argument("--decay-steps", type=int, default=1487)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
