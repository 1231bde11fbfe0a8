"""Near-duplicate search against datasketch and against text-dedup's minhash script, on the same file, each as one whole run.

Usage: python benchmarks/bench_dedup.py FILE.jsonl[.xz] [rounds] [--peer PYTHON]

FILE holds rows with `text`, of about the length of a blog post. PYTHON is an interpreter that has datasketch and text-dedup
(their requirements are not ours); without it, or where one of them does not import there, that peer is said to be not measured.
Each run is a process of its own that reads the file, finds the pairs and counts them; the time is that of the whole process.
Peers: 240 permutations, 40 bands of 6 rows, runs of 5 words. datasketch's candidates are compared exactly as ours are;
text-dedup's script compares none and writes the kept rows.
"""

from __future__ import annotations

import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import write_result

_OURS = "import sys; from tunesmith.cli.main import main; main(['dedup', sys.argv[1], '--workers', sys.argv[2], '--json'])"
_DATASKETCH = """
import json, re, sys
from datasketch import MinHash, MinHashLSH
runs, signatures = [], []
lsh = MinHashLSH(num_perm=240, params=(40, 6))
for line in open(sys.argv[1], "rb"):
    words = re.findall(r"[^\\W_]+", json.loads(line)["text"].lower())
    runs.append({" ".join(words[i:i + 5]) for i in range(max(1, len(words) - 4))})
pairs = 0
for number, signature in enumerate(MinHash.bulk([[run.encode() for run in some] for some in runs], num_perm=240)):
    for other in lsh.query(signature):
        shared = len(runs[number] & runs[other])
        pairs += shared / (len(runs[number]) + len(runs[other]) - shared) >= 0.8
    lsh.insert(number, signature)
print(json.dumps({"n": len(runs), "pairs": pairs}))
"""
_COPIES = 5


def main() -> None:
    """Time all in turn and write the result file."""
    words = sys.argv[1:]
    peer = words.pop(words.index("--peer") + 1) if "--peer" in words else ""
    words = [word for word in words if word != "--peer"]
    rounds = int(words[1]) if len(words) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        small, large = prepare(Path(words[0]), Path(folder))
        runs = {
            "tunesmith, 2 threads": [sys.executable, "-c", _OURS, str(small), "2"],
            "tunesmith, 1 thread": [sys.executable, "-c", _OURS, str(small), "1"],
            f"tunesmith, 2 threads, {_COPIES} × the rows": [sys.executable, "-c", _OURS, str(large), "2"],
        }
        if imports(peer, "datasketch"):
            runs["datasketch"] = [peer, "-c", _DATASKETCH, str(small)]
        if imports(peer, "text_dedup.minhash"):
            runs["text-dedup, minhash script, 2 processes"] = text_dedup(peer, small, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        told: dict[str, dict[str, object]] = {}
        for _ in range(rounds):
            for name, command in runs.items():
                took, told[name] = timed(command)
                seconds[name].append(took)
        num_small, size = count(small)
        rows = [
            {
                "run": name,
                "rows": num_small * (_COPIES if name.endswith("rows") else 1),
                "pairs": told[name].get("pairs", "not told"),
                "median_s": statistics.median(times),
                "rows_per_s": num_small * (_COPIES if name.endswith("rows") else 1) / statistics.median(times),
                "runs_s": times,
            }
            for name, times in seconds.items()
        ]
        missing = [name for name in ("datasketch", "text-dedup") if not any(run.startswith(name) for run in runs)]
        work = {"rows": num_small, "characters_a_row": round(size / num_small), "rounds": rounds}
        work["not measured"] = ", ".join(missing) or "none"
        sys.argv[1:] = [Path(words[0]).name, str(rounds), *(["--peer", "PYTHON"] if peer else [])]  # no paths of this machine
        write_result("dedup", work, rows)


def prepare(file: Path, folder: Path) -> tuple[Path, Path]:
    """The rows as JSON lines; and a file several times as long, in whose further rows every fourth word is changed."""
    with lzma.open(file) if file.suffix == ".xz" else file.open("rb") as source:
        texts = [json.loads(line)["text"] for line in source]
    small, large = folder / "small.jsonl", folder / "large.jsonl"
    small.write_text("".join(json.dumps({"id": f"{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    with large.open("w") as target:
        for copy in range(_COPIES):
            for number, text in enumerate(texts):
                said = text.split(" ")
                if copy:
                    said[copy % 4 :: 4] = [f"{word}{copy}" for word in said[copy % 4 :: 4]]
                target.write(json.dumps({"id": f"{copy}/{number}", "text": " ".join(said)}) + "\n")
    return small, large


def count(file: Path) -> tuple[int, int]:
    """Rows and characters of their texts."""
    texts = [json.loads(line)["text"] for line in file.open("rb")]
    return len(texts), sum(map(len, texts))


def imports(peer: str, module: str) -> bool:
    """Whether the interpreter is there and has the module."""
    return bool(peer) and subprocess.run([peer, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def text_dedup(peer: str, file: Path, folder: Path) -> list[str]:
    """The command of text-dedup's script for the same settings."""
    places = ["--path", "json", "--data_files", str(file), "--split", "train", "--output", str(folder / "out")]
    places += ["--cache_dir", str(folder / "cache"), "--column", "text", "--batch_size", "10000", "--num_proc", "2"]
    shape = ["--num_perm", "240", "--b", "40", "--r", "6", "--ngram", "5", "--min_length", "0", "--threshold", "0.8"]
    return [peer, "-m", "text_dedup.minhash", *places, *shape]


def timed(command: list[str]) -> tuple[float, dict[str, object]]:
    """Seconds of the whole process, and what it printed as JSON."""
    begin = time.perf_counter()
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=quiet)
    took = time.perf_counter() - begin
    line = done.stdout.strip().split("\n")[-1] if done.stdout.strip() else ""
    return took, json.loads(line) if line.startswith("{") else {}


if __name__ == "__main__":
    main()
