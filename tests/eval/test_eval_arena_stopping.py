"""The rule for stopping: true however often somebody reads the result (a larger simulation: benchmarks/bench_arena.py)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arena_ballots import votes
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.stopping import (
    chance_to_decide,
    confidence_sequence,
    decide,
    log_evidence,
    pair_test,
)

SYSTEMS = ("base", "tuned")


def decision(letters: str, left: int = 60):  # type: ignore[no-untyped-def]
    return decide(votes(letters), SYSTEMS, {frozenset(SYSTEMS): left})


def test_the_evidence_is_a_martingale_where_nothing_is_preferred() -> None:
    """Exactly: its mean over the next vote is what it is now."""
    for wins, losses in ((0, 0), (3, 1), (10, 30)):
        following = [math.exp(log_evidence(wins + 1, losses)), math.exp(log_evidence(wins, losses + 1))]
        assert sum(following) / 2 == pytest.approx(math.exp(log_evidence(wins, losses)))


def test_voters_who_read_the_result_after_each_vote_are_rarely_misled() -> None:
    """300 voters of 100 votes, no difference: 5 % of them may be; the fixed test at 5 % misleads far more."""
    random = np.random.default_rng(0)
    wins = (random.random((300, 100)) < 0.5).cumsum(axis=1)
    n = np.arange(1, 101)
    misled = [any(log_evidence(int(w), int(k - w)) >= math.log(20) for w, k in zip(row, n, strict=True)) for row in wins]
    assert np.mean(misled) <= 0.05 + 1.64 * math.sqrt(0.05 * 0.95 / 300)
    fixed = (np.abs(2 * wins - n) / np.sqrt(n) > 1.96)[:, 9:].any(axis=1)
    assert fixed.mean() > 0.15


def test_a_decision_that_was_reached_is_kept() -> None:
    assert decision("t" * 8).better == "tuned"
    late = decision("t" * 8 + "b" * 8)
    assert late.state == "enough" and late.better == "tuned"


def test_seven_unanimous_votes_leave_it_open_and_eight_decide() -> None:
    assert decision("t" * 7).state == "more votes"
    assert decision("b" * 8).better == "base"
    assert "of 8 votes with a preference" in decision("b" * 8).why


def test_ties_and_repeats_change_nothing() -> None:
    plain = pair_test(votes("tttbt"), *SYSTEMS, left=9)
    tied = pair_test(votes("tt=t==bt"), *SYSTEMS, left=9)
    assert (plain.wins, plain.losses, plain.evidence) == (tied.wins, tied.losses, tied.evidence)


def test_a_second_voter_on_the_same_prompts_is_no_new_evidence_for_the_rule() -> None:
    once = votes("tttbtt")
    both = [*once, *votes("tttbtt", voter="you")]
    assert pair_test(both, *SYSTEMS, left=0).evidence == pair_test(once, *SYSTEMS, left=0).evidence


def test_voting_on_is_called_hopeless_when_the_pairs_left_can_hardly_decide() -> None:
    assert decision("tb" * 15, left=10).state == "never"
    assert decision("tb" * 15, left=0).why == "all pairs were judged, and the votes do not tell which system is preferred"
    assert decision("tb" * 4, left=40).state == "more votes"


def test_the_chance_to_decide_is_that_of_drawn_voters() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for share in random.beta(1 + 6, 1 + 3, size=3000):
        wins, losses = 6, 3
        for vote in random.random(25) < share:
            wins, losses = wins + int(vote), losses + int(not vote)
            if log_evidence(wins, losses) >= math.log(20):
                hits += 1
                break
    assert chance_to_decide(6, 3, 25) == pytest.approx(hits / 3000, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(wins=st.integers(0, 300), losses=st.integers(0, 300))
def test_the_confidence_sequence_is_where_the_evidence_is_below_its_limit(wins: int, losses: int) -> None:
    low, high = confidence_sequence(wins, losses)
    assert 0 <= low <= wins / max(1, wins + losses) <= high <= 1 or wins + losses == 0
    for share in np.linspace(0.01, 0.99, 15):
        if min(abs(share - low), abs(share - high)) > 1e-6:
            assert (low < share < high) == (log_evidence(wins, losses, share) < math.log(20))


def test_three_systems_are_decided_by_who_is_beaten_and_share_the_risk() -> None:
    cast = [
        Ballot(prompt=str(i), a=a, b=b, score=float(score), left=a)
        for i in range(15)
        for a, b, score in (("x", "y", 1), ("x", "z", 1), ("y", "z", i % 2))
    ]
    found = decide(cast, ("x", "y", "z"), {})
    assert (found.state, found.better) == ("enough", "x")
    assert [test.level for test in found.tests] == [0.05 / 3] * 3
    assert decide(cast[:9], ("x", "y", "z"), {frozenset("xy"): 9}).state == "more votes"


def test_systems_that_beat_each_other_in_a_circle_have_no_best() -> None:
    cast = [
        Ballot(prompt=str(i), a=a, b=b, score=1.0, left=a) for i in range(15) for a, b in (("x", "y"), ("y", "z"), ("z", "x"))
    ]
    assert decide(cast, ("x", "y", "z"), {}).state == "never"
