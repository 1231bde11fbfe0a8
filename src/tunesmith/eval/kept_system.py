"""A system whose answers and log-probabilities are kept as they come, so that work which was interrupted goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from tunesmith.core.records import canonical_json, digest
from tunesmith.eval.kept_rows import KeptRows
from tunesmith.eval.suites.store import AnswerStore
from tunesmith.models.chat import Encoded
from tunesmith.models.generation.requests import Completion, Request
from tunesmith.systems.system import System, TokenLogprobs

__all__ = ["KeptSystem"]

_AT_ONCE = 32  # asked between two saves: what a kill can lose
_SCORES = ("asked", "log_p", "is_top")


class KeptSystem:
    """`system`, asked only for what the folder does not hold yet. `mark`: a hash of what its own fingerprint leaves out, as
    is the chat format.

    A question that is asked twice is answered once. `has_untimed`: answers were kept of which no time is known, so that what
    all of them took cannot be told from this process.
    """

    def __init__(self, system: System, folder: Path, *, mark: str) -> None:
        self._system = system
        self.has_untimed = False
        self._answers = AnswerStore(folder, digest("answers", system.fingerprint, mark), whole=True)
        self._scores = KeptRows(folder, digest("scores", system.fingerprint, mark), _SCORES)

    @property
    def name(self) -> str:
        """That of the system."""
        return self._system.name

    @property
    def label(self) -> str:
        """That of the system."""
        return self._system.label

    @property
    def fingerprint(self) -> str:
        """That of the system."""
        return self._system.fingerprint

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
        """One answer a request, in their order; saved in parts. Errors are those of the system and of the disk."""
        keys = [_asked(request) for request in requests]
        known = dict(self._answers.read())
        self.has_untimed = self.has_untimed or any(known[key].seconds is None for key in keys if key in known)
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        on_done(len(requests) - len(missing))
        for part in _parts(list(missing)):
            made = list(zip(part, self._system.answer([missing[key] for key in part], on_done=on_done), strict=True))
            self._answers.add(made)
            known.update(made)
        return [known[key] for key in keys]

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None]) -> list[TokenLogprobs] | None:
        """Of every row, in their order, saved in parts; None where the system cannot tell."""
        keys = [digest(repr(row.ids), repr(row.learned)) for row in rows]
        found = self._scores.read()
        known = {key: TokenLogprobs(tuple(row["log_p"]), tuple(row["is_top"])) for key, row in found.items()}
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        on_done(len(rows) - len(missing))
        for part in _parts(list(missing)):
            made = self._system.logprobs([missing[key] for key in part], on_done=on_done)
            if made is None:
                return None
            scored = list(zip(part, made, strict=True))
            self._scores.add({"asked": key, "log_p": list(one.log_p), "is_top": list(one.is_top)} for key, one in scored)
            known.update(scored)
        return [known[key] for key in keys]


def _asked(request: Request) -> str:
    return digest(canonical_json(asdict(request)))


def _parts(keys: list[str]) -> list[list[str]]:
    return [keys[begin : begin + _AT_ONCE] for begin in range(0, len(keys), _AT_ONCE)]
