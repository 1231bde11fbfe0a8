"""Which sources a phase reads, as shares of rows; only how they stand to each other counts.

Set for a run of an hour or two on from packaged weights. There are 12.9 M tokens of transcripts to read. The polish reads
the model's own answers of its round; the decay before it sees a single round of them, and takes little of it.
"""

from __future__ import annotations

__all__ = ["DECAY", "MIXES", "POLISH", "STABLE"]

STABLE = {
    "text-transcripts": 0.26,
    "text-articles": 0.05,
    "text-stories": 0.01,
    "text-renamed": 0.01,
    "text-facts": 0.03,
    "chat-sentences": 0.04,
    "chat-words": 0.02,
    "chat-openers": 0.14,
    "chat-renamed": 0.02,
    "chat-stories": 0.02,
    "chat-monologues": 0.12,
    "chat-articles": 0.08,
    "chat-interviews": 0.05,
    "chat-dialogues": 0.04,
    "chat-instructions": 0.06,
    "chat-facts": 0.02,
    "chat-services": 0.01,
    "chat-sums": 0.08,
}
DECAY = {
    "text-transcripts": 0.14,
    "text-articles": 0.05,
    "text-stories": 0.01,
    "text-renamed": 0.01,
    "text-facts": 0.02,
    "chat-own": 0.03,
    "chat-sentences": 0.03,
    "chat-words": 0.01,
    "chat-openers": 0.15,
    "chat-renamed": 0.02,
    "chat-stories": 0.02,
    "chat-monologues": 0.14,
    "chat-articles": 0.12,
    "chat-interviews": 0.06,
    "chat-dialogues": 0.03,
    "chat-instructions": 0.10,
    "chat-facts": 0.02,
    "chat-services": 0.01,
    "chat-sums": 0.08,
}
POLISH = DECAY | {"chat-own": 0.18, "chat-sums": 0.14}
MIXES = {"stable": STABLE, "decay": DECAY, "polish": POLISH, "finish": POLISH}  # the last round of polish weighs otherwise
