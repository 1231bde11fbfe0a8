"""The watch over rewards: a reward that rises while other figures of held-out prompts say otherwise ends the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig, WatchConfig, labels_of
from tunesmith.train.watch import Event

__all__ = ["hacked", "read_rewards"]

Rows = Sequence[Mapping[str, Any]]
_KIND = "reward_hacked"


def hacked(rows: Rows, watch: WatchConfig, rewards: Sequence[RewardConfig]) -> Event | None:
    """Whether the newest of the validations `rows` shows a reward that is not believed, compared with the first.

    The reward has risen if the low end of its interval is above the reward of the untrained model.
    """
    first, last = rows[0], rows[-1]
    if len(rows) < 2 or last["val_reward_low"] <= first["val_reward"]:
        return None
    return next(_signs(first, last, watch, rewards), None)


def _signs(
    first: Mapping[str, Any], last: Mapping[str, Any], watch: WatchConfig, rewards: Sequence[RewardConfig]
) -> Iterator[Event]:
    rose = f"the reward rose from {first['val_reward']:.3g} to {last['val_reward']:.3g}, but"
    kept = "the run ends here, with the best weights before this; "
    if watch.length and last["val_length"] > watch.length * first["val_length"]:
        times = last["val_length"] / first["val_length"]
        text = f"{rose} answers became {times:.1f} times as long ({last['val_length']:.0f} tokens)"
        advice = f"{kept}let the reward count length, or if longer answers are right: --set objective.watch.length=0"
        yield Event(_KIND, last["val_length"], first["val_length"], text, advice)
    if watch.ended and last["val_ended"] < first["val_ended"] - watch.ended:
        text = f"{rose} only {last['val_ended']:.0%} of the answers end by themselves ({first['val_ended']:.0%} before)"
        advice = f"{kept}let the reward count length; if answers need more room, raise objective.max_new_tokens"
        yield Event(_KIND, last["val_ended"], first["val_ended"], text, advice)
    if watch.kl and last["val_kl"] > watch.kl:
        text = f"{rose} the answers are {last['val_kl']:.1f} nats per token away from the base"
        advice = f"{kept}use a lower train.learning_rate, or objective.beta above 0"
        yield Event(_KIND, last["val_kl"], first["val_kl"], text, advice)
    if watch.repetition and last["val_repetition"] > first["val_repetition"] + watch.repetition:
        text = f"{rose} {last['val_repetition']:.0%} of the answers repeat themselves ({first['val_repetition']:.0%} before)"
        advice = f"{kept}use a reward that repetition does not raise, or objective.beta above 0"
        yield Event(_KIND, last["val_repetition"], first["val_repetition"], text, advice)
    for label, reward in zip(labels_of(rewards), rewards, strict=True):
        before, now = first[f"val_reward_{label}"], last[f"val_reward_{label}"]
        if watch.second and reward.weight == 0 and now < before - watch.second:
            text = f"{rose} the reward {label}, which is not trained on, fell from {before:.3g} to {now:.3g}"
            yield Event(_KIND, now, before, text, f"{kept}add {label} to the rewards with a weight above 0")


def read_rewards(rows: Rows, watch: WatchConfig, rewards: Sequence[RewardConfig]) -> Reading:
    """What the curves of a reward say: hacked, learning, nothing learned, or too short to tell."""
    validations = [row for row in rows if "val_reward" in row]
    if len(validations) < 2:
        return Reading("too short to tell", f"{len(validations)} validations", "train longer before you read the curves")
    if event := hacked(validations, watch, rewards):
        return Reading("reward hacked", event.text, event.advice)
    first, last = validations[0]["val_reward"], validations[-1]["val_reward"]
    best = max(validations, key=lambda row: float(row["val_reward"]))
    if best["val_reward_low"] <= first:
        text = f"the reward on held-out prompts never rose above its start ({first:.3g}) by more than chance"
        return Reading("nothing learned", text, "raise train.learning_rate or objective.samples, or make the reward graded")
    text = f"the reward on held-out prompts rose from {first:.3g} to {best['val_reward']:.3g}"
    if last < best["val_reward_low"]:
        return Reading(
            "overfitting", f"{text} and fell to {last:.3g}", "the best weights are kept; use a lower train.learning_rate"
        )
    return Reading("learning", text, "read some of rollouts.jsonl: a number does not show what the answers are like")
