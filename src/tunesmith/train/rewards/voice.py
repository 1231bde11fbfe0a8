"""The author's voice as a reward: a classifier trained on the training answers, against writing by other people."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Example
from tunesmith.eval.metrics.metric import Unscored
from tunesmith.eval.metrics.voice import Writing, fit_voice, packaged_writing
from tunesmith.train.rewards.reward import Asked

__all__ = ["VoiceReward"]


class VoiceReward:
    """The chance that the author of the training examples wrote an answer; 0 for one too short to tell.

    A short answer is the easiest way out of a text that is recognised, so it earns nothing. TrainingError where the voice
    cannot be told from other people's.
    """

    def __init__(self, label: str, train: Sequence[Example], *, seed: int) -> None:
        self.label = label
        own = [Writing(text=one.answer, document=one.document_id, author=one.meta.get("author")) for one in train]
        self._voice = fit_voice(own, packaged_writing(), seed=seed)
        if reason := self._voice.check.reason:
            raise TrainingError(
                f"the reward {label} cannot be measured on these examples",
                value=reason,
                expected="training examples by one author whose writing a classifier can tell from other people's",
                hint="remove `voice` from objective.rewards, or add more of the author's texts",
            )

    def score(self, asked: Sequence[Asked]) -> list[float]:
        """As of every reward."""
        found = self._voice.score([one.answer for one in asked])
        return [0.0 if isinstance(number, Unscored) else number for number in found]

    def close(self) -> None:
        """It holds nothing."""
