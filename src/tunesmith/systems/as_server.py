"""A model of this machine in the place of a server: what asks servers can then ask it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.data.synth import request as wire
from tunesmith.models.generation.requests import Request, Sampling
from tunesmith.systems.system import System

__all__ = ["SystemAsServer"]


class SystemAsServer:
    """Answers one request at a time. `url` is the fingerprint: replies are cached under the weights that gave them."""

    def __init__(self, system: System) -> None:
        self.url = f"local:{system.fingerprint}"
        self._system = system
        self._turn = threading.Lock()

    def ask(self, request: wire.Request) -> wire.Reply:
        """The reply; `not_taken` where the model's template or context does not take the messages."""
        sampling = Sampling(temperature=request.temperature, seed=request.seed)
        date = datetime.now(UTC).date().isoformat()
        with self._turn:
            try:
                asked = [Request(messages=request.messages, max_new_tokens=request.max_tokens, sampling=sampling)]
                (made,) = self._system.answer(asked, on_done=lambda count: None)
            except (EvaluationError, ModelError):  # no room for an answer, or turns that the template does not write
                return wire.Reply(text="", stop="not_taken", prompt_tokens=0, completion_tokens=0, date=date)
        return wire.Reply(
            text=made.text,
            stop="length" if made.finish_reason == "length" else "stop",
            prompt_tokens=made.prompt_tokens or request.most_prompt_tokens,
            completion_tokens=made.num_tokens,
            date=date,
            counted=made.prompt_tokens is not None,
            model=self._system.label,
            fingerprint=self._system.fingerprint[:16],
        )

    @property
    def failed(self) -> Mapping[str, int]:
        """No try fails on the way to this machine's own model."""
        return {}

    def stop(self) -> None:
        """Nothing waits."""
