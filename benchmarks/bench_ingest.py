"""How long `tunesmith ingest` takes, and how much memory: Markdown posts by the thousand, and one large file of JSON lines.

    python benchmarks/bench_ingest.py --posts ../shared/data/writing --num-posts 2000 --documents 1000000

Each run is a process of its own, start included, in an empty project. Posts are copies of those below `--posts`, each with a
line of its own, so that none is left out as a copy; without `--posts` those of `examples/`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from record import write_result

EXAMPLES = Path(__file__).parents[1] / "src" / "tunesmith" / "examples" / "posts"
WORDS_A_DOCUMENT = 60


def write_posts(folder: Path, source: Path, count: int) -> int:
    """Copies of the posts below `source`; returns their size in bytes."""
    posts = sorted(source.rglob("*.md"))
    size = 0
    for number, post in zip(range(count), itertools.cycle(posts), strict=False):
        text = f"{post.read_text(encoding='utf-8')}\n\nThis is copy number {number}.\n"
        (folder / f"{number:05d}.md").write_text(text, encoding="utf-8")
        size += len(text.encode())
    return size


def write_lines(path: Path, count: int) -> int:
    """Short documents of random words, one a line; returns the size of the file in bytes."""
    draw = random.Random(7)
    words = [f"word{number}" for number in range(5000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(draw.choices(words, k=WORDS_A_DOCUMENT))
            file.write(json.dumps({"title": f"Note {number}", "text": f"{text} {number}."}) + "\n")
    return path.stat().st_size


def run(source: Path) -> tuple[float, float, int]:
    """Seconds, peak memory in MiB of the process and what it starts, and how many documents came out."""
    with tempfile.TemporaryDirectory() as project:
        command = [sys.executable, "-c", "from tunesmith.cli.main import main; main()"]
        command += ["ingest", str(source), "--project", project, "--json"]
        answer = Path(project, "answer.json")
        begin = time.perf_counter()
        to_file = (os.POSIX_SPAWN_OPEN, 1, str(answer), os.O_WRONLY | os.O_CREAT, 0o600)
        to_nowhere = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0o600)
        process = os.posix_spawn(sys.executable, command, os.environ, file_actions=[to_file, to_nowhere])
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - begin
        if status:
            sys.exit(f"ingest failed with status {status}")
        found = json.loads(answer.read_bytes())
        if found["failed"]:
            sys.exit(f"{len(found['failed'])} files could not be used, the first: {found['failed'][0]}")
        return seconds, usage.ru_maxrss / 1024, found["documents"]


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=Path, default=EXAMPLES)
    parser.add_argument("--num-posts", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=0, help="lines of one JSONL file; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        posts = Path(folder, "posts")
        posts.mkdir()
        sources = [("Markdown posts", posts, write_posts(posts, options.posts, options.num_posts), options.repeats)]
        if options.documents:
            lines = Path(folder, "documents.jsonl")
            sources.append(("lines of one JSONL file", lines, write_lines(lines, options.documents), 1))
        for name, source, size, repeats in sources:
            runs = [run(source) for _ in range(repeats)]
            seconds = statistics.median(one[0] for one in runs)
            rows.append(
                {
                    "source": name,
                    "documents": runs[0][2],
                    "megabytes": size / 1e6,
                    "seconds": seconds,
                    "documents a second": runs[0][2] / seconds,
                    "peak MiB": max(one[1] for one in runs),
                    "runs_s": [round(one[0], 2) for one in runs],
                }
            )
    write_result("ingest", {"posts": options.num_posts, "repeats": options.repeats}, rows)


if __name__ == "__main__":
    main()
