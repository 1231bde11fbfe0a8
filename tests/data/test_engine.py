"""Engines map one function in order, keep little in flight, and find the same; Ray where it is installed."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import pytest
from near_copies import prose, with_changes

from tunesmith.core.errors import DatasetError
from tunesmith.data.similar.engine import engine_named, local_engine
from tunesmith.data.similar.files import dedup_files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    texts = [prose(n, 30 + n % 200) for n in range(300)]
    texts += [with_changes(text, 1, n) for n, text in enumerate(texts[::3])]
    random.Random(1).shuffle(texts)
    path.write_bytes(b"".join(orjson.dumps({"id": n, "text": text}) + b"\n" for n, text in enumerate(texts)))
    return path


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_work(workers: int) -> None:
    assert list(local_engine(workers)(lambda n: n * n, range(100))) == [n * n for n in range(100)]


def test_few_pieces_are_in_flight_however_long_the_work() -> None:
    begun, taken, most = 0, 0, 0
    lock = threading.Lock()

    def work(n: int) -> int:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - taken)
        return n

    for _ in local_engine(2)(work, range(500)):
        with lock:
            taken += 1
    assert begun == 500 and most <= 6


def test_an_error_in_the_work_comes_out() -> None:
    def fail(n: int) -> int:
        raise DatasetError("broken", value=n, expected="whole", hint="mend it")

    with pytest.raises(DatasetError, match="broken"):
        list(local_engine(3)(fail, range(10)))


def test_small_pieces_and_many_workers_find_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dedup_files([file], threshold=0.8, engine=local_engine(1))
    monkeypatch.setattr("tunesmith.data.similar.row_pieces._PIECE_BYTES", 700)
    monkeypatch.setattr("tunesmith.data.similar.search._JOB_PAIRS", 3)
    pieces = dedup_files([file], threshold=0.8, engine=local_engine(4))
    assert len(whole.clusters) > 50
    assert (pieces.clusters, pieces.removed, pieces.found.num_pairs) == (whole.clusters, whole.removed, whole.found.num_pairs)


def test_an_engine_that_is_not_installed_or_not_known_is_said() -> None:
    with pytest.raises(DatasetError, match="unknown engine"):
        engine_named("spark")
    code = "import sys; sys.modules['ray'] = None; from tunesmith.data.similar.engine import ray_engine; ray_engine()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the engine 'ray' is not installed" in done.stderr and "[ray]" in done.stderr


@pytest.mark.nightly
def test_ray_finds_the_same_ids_as_the_local_engine(file: Path) -> None:
    """In a process of its own: Ray starts daemons and threads that would outlive the test."""
    pytest.importorskip("ray.data", reason="needs the extra ray: pip install -c constraints.txt -e '.[ray]'")
    code = (
        "import json, sys; from pathlib import Path; from tunesmith.data.similar.files import dedup_files\n"
        "from tunesmith.data.similar.engine import engine_named\n"
        "found = dedup_files([Path(sys.argv[1])], threshold=0.8, engine=engine_named('ray'))\n"
        "print(json.dumps([found.clusters, found.removed, found.found.num_pairs]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    whole = dedup_files([file], threshold=0.8, engine=local_engine(1))
    clusters, removed, num_pairs = orjson.loads(done.stdout.strip().split("\n")[-1])
    assert tuple(map(tuple, clusters)) == whole.clusters and num_pairs == whole.found.num_pairs
    assert tuple(map(tuple, removed)) == whole.removed
