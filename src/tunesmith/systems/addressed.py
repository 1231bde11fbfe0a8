"""A model behind an OpenAI-compatible server, asked the same questions with the same settings.

Such servers give no log-probabilities of a reference, so figures made of likelihoods are not measured. A server has no penalty
on repetition as ours is, so that one setting is not sent. What answers is known by address and name alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tunesmith.core.errors import EvaluationError, GeneratorError
from tunesmith.core.records import digest
from tunesmith.data.synth import request as wire
from tunesmith.data.synth.endpoint import Endpoint, Wording
from tunesmith.models.chat import Encoded
from tunesmith.models.generation.requests import Completion, Request
from tunesmith.systems.system import Address

__all__ = ["ATTEMPTS", "ModelAtAddress"]

ATTEMPTS = 3


class ModelAtAddress:
    """The model at an address, as the system `name`. `words`: how messages name it. `wait(seconds)`: how pauses between
    attempts are made, as in `Endpoint`.

    GeneratorError for an address that cannot be asked at all.
    """

    def __init__(self, address: Address, *, name: str, words: Wording, wait: Callable[[float], bool] | None = None) -> None:
        self.address = address
        self.name = name
        self._words = words
        self._wait = wait
        self._endpoint().close()

    def _endpoint(self) -> Endpoint:
        """A new one for each round of questions, because one that was stopped makes no more pauses."""
        address = self.address
        return Endpoint(
            address.url,
            api_key=address.api_key,
            timeout_s=address.timeout_s,
            words=self._words,
            wait=self._wait,
            attempts=ATTEMPTS,
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

        endpoint = self._endpoint()

        def one(request: Request) -> Completion:
            found = self._answer(endpoint, request)
            on_done(1)
            return found

        with ThreadPoolExecutor(self.address.concurrency) as pool:
            asked = [pool.submit(one, request) for request in requests]
            try:
                return [answer.result() for answer in asked]
            except GeneratorError as error:
                problem = error.problems[0]
                raise EvaluationError(
                    problem.what, value=problem.value, expected=problem.expected, hint=problem.hint
                ) from error
            finally:
                endpoint.stop()
                pool.shutdown(cancel_futures=True)
                endpoint.close()

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None]) -> None:
        """None: not measured."""

    def _answer(self, endpoint: Endpoint, request: Request) -> Completion:
        drawn = request.sampling
        begin = time.perf_counter()
        reply = endpoint.ask(
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
                f"{self._words.who} does not take a test question",
                value=request.messages[-1].content[:80],
                expected="a model whose context holds every test item",
                hint=f"choose a model with a longer context; {self._words.without}",
            )
        return Completion(
            reply.text,
            "length" if reply.stop == "length" else "stop",
            reply.completion_tokens,
            prompt_tokens=reply.prompt_tokens if reply.counted else None,
            seconds=seconds,
        )
