"""Training on samples: prompts of a step → answers of the model → rewards → units, behind the batches that the loop reads.

Answers are drawn at temperature 1 from all tokens: only then are they drawn from the distribution whose gradient is taken.
Which prompts a step has, and what is drawn, is a pure function of weights, seed and step; rollouts are kept on disk.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Example, digest
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, Sampling, answer, repeated
from tunesmith.train.batches import Batches, Sizes, epoch_order
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.loop import RandomAccess, Signs
from tunesmith.train.memory import Budget
from tunesmith.train.method import Draws, Method, Sampled, Shown
from tunesmith.train.rewards.opening import open_rewards, try_rewards
from tunesmith.train.rewards.reward import Asked, Rewards
from tunesmith.train.rollouts import RolloutFiles, weights_hash
from tunesmith.train.samples import Group, Sample
from tunesmith.train.settings import TrainSettings
from tunesmith.train.units import Batch, Unit
from tunesmith.train.validation import OnDone

__all__ = ["SampledBatches", "Sampler", "Supply", "sampled_supply"]

_HELD_OUT_SEED = 7  # of the answers to validation prompts: the same draws at every validation
_SILENT = 10  # rollouts from the start whose rewards never differ, after which there is nothing to hope for


@dataclass(frozen=True, slots=True)
class Supply:
    """What the loop trains on and measures by: batches, validation figures of the first `count` units, and their meaning."""

    batches: RandomAccess
    measure: Callable[[int, OnDone], Mapping[str, float]]
    budget: Budget
    signs: Signs = Signs()  # noqa: RUF009 (frozen)
    finish: Callable[[int], None] = lambda steps: None


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws answers from the model as it is now, and has them scored. `shown`: the method, if it shows its teacher more.

    `context`: tokens that the model can read; `limit`: tokens of a row that is learned.
    """

    path: ExecutionPath
    chat: Chat
    rewards: Rewards
    shown: Shown | None
    draws: Draws
    context: int
    limit: int

    def groups(
        self, examples: Sequence[Example], *, samples: int, seed: int, on_done: OnDone = lambda count: None
    ) -> list[Group]:
        """`samples` answers to the prompt of each example. What is drawn depends on weights, prompt, seed and sample alone.

        Examples outside of the share of prompts that the model answers keep their own answer; the seed says which.
        """
        asked = [example for example in examples if self._is_asked(example, seed)]
        on_done(len(examples) - len(asked))
        drawn = iter(self._drawn(asked, samples=samples, seed=seed, on_done=on_done) if asked else [])
        sizes = [samples if self._is_asked(example, seed) else 0 for example in examples]
        made = [
            [next(drawn) for _ in range(size)] or [self.written(example)] for example, size in zip(examples, sizes, strict=True)
        ]
        whose = [(example, one) for example, answers in zip(examples, made, strict=True) for one in answers]
        scores = iter(self.rewards.score([Asked.of(example, one.text) for example, one in whose]))
        return [
            self.group(example, [self._scored(one, next(scores)) for one in answers])
            for example, answers in zip(examples, made, strict=True)
        ]

    def written(self, example: Example) -> Sample:
        """The example's own answer, as its target tokens."""
        row = self.chat.answer_row(example.messages, max_tokens=self.limit)
        marked = [place for place, mark in enumerate(row.learned) if mark]
        ids = row.ids[len(self.chat.encode_prompt(example.prompt)) : marked[-1] + 1] if marked else ()
        return Sample(ids, example.answer, bool(ids) and ids[-1] in self.chat.end_ids)

    def _is_asked(self, example: Example, seed: int) -> bool:
        share = self.draws.share
        return share == 1 or int(digest(str(seed), example.id)[:8], 16) < share * 2**32

    def _drawn(self, examples: Sequence[Example], *, samples: int, seed: int, on_done: OnDone) -> list[Sample]:
        drawn, most = Sampling(temperature=1.0, seed=seed), self.draws.max_new_tokens
        asked = [
            one
            for example in examples
            for one in repeated(Request(messages=example.prompt, max_new_tokens=most, sampling=drawn), samples)
        ]
        self.path.model.eval()
        made = answer(self.path.model, self.chat, asked, batch_examples=len(asked), context=self.context, on_done=on_done)
        ends = [() if one.end_id is None else (one.end_id,) for one in made]
        return [
            Sample((*(one.ids or ()), *end), one.text, one.finish_reason == "stop") for one, end in zip(made, ends, strict=True)
        ]

    def _scored(self, one: Sample, numbers: tuple[float, ...]) -> Sample:
        return replace(one, rewards=numbers, reward=self.rewards.total(numbers))

    def group(self, example: Example, answers: Sequence[Sample]) -> Group:
        """These answers to the prompt of an example."""
        shown = () if self.shown is None else self.shown.teacher_prompt(self.chat, example)
        return Group(example, tuple(self.chat.encode_prompt(example.prompt)), tuple(answers), shown)


class SampledBatches:
    """Batches of answers that are drawn when a step asks for them. `examples[i]` is the prompt of length `lengths[i]`."""

    def __init__(
        self,
        examples: Sequence[Example],
        lengths: Sequence[int],
        *,
        method: Sampled,
        sampler: Sampler,
        files: RolloutFiles,
        train: TrainSettings,
        budget: Budget,
    ) -> None:
        self._examples, self._lengths = examples, lengths
        self._method, self._sampler, self._files, self._train = method, sampler, files, train
        self._most_tokens, self._enough = budget.tokens, budget.enough
        self._order = lru_cache(maxsize=2)(self._epoch)
        self._kept: dict[int, list[Unit]] = {}
        self._silent = 0

    def at(self, index: int) -> list[Batch]:
        """The parts of the batch at `index`: answers drawn from the weights as they are, or those of the steps before."""
        parts = self._cut(self._units(index))
        return parts.at(0)

    def shrink(self) -> bool:
        """Halve what goes through at once; whether the newest batch can still be cut."""
        sizes = [max(unit.num_tokens for unit in units) for units in self._kept.values()]
        if sizes and self._most_tokens <= max(sizes) // max(1, self._method.draws.samples):
            return False
        self._most_tokens //= 2
        return True

    def notes(self, step: int) -> dict[str, float]:
        """Of the answers that the step `step` was made from: mean rewards and lengths, and what could be learned from."""
        units = [unit for index in self._indices(step) for unit in self._units(index)]
        answers = [sample for unit in units for sample in unit.answers]
        labels = self._sampler.rewards.labels
        return {
            **({"reward": statistics.fmean(s.reward for s in answers)} if labels else {}),
            **{f"reward_{name}": statistics.fmean(s.rewards[n] for s in answers) for n, name in enumerate(labels)},
            "answer_tokens": statistics.fmean(len(s.ids) for s in answers),
            "ended": statistics.fmean(s.ended for s in answers),
            "idle": statistics.fmean(self._method.is_idle(unit) for unit in units),
        }

    def num_rollouts(self, steps: int) -> int:
        """Rollouts that so many steps are made from."""
        return -(-steps // self._method.draws.updates) * self._train.accumulate

    def _indices(self, step: int) -> range:
        return range(step * self._train.accumulate, (step + 1) * self._train.accumulate)

    def _units(self, index: int) -> list[Unit]:
        step, place = divmod(index, self._train.accumulate)
        round_, update = divmod(step, self._method.draws.updates)
        number = round_ * self._train.accumulate + place
        if number not in self._kept:
            found = self._files.read(number, None) if update else self._fresh(number)
            if found is None:
                raise TrainingError(
                    "the answers that this step continues with are gone",
                    value=f"rollout {number} of the step {step + 1}",
                    expected="the files in the run's work folder as they were written",
                    hint="delete the run's work folder to start again",
                )
            self._kept = {n: units for n, units in self._kept.items() if n > number - self._train.accumulate}
            self._kept[number] = found
        return self._kept[number]

    def _fresh(self, number: int) -> list[Unit]:
        """Answers of the weights as they are: read where these very weights gave them before, or drawn now."""
        weights = weights_hash(self._sampler.path.model)
        if (units := self._files.read(number, weights)) is None:
            epoch, place = divmod(number, len(self._order(0)))
            chosen = [self._examples[i] for i in self._order(epoch)[place]]
            seed = self._train.seed * 1_000_003 + number
            groups = self._sampler.groups(chosen, samples=self._method.draws.samples, seed=seed)
            units = self._method.units(self._sampler.path, groups)
            self._files.write(number, weights, groups, units)
        self._listen(number, units)
        return units

    def _listen(self, number: int, units: Sequence[Unit]) -> None:
        """TrainingError if no answer has ever got another reward than the others to its prompt."""
        rewards = {sample.reward for unit in units for sample in unit.answers}
        constant = bool(self._method.rewards) and len(rewards) == 1
        if number != self._silent or not (constant or all(map(self._method.is_idle, units))):
            return
        self._silent += 1
        if self._silent < _SILENT:
            return
        raise TrainingError(
            "the rewards never differ between the answers to a prompt: there is nothing to learn",
            value=f"{_SILENT} batches; the newest rewards: {', '.join(f'{r:g}' for r in sorted(rewards)[:5])}",
            expected="a reward that some of the answers get and others do not",
            hint="make the reward graded, raise objective.samples, or train with objective.kind=sft first",
        )

    def _cut(self, units: Sequence[Unit]) -> Batches:
        """The units that have a gradient, in parts; those without only count in the mean of the step."""
        learned = [unit for unit in units if not self._method.is_idle(unit)] or [min(units, key=lambda unit: unit.num_tokens)]
        idle = sum(unit.weight for unit in units) - sum(unit.weight for unit in learned)
        learned[0] = replace(learned[0], weight=learned[0].weight + idle)
        path = self._sampler.path
        return Batches(
            learned,
            sizes=Sizes(examples=len(learned)),
            seed=0,
            most_tokens=self._most_tokens,
            enough=self._enough,
            shares=path.shares,
            lay_out=path.batch,
        )

    def _epoch(self, epoch: int) -> list[list[int]]:
        sizes = Sizes(examples=self._train.batch_examples)
        short_first = self._train.curriculum == "short_first"
        return epoch_order(self._lengths, sizes=sizes, seed=self._train.seed, epoch=epoch, short_first=short_first)


def _longest_unit(method: Sampled, sampler: Sampler, examples: Sequence[Example]) -> Unit:
    """A unit as large as any that can come: the longest prompt, with answers that are all cut at their limit."""
    draws = method.draws
    group = max((sampler.group(one, ()) for one in examples), key=lambda one: len(one.prompt) + len(one.teacher_prompt))
    prompt = group.prompt
    ids = (prompt * (draws.max_new_tokens // len(prompt) + 2))[: draws.max_new_tokens + draws.samples]
    labels = (0.0,) * len(method.rewards)
    answers = tuple(Sample(ids[n : n + draws.max_new_tokens], "", False, labels) for n in range(draws.samples))
    longest = [replace(group, samples=answers)]
    if draws.share < 1:
        written = (sampler.group(one, (replace(sampler.written(one), rewards=labels),)) for one in examples)
        longest.append(max(written, key=lambda one: len(one.rows[0].ids)))
    return max(method.units(sampler.path, longest), key=lambda unit: unit.num_tokens)


def _check_prompts(sampler: Sampler, examples: Sequence[Example]) -> None:
    """TrainingError if a prompt leaves no room for an answer of the full length: of the model, or of its teacher."""
    room = sampler.draws.max_new_tokens
    for example in examples:
        group = sampler.group(example, ())
        size, shown = len(group.prompt), len(group.teacher_prompt)
        if size + room > sampler.limit:
            raise TrainingError(
                "a prompt leaves no room for its answer",
                value=f"{size} tokens of example {example.id} and {room} of the answer",
                expected=f"{sampler.limit} tokens together",
                hint=f"--set objective.max_new_tokens={max(1, sampler.limit - size)}, or raise train.max_tokens",
            )
        if shown + room > sampler.context:
            raise TrainingError(
                "what the teacher is shown leaves no room for an answer",
                value=f"{shown} tokens for example {example.id} and {room} of the answer",
                expected=f"{sampler.context} tokens together, which the model can read",
                hint="shorten objective.context, show fewer objective.passages, or leave out the example",
            )


@contextmanager
def sampled_supply(  # noqa: PLR0913 (a run and where its answers go)
    objective: Method,
    path: ExecutionPath,
    chat: Chat,
    examples: Mapping[str, Sequence[Example]],
    *,
    train: TrainSettings,
    budget: Callable[[Unit], Budget],
    context: int,
    files: Callable[[Sequence[str]], RolloutFiles],
    finish: Callable[[RolloutFiles, int], None],
) -> Iterator[Supply]:
    """What the loop needs of a method that samples. `examples`: those of `train`, and the `val` that are measured.

    Rewards are opened and tried first. `budget(unit)`: what goes through at once, by the largest unit that can come.
    `files(labels)` opens the rollouts. TrainingError before anything is trained where a reward fails or is constant, or a
    prompt leaves no room.
    """
    if not isinstance(objective, Sampled):
        raise AssertionError("not a method that samples")
    draws = objective.draws
    rewards = open_rewards(objective.rewards, train=examples["train"], seed=train.seed)
    try:
        if (shown := objective if isinstance(objective, Shown) else None) is not None:
            shown.show(examples["train"])
        sampler = Sampler(path, chat, rewards, shown, draws, context, min(train.max_tokens, context))
        _check_prompts(sampler, [*examples["train"], *examples["val"]])
        try_rewards(rewards, examples["val"])
        rollouts = files(rewards.labels)
        lengths = [len(chat.encode_prompt(example.prompt)) for example in examples["train"]]
        batches = SampledBatches(
            examples["train"],
            lengths,
            method=objective,
            sampler=sampler,
            files=rollouts,
            train=train,
            budget=(most := budget(_longest_unit(objective, sampler, examples["train"]))),
        )

        def measure(count: int, on_done: OnDone) -> Mapping[str, float]:
            groups = sampler.groups(examples["val"][:count], samples=1, seed=_HELD_OUT_SEED, on_done=on_done)
            return objective.validate(path, objective.units(path, groups), lambda done: None)

        yield Supply(
            batches,
            measure,
            most,
            Signs(batches.notes, loss_tells=False, alarm=objective.alarm),
            lambda steps: finish(rollouts, batches.num_rollouts(steps)),
        )
    finally:
        rewards.close()
