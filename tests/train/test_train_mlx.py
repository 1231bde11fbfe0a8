"""The backend `mlx`: the same losses as torch from the same rows, runs that resume, and all that it refuses.

The loop, the protocol and the refusals are tested everywhere, against a trainer that is played; the rest where mlx-lm is.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from fakes import Told, examples, train_tiny
from tunesmith.api import Project
from tunesmith.core.errors import EngineError, Interrupted, ModelError, RecipeError, TrainingError
from tunesmith.core.reporter import SilentReporter
from tunesmith.engines import served
from tunesmith.engines.mlx import PYTHON
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train.checkpoint import Checkpoints
from tunesmith.train.loop import FitSettings
from tunesmith.train.method import open_method
from tunesmith.train.mlx import trainer as trainer_module
from tunesmith.train.mlx import worker
from tunesmith.train.mlx.fit import Result, fit_with_mlx
from tunesmith.train.mlx.run import train_with_mlx
from tunesmith.train.mlx.support import refuse_other_units, refuse_unsupported
from tunesmith.train.mlx.trainer import Stepped, open_trainer
from tunesmith.train.units import Unit
from tunesmith.train.validation import Validation

HERE = bool(os.environ.get(PYTHON)) or find_spec("mlx_lm") is not None
needs_mlx = pytest.mark.skipif(not HERE, reason=f"mlx-lm is not installed, and {PYTHON} names no Python that has it")
STEPS: dict[str, Any] = {"max_steps": 4, "evaluate_every": 2, "checkpoint_every": 1}
pytestmark = pytest.mark.usefixtures("not_compiled")
ROW = Encoded((2, 10, 60, 61), (False, False, True, True))


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux mlx compiles each new kernel with a C++ compiler, which takes longer than all these steps."""
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")


def run(
    base: Path, place: Path, *, backend: str = "mlx", train: dict[str, Any] | None = None, **method: Any
) -> list[dict[str, Any]]:
    """The rows of the metric log of a run of a few steps."""
    begin = train_with_mlx if backend == "mlx" else None
    train_tiny(
        base, place, train={**STEPS, "backend": backend, **(train or {})}, method={"dropout": 0.0, **method}, begin=begin
    )
    return [orjson.loads(line) for line in (place / "out" / "metrics.jsonl").read_bytes().splitlines()]


@needs_mlx
@pytest.mark.parametrize(
    ("train", "method"),
    [
        ({}, {"kind": "lora"}),
        ({"accumulate": 2, "weight_decay": 0.1, "batch_tokens": 150}, {"kind": "rslora", "layers": 1, "targets": "attention"}),
        ({"gradient_checkpointing": True, "max_grad_norm": 0.5}, {"kind": "dora"}),
        ({"learning_rate": 1e-3, "schedule": "wsd"}, {"kind": "full"}),
    ],
)
def test_losses_rates_and_gradients_are_those_of_torch(
    train: dict[str, Any], method: dict[str, Any], tiny_path: Path, tmp_path: Path
) -> None:
    ours = run(tiny_path, tmp_path / "torch", backend="torch", train=train, **method)
    theirs = run(tiny_path, tmp_path / "mlx", train=train, **method)
    assert len(ours) == len(theirs) == 7
    for own, other in zip(ours, theirs, strict=True):
        assert other.get("learned") == own.get("learned"), "the same tokens are learned"
        numbers = [name for name in own if name != "samples"]
        assert {name: other[name] for name in numbers} == pytest.approx({name: own[name] for name in numbers}, rel=1e-4)
    assert theirs[-1]["val_loss"] < theirs[0]["val_loss"] - 0.05, "and it learns"


@needs_mlx
def test_the_adapter_in_peft_s_files_gives_the_loss_that_mlx_lm_measured(
    tiny_path: Path, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    rows = run(tiny_path, tmp_path, train={"best_by": "loss"}, kind="lora")
    model = open_adapter(load_model(tiny, "float32"), tmp_path / "out" / "adapter")
    total = count = 0.0
    for row in (tiny_chat.encode(one.messages) for one in examples(20)[-4:]):
        with torch.inference_mode():
            log_p = torch.log_softmax(model(input_ids=torch.tensor([row.ids])).logits[0].float(), -1)
        for at in range(1, len(row.ids)):
            if row.learned[at]:
                total, count = total - float(log_p[at - 1, row.ids[at]]), count + 1
    assert total / count == pytest.approx(min(row["val_loss"] for row in rows if "val_loss" in row), rel=1e-5)


@needs_mlx
def test_a_run_continues_from_an_adapter_as_with_torch(tiny_path: Path, trained_adapter: Path, tmp_path: Path) -> None:
    begun = {"from": str(trained_adapter)}
    ours = run(tiny_path, tmp_path / "torch", backend="torch", train={"max_steps": 2}, **begun)
    theirs = run(tiny_path, tmp_path / "mlx", train={"max_steps": 2}, **begun)
    losses = [[row.get("loss", row.get("val_loss")) for row in rows] for rows in (ours, theirs)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and len(losses[0]) == 4
    fresh = run(tiny_path, tmp_path / "fresh", train={"max_steps": 1, "evaluate_every": 0})
    assert fresh[0]["loss"] > theirs[1]["loss"] + 0.1, "the run was not a fresh one"


@needs_mlx
def test_a_run_that_was_stopped_and_continued_ends_with_the_same_bytes(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result(place: Path) -> list[str]:
        names = ("adapter/adapter_model.safetensors", "metrics.jsonl")
        return [hashlib.sha256((place / "out" / name).read_bytes()).hexdigest() for name in names]

    run(tiny_path, tmp_path / "whole", dropout=0.1)
    step = trainer_module.MlxTrainer.step

    def stopping(self: Any, *arguments: Any, **named: Any) -> Stepped:
        if not (tmp_path / "asked").exists():
            (tmp_path / "asked").touch()
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments, **named)

    monkeypatch.setattr(trainer_module.MlxTrainer, "step", stopping)
    with pytest.raises(Interrupted) as stopped:
        run(tiny_path, tmp_path / "parts", dropout=0.1)
    assert stopped.value.step == 1
    run(tiny_path, tmp_path / "parts", dropout=0.1)
    assert result(tmp_path / "parts") == result(tmp_path / "whole")
    run(tiny_path, tmp_path / "other", dropout=0.1, train={"seed": 8})
    assert result(tmp_path / "other") != result(tmp_path / "whole")


@needs_mlx
def test_the_whole_pipeline_ends_with_a_verdict(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "build": {"passage_words": 40},
        "split": {"val": 0.2, "test": 0.3},
        "method": {"rank": 4, "alpha": 8.0},
        "train": {"backend": "mlx", "max_steps": 3, "evaluate_every": 3, "learning_rate": 0.01, "batch_examples": 4},
        "eval": {"max_new_tokens": 6, "draws": 300, "suites": []},
    }
    told = Told()
    project = Project(recipe_from({"base": str(tiny_path), "sources": [str(posts)], **settings}), tmp_path, reporter=told)
    assert any(line.name == "backend" and "not measured" in line.reason for line in project.plan.lines)
    outcome = project.outcome
    assert outcome.verdict.verdict in {"SHIP", "DON'T SHIP", "CAN'T TELL"}
    assert list(outcome.measurements.systems) == ["base", "prompted", "tuned", "merged"]
    assert (project.run.path / "adapter" / "adapter_model.safetensors").is_file()
    assert "the trainer of mlx-lm" in (project.run.path / "report.html").read_text()


@needs_mlx
def test_a_base_that_mlx_lm_does_not_know_is_refused_before_the_first_step(tiny: BaseFolder) -> None:
    told = {"base": str(tiny.path), "precision": "float32", "kind": "full", "names": ["model.nothing.weight"], "rates": [1.0]}
    with pytest.raises(ModelError, match="cannot train this base") as error, open_trainer({**told, "max_grad_norm": 1.0}):
        pass
    assert "model.nothing.weight" in str(error.value)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("dpo", {}, {}, "objective.kind"),
    ("sft", {"init": "pissa"}, {}, "method.init"),
    ("sft", {}, {"ewc": 1.0}, "train.ewc"),
    ("sft", {"quantise": "nf4"}, {}, "method.quantise"),
    ("sft", {"lora_plus": 16.0}, {}, "method.lora_plus"),
    ("sft", {}, {"optimizer": "muon"}, "train.optimizer"),
    ("sft", {}, {"precision": "exact"}, "train.precision"),
    ("sft", {}, {"compile": True}, "train.compile"),
    ("sft", {}, {"tokens_at_once": 256}, "train.tokens_at_once"),
]


@pytest.mark.parametrize(("kind", "method", "train", "name"), REFUSED)
def test_a_setting_that_mlx_lm_cannot_follow_is_refused_by_name(
    kind: str, method: dict[str, Any], train: dict[str, Any], name: str
) -> None:
    given = MethodConfig.model_validate(method), TrainConfig.model_validate({"backend": "mlx", **train})
    with pytest.raises(RecipeError) as error:
        refuse_unsupported(open_method(kind), *given)
    [problem] = error.value.problems
    assert problem.what.endswith(name) and problem.hint
    section = {"objective": {"kind": kind}, "method": method, "train": {"backend": "mlx", **train}}
    with pytest.raises(RecipeError, match=name):
        Project(recipe_from({"base": "apprentice", "sources": ["x"], **section}), Path())
    refuse_unsupported(open_method("sft"), MethodConfig(), TrainConfig(backend="mlx"))


def test_settings_of_the_objective_are_refused_by_name_but_for_those_that_only_choose_what_is_learned() -> None:
    settings = MethodConfig(), TrainConfig(backend="mlx")
    with pytest.raises(RecipeError, match=r"objective\.z_loss"):
        refuse_unsupported(open_method("sft", {"z_loss": 1e-4}), *settings)
    refuse_unsupported(open_method("sft", {"last_turn_only": True}), *settings)


def test_rows_that_weigh_something_else_than_their_tokens_are_refused() -> None:
    refuse_other_units([Unit((ROW,), weight=2)])
    for other in (Unit((ROW,), weight=3), Unit((ROW,), weight=2, signal=(1.0,))):
        with pytest.raises(TrainingError, match="cannot learn these rows"):
            refuse_other_units([other])


def test_without_mlx_lm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setattr(served, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="needs a Python") as error, open_trainer({}):
        pass
    assert "tunesmith[mlx]" in error.value.problems[0].hint and PYTHON in error.value.problems[0].hint


PLAYED = """
import json, sys
def say(**found): print(json.dumps(found), flush=True)
told = json.loads(input())
if told["base"] == "odd": say(refused="Model type odd not supported."); sys.exit()
say(version="0.0-played")
learned = 0
for line in sys.stdin:
    asked = json.loads(line)
    if "rows" in asked:
        learned += sum(sum(marks[1:]) for ids, marks in asked["rows"]) - told["too_few"]
        say(loss=asked["share"], grad_norm=float(asked["seed"]), learned=learned)
    elif asked["do"] == "evaluate":
        say(done=1); say(loss=2.0, accuracy=0.5)
    elif asked["do"] == "answer": say(ids=[asked["room"], *asked["ends"]])
"""


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    (tmp_path / "worker.py").write_text(PLAYED, encoding="utf-8")
    monkeypatch.setattr(worker, "__file__", str(tmp_path / "worker.py"))
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setattr(served, "find_spec", lambda name: True)
    return lambda base="tiny", too_few=0: open_trainer({"base": base, "too_few": too_few})


def test_steps_and_validations_are_read_from_the_process(played: Callable[..., Any]) -> None:
    done: list[int] = []
    with played() as trainer:
        assert trainer.step([[ROW, ROW]], seed=5) == Stepped(0.25, 5.0, 4)
        assert trainer.step([[ROW]], seed=6) == Stepped(0.5, 6.0, 2)
    with played() as trainer:
        assert trainer.evaluate([[ROW]], done.append) == {"loss": 2.0, "accuracy": 0.5} and done == [1]


def test_a_trainer_that_learns_other_tokens_than_those_that_are_marked_is_found_out(played: Callable[..., Any]) -> None:
    with played(too_few=1) as trainer, pytest.raises(TrainingError, match="other tokens than the dataset marks"):
        trainer.step([[ROW, ROW]], seed=5)


def test_what_mlx_lm_says_of_a_base_that_it_does_not_know_is_told(played: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match="Model type odd not supported"), played(base="odd"):
        pass


class Slope:
    """A trainer of one number, which goes down by the rate of each step; `best`: where its loss is lowest."""

    def __init__(self, best: float, before: Callable[[int], None] = lambda step: None) -> None:
        self.at, self.steps, self.best, self.before = torch.zeros(1), 0, best, before

    def step(self, batches: Sequence[Sequence[Encoded]], *, seed: int) -> Stepped:
        self.before(self.steps)
        self.at, self.steps = self.at - 0.1, self.steps + 1
        return Stepped(float((self.at - self.best).abs()), 1.0, 2)

    def settle(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        return {"w": self.at.clone()}, {"m": torch.tensor([float(self.steps)])}

    def restore(self, trained: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], step: int) -> None:
        self.at, self.steps = trained["w"].clone(), step
        assert float(moments["m"]) == step


def fitted(place: Path, slope: Slope, **settings: Any) -> Result:
    usual = {name: getattr(TrainConfig(), name) for name in FitSettings.__slots__ if hasattr(TrainConfig(), name)}
    wanted = usual | {"num_steps": 8, "evaluate_every": 2, "checkpoint_every": 3, "patience": 2, "min_delta": 0.0} | settings
    distance = lambda *_: {"loss": float((slope.at - slope.best).abs())}  # noqa: E731
    return fit_with_mlx(
        slope,  # type: ignore[arg-type]
        lambda step: [[ROW]],
        start={"w": torch.zeros(1)},
        settings=FitSettings(**wanted),
        figures={"loss": "lower"},
        validation=Validation(1, distance, lambda on_done: []),
        checkpoints=Checkpoints(place, "r"),
        reporter=SilentReporter(),
    )


def test_the_best_weights_are_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    result = fitted(tmp_path, Slope(best=-0.2))
    assert result.fitted.stopped_early and result.fitted.num_steps == 6 and result.fitted.best_step == 2
    assert float(result.chosen["w"]) == pytest.approx(-0.2)


def test_a_stop_is_answered_after_the_step_and_the_run_goes_on_from_there(tmp_path: Path) -> None:
    def ask(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        fitted(tmp_path, Slope(best=-9.0, before=ask))
    assert (stopped.value.step, stopped.value.exit_code) == (3, 143)
    result = fitted(tmp_path, Slope(best=-9.0))
    assert result.fitted.resumed_at == 3 and result.fitted.num_steps == 8 and not result.fitted.stopped_early
    steps = [row["step"] for row in map(orjson.loads, (tmp_path / "metrics.jsonl").read_bytes().splitlines()) if "loss" in row]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="training broke at step 1"):
        fitted(tmp_path, Slope(best=float("nan")), evaluate_every=0)
