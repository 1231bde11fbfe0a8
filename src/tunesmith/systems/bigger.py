"""More than tuning: a bigger model behind an OpenAI-compatible server, asked the same questions with the same settings.

Such servers give no log-probabilities of a reference, so figures made of likelihoods are not measured. A server has no penalty
on repetition as ours is, so that one setting is not sent. What answers is known by address and name alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from tunesmith.core.errors import EvaluationError, GeneratorError
from tunesmith.core.records import digest
from tunesmith.data.synth import request as wire
from tunesmith.data.synth.endpoint import Endpoint, Wording
from tunesmith.models.chat import Encoded
from tunesmith.models.generation.requests import Completion, Request
from tunesmith.systems.system import Address, NotMeasured, SystemInputs, SystemKind

__all__ = ["SYSTEM", "BiggerModel"]

_WORDS = Wording("the bigger model", "bigger", "the other systems are measured again", "--set bigger.url='' leaves it out")


class BiggerModel:
    """The model at an address. `wait(seconds)`: how pauses between attempts are made, as in `Endpoint`."""

    name = "bigger"

    def __init__(self, address: Address, *, wait: Callable[[float], bool] | None = None) -> None:
        self.address = address
        self._endpoint = Endpoint(
            address.url, api_key=address.api_key, timeout_s=address.timeout_s, words=_WORDS, wait=wait, attempts=3
        )

    @property
    def label(self) -> str:
        """The model and where it is."""
        return f"{self.address.model} at {self.address.url}"

    @property
    def fingerprint(self) -> str:
        """The hash of address and name: weights behind an address cannot be hashed."""
        return digest("address", self.address.url, self.address.model)

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
        """One answer a request. A refusal is an empty answer.

        Raises:
            EvaluationError: the server does not answer, or refuses the key, the model or a request.
        """

        with ThreadPoolExecutor(self.address.concurrency) as pool:
            asked = [pool.submit(self._answer, request) for request in requests]
            try:
                for answer in as_completed(asked):
                    answer.result()
                    on_done(1)
            except BaseException as error:
                self._endpoint.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, GeneratorError):
                    raise
                problem = error.problems[0]
                raise EvaluationError(
                    problem.what, value=problem.value, expected=problem.expected, hint=problem.hint
                ) from error
            return [answer.result() for answer in asked]

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None]) -> None:
        """None: not measured."""

    def _answer(self, request: Request) -> Completion:
        drawn = request.sampling
        begin = time.perf_counter()
        reply = self._endpoint.ask(
            wire.Request(
                url=self.address.url,
                model=self.address.model,
                messages=tuple(request.messages),
                temperature=drawn.temperature,
                top_p=drawn.top_p,
                seed=drawn.seed + request.number,
                max_tokens=request.max_new_tokens,
            )
        )
        seconds = time.perf_counter() - begin
        if reply.stop == "not_taken":
            raise GeneratorError(
                "the bigger model's server does not take a test question",
                value=request.messages[-1].content[:80],
                expected="a model whose context holds every test item",
                hint=f"choose a model with a longer context; {_WORDS.without}",
            )
        return Completion(
            reply.text,
            "length" if reply.stop == "length" else "stop",
            reply.completion_tokens,
            prompt_tokens=reply.prompt_tokens if reply.counted else None,
            seconds=seconds,
        )


def _open(inputs: SystemInputs, _: Any) -> BiggerModel | NotMeasured:
    if inputs.address is None:
        return NotMeasured("no address of a bigger model is given: it is not measured")
    try:
        return BiggerModel(inputs.address)
    except GeneratorError as error:
        return NotMeasured(f"the bigger model is not measured: {error}")


SYSTEM = SystemKind(
    name="bigger",
    title="bigger model",
    role="addition",
    order=60,
    advice="bigger model",
    needs=("address",),
    open=_open,
    required=False,
)
