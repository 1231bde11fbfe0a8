"""What an archive may hold, and the errors that say it holds more."""

from __future__ import annotations

from tunesmith.data.text.decode import UnreadableError

__all__ = ["MAX_ALL_BYTES", "MAX_MEMBERS", "MAX_MEMBER_BYTES", "TooLarge", "too_large", "too_large_part"]

MAX_MEMBER_BYTES = 50 * 1024 * 1024
MAX_ALL_BYTES = 100 * 1024 * 1024
MAX_MEMBERS = 20_000


class TooLarge(UnreadableError):
    """All members together unpack to more than the limit: nothing more of the archive can be read."""


def too_large() -> TooLarge:
    """The error for an archive."""
    return TooLarge(f"the archive unpacks to more than {MAX_ALL_BYTES // (1024 * 1024)} MB")


def too_large_part(limit: int) -> UnreadableError:
    """The error for one member."""
    return UnreadableError(f"it unpacks to more than {limit // (1024 * 1024)} MB")
