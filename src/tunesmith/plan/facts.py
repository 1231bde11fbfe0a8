"""What the plan calculates with: base, data, adapter and number type, as they were found before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["AdapterFacts", "BaseFacts", "DataFacts", "DrawingFacts", "PrecisionFacts"]


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """The base's name, where its weights come from if that is not its own folder (a quantised file, the hub), and the bytes of
    the largest of its files of weights."""

    name: str
    origin: str = ""
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DrawingFacts:
    """How a method draws the answers that it learns from: `samples` per prompt of at most `max_new_tokens` tokens, to a `share`
    of the prompts, and the `updates` that are made on the same answers, each of which is read `readings` times before.
    `beside`: parameters of a teacher in memory."""

    samples: int
    max_new_tokens: int
    updates: int
    share: float = 1.0
    readings: int = 0
    beside: int = 0

    def words(self, prompts: int) -> tuple[str, str]:
        """What is drawn for a step of so many prompts, and what that takes."""
        asked = f"each of {prompts} prompts" if self.share == 1 else f"{self.share:.0%} of {prompts} prompts"
        shown = f"{self.samples} answers of at most {self.max_new_tokens} tokens to {asked}"
        times = {0: "", 1: "each is read once more by base, teacher or earlier weights; "}
        read = times.get(self.readings, f"each is read {self.readings} times more by base, teacher or earlier weights; ")
        others = f"{read}rewards take their own time" if self.samples > 1 else read.removesuffix("; ")
        again = f"; {self.updates} steps are made on the same answers" if self.updates > 1 else ""
        return shown, f"time and memory count answers of full length; {others}{again}"


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Sizes of the dataset. Tokens are sums over the training split; `longest` is the longest example of all splits, `limit`
    the length at which examples are cut, `room` the maximum tokens per answer in evaluation. `num_rows`: rows to train on if
    examples take more than one, else 0. `template`: the options of the chat template in effect, and the text after which an
    answer begins. `together`: rows of one unit, which are learned together. `unit`: tokens of the largest
    one, of which what its rows begin with in common is counted once; `prompt`: of the longest prompt; both 0 if not known.
    `suite_items`: questions of further suites, whose answers have `suite_tokens` at most in all."""

    num_train: int
    num_val: int
    num_test: int
    test_documents: int
    train_tokens: int
    learned_tokens: int
    longest: int
    limit: int
    cut_share: float
    room: int
    num_rows: int = 0
    template: tuple[str, str] = ("", "")
    together: int = 1
    unit: int = 0
    prompt: int = 0
    suite_items: int = 0
    suite_tokens: int = 0

    @property
    def rows(self) -> int:
        """Rows that an epoch of training takes."""
        return self.num_rows or self.num_train

    @property
    def mean(self) -> float:
        """Tokens of a row."""
        return self.train_tokens / max(1, self.rows)


@dataclass(frozen=True, slots=True)
class PrecisionFacts:
    """Number type of the frozen weights, the reason, and the tokens/s measured through the matrices of one layer, forward and
    backward, in that type and in float32."""

    name: str
    reason: str
    layer_tokens_per_s: float
    float32_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What the adapter covers: `modules` of `linear` layers, with `trainable` new parameters.

    `out_of_reach` counts the base's parameters that no adapter can change, by kind; `dropouts` are the base's own, by name.
    `start`: the adapter that training continues from, in words; empty for a fresh one.
    """

    modules: int
    linear: int
    trainable: int
    out_of_reach: Mapping[str, int]
    dropouts: Mapping[str, float]
    start: str = ""
