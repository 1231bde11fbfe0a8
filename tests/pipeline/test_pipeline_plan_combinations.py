"""Settings that cannot go together: `plan` refuses them in the words of the run, before the base is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import Told, examples, preferences
from tunesmith.api.recipes import recipe_from
from tunesmith.core.errors import TrainingError
from tunesmith.core.records import to_json
from tunesmith.pipeline import plan
from tunesmith.pipeline.project import Project
from tunesmith.plan.duration import Speed

REWARDS = [{"function": "json_valid"}]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "ranks that have no time to move": (
        {"method": {"kind": "adalora"}, "train": {"max_steps": 9}},
        "needs steps in which to move ranks",
    ),
    "updates under dropout": (
        {"method": {"dropout": 0.1}, "objective": {"kind": "ppo", "rewards": REWARDS, "updates": 2}},
        "without dropout",
    ),
    "a full fine-tune with the base beside it": (
        {"method": {"kind": "full"}, "objective": {"kind": "grpo", "rewards": REWARDS}},
        "a full fine-tune has none",
    ),
    "a teacher that moves along": (
        {"method": {"kind": "full"}, "objective": {"kind": "self_distillation"}},
        "a full fine-tune has none",
    ),
    "ewc of dora": ({"method": {"kind": "dora"}, "train": {"ewc": 1}}, "cannot hold weights of this kind"),
    "ewc of a shifted base": ({"method": {"init": "pissa"}, "train": {"ewc": 1}}, "cannot hold weights of this kind"),
    "ewc of embeddings": ({"method": {"modules": ["embed_tokens"]}, "train": {"ewc": 1}}, "cannot hold weights of this kind"),
    "states on disk of an optimiser that looks at whole matrices": (
        {"train": {"optimizer": "muon", "optimizer_states": "disk"}},
        "is for adamw",
    ),
    "margins without ratings": (
        {"objective": {"kind": "reward", "margin": 1}},
        "by how much the chosen answer was rated better",
    ),
}


def project(base: Path, root: Path, settings: dict[str, Any]) -> Project:
    rows: list[Any] = preferences(40) if settings.get("objective", {}).get("kind") == "reward" else examples(30)
    (root / "rows.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    recipe = {"base": str(base), "sources": [str(root / "rows.jsonl")], "build": {"dedup": 0}, **settings}
    recipe["train"] = {"precision": "float32", **settings.get("train", {})}
    return Project(recipe_from(recipe), root, reporter=Told(), offline=True)


@pytest.mark.parametrize("fault", list(WRONG))
def test_plan_refuses_what_the_run_refuses(fault: str, tiny_path: Path, tmp_path: Path) -> None:
    settings, said = WRONG[fault]
    made = project(tiny_path, tmp_path, settings)
    told = []
    for ask in (lambda: made.plan, lambda: made.run):
        with pytest.raises(TrainingError, match=said) as refused:
            ask()
        told.append(str(refused.value))
        (problem,) = refused.value.problems
        assert problem.value and problem.expected and problem.hint
    assert told[0] == told[1]
    assert not list((tmp_path / ".tunesmith").glob("runs/*"))


def test_what_can_go_together_is_planned(tiny_path: Path, tmp_path: Path) -> None:
    ten = project(tiny_path, tmp_path, {"method": {"kind": "adalora"}, "train": {"max_steps": 10}})
    assert ten.plan.numbers["steps"] == 10
    held = project(tiny_path, tmp_path, {"method": {"kind": "rslora"}, "train": {"ewc": 1, "max_steps": 10}})
    assert held.plan.numbers["steps"] == 10


def test_answers_that_are_read_again_take_their_time(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Speed(100.0, 100.0)  # one speed for both plans, whatever else the machine does
    monkeypatch.setattr(plan, "Speed", lambda *measured: slow)

    def seconds(**options: Any) -> float:
        objective = {"kind": "grpo", "rewards": REWARDS, "max_new_tokens": 16, **options}
        return float(project(tiny_path, tmp_path, {"method": {"dropout": 0}, "objective": objective}).plan.numbers["seconds"])

    assert seconds(beta=0.1) > seconds()
