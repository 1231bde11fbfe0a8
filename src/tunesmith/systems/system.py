"""What a system is, and how one is declared. Nothing here knows which systems there are: see `registry`.

A file of this package that holds `SYSTEM = SystemKind(…)` is a system; docs/concepts/systems.md says which one to copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from tunesmith.core.records import Example, Message
from tunesmith.models.generation.requests import Completion, Request

if TYPE_CHECKING:
    import torch

    from tunesmith.models.chat import Chat, Encoded
    from tunesmith.models.load import BaseFolder

__all__ = [
    "Address",
    "Advice",
    "FormFacts",
    "FormLimits",
    "GateWords",
    "GivesLogits",
    "Need",
    "NotMeasured",
    "OwnPrompts",
    "PromptMaker",
    "Question",
    "Role",
    "System",
    "SystemInputs",
    "SystemKind",
    "TakesMemory",
    "TokenLogprobs",
]

Role = Literal["reference", "baseline", "subject", "form", "addition"]
"""What a system is in the comparison: the starting point, a cheaper alternative to tuning (measured where `eval.baselines`
names it), the tuned model that the verdict is about, another form of that model, or something that takes more than tuning
(measured where `eval.additions` names it: it is listed and compared, and has no gate)."""

Advice = Literal["prompt", "retrieve", "tune", "tune + retrieve", "bigger model"]
"""What `tunesmith advise` can say."""

Need = Literal["adapter", "merged_folder", "address"]
"""A field of `SystemInputs` that a system cannot do without."""


class Question(Protocol):
    """The part of a test item that a system may use: the prompt, and the reference, whose length must fit as well."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The conversation up to the user's turn."""

    @property
    def reference(self) -> str:
        """What the author wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A model behind an OpenAI-compatible server, asked `concurrency` questions at a time. The key is shown nowhere."""

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    concurrency: int = 4
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemInputs:
    """What there is to open systems from. `adapter`, `merged_folder` and a bigger model's `address` are None if there is none.

    `train`: the author's own training rows, which a prompt may show. `max_new_tokens`: of an answer at most;
    `batch_examples`: answers at once at most.
    """

    base: BaseFolder
    chat: Chat
    adapter: Path | None
    merged_folder: BaseFolder | None
    questions: Sequence[Question]
    train: Sequence[Example]
    max_new_tokens: int
    batch_examples: int
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """For each target token of a row in order: ln p given all tokens before it, and whether no token was likelier."""

    log_p: tuple[float, ...]
    is_top: tuple[bool, ...]


class System(Protocol):
    """One thing that answers. `fingerprint` hashes what answers (weights, adapter, an address); the evaluation adds template,
    prompts and settings to it.

    `on_done` is called now and then with how many more of the requests or rows are done.
    """

    @property
    def name(self) -> str:
        """As in files and gates: that of its kind."""

    @property
    def label(self) -> str:
        """One line for people."""

    @property
    def fingerprint(self) -> str:
        """Two systems that can answer differently have different ones."""

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
        """One answer a request, in their order."""

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None]) -> list[TokenLogprobs] | None:
        """Of every row, in their order; None where this system cannot tell, which is then *not measured*."""


@runtime_checkable
class OwnPrompts(Protocol):
    """A system that may be asked in other words than the plain prompt. `numbers`: facts about them, worth printing."""

    @property
    def prompts(self) -> tuple[tuple[Message, ...], ...] | None:
        """One for each question, in their order; None: the plain ones."""

    @property
    def numbers(self) -> Mapping[str, int]:
        """A label and its number."""


class PromptMaker(Protocol):
    """Makes a baseline's own prompts; called before training too, so that what a template cannot write is found in time."""

    def __call__(
        self, chat: Chat, train: Sequence[Example], questions: Sequence[Question], *, context: int, room: int
    ) -> OwnPrompts | None:
        """One prompt a question, with room for its reference and for an answer of `room` tokens; None if there is no room."""


@runtime_checkable
class GivesLogits(Protocol):
    """A system in this process, whose whole distributions can be compared. Logits are (T, V), one tensor a row.

    `precision` is the number type it computes in.
    """

    @property
    def precision(self) -> str:
        """The number type it computes in: float32, bfloat16, float16."""

    def logits(self, rows: Sequence[Encoded]) -> Iterator[torch.Tensor]:
        """Of every position of every row."""

    def kept_logits(self, rows: Sequence[Encoded]) -> Iterable[torch.Tensor]:
        """The same, for later: they can be read again and again after the system's weights were given back."""


@runtime_checkable
class TakesMemory(Protocol):
    """What may run in a process of its own, whose memory can be read."""

    def memory_bytes(self) -> int | None:
        """The most memory that it has taken so far, resident, in bytes; None where that cannot be read."""


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """In place of a system that cannot be opened here, with the reason for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFacts:
    """What is known of a form's folder: the type in which most weights are stored, the share of the adapted weights that are
    base + update rounded once, and what another reader would find otherwise than in the base's folder."""

    stored: str = "float32"
    as_summed: float | None = None
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLimits:
    """How far a form may be from the tuned model. None: reported and not judged. What is judged and was not measured makes
    the gate *not measured*.

    `mean_kl`: nats a position; `top1`: least share of positions with the same most likely token; `mean_abs_logprob`: nats a
    reference token; `begun`: least share of greedy answers whose first 40 characters are the same (one may always differ).
    """

    mean_kl: float | None = None
    top1: float | None = None
    mean_abs_logprob: float | None = None
    begun: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateWords:
    """Name and texts of a system's gate: `rule` in words, a sentence for the verdict if it failed and if it
    is not measured, and the `topic` for the list of what was not measured."""

    name: str
    rule: str
    failed: str
    unknown: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemKind:
    """How a system is declared. `title` is its name in tables; `order` is its place among the systems.

    `load` reads the weights. Systems with the same `load` share one copy and are measured together; each copy is given back
    before the next is read. None: nothing is held in this process. `open` makes the system from it.

    `advice`: what the advice is where this system is the cheapest one that is good enough; None for forms. Systems are ordered
    by cost: what it takes to make one and to keep it.

    `listed`: measured on every item, with a line in the tables; otherwise the form is only held against the tuned model.
    `num_greedy`, `num_rows`: greedy answers and rows for that, at most. `required`: a gate that fails or is not measured
    decides the verdict, and the evaluation stops where the system breaks. `make_prompts`: the prompts of a baseline that has
    its own; `instruction_tokens`: what they take at least. `facts` and `limits`: of a form.
    """

    name: str
    title: str
    role: Role
    order: int
    open: Callable[[SystemInputs, Any], System | NotMeasured]
    load: Callable[[SystemInputs], Any] | None = None
    needs: tuple[Need, ...] = ()
    make_prompts: PromptMaker | None = None
    instruction_tokens: Callable[[Chat], int] | None = None
    advice: Advice | None = None
    listed: bool = True
    num_greedy: int = 12
    num_rows: int = 16
    required: bool = True
    facts: Callable[[SystemInputs, Any], FormFacts] | None = None
    limits: FormLimits = FormLimits()
    gate: GateWords | None = None

    @property
    def words(self) -> GateWords:
        """The texts of `gate`, or default texts made from the title."""
        if self.gate is not None:
            return self.gate
        if self.role == "addition":
            return GateWords(
                name=self.name,
                rule=f"{self.title} against the tuned model",
                failed=f"The {self.title} does no better than the tuned model.",
                unknown=f"Whether the {self.title} does more could not be measured.",
                topic=f"whether the {self.title} does more",
            )
        if self.role == "form":
            return GateWords(
                name=self.name,
                rule=f"{self.title} against the tuned model",
                failed=f"The form {self.title} differs from the model that was tested.",
                unknown=f"Whether the form {self.title} is the model that was tested was not checked.",
                topic=f"whether the form {self.title} is the tuned model",
            )
        return GateWords(
            name=f"beats_{self.name}",
            rule=f"better than the {self.title}",
            failed=f"Don't fine-tune: the {self.title} does at least as well.",
            unknown=f"Whether tuning does more than the {self.title} could not be measured.",
            topic=f"whether the {self.title} would be enough",
        )
