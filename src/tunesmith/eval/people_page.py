"""Votes and likelihood item by item, in a report: where they agree, and the items on which they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.core.page import Raw, folded, section, table, text
from tunesmith.eval.arena.held import ArenaNote, HeldVotes, opinions
from tunesmith.eval.arena.rates import VoteRate
from tunesmith.eval.arena.results import ArenaResults
from tunesmith.eval.judge.rows import points
from tunesmith.eval.measure import Measurements
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import signed
from tunesmith.eval.results import Evidence

__all__ = ["Opinions", "opinions_of", "people_section"]

_MOST = 20  # items that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """What each source says of an item: above 0 it prefers the tuned model, below 0 the base, 0 is a tie.

    `by_source`: by name (votes, likelihood, judge where there is one), then by the id of the item. `agreement`: for each source
    but the votes, the number of items on which it prefers the same model as the voters, and of those on which both have a
    preference. `different`: the ids on which one of them prefers another model than the voters.
    """

    by_source: Mapping[str, Mapping[str, float]]
    agreement: Mapping[str, tuple[int, int]]
    different: tuple[str, ...]


def opinions_of(evidence: Evidence, measurements: Measurements) -> Opinions | None:
    """The opinions about every item that was voted on; None without votes on items of this evaluation."""
    if evidence.people is None or not {"base", "tuned"} <= measurements.systems.keys():
        return None
    known = [item.id for item in evidence.items]
    votes = {id: value - 0.5 for id, value in opinions(evidence.people.ballots).items() if id in set(known)}
    if not votes:
        return None
    metric = measurements.primary
    sign = -1.0 if metric_named(metric).higher_is_better is False else 1.0
    both_scores = [measurements.systems[name].scores[metric] for name in ("base", "tuned")]
    likelihood = {id: sign * (b - a) for id, a, b in zip(known, *both_scores, strict=True) if a is not None and b is not None}
    sources = {"votes": votes, "likelihood" if metric == "bits_per_byte" else metric_named(metric).label: likelihood}
    if measurements.judge is not None:
        sources["judge"] = {id: points(label) - 0.5 for id, label in measurements.judge.verdicts.items()}
    agreement: dict[str, tuple[int, int]] = {}
    different: set[str] = set()
    for name, said in sources.items():
        if name != "votes":
            both = [id for id in known if votes.get(id) and said.get(id)]
            apart = {id for id in both if votes[id] * said[id] < 0}
            agreement[name] = (len(both) - len(apart), len(both))
            different |= apart
    return Opinions(by_source=sources, agreement=agreement, different=tuple(id for id in known if id in different))


def people_section(evidence: Evidence, measurements: Measurements) -> Raw:
    """The section of a report; empty without votes."""
    people = measurements.people
    if people is None or evidence.people is None:
        return Raw("")
    parts: list[str] = [f"<p>{text(evidence.people.ask)} {text(people.sentence)}</p>"]
    rows = [
        ["votes", f"{people.votes}: tuned {people.wins['tuned']}, base {people.wins['base']}, ties {people.ties}"],
        ["win rate of the tuned model", _share(people.win_rate)],
        ["consistency of the voters", _share(people.consistency)],
        ["longer answer preferred", _share(people.longer)],
        ["win rate at equal length", _share(people.at_equal_length)],
    ]
    if people.by_document is not None:
        rows.insert(2, ["the same, by document", _share(people.by_document)])
    parts.append(table(["", ""], rows))
    found = opinions_of(evidence, measurements)
    if found is None:
        parts.append('<p class="soft">The votes are about other questions than those of this evaluation.</p>')
    else:
        parts += _side_by_side(evidence, found)
    if evidence.people.others:
        parts += _arenas(evidence.people, people)
    return section("Blind votes", *parts)


def _arenas(counted: HeldVotes, people: ArenaResults) -> list[str]:
    """All arenas of the run, the one that counts first."""
    own = ArenaNote(
        arena=counted.arena,
        ask=counted.ask,
        votes=people.votes,
        last="",
        state=people.decision.state,
        better=people.decision.better,
    )
    rows = [
        [one.arena[:8], one.ask, one.votes, one.outcome, "yes" if one is own else f"no; last vote {_minute(one.last)}"]
        for one in (own, *reversed(counted.others))
    ]
    note = "Of several arenas the one that was finished last counts; all of them share the chance of a false decision."
    head = ["arena", "voters were asked", "votes", "outcome", "counts"]
    return [f'<h3>Arenas of this run</h3><p class="soft">{text(note)}</p>', table(head, rows, numeric=(2,))]


def _minute(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"


def _side_by_side(evidence: Evidence, found: Opinions) -> list[str]:
    names = list(found.by_source)
    lead = " ".join(
        f"Voters and {name} prefer the same model on {same} of the {both} items on which both have a preference."
        for name, (same, both) in found.agreement.items()
    )
    if "judge" in names:
        lead += " The judge saw the first answer drawn of each model, voters any one of the draws."
    by_id = {item.id: item for item in evidence.items}
    votes = found.by_source["votes"]
    rows = [
        [
            by_id[id].title or by_id[id].group,
            by_id[id].question,
            *(_opinion(of.get(id), name) for name, of in found.by_source.items()),
        ]
        for id in by_id
        if id in votes
    ]
    head = ["document", "question", *names]
    listed = [row for row, id in zip(rows, [id for id in by_id if id in votes], strict=True) if id in set(found.different)]
    parts = [f"<p>{text(lead)}</p>"]
    if listed:
        note = "" if len(listed) <= _MOST else f" The first {_MOST} of {len(listed)}."
        parts += [f'<h3>Items on which they disagree</h3><p class="soft">{text(note.strip())}</p>', table(head, listed[:_MOST])]
    return [*parts, folded("Every item that was voted on", table(head, rows))]


def _opinion(value: float | None, source: str) -> str:
    if value is None:
        return "not measured"
    who = "tuned" if value > 0 else "base" if value < 0 else "tie"
    return f"{who} ({signed(value)})" if source not in ("votes", "judge") else who


def _share(rate: VoteRate) -> str:
    if rate.value is None:
        return f"not measured: {rate.why}"
    return f"{100 * rate.value:.0f} %" + ("" if rate.ci is None else f" [{100 * rate.ci.low:.0f}, {100 * rate.ci.high:.0f}]")
