"""Opening rewards from their settings, and trying each on known answers before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tunesmith.core.errors import TrainingError
from tunesmith.core.files import verify
from tunesmith.core.records import Example
from tunesmith.eval.metrics.registry import find_metric
from tunesmith.train.rewards.judge import JudgeReward
from tunesmith.train.rewards.process import FunctionReward
from tunesmith.train.rewards.reward import Asked, Reward, Rewards
from tunesmith.train.rewards.settings import RewardConfig, labels_of
from tunesmith.train.rewards.voice import VoiceReward

__all__ = ["check_rewards", "open_rewards", "refuse_no_reward", "try_rewards"]

_METRICS = "tunesmith.eval.metrics."
_TRIED = 16  # validation examples


def check_rewards(configs: Sequence[RewardConfig]) -> None:
    """TrainingError, as from `open_rewards`, for rewards that cannot be used; what needs the examples, a server, or a model in
    memory is left to the run."""
    refuse_no_reward(configs)
    for label, config in zip(labels_of(configs), configs, strict=True):
        if config.reward_model:
            _run_of(config)
        elif config.file or config.function:
            _function(label, config).close()


def refuse_no_reward(configs: Sequence[RewardConfig]) -> None:
    """TrainingError if none of them counts."""
    if not any(config.weight for config in configs):
        raise TrainingError(
            "there is no reward to learn from",
            value=f"{len(configs)} rewards, none with a weight above or below 0",
            expected="one reward at least that counts",
            hint="objective.rewards: [{function: json_valid}], or see docs/concepts/methods.md",
        )


def open_rewards(configs: Sequence[RewardConfig], *, train: Sequence[Example], seed: int) -> Rewards:
    """The rewards of a run. `train`: the examples by which the author's voice is known.

    TrainingError for one that cannot be opened; those opened before it are closed again.
    """
    with ExitStack() as opened:
        each: list[Reward] = []
        for label, config in zip(labels_of(configs), configs, strict=True):
            reward: Reward
            if config.address:
                reward = JudgeReward(config.model_copy(update={"name": label}))
            elif config.voice:
                reward = VoiceReward(label, train, seed=seed)
            elif config.reward_model:
                reward = _model(label, config)
            else:
                reward = _function(label, config)
            opened.callback(reward.close)
            each.append(reward)
        opened.pop_all()
    return Rewards(tuple(each), tuple(config.weight for config in configs))


def _model(label: str, config: RewardConfig) -> FunctionReward:
    folder, id = _run_of(config)
    return FunctionReward(label, {"reward_model": str(folder)}, seconds=config.seconds, source=f"the reward model {id[:8]}")


def _run_of(config: RewardConfig) -> tuple[Path, str]:
    """The folder and the id of the run of a reward model."""
    folder = Path(config.reward_model).expanduser().resolve()
    manifest = verify(folder)
    objective = manifest["settings"].get("objective", {}).get("kind") if manifest and manifest["kind"] == "run" else None
    if manifest is None or objective != "reward":
        found = "no whole run" if manifest is None else f"{manifest['kind']}{f', objective {objective}' if objective else ''}"
        raise TrainingError(
            "this is not the run of a reward model",
            value=f"{config.reward_model} ({found})",
            expected=f"the folder of a run of objective.kind reward, as seen from {os.getcwd()}",
            hint="tunesmith path run:latest   prints the folder of the last run",
        )
    return folder, str(manifest["id"])


def _function(label: str, config: RewardConfig) -> FunctionReward:
    if config.file:
        path = Path(config.file).expanduser()
        if not path.is_file():
            raise TrainingError(
                "the file of a reward does not exist",
                value=config.file,
                expected=f"a Python file, as seen from {os.getcwd()}",
                hint="write its path from the folder in which you type the command",
            )
        place = {"file": str(path.resolve()), "name": config.name or "reward"}
        return FunctionReward(label, place, seconds=config.seconds, source=f"{config.file}: {place['name']}")
    module, _, name = config.function.rpartition(".")
    if find_metric(config.function) is not None:  # an argument may have dots: json_field:items.0.price
        module, name = "", config.function
    if find_metric(name) is not None and (not module or f"{module}.".startswith(_METRICS)):
        return FunctionReward(label, {"metric": name}, seconds=config.seconds, source=f"the metric {name}")
    if not module:
        raise TrainingError(
            "there is no such reward function",
            value=config.function,
            expected="a metric of docs/concepts/metrics.md, or module.function",
            hint="function: json_valid, or file: ./my_reward.py",
        )
    return FunctionReward(label, {"module": module, "name": name}, seconds=config.seconds, source=config.function)


def try_rewards(rewards: Rewards, val: Sequence[Example]) -> None:
    """Score known answers before anything is trained: the validation's own, those of other prompts, and an empty one.

    TrainingError for a reward that fails on one of them, or that gives the same number to all: there is nothing to learn.
    """
    shown = list(val[:_TRIED])
    own = [Asked.of(example, example.answer) for example in shown]
    others = [replace(one, answer=other.reference) for one, other in zip(own, [*own[1:], own[0]], strict=True)]
    asked = [*own, *others, replace(own[0], answer="")]
    for reward, weight in zip(rewards.each, rewards.weights, strict=True):
        columns = Rewards((reward,), (1.0,)).score(asked)
        numbers = {number for (number,) in columns}
        if weight and len(numbers) == 1:
            raise TrainingError(
                f"the reward {reward.label} is constant: there is nothing to learn from it",
                value=f"{numbers.pop():g} for {len(shown)} validation answers, answers to other prompts, and an empty one",
                expected="a number that depends on the answer",
                hint="correct the reward, or remove it from objective.rewards",
            )
