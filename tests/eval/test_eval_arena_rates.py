"""Win rates, strengths and the consistency of voters: exact where they can be, and not measured where nothing can be known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arena_ballots import ALL, votes
from scipy.stats import binomtest, multinomial
from sklearn.linear_model import LogisticRegression

from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import EvaluationError
from tunesmith.eval.arena.arena import Arena
from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.rates import clopper_pearson, win_rate
from tunesmith.eval.arena.results import results_of
from tunesmith.eval.arena.strengths import bradley_terry, length_controlled
from tunesmith.eval.arena.voters import agreement_between, consistency, voter_figures

SYSTEMS = ("base", "tuned")


def test_one_vote_per_prompt_has_the_exact_binomial_interval() -> None:
    found = win_rate(votes("t" * 24 + "b" * 9), "tuned")
    wanted = binomtest(24, 33).proportion_ci(method="exact")
    assert found.value == 24 / 33 and found.ci is not None
    assert (found.ci.low, found.ci.high) == pytest.approx((wanted.low, wanted.high))


def test_a_tie_is_half_a_win_and_the_interval_covers_whatever_the_share_of_ties() -> None:
    assert win_rate(votes("ttttttb===" * 2), "tuned").value == pytest.approx((12 + 3) / 20)
    n = 12
    wins, losses = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    wins, losses = wins[wins + losses <= n], losses[wins + losses <= n]
    ends = np.array([clopper_pearson(w + (n - w - x) / 2, n) for w, x in zip(wins, losses, strict=True)])
    for p in np.linspace(0, 1, 21):
        for q in np.linspace(0, 1 - p, 11):
            chances = multinomial.pmf(np.stack([wins, losses, n - wins - losses], axis=1), n, [p, q, max(0.0, 1 - p - q)])
            truth = p + (1 - p - q) / 2
            assert chances[(ends[:, 0] <= truth + 1e-9) & (ends[:, 1] >= truth - 1e-9)].sum() >= 0.95


def test_several_votes_on_a_prompt_are_one_observation() -> None:
    once = votes("ttbt" * 5)
    five = [replace(x, voter=f"v{i}") for i in range(5) for x in once]
    one, all_five = win_rate(once, "tuned"), win_rate(five, "tuned")
    assert one.ci is not None and all_five.ci is not None and one.value == all_five.value
    assert all_five.num_prompts == 20 and all_five.n == 100
    assert all_five.ci.high - all_five.ci.low > 0.8 * (one.ci.high - one.ci.low)


@pytest.mark.parametrize(
    ("cast", "reason"),
    [
        (votes("tbt"), "3 votes, 3 of them with a preference; at least 6 are needed"),
        (votes("=" * 30), "no preference in 30 votes: all are ties"),
        (votes("tb" * 10, left="tb"), "me: 20 of 20 votes with a preference are for the left answer, and sides are random"),
        ([], "0 votes, 0 of them with a preference; at least 6 are needed"),
    ],
    ids=["three labels", "all ties", "always presses 1", "nothing"],
)
def test_what_cannot_be_known_is_not_measured_with_the_reason(cast: list[Ballot], reason: str) -> None:
    found = results_of(cast, SYSTEMS, pairs=ALL)
    assert found.decision.state == "not measured" and found.decision.why == reason
    assert found.win_rate.value is None and found.as_dict()["win_rate"]["ci"] is None


def test_a_voter_who_presses_one_key_does_not_take_the_others_along() -> None:
    honest = votes("ttttb" * 6)
    found = results_of([*honest, *votes("tb" * 15, left="tb", voter="key")], SYSTEMS, pairs=ALL)
    assert (found.votes, found.excluded, found.win_rate.value) == (30, 30, 0.8)
    assert [voter.counted for voter in found.voters] == [True, False]


@pytest.mark.parametrize("systems", [["base"], ["base", "base"], [f"s{i}" for i in range(9)]])
def test_one_system_the_same_twice_or_nine_are_refused(systems: list[str]) -> None:
    with pytest.raises(EvaluationError, match="two to eight"):
        results_of([], systems, pairs={})


def test_consistency_is_the_same_answer_when_the_sides_are_swapped() -> None:
    first = votes("tttttttttt=")
    again = [replace(x, again=True, left=("base", "tuned")[x.left == "base"]) for x in first]
    changed = [replace(again[0], score=1.0), *again[1:]]
    assert consistency([*first, *again]).value == 1.0
    found = consistency([*first, *changed])
    assert found.value == pytest.approx(10 / 11) and found.ci is not None and found.ci.low < 0.7
    presses_one = [replace(x, score=float(x.left == "base")) for x in [*first, *again]]
    assert consistency(presses_one).value == 0.0
    assert "second time" in consistency(first).why


def test_repeated_pairs_are_in_no_win_rate() -> None:
    first = votes("tttbbb" * 2)
    again = [replace(x, again=True, score=0.0) for x in first]
    assert win_rate([*first, *again], "tuned").value == 0.5
    assert voter_figures([*first, *again])[0].votes == 12


def test_voters_who_agree_and_who_differ() -> None:
    one, other = votes("ttbb=t"), votes("ttbbtb", voter="you")
    assert agreement_between([*one, *other]).value == pytest.approx(4 / 6)
    assert agreement_between(one).value is None


def of_three(random: np.random.Generator, strengths: dict[str, float], prompts: int = 80) -> list[Ballot]:
    cast = []
    for prompt in range(prompts):
        for a, b in (("x", "y"), ("y", "z"), ("x", "z")):
            p = 1 / (1 + np.exp(strengths[b] - strengths[a]))
            cast.append(Ballot(prompt=str(prompt), a=a, b=b, score=float(random.random() < p), left=a))
    return cast


def test_strengths_are_those_of_an_independent_logistic_regression() -> None:
    cast = of_three(np.random.default_rng(3), {"x": 0.0, "y": 0.5, "z": 1.0})
    found = bradley_terry(cast, ("x", "y", "z"))
    design = [[(b.a == n) - (b.b == n) for n in ("y", "z")] for b in cast]
    known = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(design, [b.score for b in cast]).coef_[0]
    values = {s.system: s.value for s in found}
    assert [values["y"] - values["x"], values["z"] - values["x"]] == pytest.approx(known, abs=1e-4)
    assert sum(values.values()) == pytest.approx(0) and values["x"] < values["y"] < values["z"]


def test_two_systems_have_the_log_odds_and_their_robust_standard_error() -> None:
    x, y = bradley_terry(votes("t" * 30 + "b" * 10), SYSTEMS)
    half = (y.ci.high - y.ci.low) / 2 / 2.0226909  # t quantile of 39 degrees of freedom
    assert y.value - x.value == pytest.approx(np.log(3))
    assert 2 * half == pytest.approx(np.sqrt(1 / (40 * 0.75 * 0.25) * 40 / 39), rel=1e-4)


def test_systems_that_no_vote_connects_are_an_error_and_no_number() -> None:
    cast = [Ballot(prompt=str(i), a=a, b=b, score=i % 2, left=a) for i in range(8) for a, b in (("w", "x"), ("y", "z"))]
    with pytest.raises(EvaluationError, match="no votes connect"):
        bradley_terry(cast, ("w", "x", "y", "z"))
    pairs = {frozenset(("w", "x")): [str(i) for i in range(8)]}
    found = results_of(cast, ("w", "x", "y", "z"), pairs=pairs)
    assert found.strengths == () and "connect" in found.no_strengths


def test_a_system_that_lost_every_vote_has_no_finite_strength() -> None:
    cast = [
        Ballot(prompt=str(i), a=a, b=b, score=s, left=a) for i in range(6) for a, b, s in (("x", "y", i % 2), ("x", "z", 1))
    ]
    with pytest.raises(EvaluationError, match="no finite estimate"):
        bradley_terry(cast, ("x", "y", "z"))


def test_a_preference_for_length_disappears_at_equal_length() -> None:
    """Planted: the longer answer is nearly always preferred, and the tuned model's answers are longer."""
    random = np.random.default_rng(5)
    cast = []
    for i in range(300):
        lengths = (int(random.integers(20, 60)), int(random.integers(40, 90)))
        likes_tuned = (random.random() < 0.9) == (lengths[1] > lengths[0])
        cast.append(
            Ballot(
                prompt=str(i),
                a="base",
                b="tuned",
                score=float(not likes_tuned),
                left="base",
                words_a=lengths[0],
                words_b=lengths[1],
            )
        )
    raw, controlled = win_rate(cast, "tuned"), length_controlled(cast, "tuned")
    assert raw.ci is not None and raw.ci.low > 0.6
    assert controlled.ci is not None and controlled.ci.low < 0.5 < controlled.ci.high
    found = results_of(cast, SYSTEMS, pairs={frozenset(SYSTEMS): [x.prompt for x in cast]})
    assert found.longer.value is not None and found.longer.value > 0.85


def test_length_and_preference_that_cannot_be_told_apart_are_not_measured() -> None:
    assert "cannot separate length" in length_controlled(votes("tb" * 15, words=((20, 60), (60, 20))), "tuned").why
    assert "same in all pairs" in length_controlled(votes("tb" * 15), "tuned").why


def test_prompts_of_one_document_get_an_interval_of_their_own_and_slices_are_named() -> None:
    cast = [
        replace(x, document=f"d{i // 5}", about={"tag": ("work", "home")[i % 2]}) for i, x in enumerate(votes("tttttbbbbb" * 4))
    ]
    found = results_of(cast, SYSTEMS, pairs=ALL)
    assert found.by_document is not None and found.by_document.ci is not None and found.win_rate.ci is not None
    width = found.by_document.ci.high - found.by_document.ci.low
    assert width > 1.5 * (found.win_rate.ci.high - found.win_rate.ci.low)
    assert [(one.by, one.value, one.n) for one in found.slices.slices] == [("tag", "work", 20), ("tag", "home", 20)]  # type: ignore[union-attr]


def test_a_slice_of_few_prompts_is_never_further_behind_than_shares_can_be() -> None:
    cast = [replace(x, about={"tag": "home" if i < 3 else "work"}) for i, x in enumerate(votes("tbbtttbtbt"))]
    found = results_of(cast, SYSTEMS, pairs=ALL)
    assert found.slices is not None and found.slices.worst is not None
    ends = found.slices.worst.behind_ci
    assert ends is not None and ends.high == 1.0 and -1.0 <= ends.low < 0


def test_the_votes_that_were_cast_on_the_real_base_still_give_the_result_of_the_log() -> None:
    kept = Path(__file__).parents[2] / "benchmarks" / "results" / "arena-smollm2-2026-11-29"
    arena = Arena.open(Artifact(kept, json.loads((kept / "manifest.json").read_text(encoding="utf-8"))))
    found = arena.results()
    assert (found.votes, found.wins, found.ties, found.decision.better) == (40, {"base": 0, "tuned": 39}, 1, "tuned")
    assert found.consistency.value == 1.0 and found.consistency.n == 4 and found.at_equal_length.value is None
    assert [round(100 * end) for end in found.as_dict()["win_rate"]["ci"]] == [89, 100]
