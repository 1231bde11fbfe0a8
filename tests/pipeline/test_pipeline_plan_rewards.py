"""`plan` refuses the rewards that the run would refuse, in its words, and counts no answers where none are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import Told, examples, preferences
from tunesmith.api.recipes import recipe_from
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import BlockedError, TrainingError
from tunesmith.core.records import to_json
from tunesmith.pipeline.project import Project

WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no such file": ([{"file": "./nowhere.py"}], "the file of a reward does not exist"),
    "no such function": ([{"function": "jsonvalid"}], "there is no such reward function"),
    "no such module": ([{"function": "no_such_module.reward"}], "cannot be used"),
    "no such name in the file": ([{"file": "FILE", "name": "other"}], "cannot be used"),
    "no such run": ([{"reward_model": "./nowhere"}], "not the run of a reward model"),
    "none that counts": ([{"function": "json_valid", "weight": 0}], "there is no reward to learn from"),
    "none": ([], "there is no reward to learn from"),
}


def project(base: Path, root: Path, rows: list[Any], objective: dict[str, Any]) -> Project:
    (root / "rows.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    recipe = {"base": str(base), "sources": [str(root / "rows.jsonl")], "objective": objective}
    recipe |= {"method": {"rank": 4, "alpha": 8.0, "dropout": 0.0}, "build": {"dedup": 0}, "train": {"precision": "float32"}}
    return Project(recipe_from(recipe), root, reporter=Told(), offline=True)


@pytest.mark.parametrize("fault", list(WRONG))
def test_plan_refuses_a_reward_that_cannot_be_used(fault: str, tiny_path: Path, tmp_path: Path) -> None:
    rewards, said = WRONG[fault]
    file = tmp_path / "reward_file.py"
    file.write_text("def reward(answer):\n    return 1.0\n")
    named = [{**one, **({"file": str(file)} if one.get("file") == "FILE" else {})} for one in rewards]
    made = project(tiny_path, tmp_path, examples(30), {"kind": "grpo", "rewards": named})
    with pytest.raises(TrainingError, match=said) as refused:
        _ = made.plan
    (problem,) = refused.value.problems
    assert problem.expected and problem.hint and not list((tmp_path / ".tunesmith").glob("runs/*"))


def test_the_run_says_the_same(tiny_path: Path, tmp_path: Path) -> None:
    made = project(tiny_path, tmp_path, examples(30), {"kind": "grpo", "rewards": [{"function": "jsonvalid"}]})
    said = []
    for ask in (lambda: made.plan, lambda: made.run):
        with pytest.raises(TrainingError) as refused:
            ask()
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_good_reward_is_planned_and_a_reward_model_plans_no_answers(tiny_path: Path, tmp_path: Path) -> None:
    good = {"kind": "ppo", "rewards": [{"function": "json_valid"}], "max_new_tokens": 8}
    lines = {line.name: line.value for line in project(tiny_path, tmp_path, examples(30), good).plan.lines}
    assert lines["answers"].startswith("1 answers of at most 8 tokens")
    pairs = preferences(40)
    scores = project(tiny_path, tmp_path, pairs, {"kind": "reward"}).plan.numbers
    writes = project(tiny_path, tmp_path, pairs, {"kind": "dpo"}).plan.numbers
    assert scores["room"] == 0 < writes["room"] and scores["suite_items"] == 0
    assert scores["evaluation_seconds"] <= writes["evaluation_seconds"]


def reward_run(root: Path, verdict: str | None) -> Path:
    """The folder of a run of a reward model, with an evaluation of this verdict in its project, if any."""
    store = Store(root / "scorer" / ".tunesmith")
    settings = {"objective": {"kind": "reward"}}
    run = store.obtain("run", [], settings, lambda draft: None)
    if verdict is not None:
        numbers = {"verdict": verdict, "pairs": 50, "accuracy": {"share": 0.4, "ci": [0.2, 0.6]}}
        store.obtain("agreement", [run.reference()], {}, lambda draft: draft.numbers.update(numbers))
    return run.path


@pytest.mark.parametrize(("verdict", "warned"), [("SHIP", ""), ("CAN'T TELL", "is CAN'T TELL"), (None, "was never judged")])
def test_plan_says_what_was_found_of_a_reward_model(verdict: str | None, warned: str, tiny_path: Path, tmp_path: Path) -> None:
    rewards = [{"reward_model": str(reward_run(tmp_path, verdict))}, {"function": "json_valid", "weight": 0}]
    made = project(tiny_path, tmp_path, examples(30), {"kind": "grpo", "rewards": rewards})
    (line,) = [line for line in made.plan.lines if line.name == "reward"]
    assert (verdict or "not judged") in line.value and line.reason
    told = [text for text in made.reporter.warnings if "reward model" in text]  # type: ignore[attr-defined]
    assert len(told) == bool(warned) and all(warned in text for text in told)


def test_an_unfit_reward_model_from_which_nothing_learns_is_only_warned_of(tiny_path: Path, tmp_path: Path) -> None:
    rewards = [{"reward_model": str(reward_run(tmp_path, "DON'T SHIP")), "weight": 0}, {"function": "json_valid"}]
    made = project(tiny_path, tmp_path, examples(30), {"kind": "grpo", "rewards": rewards})
    assert any("DON'T SHIP" in line.value for line in made.plan.lines)
    assert [text for text in made.reporter.warnings if "reward model" in text]  # type: ignore[attr-defined]


def test_a_reward_model_that_was_found_unfit_is_refused_unless_it_is_allowed(tiny_path: Path, tmp_path: Path) -> None:
    objective = {"kind": "rloo", "rewards": [{"reward_model": str(reward_run(tmp_path, "DON'T SHIP"))}]}
    made = project(tiny_path, tmp_path, examples(30), objective)
    for ask in (lambda: made.plan, lambda: made.run):
        with pytest.raises(BlockedError) as refused:
            ask()
        assert refused.value.name == "unfit_reward" and "40%" in str(refused.value)
        (problem,) = refused.value.problems
        assert problem.expected and "--allow unfit_reward" in problem.hint
    assert not list((tmp_path / ".tunesmith").glob("runs/*"))
    recipe = made.recipe.model_copy(update={"allow": ["unfit_reward"]})
    allowed = Project(recipe, tmp_path, reporter=Told(), offline=True)
    assert any("DON'T SHIP" in line.value for line in allowed.plan.lines)
