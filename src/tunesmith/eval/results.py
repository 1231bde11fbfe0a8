"""What an evaluation holds: items, what each system said and how likely it found the references, parity, training curves.

`Evidence` is measured by models and kept as JSON; `eval.measure` turns it into numbers, `eval.gates` into a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation, Message
from tunesmith.eval.arena.held import HeldVotes
from tunesmith.eval.judge.evidence import JudgedAnswers
from tunesmith.eval.metrics.voice import VoiceScores
from tunesmith.eval.suites.answered import SuiteAnswers
from tunesmith.models.use import GREEDY_USE, Use

__all__ = [
    "Audited",
    "Cost",
    "Evidence",
    "FoldRows",
    "FormResult",
    "GeneralResult",
    "Item",
    "Likelihood",
    "Limit",
    "ParityResult",
    "RecipeRuns",
    "SystemRun",
    "read_evidence",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of the test set. `group` is the cluster it counts with (`eval.clusters`); `prompt` ends with the user's
    turn; empty: the reference is plain text. `about`: facts that parts of the test set are made by (source, author, date)."""

    id: str
    group: str
    title: str | None
    prompt: tuple[Message, ...]
    reference: str
    about: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def question(self) -> str:
        """The last user turn, or the whole prompt if there is none."""
        asked = [message.content for message in self.prompt if message.role == "user"]
        return asked[-1] if asked else "\n".join(message.content for message in self.prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """How likely a system found one reference answer.

    `nats` is the sum of −log p over the answer's tokens, `num_tokens` counts them, `correct_tokens` those that were the most
    likely one; the end token is no word of the author's and stays out. `num_bytes`: UTF-8 bytes of the reference.
    `end_probability`: p of the end token at the true end; None if the template writes none.
    """

    item_id: str
    nats: float
    num_tokens: int
    num_bytes: int
    correct_tokens: int
    end_probability: float | None

    @property
    def bits_per_byte(self) -> float | None:
        """Bits a byte of the reference costs this system; None for an empty reference."""
        return self.nats / math.log(2) / self.num_bytes if self.num_bytes else None

    @property
    def token_accuracy(self) -> float | None:
        """Share of the answer's tokens that the system would have chosen itself; None without tokens."""
        return self.correct_tokens / self.num_tokens if self.num_tokens else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What `num_answers` answers took, all together. `prompt_tokens`: None where a server did not count them.

    `seconds`: the sum over the answers; of a batch, its wall time divided evenly. `at_once`: most answers made at once.
    """

    num_answers: int
    prompt_tokens: int | None
    generated_tokens: int
    seconds: float
    at_once: int

    def per_answer(self, name: Literal["prompt_tokens", "generated_tokens", "seconds"]) -> float | None:
        """The mean of one of the numbers; None if it was not counted."""
        total = getattr(self, name)
        return None if total is None or not self.num_answers else total / self.num_answers


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRun:
    """One system on the items. `fingerprint` hashes weights, adapter, template, prompt and sampling; no two may share one.

    `generations` are the sampled answers, one for each item and draw; `greedy` those of greedy decoding, for a
    part of the items. Generations or likelihoods may be missing for items: these are unscored. `cost`: what the answers took;
    None in evidence from before it was measured.
    """

    name: str
    label: str
    fingerprint: str
    generations: tuple[Generation, ...]
    likelihoods: tuple[Likelihood, ...]
    greedy: tuple[Generation, ...] = ()
    cost: Cost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityResult:
    """How far two forms of one model are apart on the same token ids. `mean_kl` in nats per position; shares are 0 to 1.

    `greedy_equal` of `greedy_total` greedy answers are the same to the letter, of `greedy_begun` the first 40 characters are.
    `precision`: the type in which the second form was computed (the first is the tuned model in float32); `stored`: the type
    of most weights in its folder. `as_summed`: share of the adapted matrices' elements that are base + update, rounded once to
    that type; None if not looked at. `differences`: what another reader would find otherwise in the folder than in the base's.
    """

    hop: str
    max_abs_logit: float
    mean_kl: float
    top1_agreement: float
    greedy_equal: int
    greedy_total: int
    num_positions: int
    precision: str
    greedy_begun: int = 0
    stored: str = "float32"
    as_summed: float | None = None
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormResult:
    """How far a form of the tuned model is from it, by what both can give: None or 0 of 0 is not measured.

    `logits`: where both give whole distributions. `mean_abs_logprob` and `max_abs_logprob`: nats, over `num_tokens` reference
    tokens. `greedy_equal` of `greedy_total` greedy answers are the same to the letter, of `greedy_begun` the first 40
    characters are. `reason`: why the form could not be opened or compared.
    """

    logits: ParityResult | None = None
    mean_abs_logprob: float | None = None
    max_abs_logprob: float | None = None
    num_tokens: int = 0
    greedy_equal: int = 0
    greedy_begun: int = 0
    greedy_total: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralResult:
    """The same general texts under base and tuned model, to see what tuning cost elsewhere."""

    n: int
    base: tuple[Likelihood, ...]
    tuned: tuple[Likelihood, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The token limit of an answer, and how many of `num_references` references, end token included, need more than that."""

    max_new_tokens: int
    too_long: int
    num_references: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRows:
    """The test items of one fold by id, and its training answers. `tested` are the documents of the test split, `learned` those
    that its adapters learned from or were chosen by (of a split by row: ids of rows). `adapters`: ids of the training runs."""

    items: tuple[str, ...]
    tested: tuple[str, ...]
    learned: tuple[str, ...]
    train_answers: tuple[str, ...]
    adapters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRuns:
    """What evidence about a recipe, in place of one adapter, was pooled from. `seeds` of the training runs of each fold;
    `gains`: for each of them, the mean gain of the tuned model over the base in the primary metric, positive where it is
    better; None where it was not measured."""

    folds: tuple[FoldRows, ...]
    seeds: tuple[int, ...]
    gains: tuple[float | None, ...]

    @property
    def num_adapters(self) -> int:
        """Over all folds and seeds."""
        return sum(len(fold.adapters) for fold in self.folds)

    @property
    def sentence(self) -> str:
        """What the verdict is about, and how far the seeds are apart."""
        each = f" ({len(self.folds)} folds, {len(self.seeds)} seeds)" if min(len(self.folds), len(self.seeds)) > 1 else ""
        said = f"This is a verdict about the recipe: {self.num_adapters} adapters{each}"
        said += ", each judged on documents that it did not see."
        if len(gains := [gain for gain in self.gains if gain is not None]) < 2:
            return said
        lost = sum(gain <= 0 for gain in gains)
        said += f" Gain over the base by training seed: {', '.join(f'{gain:+.3f}' for gain in gains)}."
        return f"{said} With {lost} of {len(gains)} seeds there is none." if lost else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """Whose model was judged, where it was trained elsewhere, and what nobody but its maker can know.

    `what`: the model in words; `maker`: the tool that made it, recognised by `files`; empty if none was. `advisory`: gates that
    nothing here can measure, so that they do not decide; `unknown`: topics that no gate is about. `reason`: why the model was
    not measured at all; empty if it was. `notes`: what a reader should know of the comparison.
    """

    what: str
    maker: str = ""
    files: tuple[str, ...] = ()
    advisory: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything measured. Not measured is None or empty, never a made-up value.

    `parity`: tuned against merged, both computed in float32; `served`: tuned against the merged folder opened as it is served;
    `forms`: tuned against every other form, by name.

    `training`: rows of metrics.jsonl (keys step, loss, val_loss, learning_rate, grad_norm; absent or None where a step did
    not have one); `reading`: their plain-words reading. `train_answers`: for the floor "nearest training answer". `ids`: the
    artifacts the figures come from (kind → id). `numbers`: further facts worth printing under the table of systems. `use`: the
    settings at which `SystemRun.generations` were drawn; in evidence from before there were any, these were greedy. `probes`:
    likelihoods of further rows (`eval.probes`) by probe and system. `suites`: further questions and answers. `recipe`: of
    evidence pooled over adapters, without `train_answers`. `audited`: "tuned" was trained elsewhere. `people`: blind votes
    between base and tuned model. `judged`: by a judge. `voice`: how likely the author wrote the answers. `golden`: items of the
    golden set, whose likelihoods are the probe of that name.
    """

    items: tuple[Item, ...]
    systems: tuple[SystemRun, ...]
    parity: ParityResult | None
    general: GeneralResult | None
    served: ParityResult | None = None
    training: tuple[Mapping[str, float | None], ...] = ()
    reading: str = ""
    train_answers: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    use: Use = GREEDY_USE
    limit: Limit | None = None
    forms: Mapping[str, FormResult] = field(default_factory=dict)
    probes: Mapping[str, Mapping[str, tuple[Likelihood, ...]]] = field(default_factory=dict)
    suites: tuple[SuiteAnswers, ...] = ()
    recipe: RecipeRuns | None = None
    audited: Audited | None = None
    people: HeldVotes | None = None
    judged: JudgedAnswers | None = None
    voice: VoiceScores | None = None
    golden: tuple[Item, ...] = ()

    def system(self, name: str) -> SystemRun | None:
        """The run of that name, or None if it was not made."""
        return next((run for run in self.systems if run.name == name), None)


def read_evidence(path: Path) -> Evidence:
    """Evidence as `evidence.json` holds it. EvaluationError if the file holds something else."""
    try:
        return TypeAdapter(Evidence).validate_json(path.read_bytes())
    except ValidationError as error:
        raise EvaluationError(
            "this evidence cannot be read",
            value=str(path),
            expected=f"what an evaluation wrote ({error.error_count()} problems)",
            hint="delete the evaluation's folder and run it again",
        ) from error
