"""Where the recipe's bigger model is: its address with the key from the environment."""

from __future__ import annotations

import os

from tunesmith.core.errors import EvaluationError
from tunesmith.pipeline.sections.eval import BiggerConfig
from tunesmith.systems.system import Address

__all__ = ["address_of"]


def address_of(bigger: BiggerConfig) -> Address | None:
    """The address; None if the recipe names none. EvaluationError if the variable with the key is not set."""
    if not bigger.url:
        return None
    key = os.environ.get(bigger.api_key_env, "") if bigger.api_key_env else ""
    if bigger.api_key_env and not key:
        raise EvaluationError(
            "the variable for the bigger model's key is not set",
            value=bigger.api_key_env,
            expected="an environment variable that holds the key",
            hint=f"export {bigger.api_key_env}=…   or   --set bigger.api_key_env='' for a server without keys",
        )
    return Address(url=bigger.url, model=bigger.model, api_key=key, concurrency=bigger.concurrency, timeout_s=bigger.timeout_s)
