"""Answers and log-probabilities that are kept as they come: nothing is asked twice, and nothing is taken for another's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.core.records import Message
from tunesmith.eval import kept_system
from tunesmith.eval.kept_system import KeptSystem
from tunesmith.models.chat import Encoded
from tunesmith.models.generate import Completion, Request
from tunesmith.models.generation.requests import Sampling
from tunesmith.systems.system import TokenLogprobs


class Told:
    """A system that counts what it is asked, and fails once it has answered `most`."""

    name, label = "told", "told"

    def __init__(self, fingerprint: str = "f", *, most: int = 99, scores: bool = True) -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []
        self.scored = 0
        self._most, self._scores = most, scores

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
        if len(self.asked) + len(requests) > self._most:
            raise KeyboardInterrupt
        self.asked += [request.messages[0].content for request in requests]
        on_done(len(requests))
        return [
            Completion(f"{one.messages[0].content} {one.number} ’\n", "stop", 3, seconds=0.1 + n, ids=(n, 2), end_id=7)
            for n, one in enumerate(requests)
        ]

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None]) -> list[TokenLogprobs] | None:
        self.scored += len(rows)
        on_done(len(rows))
        return [TokenLogprobs((-0.1 * row.ids[0], -1 / 3), (True, False)) for row in rows] if self._scores else None


def requests(*numbers: int, sampling: Sampling | None = None) -> list[Request]:
    return [
        Request(
            messages=(Message(role="user", content=f"question {n}"),),
            max_new_tokens=4,
            sampling=sampling or Sampling(),
        )
        for n in numbers
    ]


def quiet(count: int) -> None:
    """No progress."""


def test_what_was_answered_before_an_interruption_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_system, "_AT_ONCE", 2)
    with pytest.raises(KeyboardInterrupt):
        KeptSystem(Told(most=5), tmp_path, mark="m").answer(requests(*range(8)), on_done=quiet)
    done = list[int]()
    again = Told()
    found = KeptSystem(again, tmp_path, mark="m").answer(requests(*range(8)), on_done=done.append)
    assert again.asked == [f"question {n}" for n in range(4, 8)] and sum(done) == 8
    assert [one.text for one in found] == [f"question {n} 0 ’\n" for n in range(8)]


_KILLED = """
import os, sys
from pathlib import Path
from test_eval_kept_system import Told, quiet, requests
from tunesmith.eval import kept_system

kept_system._AT_ONCE = 2

class Dies(Told):
    def answer(self, requests, *, on_done):
        if len(self.asked) == 4:
            os._exit(9)
        return super().answer(requests, on_done=on_done)

kept_system.KeptSystem(Dies(), Path(sys.argv[1]), mark="m").answer(requests(*range(8)), on_done=quiet)
"""


def test_a_process_that_is_killed_leaves_whole_answers(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path)], check=False, timeout=300, env={**os.environ, "PYTHONPATH": path}
    )
    again = Told()
    KeptSystem(again, tmp_path, mark="m").answer(requests(*range(8)), on_done=quiet)
    assert killed.returncode == 9 and again.asked == [f"question {n}" for n in range(4, 8)]


def test_a_kept_answer_is_whole(tmp_path: Path) -> None:
    made, known = (KeptSystem(Told(), tmp_path, mark="m").answer(requests(1, 2), on_done=quiet) for _ in range(2))
    assert known == made and [one.ids for one in known] == [(0, 2), (1, 2)] and known[0].end_id == 7


@pytest.mark.parametrize("other", ["fingerprint", "mark", "sampling", "number", "room", "stop", "adapter"])
def test_an_answer_of_another_model_or_to_another_question_is_not_taken(tmp_path: Path, other: str) -> None:
    asked = requests(1)
    KeptSystem(Told(), tmp_path, mark="m").answer(asked, on_done=quiet)
    changed = {
        "sampling": requests(1, sampling=Sampling(temperature=0.5)),
        "number": [replace(asked[0], number=1)],
        "room": [replace(asked[0], max_new_tokens=5)],
        "stop": [replace(asked[0], stop=("\n",))],
        "adapter": [replace(asked[0], adapter=False)],
    }.get(other, asked)
    system = Told("g" if other == "fingerprint" else "f")
    KeptSystem(system, tmp_path, mark="n" if other == "mark" else "m").answer(changed, on_done=quiet)
    assert system.asked == ["question 1"]


def test_scores_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    rows = [Encoded((n, 5), (False, True)) for n in (3, 4)]
    made = KeptSystem(Told(), tmp_path, mark="m").logprobs(rows[:1], on_done=quiet)
    again = Told()
    found = KeptSystem(again, tmp_path, mark="m").logprobs(rows, on_done=quiet)
    assert found is not None and made == found[:1] and again.scored == 1
    assert KeptSystem(Told(scores=False), tmp_path, mark="other").logprobs(rows, on_done=quiet) is None


def test_a_torn_line_is_asked_again(tmp_path: Path) -> None:
    KeptSystem(Told(), tmp_path, mark="m").answer(requests(1, 2), on_done=quiet)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    again = Told()
    KeptSystem(again, tmp_path, mark="m").answer(requests(1, 2), on_done=quiet)
    assert again.asked == ["question 2"]


def test_answers_that_nobody_timed_are_said_to_be_untimed(tmp_path: Path) -> None:
    class Untimed(Told):
        def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
            return [replace(one, seconds=None) for one in super().answer(requests, on_done=on_done)]

    states = []
    for system, folder in ((Told, "timed"), (Untimed, "untimed")):
        for _ in range(2):
            kept = KeptSystem(system(), tmp_path / folder, mark="m")
            kept.answer(requests(1), on_done=quiet)
            states.append(kept.has_untimed)
    assert states == [False, False, False, True]
