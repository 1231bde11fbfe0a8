"""Where the recipe's bigger model is: its address with the key from the environment."""

from __future__ import annotations

from tunesmith.core.errors import EvaluationError
from tunesmith.pipeline.keys import key_of
from tunesmith.pipeline.sections.eval import BiggerConfig
from tunesmith.systems.system import Address

__all__ = ["address_of"]


def address_of(bigger: BiggerConfig) -> Address | None:
    """The address; None if the recipe names none. EvaluationError if the variable with the key is not set."""
    if not bigger.url:
        return None
    key = key_of(bigger.api_key_env, whose="the bigger model's", setting="bigger.api_key_env", error=EvaluationError)
    return Address(url=bigger.url, model=bigger.model, api_key=key, concurrency=bigger.concurrency, timeout_s=bigger.timeout_s)
