"""The error tree. Every error a user can cause is one of these; anything else that escapes is our own defect.

TunesmithError                exit 1
├── RecipeError               a recipe or a --set value is wrong; carries every problem found
├── SourceError               a source cannot be found, fetched or read
├── GeneratorError            the language model that writes data cannot be reached or used, or its budget is spent
├── DatasetError              documents or examples do not make a usable dataset
├── ModelError                a base, tokenizer, template or adapter cannot be used
├── TrainingError             training cannot go on (not a number, out of memory, a checkpoint from elsewhere)
├── EngineError               an engine that runs a model is missing, dies, is too slow, or serves another model
├── EvaluationError           an evaluation or comparison cannot be made
├── ArtifactError             an artifact is missing, damaged or ambiguous
├── HubError                  a hub refuses what is to be published, cannot be reached, or does not hold what was sent
├── TrackerError              a tracker of experiments is not installed, does not answer, or refuses a run
├── StorageError              the disk is full, read-only or unreachable
└── BlockedError              exit 2: a check found a fault that stops the run; `--allow NAME` overrides it
Interrupted                   exit 130 or 143: asked to stop; a checkpoint was written first

A message has four parts: what happened, the value at fault, what was expected, and `hint:` with what to type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ArtifactError",
    "BlockedError",
    "DatasetError",
    "EngineError",
    "EvaluationError",
    "GeneratorError",
    "HubError",
    "Interrupted",
    "ModelError",
    "Problem",
    "RecipeError",
    "SourceError",
    "StorageError",
    "TrackerError",
    "TrainingError",
    "TunesmithError",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, in the four parts of a message. `value` is shown with `repr`; `where` is `file:line:column`.

    `instead`: what to type in place of `value`, if known; the command line then shows the whole corrected command.
    """

    what: str
    value: object
    expected: str
    hint: str
    where: str = ""
    instead: str = ""

    def lines(self) -> list[str]:
        """The problem as lines of plain text, without a leading `error`."""
        place = f"{self.where}: " if self.where else ""
        return [f"{place}{self.what}: {self.value!r}", f"expected {self.expected}", f"hint: {self.hint}"]


class TunesmithError(Exception):
    """Base of the tree. Raise it with the four parts: `what`, `value=`, `expected=`, `hint=`."""

    exit_code = 1

    def __init__(self, what: str, *, value: object, expected: str, hint: str, instead: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what=what, value=value, expected=expected, hint=hint, instead=instead),)
        super().__init__(self.text())

    def text(self) -> str:
        """All problems as plain text, a blank line between two."""
        return "\n\n".join("\n".join(problem.lines()) for problem in self.problems)

    def __str__(self) -> str:
        return self.text()


class RecipeError(TunesmithError):
    """The recipe is wrong. Carries all problems at once, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        if not problems:
            raise AssertionError("a RecipeError needs a problem")
        self.problems = tuple(problems)
        Exception.__init__(self, self.text())


class SourceError(TunesmithError):
    """A source cannot be found, fetched or read."""


class GeneratorError(TunesmithError):
    """The language model behind `generator.url` cannot be used, or the budget is spent. Replies already paid are kept."""


class DatasetError(TunesmithError):
    """Documents or examples do not make a usable dataset."""


class ModelError(TunesmithError):
    """A base, tokenizer, chat template or adapter cannot be used as asked."""


class TrainingError(TunesmithError):
    """Training cannot start or continue."""


class EngineError(TunesmithError):
    """An engine (llama.cpp, vLLM, MLX, Ollama, a server) is missing, ends, does not answer, or serves another model."""


class EvaluationError(TunesmithError):
    """An evaluation or a comparison cannot be made."""


class ArtifactError(TunesmithError):
    """An artifact is missing, damaged, or not what was asked for."""


class HubError(TunesmithError):
    """A hub refuses what is to be published, cannot be reached, or holds other bytes than were sent."""


class TrackerError(TunesmithError):
    """A tracker of experiments is not installed, does not answer, or refuses a run. The run itself is not affected."""


class StorageError(TunesmithError):
    """The disk is full, read-only or out of reach. What was committed before is intact."""


class BlockedError(TunesmithError):
    """A check found a fault that stops the run before it wastes time. `names` are what `--allow` takes, one per problem."""

    exit_code = 2

    def __init__(self, what: str, *, name: str, value: object, expected: str, hint: str) -> None:
        self.names: tuple[str, ...] = (name,)
        super().__init__(what, value=value, expected=expected, hint=hint)

    @property
    def name(self) -> str:
        """The first of the names."""
        return self.names[0]

    @classmethod
    def joined(cls, errors: Sequence[BlockedError]) -> BlockedError:
        """One error that carries the problems of all, so that they are reported at once."""
        first, *rest = errors
        for error in rest:
            first.names += error.names
            first.problems += error.problems
        first.args = (first.text(),)
        return first


class Interrupted(Exception):
    """Ctrl-C (130) or SIGTERM (143) asked to stop; a checkpoint was written at a step boundary, so nothing is lost."""

    def __init__(self, step: int, exit_code: int) -> None:
        self.step = step
        self.exit_code = exit_code
        super().__init__(f"stopped at step {step}, checkpoint written")
