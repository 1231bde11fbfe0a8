"""Blind votes in the verdict: what they decide, what they leave open, and where they contradict the likelihood."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from arena_ballots import votes
from evidence_fakes import evidence, general, parity
from judging_fakes import GOOD, RULES

from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.held import ArenaNote, HeldVotes, results_between
from tunesmith.eval.files import write_evidence
from tunesmith.eval.judge.evidence import JudgedAnswers
from tunesmith.eval.judge.measured import judge_measures
from tunesmith.eval.judge.rows import JudgedPair
from tunesmith.eval.measure import Measurements, measure
from tunesmith.eval.people_page import opinions_of, people_section
from tunesmith.eval.report import evaluation_report
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.eval.verdict import Gate, Verdict, decide


@cache
def good() -> tuple[Evidence, Measurements]:
    made = evidence(GOOD, documents=30, each=1, with_parity=parity(), with_general=general())
    return made, measure(made, draws=400)


def voted(cast: list[Ballot]) -> Evidence:
    """Good evidence with votes on its first items, each from another document."""
    made = good()[0]
    ids = [item.id for item in made.items]
    own = tuple(replace(x, prompt=ids[int(x.prompt[1:])], document=made.items[int(x.prompt[1:])].group) for x in cast)
    return replace(made, people=HeldVotes(arena="a" * 64, ask="Which?", ballots=own, prompts=tuple(ids)))


def judged(made: Evidence) -> tuple[Measurements, Verdict, Gate | None]:
    people = None if made.people is None else results_between(made.people)
    measured = replace(good()[1], people=people, votes=made.people)
    verdict = decide(measured, RULES, baselines=["prompted"])
    return measured, verdict, next((gate for gate in verdict.gates if gate.name == "arena"), None)


def test_without_votes_there_is_no_gate_and_the_evidence_is_as_before(tmp_path: Path) -> None:
    made = replace(voted([]), people=None)
    assert judged(made)[2] is None
    write_evidence(tmp_path, made)
    assert b'"people"' not in (tmp_path / "evidence.json").read_bytes()


def test_a_first_voter_does_not_outvote_the_others() -> None:
    first = votes("t" * 20)
    found = results_between(
        HeldVotes(arena="a" * 64, ask="Which?", ballots=(*first, *votes("b" * 20, voter="bob")), prompts=())
    )
    assert found.decision.state == "never" and found.decision.better is None and found.win_rate.value == 0.5
    assert found.sentence == (
        "Not decided: the first votes on each prompt prefer tuned, but all 40 votes together do not tell: tuned 50 % [42, 58]."
    )
    _, _, gate = judged(voted([*first, *votes("b" * 20, voter="bob")]))
    assert gate is not None and gate.state == "not measured" and "all 40 votes together do not tell" in gate.evidence
    _, _, gate = judged(voted([*votes("b" * 20, voter="bob"), *first]))
    assert gate is not None and gate.state == "not measured" and not gate.required
    _, _, gate = judged(voted([*first, *votes("t" * 17 + "b" * 3, voter="bob")]))
    assert (
        gate is not None and gate.state == "pass" and "of several votes on a prompt the rule reads the first" in gate.evidence
    )


def test_votes_for_the_tuned_model_pass() -> None:
    _, verdict, gate = judged(voted(votes("t" * 20 + "b" * 3 + "=" * 2)))
    assert gate is not None and gate.state == "pass" and not gate.required and gate.threshold == 0.5
    assert "tuned is preferred in 20 of 23 votes" in gate.evidence or "tuned is preferred in 20 of 20" in gate.evidence
    assert gate.value is not None and gate.interval is not None and gate.interval[0] > 0.5
    assert "whether people prefer its answers" not in verdict.not_measured


def test_votes_for_the_base_decide_against_a_model_that_is_better_by_likelihood() -> None:
    _, verdict, gate = judged(voted(votes("b" * 20 + "t" * 3)))
    assert gate is not None and (gate.state, gate.required) == ("fail", True)
    assert verdict.verdict == "DON'T SHIP" and "In blind votes people prefer the base." in verdict.sentence


def test_few_votes_ties_and_one_key_leave_the_verdict_as_it_is_and_say_so() -> None:
    plain = judged(good()[0])[1]
    for cast, reason in (
        (votes("tbt"), "at least 6 are needed"),
        (votes("=" * 20), "all are ties"),
        (votes("tb" * 10, left="tb"), "left answer"),
        (votes("tb" * 10, left="ttbb"), "would decide it"),
    ):
        _, verdict, gate = judged(voted(cast))
        assert gate is not None and (gate.state, gate.required) == ("not measured", False) and reason in gate.evidence
        assert verdict.verdict == plain.verdict and "whether people prefer its answers" in verdict.not_measured


def test_a_preference_that_is_one_for_length_is_warned_of() -> None:
    longer = [(30, 60)] * 20 + [(60, 30)] * 5
    cast = votes("t" * 19 + "b" + "b" * 5, words=longer)
    _, _, gate = judged(voted(cast))
    assert gate is not None and gate.state == "pass" and "longer answer" in gate.warning


def test_votes_of_few_documents_do_not_pass_where_the_documents_do_not_tell() -> None:
    made = voted(votes("t" * 20 + "b" * 4))
    people = made.people
    assert people is not None
    three = tuple(replace(x, document=f"d{(i % 12) // 5}") for i, x in enumerate(people.ballots))
    _, _, gate = judged(replace(made, people=replace(people, ballots=three)))
    assert gate is not None and gate.state in ("pass", "not measured")
    lopsided = tuple(replace(x, document="one" if x.score == 0 else "two") for x in people.ballots)
    _, _, gate = judged(replace(made, people=replace(people, ballots=lopsided)))
    assert gate is not None and gate.state == "not measured" and "of a document as one observation" in gate.evidence


def test_the_report_shows_votes_and_likelihood_and_the_items_on_which_they_differ(tmp_path: Path) -> None:
    made = voted(votes("b" * 3 + "t" * 20))
    measured, verdict, _ = judged(made)
    found = opinions_of(made, measured)
    assert found is not None and set(found.by_source) == {"votes", "likelihood"}
    same, both = found.agreement["likelihood"]
    assert same + len(found.different) == both == 23 and set(found.different) >= {"d0-0", "d1-0", "d2-0"}
    _, page = evaluation_report(made, measured, verdict)
    assert "Blind votes" in page and "Items on which they disagree" in page and "win rate at equal length" in page
    write_evidence(tmp_path, made)
    assert read_evidence(tmp_path / "evidence.json") == made and measure(made, draws=200).people == measured.people


def test_a_judge_that_was_asked_is_shown_alongside(tmp_path: Path) -> None:
    made = voted(votes("b" * 3 + "t" * 20))
    pairs = tuple(
        JudgedPair(
            id=item.id, prompt=item.question, a="x", b="y", judge="A", judge_swapped="A", has_judge=True, has_swapped=True
        )
        for item in made.items
    )
    judged_too = replace(made, judged=JudgedAnswers(name="a program", id="j", weak=False, pairs=pairs))
    measured = replace(judged(made)[0], judge=judge_measures(judged_too.judged))
    found = opinions_of(judged_too, measured)
    assert found is not None and found.agreement["judge"] == (20, 23)
    page = people_section(judged_too, measured)
    assert "Voters and judge prefer the same model on 20 of the 23 items" in page and ">judge<" in page
    _, whole = evaluation_report(judged_too, measured, judged(judged_too)[1])
    assert '<td>blind votes</td><td class="n">23</td><td class="n">20</td>' in whole
    assert 0 < whole.index("Blind votes") < whole.index("People, judge and likelihood") < whole.index("<h2>Scores")


# --- several arenas of one run ----------------------------------------------------------------------------------------


def among(made: Evidence, *others: ArenaNote) -> Evidence:
    assert made.people is not None
    return replace(made, people=replace(made.people, others=others))


def note(name: str, **about: object) -> ArenaNote:
    usual = {"arena": name * 64, "ask": "Which?", "votes": 30, "last": "2026-11-29T10:00:00+00:00", "state": "never"}
    return ArenaNote(**{**usual, "better": None, **about})  # type: ignore[arg-type]


def test_the_evidence_names_the_arena_and_those_that_do_not_count(tmp_path: Path) -> None:
    made = voted(votes("t" * 20))
    _, _, gate = judged(made)
    assert gate is not None and gate.state == "pass" and gate.evidence.endswith("; arena aaaaaaaa")
    several = among(made, note("b"), note("c", votes=4, state="more votes", ask="Which is <truer>?"))
    measured, verdict, gate = judged(several)
    assert gate is not None and gate.state == "pass"  # 20 of 20 votes are evidence enough for three arenas
    listed = "arena aaaaaaaa; not counted: bbbbbbbb (30 votes, undecided), cccccccc (4 votes, not finished)"
    assert gate.evidence.endswith(listed)
    _, page = evaluation_report(several, measured, verdict)
    assert "Arenas of this run" in page and f"<td>{'b' * 8}</td>" in page and "Which is &lt;truer&gt;?" in page
    assert "Arenas of this run" not in evaluation_report(made, *judged(made)[:2])[1]
    write_evidence(tmp_path, several)
    assert read_evidence(tmp_path / "evidence.json") == several


def test_one_more_arena_is_not_one_more_attempt() -> None:
    """Eight unanimous votes decide alone; among three arenas the same votes are not enough, for neither side."""
    for cast, alone in (("t" * 8, "pass"), ("b" * 8, "fail")):
        made = voted(votes(cast))
        assert getattr(judged(made)[2], "state", "") == alone
        _, verdict, gate = judged(among(made, note("b"), note("c")))
        assert gate is not None and (gate.state, gate.required) == ("not measured", False)
        assert "3 arenas share the 5 %: the evidence is 28 to 1, and 60 to 1 would be enough" in gate.evidence
        assert "whether people prefer its answers" in verdict.not_measured


def test_an_arena_that_prefers_the_base_takes_away_a_pass_and_no_fail() -> None:
    against = note("b", state="enough", better="base")
    _, _, gate = judged(among(voted(votes("t" * 20)), against))
    assert gate is not None and gate.state == "not measured" and gate.evidence.endswith("; arena bbbbbbbb prefers the base")
    _, _, gate = judged(among(voted(votes("t" * 20)), note("b", state="enough", better="tuned")))
    assert gate is not None and gate.state == "pass"
    _, _, gate = judged(among(voted(votes("b" * 20)), note("b", state="enough", better="tuned")))
    assert gate is not None and gate.state == "fail"
