"""A judge: a language model at an OpenAI-compatible address, asked for a rating of each answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tunesmith.core.errors import GeneratorError, TrainingError
from tunesmith.data.synth.endpoint import Endpoint, Wording
from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.judge import Judge
from tunesmith.data.synth.ledger import Budget, Ledger
from tunesmith.data.synth.replies import RepliesInMemory
from tunesmith.systems.addressed import ATTEMPTS
from tunesmith.train.rewards.reward import Asked
from tunesmith.train.rewards.settings import RewardConfig

__all__ = ["JudgeReward"]

_REPLY_TOKENS = 16
_CONCURRENCY = 4
_WORDS = Wording("the judge", "objective.rewards", "the run resumes where it was", "another reward needs no server")


class JudgeReward:
    """Ratings from 0 to 10, divided by 10, by the judge of `data.synth.judge`. A reply without such a number is an error, never
    a zero."""

    def __init__(self, config: RewardConfig) -> None:
        self.label = config.label
        self._prompt = config.prompt
        key = os.environ.get(config.api_key_env, "") if config.api_key_env else ""
        try:
            self._server = Endpoint(config.address, api_key=key, timeout_s=config.seconds, attempts=ATTEMPTS, words=_WORDS)
        except GeneratorError as error:
            raise _unusable(error) from error
        generator = Generator(
            self._server,
            RepliesInMemory(),
            Ledger(Budget()),
            model=config.model,
            seed=0,
            max_tokens=_REPLY_TOKENS,
            concurrency=_CONCURRENCY,
        )
        self._judge = Judge(generator)

    def score(self, asked: Sequence[Asked]) -> list[float]:
        """As of every reward."""
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            rated = [pool.submit(self._rated, one) for one in asked]
            try:
                return [one.result() for one in rated]
            except GeneratorError as error:
                self._server.stop()  # the others make no more attempts
                raise _unusable(error) from error
            finally:
                pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Close the connections."""
        self._server.stop()
        self._server.close()

    def _rated(self, one: Asked) -> float:
        prompt = "\n".join(f"{m.role}: {m.content}" for m in one.prompt)
        found, reply = self._judge.rate(prompt, one.answer, reference=one.reference, template=self._prompt)
        if found is None:
            raise TrainingError(
                f"the judge {self.label} gave no rating",
                value=f"{reply[:80]!r} for the answer {one.answer[:80]!r}",
                expected="a number from 0 to 10",
                hint="use a larger judge, or set a `prompt` of that reward which asks for the number alone",
            )
        return found


def _unusable(error: GeneratorError) -> TrainingError:
    problem = error.problems[0]
    return TrainingError(problem.what, value=problem.value, expected=problem.expected, hint=problem.hint)
