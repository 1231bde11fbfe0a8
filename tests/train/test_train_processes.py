"""Several processes make the steps that one process makes: the same losses, the same weights, each unit learned once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from fakes import Told, preferences, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.models.chat import Encoded
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train import loop as loop_module
from tunesmith.train.batches import Batches, Sizes
from tunesmith.train.divisible import refuse_undivided
from tunesmith.train.method import open_method
from tunesmith.train.processes import Alone, part_of
from tunesmith.train.several import Several
from tunesmith.train.units import Batch, Unit

HERE = Path(__file__).parent
TWO = {"max_steps": 2, "evaluate_every": 0}
FULL: dict[str, Any] = {"method": {"kind": "full"}, "train": {**TWO, "learning_rate": 0.001, "weight_decay": 0.01}}
LORA: dict[str, Any] = {"method": {"dropout": 0}, "train": {"evaluate_every": 3, "tokens_at_once": 200, "max_grad_norm": 0.5}}
RUNS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "scaled": {**LORA, "train": {**LORA["train"], "gain_kept": 0.5}},
    "one unit a step": {"method": {"dropout": 0, "lora_plus": 4}, "train": {**TWO, "batch_examples": 1}},
    "full": FULL,
    "dpo": {"method": {"dropout": 0}, "objective": {"kind": "dpo"}, "train": TWO, "preferences": True},
    "planted": FULL,
    "begun in one": LORA,
    "killed": LORA,
}


@dataclass(frozen=True)
class OneOf(Alone):
    """A process as the batches see it."""

    rank: int
    count: int


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def in_processes(count: int, base: Path, place: Path, runs: dict[str, Any]) -> list[subprocess.Popen[str]]:
    """The runs, begun in so many processes."""
    file = place / "runs.json"
    file.write_text(json.dumps(runs))
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(HERE / "in_two_processes.py"), str(base), str(place), str(file)]
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "PYTHONPATH": path, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]


def begin_in_one(base: Path, place: Path) -> None:
    """A run that ends in its fourth step, with a checkpoint of the second."""
    step, made = loop_module._step, []

    def until_killed(*given: Any, **how: Any) -> Any:
        made.append(1)
        if len(made) == 4:
            raise MemoryError("planted")
        return step(*given, **how)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(loop_module, "_step", until_killed)
        train_tiny(base, place, run_id="begun in one", **LORA)


@dataclass(frozen=True)
class Made:
    """All runs in one process and in two, and how the two ended."""

    one: Path
    two: Path
    codes: list[int]
    said: list[str]


@pytest.fixture(scope="module")
def made(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    begin_in_one(tiny_path, two / "begun in one")
    begun = in_processes(2, tiny_path, two, RUNS)
    for name in ("lora", "scaled", "one unit a step", "full", "dpo"):
        rows = preferences(20) if RUNS[name].get("preferences") else None
        own = {key: value for key, value in RUNS[name].items() if key != "preferences"}
        train_tiny(tiny_path, one / name, rows=rows, run_id=name, **own)
    said = [process.communicate(timeout=600)[0] for process in begun]
    return Made(one, two, [process.returncode for process in begun], said)


def series(place: Path, name: str) -> list[float]:
    rows = [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]
    return [row[name] for row in rows if name in row]


@pytest.mark.parametrize("run", ["lora", "one unit a step", "full", "dpo"])
@pytest.mark.parametrize("name", ["loss", "grad_norm", "val_loss", "learned"])
def test_two_processes_make_the_steps_that_one_makes(run: str, name: str, made: Made) -> None:
    one, two = (series(place / run, name) for place in (made.one, made.two))
    assert one and two == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("run", ["lora", "scaled", "one unit a step", "full", "dpo"])
def test_two_processes_give_the_weights_and_answers_that_one_gives(run: str, made: Made) -> None:
    file = "model/model.safetensors" if run == "full" else "adapter/adapter_model.safetensors"
    one, two = (load_file(place / run / "out" / file) for place in (made.one, made.two))
    assert one.keys() == two.keys()
    off = max(float((one[name].float() - two[name].float()).abs().max()) for name in one)
    assert off < 1e-4  # a rate of 0.01 and the sign of a gradient near zero
    assert series(made.one / run, "samples") == series(made.two / run, "samples")


def test_two_processes_scale_the_update_alike(made: Made) -> None:
    for place in (made.one, made.two):
        assert "of the gain is kept" in (place / "scaled" / "out" / "report.html").read_text(encoding="utf-8")
    scaled, whole = (load_file(made.two / run / "out" / "adapter" / "adapter_model.safetensors") for run in ("scaled", "lora"))
    sizes = [float(scaled[name].norm() / whole[name].norm()) for name in whole if "lora_B" in name]
    assert max(sizes) < 0.95 and max(sizes) - min(sizes) < 1e-4


def test_gradients_that_are_not_summed_would_be_noticed(made: Made) -> None:
    right, wrong = (series(place / run, "loss") for place, run in ((made.one, "full"), (made.two, "planted")))
    assert wrong[0] == pytest.approx(right[0], rel=1e-5)
    assert wrong[1] != pytest.approx(right[1], rel=1e-4)


def test_only_one_process_writes(made: Made) -> None:
    one, two = (sorted(path.name for path in (place / "lora" / "out").rglob("*")) for place in (made.one, made.two))
    assert one == two


# --- ends and resumes -------------------------------------------------------------------------------------------------


def test_a_killed_process_ends_the_others_with_one_clear_error(made: Made) -> None:
    assert made.codes == [1, -signal.SIGKILL], made.said
    assert made.said[0].count("a process of this run ended, and the others cannot continue without it") == 1, made.said
    assert "hint: type the same command again" in made.said[0]
    assert not made.said[1]


@pytest.mark.parametrize("name", ["loss", "grad_norm", "val_loss"])
def test_a_run_of_one_process_goes_on_in_two(name: str, made: Made) -> None:
    assert series(made.two / "begun in one", name) == pytest.approx(series(made.one / "lora", name), rel=1e-5)


def test_a_run_of_two_processes_goes_on_in_one(made: Made, tiny_path: Path, tmp_path: Path) -> None:
    place, told = tmp_path / "killed", Told()
    shutil.copytree(made.two / "killed", place)
    parts = sorted(file.name[:11] for file in (place / "work" / "checkpoints" / "step-00000002" / "shards").iterdir())
    assert parts == ["shard-00001", "shard-00002"]
    train_tiny(tiny_path, place, run_id="killed", reporter=told, **LORA)
    assert "resuming from the checkpoint of step 2" in told.notes
    assert any("processes was 2 and is 1" in warning for warning in told.warnings)
    for name in ("loss", "grad_norm", "val_loss"):
        assert series(place, name) == pytest.approx(series(made.one / "lora", name), rel=1e-5)


def test_a_part_of_a_checkpoint_that_is_damaged_is_found(made: Made, tiny_path: Path, tmp_path: Path) -> None:
    place = tmp_path / "killed"
    shutil.copytree(made.two / "killed", place)
    part = next((place / "work" / "checkpoints" / "step-00000002" / "shards").iterdir())
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with pytest.raises(TrainingError, match=r"no checkpoint of this run can be used: .*shard"):
        train_tiny(tiny_path, place, run_id="killed", **LORA)


# --- who learns what --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.integers(1, 8))
def test_every_row_of_a_batch_is_learned_by_one_process(sizes: list[int], count: int) -> None:
    rows = list(range(len(sizes)))
    parts = [part_of(rows, sizes, rank=rank, count=count) for rank in range(count)]
    assert [row for part in parts for row in part] == rows
    fair = sum(sizes) / count
    assert all(sum(sizes[row] for row in part) <= fair + max(sizes) for part in parts)


class Counted:
    """A layout that only knows its rows."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.num_learned = self.num_tokens = sum(unit.num_tokens for unit in units)
        self.row_N = self.lengths_BT = torch.zeros(0)


def batches(rank: int, count: int, *, examples: int = 6) -> Batches:
    lengths = (3, 40, 5, 5, 90, 12, 7, 7, 30, 61, 2)
    units = [Unit((Encoded((n,) * length, (True,) * length),), weight=length) for n, length in enumerate(lengths)]
    return Batches(
        units,
        sizes=Sizes(examples=examples),
        seed=3,
        most_tokens=64,
        lay_out=lambda some: Batch(tuple(some), Counted(some)),
        processes=OneOf(rank, count),
    )


@pytest.mark.parametrize("examples", [1, 6])
def test_processes_make_as_many_passes_and_learn_each_unit_of_the_batch_once(examples: int) -> None:
    for index in range(6):
        whole = batches(0, 1, examples=examples).at(index)
        parts = [batches(rank, 3, examples=examples).at(index) for rank in range(3)]
        assert len({len(part) for part in parts}) == 1
        learned = [unit for part in parts for batch in part if not batch.idle for unit in batch.units]
        assert learned == [unit for batch in whole for unit in batch.units]
        assert sum(batch.weight for part in parts for batch in part) == sum(batch.weight for batch in whole)


# --- what is refused --------------------------------------------------------------------------------------------------

GRPO = {"kind": "grpo", "options": {"rewards": [{"function": "json_valid"}]}}
UNDIVIDED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("objective.kind grpo", GRPO, {}, {}),
    ("objective.kind kto", {"kind": "kto"}, {}, {}),
    ("train.backend mlx", {"kind": "sft"}, {}, {"backend": "mlx"}),
    ("train.optimizer_states disk", {"kind": "sft"}, {}, {"optimizer_states": "disk"}),
    ("method.quantise nf4", {"kind": "sft"}, {"quantise": "nf4"}, {}),
    ("method.kind adalora", {"kind": "sft"}, {"kind": "adalora"}, {}),
    ("method.modules ['lm_head']", {"kind": "sft"}, {"modules": ["lm_head"]}, {}),
    ("method.init pissa", {"kind": "sft"}, {"init": "pissa"}, {}),
    ("train.optimizer muon", {"kind": "sft"}, {}, {"optimizer": "muon"}),
    ("train.ewc 1", {"kind": "sft"}, {}, {"ewc": 1.0}),
    ("train.compile true", {"kind": "sft"}, {}, {"compile": True}),
]


@pytest.mark.parametrize("value,objective,method,train", UNDIVIDED, ids=[row[0] for row in UNDIVIDED])
def test_what_cannot_be_divided_is_refused_before_the_run(
    value: str, objective: dict[str, Any], method: dict[str, Any], train: dict[str, Any]
) -> None:
    asked = open_method(**objective), MethodConfig.model_validate(method), TrainConfig.model_validate(train)
    refuse_undivided(*asked, OneOf(0, 1))
    with pytest.raises(TrainingError, match="cannot be divided among processes") as error:
        refuse_undivided(*asked, OneOf(0, 2))
    assert error.value.problems[0].value == value
    assert "--set" in error.value.problems[0].hint


def test_a_tensor_that_nobody_uses_gets_no_gradient_and_does_not_decay(tmp_path: Path) -> None:
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    used.grad = torch.ones(2)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        norm = Several(0, 1, waiting=lambda: None).settle([used, unused], most=0.0)
    finally:
        torch.distributed.destroy_process_group()
    assert float(norm) == pytest.approx(2**0.5) and unused.grad is None
    torch.optim.AdamW([used, unused], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(unused, torch.ones(2)) and not torch.equal(used, torch.ones(2))
