"""Log-probabilities that cannot be are an error, whatever engine gave them."""

from __future__ import annotations

import pytest

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.likelihood import checked_logprobs
from tunesmith.models.chat import Encoded
from tunesmith.systems.system import TokenLogprobs

ROWS = [Encoded((5, 6, 7), (False, True, True))]


@pytest.mark.parametrize("wrong", [float("nan"), float("-inf"), float("inf"), 0.05])
def test_what_is_no_log_probability_is_refused(wrong: float) -> None:
    with pytest.raises(EvaluationError, match="cannot be"):
        checked_logprobs("form", [TokenLogprobs((-1.0, wrong), (True, True))], ROWS)


def test_a_probability_of_one_may_be_rounded_up() -> None:
    found = [TokenLogprobs((-1.0, 1e-6), (True, True))]
    assert checked_logprobs("form", found, ROWS) == found
