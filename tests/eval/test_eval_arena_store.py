"""An arena on disk: what is shown to whom, and votes that are kept whatever happens."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from arena_made import cast_all, made_arena

from tunesmith.core.disk import Disk
from tunesmith.core.errors import EvaluationError, StorageError
from tunesmith.eval.arena.arena import Arena, check_voter
from tunesmith.eval.arena.shown import schedule


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return made_arena(tmp_path_factory.mktemp("project"))


@pytest.fixture
def arena(template: Arena) -> Arena:
    """The same arena without votes."""
    template.file.unlink(missing_ok=True)
    return template


def test_sides_are_random_the_same_after_a_restart_and_differ_between_voters(arena: Arena) -> None:
    mine, again, yours = (schedule(arena.pairs, voter, seed=7) for voter in ("me", "me", "you"))
    assert mine == again and mine != yours
    left = [shown.left for shown in mine if not shown.again]
    assert len(left) == 20 and 4 <= left.count("tuned") <= 16


def test_one_pair_in_ten_comes_again_swapped_and_some_pairs_later(arena: Arena) -> None:
    shown = schedule(arena.pairs, "me", seed=7)
    repeats = [(place, one) for place, one in enumerate(shown) if one.again]
    assert len(repeats) == 2
    for place, one in repeats:
        first = next(i for i, other in enumerate(shown) if other.pair == one.pair)
        assert place - first >= 5 and one.left == shown[first].right


def test_all_votes_are_read_again_and_the_voter_resumes_where_they_stopped(arena: Arena) -> None:
    cast_all(arena, most=7)
    reopened = Arena.open(arena.artifact)
    assert len(reopened.votes()) == 7 and reopened.showing("me") == schedule(arena.pairs, "me", seed=7)[7]
    assert reopened.progress("me") == (7, 22) and reopened.progress("you") == (0, 22)
    assert cast_all(reopened) == 15 and reopened.showing("me") is None
    found = reopened.results()
    assert (found.votes, found.wins, found.consistency.value) == (20, {"base": 0, "tuned": 20}, 1.0)
    assert found.decision.better == "tuned" and found.pairs_left == 0


def test_a_skipped_pair_is_in_no_figure_and_does_not_come_again(arena: Arena) -> None:
    while (shown := arena.showing("me")) is not None:
        arena.cast("me", shown.pair.id, "skip", again=shown.again)
    assert len(arena.votes()) == 20 and arena.results().skips == 20 and arena.results().votes == 0


def test_the_same_vote_from_two_tabs_is_cast_once(arena: Arena) -> None:
    shown = arena.showing("me")
    assert shown is not None
    with ThreadPoolExecutor(8) as pool:
        cast = list(pool.map(lambda choice: arena.cast("me", shown.pair.id, choice), ["left", "right"] * 8))
    assert sum(cast) == 1 and len(arena.votes()) == 1


def test_two_voters_at_once_lose_nothing(arena: Arena) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda voter: cast_all(arena, voter, most=12), ["a", "b", "c", "d"])) == [12] * 4
    assert len(arena.votes()) == 48


def test_a_vote_that_a_crash_left_incomplete_was_never_acknowledged_and_is_dropped(arena: Arena) -> None:
    cast_all(arena, most=3)
    whole = arena.file.read_bytes()
    arena.file.write_bytes(whole[:-9])
    assert len(arena.votes()) == 2
    cast_all(arena, most=1)
    assert len(arena.votes()) == 3 and arena.file.read_bytes().endswith(b"\n")


class Watching(Disk):
    """Notes the order of what is done; a full disk from a given vote on."""

    def __init__(self, full_at: int = 10**9) -> None:
        self.done: list[str] = []
        self.full_at = full_at

    def append(self, path: Path, data: bytes) -> None:
        if self.done.count("append") >= self.full_at:
            raise OSError(28, "No space left on device", str(path))
        super().append(path, data)
        self.done.append("append")

    def sync(self, path: Path) -> None:
        super().sync(path)
        self.done.append("sync")


def test_a_vote_is_on_the_disk_before_it_is_acknowledged_and_a_full_disk_is_reported(arena: Arena) -> None:
    disk = Watching(full_at=2)
    watched = Arena(arena.artifact, arena.pairs, disk)
    assert cast_all(watched, most=2) == 2
    assert disk.done == ["append", "sync", "sync", "append", "sync"]  # the first also makes the file's name durable
    with pytest.raises(StorageError, match="disk is full while casting a vote"):
        cast_all(watched, most=1)
    assert len(arena.votes()) == 2


def test_votes_that_were_acknowledged_survive_a_kill(arena: Arena) -> None:
    code = f"""from pathlib import Path
from tunesmith.core.artifacts import Store
from tunesmith.eval.arena.arena import Arena
arena = Arena.open(Store(Path({str(arena.path.parent.parent)!r})).resolve("arena:latest"))
while (shown := arena.showing("killed")) is not None:
    arena.cast("killed", shown.pair.id, "left", again=shown.again)
    print("cast", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = sum(1 for _ in zip(range(5), process.stdout, strict=False))
        process.kill()
    assert acknowledged == 5 and len([v for v in arena.votes() if v.voter == "killed"]) >= 5


def test_who_has_seen_the_results_votes_no_more(arena: Arena) -> None:
    cast_all(arena, most=4)
    arena.end("me")
    assert arena.showing("me") is None and not arena.cast("me", arena.pairs[0].id, "left")
    assert arena.showing("you") is not None and arena.results().votes == 4


@pytest.mark.parametrize("line", [b"not json\n", b'{"voter":"me","choice":"left","pair":"none","left":"base"}\n'])
def test_a_line_that_is_no_vote_is_named(arena: Arena, line: bytes) -> None:
    arena.file.write_bytes(line)
    with pytest.raises(EvaluationError, match="line 1 is not a vote"):
        arena.votes()


@pytest.mark.parametrize("name", ["", "  ", "a" * 41, "../x", "<b>", "a\nb", "-a"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(EvaluationError, match="name of a voter"):
        check_voter(name)
    assert check_voter(" Zoë O'Neil 2 ") == check_voter("Zoe\u0308 O'Neil 2") == "Zoë O'Neil 2"
    assert [check_voter(one) for one in ("अनिता", "สมชาย", "李雷", "a_b")] == ["अनिता", "สมชาย", "李雷", "a_b"]
