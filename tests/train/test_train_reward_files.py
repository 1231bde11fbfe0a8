"""Promise: what is wrong in a user's reward file is reported at the user's file and line, never at a line of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import examples
from tunesmith.core.errors import Problem, TrainingError
from tunesmith.train.rewards.opening import check_rewards, open_rewards, try_rewards
from tunesmith.train.rewards.settings import RewardConfig

GOOD = "def reward(answer):\n    return float(len(answer))\n"
AT_OPENING = {
    "a syntax error": (
        "def reward(answer):\n    return len(answer\n",
        2,
        "return len(answer",
        "SyntaxError: '(' was never closed",
    ),
    "an indentation error": ("def reward(answer):\nreturn 1\n", 2, "return 1", "IndentationError: expected an indented block"),
    "an import that is not there": ("import os\nimport no_such_package\n", 2, "import no_such_package", "ModuleNotFoundError"),
    "a name that an import lacks": ("from json import no_such\n", 1, "from json import no_such", "ImportError: cannot import"),
    "a name that is not defined": ("\n\nLIMIT = LENGTH * 2\n" + GOOD, 3, "LIMIT = LENGTH * 2", "NameError: name 'LENGTH'"),
    "an error inside a library": ("import json\nTABLE = json.loads('{')\n" + GOOD, 2, "json.loads('{')", "JSONDecodeError"),
    "it ends the process": ("import sys\nsys.exit(4)\n", 2, "sys.exit(4)", "SystemExit 4"),
    "it wants what there is not": ("\ndef reward(answer, teacher):\n    return 1\n", 2, "def reward(answer", "wants teacher"),
}
AT_CALLS = {
    "it raises": ("def reward(answer):\n    return 1 / len(answer)\n", 2, "1 / len(answer)", "ZeroDivisionError"),
    "a library raises": ("import json\ndef reward(answer):\n    return json.loads(answer)\n", 3, "json.loads(", "JSONDecode"),
    "a function of its own raises": (
        "def half(n):\n    return n / 0\ndef reward(answer):\n    return half(1)\n",
        2,
        "n / 0",
        "",
    ),
    "it gives nothing": ("def reward(answer):\n    len(answer)\n", 1, "def reward(answer)", "gave None, not a number"),
    "it gives words": ("def reward(answer):\n    return 'good'\n", 1, "def reward(answer)", "gave 'good', not a number"),
    "it parses an answer": ("import ast\ndef reward(answer):\n    return ast.parse(answer + '(')\n", 3, "ast.parse(", "Syntax"),
}


def refused(config: RewardConfig) -> Problem:
    with pytest.raises(TrainingError) as caught:
        rewards = open_rewards([config], train=(), seed=7)
        try:
            try_rewards(rewards, examples(4))
        finally:
            rewards.close()
    return caught.value.problems[0]


def names(problem: Problem, place: str, text: str, error: str) -> None:
    assert str(problem.value).startswith(f"{place}: `"), problem.value
    assert text in str(problem.value) and error in str(problem.value) and "worker.py" not in str(problem.value)
    assert problem.what and problem.expected and problem.hint


@pytest.mark.parametrize("fault", [*AT_OPENING, *AT_CALLS])
def test_a_fault_is_reported_at_the_users_line_with_its_text(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, line, shown, error = (AT_OPENING | AT_CALLS)[fault]
    (tmp_path / "my_reward.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    names(refused(RewardConfig(file="my_reward.py")), f"my_reward.py, line {line}", shown, error)


@pytest.mark.parametrize("fault", AT_OPENING)
def test_plan_says_so_too(fault: str, tmp_path: Path) -> None:
    text, line, shown, error = AT_OPENING[fault]
    (tmp_path / "my_reward.py").write_text(text)
    with pytest.raises(TrainingError) as caught:
        check_rewards([RewardConfig(file=str(tmp_path / "my_reward.py"))])
    names(caught.value.problems[0], f"{tmp_path / 'my_reward.py'}, line {line}", shown, error)


def test_a_fault_in_a_file_that_the_users_file_imports_is_reported_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.py").write_text("RARE = [\n    'kettle',\n    'lamp'\n")
    (tmp_path / "my_reward.py").write_text("import words\n" + GOOD)
    monkeypatch.chdir(tmp_path)
    names(refused(RewardConfig(file="my_reward.py")), "words.py, line 1", "RARE = [", "'[' was never closed")


def test_a_function_of_a_module_is_reported_alike_and_a_module_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_module.py").write_text("def score(answer):\n    return UNKNOWN\n")
    (tmp_path / "worse.py").write_text("import gone_for_good\n")
    monkeypatch.chdir(tmp_path)
    names(refused(RewardConfig(function="my_module.score")), "my_module.py, line 2", "return UNKNOWN", "NameError")
    names(refused(RewardConfig(function="worse.score")), "worse.py, line 1", "import gone_for_good", "ModuleNotFoundError")
    missing = str(refused(RewardConfig(function="not_there.score")).value)
    assert missing.startswith("there is no module 'not_there'") and "worker.py" not in missing


def test_a_misspelt_function_is_answered_with_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_reward.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    said = [str(refused(RewardConfig(file="my_reward.py", name=name)).value) for name in ("rewards", "quality")]
    assert said[0] == "my_reward.py: there is no function 'rewards'; did you mean 'reward'?"
    assert said[1] == "my_reward.py: there is no function 'quality'; it has reward"
    (tmp_path / "my_reward.txt").write_text(GOOD)
    assert "its name must end in .py" in str(refused(RewardConfig(file="my_reward.txt")).value)
