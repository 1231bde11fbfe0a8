"""Keys of servers, which recipes name by the environment variable that holds them."""

from __future__ import annotations

import os

from tunesmith.core.errors import TunesmithError

__all__ = ["key_of"]


def key_of(variable: str, *, whose: str, setting: str, error: type[TunesmithError]) -> str:
    """The key in this variable; empty where none is named. `error` if it is named and not set."""
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise error(
            f"the variable for {whose} key is not set",
            value=variable,
            expected="an environment variable that holds the key",
            hint=f"export {variable}=…   or   --set {setting}='' for a server without keys",
        )
    return key
