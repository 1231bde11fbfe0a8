"""The hub's own library: its progress goes to our reporter, and its errors become ours, in four parts.

The token never reaches a message: whatever the library or the hub says is cleared of it.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tunesmith.core.errors import HubError
from tunesmith.core.reporter import Reporter

__all__ = ["HubWords", "as_hub_error", "speaking_through"]

_HTTP = frozenset(["httpx", "httpx2", "httpcore", "httpcore2", "requests"])  # whichever the hub's library asks with
_AGAIN = "type the same command again: what has arrived is not sent again"
_QUOTA = re.compile(r"quota|storage limit|payment required|out of storage", re.IGNORECASE)
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HubWords:
    """What an error is worded with: the repository, who asks, and the token that must not be in it."""

    repository: str
    address: str
    token: str
    user: str = ""

    def cleared(self, text: str) -> str:
        """One line of what was said, without the token and without addresses that carry a signature."""
        text = text.replace(self.token, "[token]") if self.token else text
        text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", r"\1", text)
        return " ".join(text.split())[:_MOST]


@contextmanager
def speaking_through(reporter: Reporter, words: HubWords) -> Iterator[None]:
    """While it lasts, the library draws no bars and phones no one, and what it logs or warns of goes to the reporter.

    Its telemetry is a setting that it reads once, at import; with it on, it would ask huggingface.co whatever HF_ENDPOINT says.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    handlers, propagate, telemetry = logger.handlers[:], logger.propagate, constants.HF_HUB_DISABLE_TELEMETRY
    drew = not are_progress_bars_disabled()
    logger.handlers, logger.propagate = [_ToReporter(reporter, words)], False
    disable_progress_bars()
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")  # the library uses deprecated calls of another one
            warnings.simplefilter("always", UserWarning)
            yield
        for warning in caught:
            reporter.warn(f"the hub's library: {words.cleared(str(warning.message))}")
    finally:
        logger.handlers, logger.propagate, constants.HF_HUB_DISABLE_TELEMETRY = handlers, propagate, telemetry
        if drew:
            enable_progress_bars()


class _ToReporter(logging.Handler):
    """Repeats warnings of the library as ours."""

    def __init__(self, reporter: Reporter, words: HubWords) -> None:
        super().__init__(logging.WARNING)
        self._reporter, self._words = reporter, words

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "not supported by Xet" in text or "No files have been modified" in text:
            return  # both are what we asked for
        self._reporter.warn(f"hub: {self._words.cleared(text.partition(' thrown while requesting')[0])}")


def as_hub_error(error: Exception, words: HubWords, doing: str) -> HubError | None:
    """The error of the library in four parts; None for one that is a defect of ours. `doing`: `sending the files`."""
    response = next((r for one in _chain(error) if (r := getattr(one, "response", None)) is not None), None)
    if response is not None:
        return _refused(int(response.status_code), words, doing, _said(error, words))
    if any(type(one).__module__.partition(".")[0] in _HTTP for one in _chain(error)):
        return HubError(
            f"the connection to the hub broke while {doing}",
            value=words.address,
            expected=f"an answer ({_said(error, words)})",
            hint=_AGAIN,
        )
    text = _said(error, words)
    if isinstance(error, ValueError) and "Invalid metadata" in text:
        return HubError(
            "the hub refuses the metadata of the card", value="README.md", expected=text, hint="edit the head of README.md"
        )
    if isinstance(error, ValueError) and "LFS batch" in text:
        return _quota(words, text) if _QUOTA.search(text) else _other(words, doing, text)
    if type(error).__module__.startswith("huggingface_hub"):
        return _other(words, doing, text)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _said(error: Exception, words: HubWords) -> str:
    """What the hub itself says, else what the library says, of the error at the root."""
    for one in _chain(error):
        if message := getattr(one, "server_message", None):
            return words.cleared(str(message))
    root = [*_chain(error)][-1]
    return words.cleared(str(root) or type(root).__name__)


def _refused(status: int, words: HubWords, doing: str, said: str) -> HubError:
    value = f"{words.repository} at {words.address}"
    who = f" of {words.user}" if words.user else ""
    if _QUOTA.search(said) or status in (402, 413, 507):
        return _quota(words, said)
    if status == 401:
        return HubError(
            "the hub does not accept the token", value=value, expected=f"one that is valid ({said})", hint="hf auth login"
        )
    if status == 403:
        return HubError(
            f"the token{who} has no right to this repository",
            value=value,
            expected=f"one that may write there ({said})",
            hint="use a name of your own, or create one with the right to write in the settings of the hub",
        )
    if status == 409:
        return HubError(
            "the name is taken by something that the token cannot see",
            value=value,
            expected=f"a free name, or a repository of yours ({said})",
            hint="choose another name",
        )
    if status == 412:
        return HubError(
            f"the repository was changed by another push while {doing}",
            value=value,
            expected="the state seen before",
            hint=_AGAIN,
        )
    if status == 429:
        return HubError(
            f"the hub has had too many requests while {doing}", value=value, expected=said, hint=f"wait; then {_AGAIN}"
        )
    if status >= 500:
        return HubError(
            f"the hub failed while {doing}", value=f"{value}: {status}", expected=f"a working hub ({said})", hint=_AGAIN
        )
    return _other(words, doing, f"{status}: {said}")


def _quota(words: HubWords, said: str) -> HubError:
    return HubError(
        "the hub has no room left for these files",
        value=f"{words.repository} at {words.address}",
        expected=f"storage for them ({said})",
        hint="free some storage on the hub, or push a smaller form",
    )


def _other(words: HubWords, doing: str, said: str) -> HubError:
    return HubError(
        f"the hub refuses while {doing}", value=words.repository, expected=f"an accepted request ({said})", hint=_AGAIN
    )
