"""What every system is asked, and under which conditions: the same items, the same number of draws, the same token limit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from tunesmith.core.records import Generation, Message, canonical_json, digest
from tunesmith.core.reporter import Progress
from tunesmith.eval.likelihood import checked_logprobs, encode_items, likelihoods_of
from tunesmith.eval.perplexity import of_texts
from tunesmith.eval.results import Cost, Item, Limit, SystemRun
from tunesmith.eval.suites.run import SuiteRun, run_together, unfit_for
from tunesmith.eval.suites.suite import Suite
from tunesmith.models.chat import Encoded
from tunesmith.models.generate import GREEDY, Completion, Request
from tunesmith.models.memory import release_memory
from tunesmith.models.template import Scalar
from tunesmith.models.use import GREEDY_USE, Use
from tunesmith.systems.local import answer_together
from tunesmith.systems.system import Address, OwnPrompts, Role, System, SystemInputs, SystemKind, TokenLogprobs

__all__ = ["Asking", "Conditions", "Decoding", "cost_of", "num_answers"]

Decoding = Literal["use", "greedy"]
"""At the sampling settings, or greedily."""

_DECODINGS: Mapping[Role, tuple[Decoding, ...]] = {
    "reference": ("use", "greedy"),
    "baseline": ("use",),
    "subject": ("use", "greedy"),
    "form": ("greedy",),
    "addition": ("use",),
}
_Asked = tuple[int, Decoding, int]  # place of the item, how it is decoded, number of the draw
_Answered = tuple[int, Decoding, int, Completion]
_Prompts = Sequence[Sequence[Message]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which every system answers: cheaper alternatives to measure too, maximum tokens per answer, answers at once, the
    options of the chat template, and the sampling settings; what takes more than tuning, and the address of a bigger model.
    `suites` are put to base and tuned model; answers are kept in the folder `saved`, so that none is made twice."""

    baselines: tuple[str, ...]
    max_new_tokens: int
    batch_examples: int
    template: Mapping[str, Scalar] = field(default_factory=dict)
    use: Use = GREEDY_USE
    suites: tuple[Suite, ...] = ()
    saved: Path | None = None
    additions: tuple[str, ...] = ()
    address: Address | None = None


def num_answers(kinds: Sequence[SystemKind], conditions: Conditions, items: Sequence[Item]) -> int:
    """Answers and likelihoods that an evaluation takes, for progress."""
    asked = 0 if of_texts(items) else sum(len(_asked(kind, conditions, len(items))) for kind in kinds)
    return asked + len(items) * sum(kind.listed for kind in kinds)


def _asked(kind: SystemKind, conditions: Conditions, num_items: int) -> list[_Asked]:
    """What a system is asked, in order. Where the sampling settings are greedy, nothing is asked twice."""
    decodings = _DECODINGS[kind.role]
    asked: list[_Asked] = []
    if "use" in decodings:
        asked += [(place, "use", draw) for place in range(num_items) for draw in range(conditions.use.num_draws)]
    if "greedy" in decodings and not (conditions.use.is_plain_greedy and asked):
        asked += [(place, "greedy", 0) for place in range(min(kind.num_greedy, num_items))]
    return asked


def cost_of(answers: Sequence[Completion], *, prompt_tokens: Sequence[int], seconds: float, at_once: int) -> Cost:
    """What the answers took. `prompt_tokens` and `seconds` an answer hold where the system did not count for itself.

    A server that times its answers but leaves out the tokens of a prompt has another tokenizer: they stay unknown.
    """
    counted = [one.prompt_tokens if one.seconds is not None else own for one, own in zip(answers, prompt_tokens, strict=True)]
    known = [count for count in counted if count is not None]
    timed = [one.seconds for one in answers if one.seconds is not None]
    return Cost(
        num_answers=len(answers),
        prompt_tokens=sum(known) if len(known) == len(counted) else None,
        generated_tokens=sum(one.num_tokens for one in answers),
        seconds=sum(seconds if one.seconds is None else one.seconds for one in answers),
        at_once=1 if timed else at_once,
    )


@dataclass(frozen=True)
class Asking:
    """Puts the same questions to every system. `costs`: what the answers of each took so far, by name."""

    inputs: SystemInputs
    items: Sequence[Item]
    conditions: Conditions
    progress: Progress
    costs: dict[str, Cost] = field(default_factory=dict)

    @cached_property
    def plain(self) -> list[tuple[Message, ...]]:
        """The prompt of every item as in the test set."""
        return [item.prompt for item in self.items]

    @cached_property
    def rows(self) -> list[Encoded]:
        """Every plain prompt with its reference as the answer."""
        return encode_items(self.inputs.chat, self.items, self.plain, context=self.inputs.base.context)

    @cached_property
    def num_asked(self) -> int:
        """Items that are asked: all, or none where they are plain texts."""
        return 0 if of_texts(self.items) else len(self.items)

    @property
    def limit(self) -> Limit:
        """How the references, end token included, fit into the token limit."""
        most = self.conditions.max_new_tokens
        too_long = sum(row.num_learned > most for row in self.rows) if self.num_asked else 0
        return Limit(max_new_tokens=most, too_long=too_long, num_references=len(self.rows))

    def answers(self, systems: Sequence[tuple[SystemKind, System]]) -> dict[str, list[_Answered]]:
        """The answers of systems on one copy of the weights, by name; those that are asked the same share a batch."""
        found: dict[str, list[_Answered]] = {kind.name: [] for kind, _ in systems}
        left = list(systems) if self.num_asked else []
        while left:
            kind, system = left[0]
            prompts, asked = self._prompts(system), _asked(kind, self.conditions, self.num_asked)
            same = [
                pair
                for pair in left
                if self._prompts(pair[1]) == prompts and _asked(pair[0], self.conditions, self.num_asked) == asked
            ]
            left = [pair for pair in left if pair not in same]
            self.progress.advance(0, system.label if len(same) == 1 else " and ".join(one.name for one, _ in same))
            begin = time.perf_counter()
            done = answer_together([one for _, one in same], self._requests(prompts, asked), on_done=self.progress.advance)
            seconds = (time.perf_counter() - begin) / max(1, len(asked) * len(same))
            sizes = {place: len(self.inputs.chat.encode_prompt(prompts[place])) for place in {place for place, _, _ in asked}}
            release_memory()  # keys and values of all these answers, before the next batch takes as much
            for (one, system), answers in zip(same, done, strict=True):
                self.costs[system.name] = cost_of(
                    answers,
                    prompt_tokens=[sizes[place] for place, _, _ in asked],
                    seconds=seconds,
                    at_once=min(self.conditions.batch_examples, len(asked) * len(same)),
                )
                found[one.name] = self._with_greedy(one, [(*key, said) for key, said in zip(asked, answers, strict=True)])
        return found

    def _prompts(self, system: System) -> _Prompts:
        own = system.prompts if isinstance(system, OwnPrompts) else None
        return self.plain if own is None else own

    def _requests(self, prompts: _Prompts, asked: Sequence[_Asked]) -> list[Request]:
        return [
            Request(
                messages=prompts[place],
                max_new_tokens=self.conditions.max_new_tokens,
                sampling=self.conditions.use.sampling if decoding == "use" else GREEDY,
                number=draw,
            )
            for place, decoding, draw in asked
        ]

    def _with_greedy(self, kind: SystemKind, answers: list[_Answered]) -> list[_Answered]:
        """Where the sampling settings are greedy, their first answers are the greedy ones too."""
        if "greedy" not in _DECODINGS[kind.role] or any(decoding == "greedy" for _, decoding, _, _ in answers):
            return answers
        return [*answers, *((place, "greedy", 0, said) for place, _, _, said in answers[: kind.num_greedy])]

    def run(self, system: System, answers: Sequence[_Answered]) -> tuple[SystemRun, Sequence[TokenLogprobs] | None]:
        """Likelihoods and answers of a system under the hash of all that made them; and the log-probabilities themselves."""
        chat, items, prompts = self.inputs.chat, self.items, self._prompts(system)
        self.progress.advance(0, system.label)
        use = {key: value for key, value in asdict(self.conditions.use).items() if key != "how"}
        sampling = {"use": use, "max_new_tokens": self.conditions.max_new_tokens}
        mark = digest(
            system.fingerprint, chat.fingerprint, canonical_json([list(p) for p in prompts]), canonical_json(sampling)
        )
        rows = self.rows
        if prompts is not self.plain:
            rows = encode_items(chat, items, prompts, context=self.inputs.base.context)
        logprobs = self.logprobs(system, rows)
        drawn, greedy = (self.generations(system.name, answers, mark, decoding=decoding) for decoding in ("use", "greedy"))
        if self.conditions.use.num_draws == 1:
            drawn = tuple(replace(one, draw=None) for one in drawn)
        scored = () if logprobs is None else likelihoods_of(logprobs, chat, items, rows)
        run = SystemRun(
            name=system.name,
            label=system.label,
            fingerprint=mark,
            generations=drawn,
            likelihoods=scored,
            greedy=greedy,
            cost=self.costs.get(system.name),
        )
        return run, logprobs

    def logprobs(self, system: System, rows: Sequence[Encoded]) -> Sequence[TokenLogprobs] | None:
        """The system's log-probabilities for `rows`, checked; None if it cannot compute them."""
        return checked_logprobs(system.name, system.logprobs(rows, on_done=self.progress.advance), rows)

    def logprobs_of(self, system: System, items: Sequence[Item]) -> tuple[list[Encoded], Sequence[TokenLogprobs]] | None:
        """The rows of other items under their plain prompts, and the log-probabilities for them; None without any."""
        self.progress.advance(0, f"{system.label}: further rows")
        prompts = [item.prompt for item in items]
        rows = encode_items(self.inputs.chat, items, prompts, context=self.inputs.base.context)
        found = checked_logprobs(system.name, system.logprobs(rows, on_done=self.progress.advance), rows)
        return None if found is None else (rows, found)

    def run_suite(self, suite: Suite, systems: Sequence[System]) -> list[SuiteRun]:
        """The greedy answers of systems to a suite, in one batch; those that were saved are not made again."""
        chat, named = self.inputs.chat, {system.name: system for system in systems}
        self.progress.advance(0, f"{' and '.join(named)}: {suite.name}")
        found = run_together(
            suite,
            lambda names, requests: answer_together([named[name] for name in names], requests),
            systems={name: digest(system.fingerprint, chat.fingerprint) for name, system in named.items()},
            saved=self.conditions.saved,
            unfit=unfit_for(chat, self.inputs.base.context),
            on_done=self.progress.advance,
        )
        release_memory()
        return list(found.values())

    def generations(self, name: str, answers: Sequence[_Answered], mark: str, *, decoding: Decoding) -> tuple[Generation, ...]:
        """The answers of one decoding method, as records, under the fingerprint `mark`."""
        return tuple(
            Generation(
                item_id=self.items[place].id,
                system=name,
                text=said.text,
                finish_reason=said.finish_reason,
                num_tokens=said.num_tokens,
                fingerprint=mark,
                draw=draw if decoding == "use" else None,
            )
            for place, asked, draw, said in answers
            if asked == decoding
        )
