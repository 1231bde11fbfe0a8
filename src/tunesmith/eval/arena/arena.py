"""An arena on disk: a folder with its pairs, which never change, and `votes.jsonl`, to which votes are added.

A vote counts as cast once its line is on the disk (appended and synced under a lock), so an acknowledged vote survives a power
cut, and two pages or two processes cannot both cast the same one. A line that a crash left incomplete was never acknowledged
and is dropped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from tunesmith.core.artifacts import Artifact
from tunesmith.core.disk import DISK, Disk
from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import storage_errors
from tunesmith.core.records import digest
from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.results import ArenaResults, decision_of, results_of
from tunesmith.eval.arena.shown import Pair, Showing, schedule
from tunesmith.eval.arena.stopping import Decision
from tunesmith.eval.metrics.text import num_words

__all__ = ["KIND", "PAIRS", "VOTES", "Arena", "Choice", "Vote", "check_voter"]

KIND = "arena"  # of its artifact
PAIRS, VOTES = "pairs.jsonl", "votes.jsonl"
Choice = Literal["left", "right", "tie", "skip", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A line of `votes.jsonl`. `left`: whose answer was on the left. `again`: the pair was shown for the second time.

    `choice` is `skip` for a pair that the voter did not want to judge, and `end` (without a pair) for a voter who has seen the
    results and therefore votes no more. `at`: UTC.
    """

    voter: str
    choice: Choice
    pair: str = ""
    left: str = ""
    again: bool = False
    at: str = ""


_READER = TypeAdapter(Vote)


def check_voter(name: str) -> str:
    """The name without outer spaces, in Unicode's composed form, so that however it is typed it is one voter.

    EvaluationError for one that is empty, longer than 40 characters or not made of words.
    """
    name = unicodedata.normalize("NFC", name.strip())
    kinds = "".join(
        " " if letter in " .'-_" else unicodedata.category(letter)[0] for letter in name
    )  # L, N, M of letters' marks
    if not (0 < len(name) <= 40 and kinds[0] in "LN" and set(kinds) <= set("LNM ")):
        raise EvaluationError(
            "this cannot be the name of a voter",
            value=name[:60],
            expected="1 to 40 letters, digits, spaces, dots, hyphens or apostrophes, beginning with a letter or digit",
            hint="tunesmith arena --voter anna",
        )
    return name


@dataclass(frozen=True)
class Arena:
    """The pairs, votes and results of an arena. `systems` in the order of comparison; the win rate is that of the last.

    `ask`: what voters are asked. `disk` is replaced in tests.
    """

    artifact: Artifact
    pairs: tuple[Pair, ...]
    disk: Disk = field(default=DISK, compare=False, repr=False)

    @classmethod
    def open(cls, artifact: Artifact, *, disk: Disk = DISK) -> Arena:
        """The arena in an artifact of kind `arena`."""
        lines = (artifact.path / PAIRS).read_bytes().split(b"\n")
        reader = TypeAdapter(Pair)
        return cls(artifact, tuple(reader.validate_json(line) for line in lines if line), disk)

    @property
    def id(self) -> str:
        """The id of the artifact."""
        return self.artifact.id

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.artifact.path

    @property
    def systems(self) -> tuple[str, ...]:
        """The names of the systems, the one whose win rate is reported last."""
        return tuple(self.artifact.manifest["settings"]["systems"])

    @property
    def ask(self) -> str:
        """The question that voters answer."""
        return str(self.artifact.manifest["settings"]["ask"])

    @property
    def seed(self) -> int:
        """The seed of order, sides and repeats."""
        return int(self.artifact.manifest["settings"]["seed"])

    @property
    def file(self) -> Path:
        """Where votes are kept."""
        return self.path / VOTES

    def votes(self) -> tuple[Vote, ...]:
        """All votes in the order in which they were cast. EvaluationError for a line that is not a vote in this arena."""
        raw = self.file.read_bytes() if self.file.exists() else b""
        whole, _, _ = raw.rpartition(b"\n")  # what follows the last line end was never acknowledged
        found = [self._vote(line, number) for number, line in enumerate(whole.split(b"\n"), 1) if line.strip()]
        return tuple(found)

    def _vote(self, line: bytes, number: int) -> Vote:
        try:
            vote = _READER.validate_json(line)
        except ValidationError as error:
            raise self._damaged(line, number) from error
        pair = self._by_id.get(vote.pair)
        if vote.choice != "end" and (pair is None or vote.left not in pair.systems):
            raise self._damaged(line, number)
        return vote

    def _damaged(self, line: bytes, number: int) -> EvaluationError:
        return EvaluationError(
            f"line {number} is not a vote in this arena",
            value=line[:80].decode("utf-8", "replace"),
            expected=f"what tunesmith wrote to {self.file}",
            hint="restore the file, or delete that line; the other votes count without it",
        )

    @cached_property
    def _by_id(self) -> Mapping[str, Pair]:
        return {pair.id: pair for pair in self.pairs}

    def showing(self, voter: str, votes: Sequence[Vote] | None = None) -> Showing | None:
        """What this voter is shown next; None at the end, or once the voter has seen the results."""
        own = [vote for vote in (self.votes() if votes is None else votes) if vote.voter == voter]
        if any(vote.choice == "end" for vote in own):
            return None
        cast = {(vote.pair, vote.again): vote.choice for vote in own}
        for one in schedule(self.pairs, voter, seed=self.seed):
            if one.again and cast.get((one.pair.id, False)) == "skip":
                continue
            if (one.pair.id, one.again) not in cast:
                return one
        return None

    def progress(self, voter: str, votes: Sequence[Vote] | None = None) -> tuple[int, int]:
        """How many showings this voter has done, and how many there are."""
        own = [vote for vote in (self.votes() if votes is None else votes) if vote.voter == voter and vote.choice != "end"]
        return len(own), len(schedule(self.pairs, voter, seed=self.seed))

    def cast(self, voter: str, pair: str, choice: Choice, *, again: bool = False) -> bool:
        """Add a vote; it is on the disk when this returns True. False if this is not what the voter is shown now: a page that
        was left open in another tab, or a key pressed twice.

        StorageError where the disk takes nothing; then the vote was not cast.
        """
        with self._locked():
            current = self.showing(voter)
            if current is None or (current.pair.id, current.again) != (pair, again):
                return False
            self._append(Vote(voter=voter, choice=choice, pair=pair, left=current.left, again=again, at=_now()))
            return True

    def end(self, voter: str) -> None:
        """Note that this voter has seen the results, and votes no more."""
        with self._locked():
            if not any(vote.voter == voter and vote.choice == "end" for vote in self.votes()):
                self._append(Vote(voter=voter, choice="end", at=_now()))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with storage_errors("casting a vote", self.file, safe="the votes before it are kept"), FileLock(f"{self.file}.lock"):
            yield

    def _append(self, vote: Vote) -> None:
        new = not self.file.exists()
        if not new and not (raw := self.file.read_bytes()).endswith(b"\n"):
            self.disk.truncate(self.file, raw.rfind(b"\n") + 1)
        self.disk.append(self.file, orjson.dumps(asdict(vote)) + b"\n")
        self.disk.sync(self.file)
        if new:
            self.disk.sync(self.path)

    def votes_id(self) -> str:
        """A hash of the votes so far; empty without any."""
        votes = self.votes()
        return digest(*(orjson.dumps(asdict(vote)).decode() for vote in votes)) if votes else ""

    def ballots(self, votes: Sequence[Vote] | None = None) -> list[Ballot]:
        """The votes as statistics read them, without skips."""
        found = self.votes() if votes is None else votes
        return [self._ballot(vote) for vote in found if vote.choice in ("left", "right", "tie")]

    def _ballot(self, vote: Vote) -> Ballot:
        pair = self._by_id[vote.pair]
        won_a = (vote.choice == "left") == (vote.left == pair.a.system)
        lengths = {side.system: num_words(side.text) for side in (pair.a, pair.b)}
        about: dict[str, Any] = dict(pair.about)
        return Ballot(
            prompt=pair.item_id,
            a=pair.a.system,
            b=pair.b.system,
            score=0.5 if vote.choice == "tie" else float(won_a),
            left=vote.left,
            voter=vote.voter,
            document=pair.document,
            words_a=lengths[pair.a.system],
            words_b=lengths[pair.b.system],
            again=vote.again,
            about=about,
        )

    @cached_property
    def _prompts(self) -> Mapping[frozenset[str], Sequence[str]]:
        found: dict[frozenset[str], list[str]] = {}
        for pair in self.pairs:
            found.setdefault(pair.systems, []).append(pair.item_id)
        return found

    def decision(self, votes: Sequence[Vote] | None = None) -> Decision:
        """Whether the votes so far are enough: the part of the results that is asked for after each vote."""
        return decision_of(self.ballots(votes), self.systems, pairs=self._prompts)

    def results(self) -> ArenaResults:
        """What the votes so far say."""
        votes = self.votes()
        lengths: dict[str, list[int]] = {name: [] for name in self.systems}
        for pair in self.pairs:
            for side in (pair.a, pair.b):
                lengths[side.system].append(num_words(side.text))
        words = {name: sum(of) / len(of) for name, of in lengths.items() if of}
        skips = sum(vote.choice == "skip" for vote in votes)
        return results_of(self.ballots(votes), self.systems, pairs=self._prompts, skips=skips, words=words)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
