"""The arena's statistics on simulated voters: false decisions of somebody who reads the result after each vote, and coverage.

python benchmarks/bench_arena.py --voters 2000 --record

`false decisions`: both systems are preferred equally often, and the voter stops when the arena says "enough". "Fixed test"
is what an exact binomial test at 5 %, repeated after each vote, would have decided. `decided`: the systems differ. `coverage`:
how often an interval contains the truth; of the confidence sequence, after every single vote of a voter.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit

from record import write_result
from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.rates import win_rate
from tunesmith.eval.arena.results import results_of
from tunesmith.eval.arena.stopping import confidence_sequence, decide, log_evidence, pair_test
from tunesmith.eval.arena.strengths import bradley_terry

VOTES = 400
TWO = ("a", "b")


def main() -> None:
    """Print the rows as they come, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voters", type=int, default=2000)
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    rows = []
    for row in simulated(asked.voters):
        print(row, flush=True)
        rows.append(row)
    if asked.record:
        write_result("arena", {"voters in a row": asked.voters, "votes of a voter": VOTES, "limit": "5 %"}, rows)


def simulated(voters: int) -> Iterator[dict[str, Any]]:
    """One row for each kind of voter."""
    random = np.random.default_rng(20)
    for ties, side in ((0.0, 0.5), (0.3, 0.5), (0.0, 0.7)):
        yield equal(random, voters, ties, side)
    yield several_equal(random, voters, 4)
    yield one_key(random, voters // 10)
    for share in (0.6, 0.7, 0.8):
        yield different(random, voters, share)
    yield sequence_coverage(random, voters, 0.7)
    for wins, losses in ((0.5, 0.5), (0.5, 0.2), (0.85, 0.05)):
        yield rate_coverage(random, voters, 40, wins, losses)
    yield strength_coverage(random, voters, correlated=False)
    yield strength_coverage(random, voters, correlated=True)


def ballots(scores: Sequence[float], left: Sequence[bool]) -> list[Ballot]:
    """One vote per prompt."""
    return [
        Ballot(prompt=str(i), a="a", b="b", score=s, left=TWO[not on])
        for i, (s, on) in enumerate(zip(scores, left, strict=True))
    ]


def equal(random: np.random.Generator, voters: int, ties: float, side: float) -> dict[str, Any]:
    """No difference; `side`: how often a voter without an opinion takes the left answer."""
    wrong = naive = 0
    for _ in range(voters):
        left_is_a = random.random(VOTES) < 0.5
        takes_left = random.random(VOTES) < side
        scores = np.where(random.random(VOTES) < ties, 0.5, (left_is_a == takes_left).astype(float))
        wrong += pair_test(ballots(scores.tolist(), left_is_a.tolist()), *TWO, left=0).better is not None
        decided = scores[scores != 0.5]
        wins, n = decided.cumsum(), np.arange(1, len(decided) + 1)
        naive += bool((2 * stats.binom.cdf(np.minimum(wins, n - wins), n, 0.5) <= 0.05).any())
    what = f"no difference, {ties:.0%} ties" + (f", {side:.0%} for the left side" if side != 0.5 else "")
    return _row(what, "false decisions", wrong / voters, f"fixed test after each vote: {naive / voters:.1%}")


def several_equal(random: np.random.Generator, voters: int, number: int) -> dict[str, Any]:
    """Several equal systems: any decided pair is false. Read after each round of all pairs."""
    names = [f"s{i}" for i in range(number)]
    pairs = list(itertools.combinations(names, 2))
    wrong = 0
    for _ in range(voters):
        scores = random.random((VOTES // len(pairs), len(pairs))) < 0.5
        votes = [
            Ballot(prompt=str(row), a=a, b=b, score=float(scores[row, column]), left=a)
            for row in range(len(scores))
            for column, (a, b) in enumerate(pairs)
        ]
        wrong += any(test.better for test in decide(votes, names, {}).tests)
    return _row(f"{number} equal systems", "false decisions", wrong / voters, f"{VOTES // len(pairs)} votes on each pair")


def one_key(random: np.random.Generator, voters: int) -> dict[str, Any]:
    """A voter who always presses 1, through the whole of the results."""
    decided = 0
    for _ in range(voters):
        left_is_a = random.random(40) < 0.5
        found = results_of(
            ballots(left_is_a.astype(float).tolist(), left_is_a.tolist()),
            TWO,
            pairs={frozenset(TWO): [str(i) for i in range(60)]},
        )
        decided += found.decision.state != "not measured"
    return _row("always presses 1, 40 votes", "measured at all", decided / voters, f"{voters} voters")


def different(random: np.random.Generator, voters: int, share: float) -> dict[str, Any]:
    """How many votes it takes where there is a difference."""
    within, wrong, needed = 0, 0, []
    for _ in range(voters):
        wins = (random.random(VOTES) < share).cumsum()
        n = np.arange(1, VOTES + 1)
        over = [i for i in range(VOTES) if log_evidence(int(wins[i]), int(n[i] - wins[i])) >= np.log(20)]
        needed.append(over[0] + 1 if over else VOTES)
        within += bool(over) and over[0] < 40
        wrong += bool(over) and 2 * wins[over[0]] < n[over[0]]
    note = f"median {np.median(needed):.0f} votes; the wrong one in {wrong / voters:.2%}"
    return _row(f"preferred in {share:.0%} of votes", "decided within 40 votes", within / voters, note)


def sequence_coverage(random: np.random.Generator, voters: int, share: float) -> dict[str, Any]:
    """The share is inside of the confidence sequence after each of the first hundred votes."""
    inside = 0
    for _ in range(voters):
        wins = (random.random(100) < share).cumsum()
        inside += all(
            log_evidence(int(w), i + 1 - int(w), share) < np.log(20) for i, w in enumerate(wins)
        )  # which is what `confidence_sequence` inverts
    low, high = confidence_sequence(70, 30)
    return _row(
        f"confidence sequence, share {share:.0%}",
        "coverage, all votes",
        inside / voters,
        f"after 70:30 [{low:.2f}, {high:.2f}]",
    )


def rate_coverage(random: np.random.Generator, voters: int, n: int, wins: float, losses: float) -> dict[str, Any]:
    """The win rate's interval after a fixed number of votes."""
    inside = measured = 0
    truth = wins + (1 - wins - losses) / 2
    for _ in range(voters):
        scores = random.choice([1.0, 0.0, 0.5], size=n, p=[wins, losses, 1 - wins - losses])
        found = win_rate(ballots(scores.tolist(), [True] * n), "a")
        if found.ci is not None:
            measured += 1
            inside += found.ci.low <= truth <= found.ci.high
    what = f"win rate {truth:.0%}, {1 - wins - losses:.0%} ties, {n} prompts"
    return _row(what, "coverage", inside / measured, f"{measured} measured")


def strength_coverage(random: np.random.Generator, voters: int, *, correlated: bool) -> dict[str, Any]:
    """Bradley–Terry strengths of four systems; `correlated`: each prompt shifts the systems in a way of its own."""
    names, prompts = [f"s{i}" for i in range(4)], 60
    strengths = np.array([-0.6, -0.1, 0.2, 0.5])
    pairs = list(itertools.combinations(range(4), 2))
    inside = n = 0
    for _ in range(voters // 2):
        shift = random.normal(0, 1.0 if correlated else 0.0, (prompts, 4))
        votes = []
        for prompt in range(prompts):
            for i, j in pairs:
                p = expit(strengths[i] - strengths[j] + shift[prompt, i] - shift[prompt, j])
                votes.append(
                    Ballot(prompt=str(prompt), a=names[i], b=names[j], score=float(random.random() < p), left=names[i])
                )
        found = bradley_terry(votes, names)
        wanted = _marginal(strengths, random) if correlated else strengths
        inside += sum(s.ci.low <= t <= s.ci.high for s, t in zip(found, wanted, strict=True))
        n += 4
    what = f"strengths of 4 systems, {prompts} prompts" + (", systems differ by prompt" if correlated else "")
    return _row(what, "coverage", inside / n, f"{n} intervals")


_KNOWN: dict[str, Any] = {}


def _marginal(strengths: Any, random: np.random.Generator) -> Any:
    """The strengths that a fit to very many votes finds: shifts by prompt flatten them."""
    if "marginal" not in _KNOWN:
        own = np.random.default_rng(1)
        shift = own.normal(0, 1.0, (400_000, 2))
        beat = np.array([[expit(s - t + shift[:, 0] - shift[:, 1]).mean() for t in strengths] for s in strengths])
        values = np.zeros(len(strengths))
        for _ in range(2000):
            expected = np.array([sum(expit(values[i] - values[j]) - beat[i, j] for j in range(4) if j != i) for i in range(4)])
            values = values - 0.5 * expected
        _KNOWN["marginal"] = values - values.mean()
    return _KNOWN["marginal"]


def _row(what: str, measure: str, value: float, note: str) -> dict[str, Any]:
    return {"voter": what, "measure": measure, "%": round(100 * float(value), 2), "note": note}


if __name__ == "__main__":
    main()
