"""What is asked of a generator, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import FinishReason, Message

__all__ = ["GREEDY", "Completion", "Job", "Request", "Sampling", "repeated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen. Temperature 0 is greedy; the rest then only counts for `repetition_penalty`.

    `top_k` 0, `top_p` 1 and `min_p` 0 leave all tokens in. Applied in the order repetition penalty, temperature, top-k,
    top-p, min-p. The draws of a request depend on its seed, its prompt and its sample number, on nothing else in the batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "temperature": (0 <= self.temperature < float("inf"), "0 (greedy) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, at most 1 (all tokens)"),
            "top_k": (self.top_k >= 0, "0 (all tokens) or more"),
            "min_p": (0 <= self.min_p <= 1, "from 0 (all tokens) to 1"),
            "repetition_penalty": (0 < self.repetition_penalty < float("inf"), "above 0; 1 has no effect"),
        }
        for name, (fine, expected) in allowed.items():
            if not fine:
                raise EvaluationError(
                    f"{name} cannot be used for sampling",
                    value=getattr(self, name),
                    expected=expected,
                    hint=f"choose {name} {expected}",
                )


GREEDY = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One answer asked for. `stop`: texts that end it and are cut off. `adapter` off asks the base behind an adapted model.

    `number` tells the samples of one prompt apart.
    """

    messages: Sequence[Message]
    max_new_tokens: int
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    adapter: bool = True
    number: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not all(self.stop):
            what, value = ("max_new_tokens", self.max_new_tokens) if self.max_new_tokens < 1 else ("a stop text", "")
            raise EvaluationError(f"{what} is too small", value=value, expected="at least 1", hint="ask for at least one")


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. `finish_reason` is stop if the model or a stop text ended it, length if it was cut. The end token counts.

    `prompt_tokens` and `seconds`: what a server counted, and how long it took; None where answers are made here, many at once.
    `ids`: the answer's tokens without the end token; None where only the text is known. `end_id`: the end token, if it has one.
    """

    text: str
    finish_reason: FinishReason
    num_tokens: int
    prompt_tokens: int | None = None
    seconds: float | None = None
    ids: tuple[int, ...] | None = field(default=None, compare=False, repr=False)
    end_id: int | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Job:
    """A request as token ids: the prompt, tokens of the answer at most, how they are chosen, and the seed of its draws."""

    ids: tuple[int, ...]
    room: int
    sampling: Sampling = GREEDY
    seed: int = 0
    adapter: bool = True


def repeated(request: Request, samples: int) -> list[Request]:
    """`samples` requests for the same prompt, each with draws of its own."""
    return [replace(request, number=request.number + n) for n in range(samples)]
