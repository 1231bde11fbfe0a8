"""A reward function in a process of its own: it can be stopped when it hangs, and cannot disturb the run's random numbers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from typing import IO, Any

from tunesmith.core.errors import TrainingError
from tunesmith.train.rewards.reward import Asked

__all__ = ["FunctionReward"]

_OPENING_S = 120.0  # of importing the function: a first import of a large library takes its time


class FunctionReward:
    """A function by its place: `{"metric": name}`, `{"module": …, "name": …}`, `{"file": …, "name": …}`, or the run of a reward
    model: `{"reward_model": folder}`.

    It is called with those of `answer`, `reference`, `prompt` (messages) and `meta` that its parameters name, once for each
    answer, and gives a number. TrainingError if it cannot be opened.
    """

    def __init__(self, label: str, function: Mapping[str, str], *, seconds: float, source: str) -> None:
        self.label = label
        self._source, self._seconds = source, seconds
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tunesmith.train.rewards.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._reader = ThreadPoolExecutor(1)
        try:
            self._ask(dict(function), _OPENING_S, "cannot be used")
        except TrainingError:
            self.close()
            raise

    def score(self, asked: Sequence[Asked]) -> list[float]:
        """As of every reward."""
        answers = [
            {
                "prompt": [{"role": m.role, "content": m.content} for m in one.prompt],
                "answer": one.answer,
                "reference": one.reference,
                "meta": dict(one.meta),
            }
            for one in asked
        ]
        seed = zlib.crc32(json.dumps(answers).encode())  # the same draws for the same answers, in a resumed run too
        reply = self._ask({"answers": answers, "seed": seed}, self._seconds, "failed")
        return [float(score) for score in reply["scores"]]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._reader.shutdown()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _ask(self, message: Mapping[str, Any], seconds: float, failed: str) -> dict[str, Any]:
        """Send a line and wait for the reply; the process is stopped if that takes too long."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the process has no pipes")

        def exchange() -> bytes:
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
            return stdout.readline()

        waiting = self._reader.submit(exchange)
        try:
            line = waiting.result(timeout=seconds)
        except Late:
            self._process.kill()
            raise TrainingError(
                f"the reward {self.label} did not answer in time",
                value=f"{seconds:g} s for {len(message.get('answers', ()))} answers",
                expected="a number for every answer within `seconds` of that reward",
                hint="make it faster, or give it longer (seconds: 600 in objective.rewards); the same command resumes the run",
            ) from None
        except BrokenPipeError:
            line = b""
        if not line:
            raise self._error(failed, f"its process ended: {self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise self._error(failed, f"{reply['where']}{': ' * bool(reply['where'])}{reply['error']}")
        return reply

    def _error(self, failed: str, value: str) -> TrainingError:
        return TrainingError(
            f"the reward {self.label} {failed}",
            value=value[:600],
            expected=f"a function that gives a number for every answer, an empty one too: {self._source}",
            hint="correct it and type the same command again; a changed file makes another run, which begins at its start",
        )

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"
