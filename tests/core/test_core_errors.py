"""The error tree: four parts a message, an exit code each, and the drawing at the top of the file is the tree."""

from __future__ import annotations

import re

import pytest

from tunesmith.core import errors
from tunesmith.core.errors import BlockedError, Interrupted, Problem, RecipeError, TunesmithError


def tree() -> dict[str, type[TunesmithError]]:
    return {c.__name__: c for c in TunesmithError.__subclasses__()}


def test_the_drawing_names_every_error_and_no_other() -> None:
    drawn = set(re.findall(r"\b[A-Z]\w+Error\b", (errors.__doc__ or "").partition("A message")[0]))
    assert drawn == {*tree(), "TunesmithError"}


@pytest.mark.parametrize("name", sorted(set(tree()) - {"RecipeError", "BlockedError"}))
def test_every_error_says_what_the_value_the_expectation_and_a_hint(name: str) -> None:
    error = tree()[name]("it broke", value=3, expected="four", hint="tunesmith plan")
    assert str(error).splitlines() == ["it broke: 3", "expected four", "hint: tunesmith plan"] and error.exit_code == 1


def test_a_block_exits_with_2_and_says_what_allows_it() -> None:
    error = BlockedError("cut", name="cut", value=1, expected="0", hint="--allow cut")
    assert error.exit_code == 2 and error.name == "cut"


def test_a_recipe_error_tells_all_its_problems_each_with_its_place() -> None:
    two = [Problem(what=w, value=1, expected="e", hint="h", where=f"f.yaml:{n}:1") for n, w in enumerate(("one", "two"))]
    assert str(RecipeError(two)).count("hint: ") == 2 and "f.yaml:1:1: two: 1" in str(RecipeError(two))
    with pytest.raises(AssertionError):
        RecipeError([])


def test_an_interruption_is_no_error_of_the_tree_and_keeps_its_step_and_code() -> None:
    stopped = Interrupted(12, 143)
    assert not isinstance(stopped, TunesmithError) and (stopped.step, stopped.exit_code) == (12, 143)
