"""Errors as OpenAI's clients read them: an HTTP status, and a body with message, type, param and code."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tunesmith.core.errors import TunesmithError

__all__ = ["ApiError", "as_api_error", "bad_field", "unexpected"]

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    421: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
RETRY_S = 1.0
"""What Retry-After says where nothing better is known."""


class ApiError(Exception):
    """An error as the client gets it. 429 and 503 always carry `retry_after_s`, or all clients would come back at once."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = RETRY_S if retry_after_s is None and status in (429, 503) else retry_after_s

    def body(self) -> dict[str, Any]:
        """The JSON of OpenAI's errors."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Retry-After in whole seconds, and in milliseconds as OpenAI's clients prefer it."""
        if self.retry_after_s is None:
            return {"x-should-retry": "false"} if self.status < 500 else {}
        wait = max(self.retry_after_s, 0.001)
        return {"retry-after": str(max(1, round(wait + 0.499))), "retry-after-ms": str(round(wait * 1000))}


def bad_field(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """400 for a field of the request."""
    return ApiError(400, message, code=code, param=param)


def as_api_error(error: TunesmithError, *, status: int = 503) -> ApiError:
    """What went wrong inside, without hint, log and folders, which are for whoever runs the server."""
    first = error.problems[0]
    what = first.what.splitlines()[0].removesuffix("; the end of its log:")  # which follows there
    value = Path(str(first.value)).name if Path(str(first.value)).is_absolute() else first.value
    return ApiError(status, f"{what}: {value}; expected {first.expected}", code="model_unavailable")


def unexpected(error: Exception, id: str) -> ApiError:
    """500 for what nobody expected: the log has the place under the request's id, the client has the id alone."""
    logging.getLogger("tunesmith.serve").error("request %s failed", id, exc_info=error)
    return ApiError(500, f"something failed inside the server; its log says what, under {id}", code="internal_error")
